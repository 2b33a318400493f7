//! Running programs and finding them.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::progress;
use crate::support::tally::Outcome;

/// Returns the root of the workspace.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}

/// Returns the cargo that runs this program.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Runs `command` with its output shown, and returns whether it succeeded.
pub(crate) fn succeeds(command: &mut Command) -> Outcome {
    Ok(command.status().map_err(|error| format!("{}: {error}", command.get_program().display()))?.success())
}

/// Returns the full path of `program`, if it can be found.
pub(crate) fn find_program(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// Returns whether this program may do what only root may.
pub(crate) fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

/// Returns what `program` prints, or why it could not.
pub(crate) fn output_of<I: AsRef<OsStr>>(program: &str, arguments: &[I]) -> Result<String, String> {
    let output = Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C")
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{program}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs `command`, and returns the end of what it said if it fails.
pub(crate) fn run(command: &mut Command) -> Result<String, String> {
    let output = progress::during(&progress::short(command), || command.output());
    let output = output.map_err(|error| format!("{}: {error}", command.get_program().display()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
    let errors = lines.iter().position(|line| line.starts_with("error")).unwrap_or(lines.len().saturating_sub(12));
    Err(format!("{}\n{}", output.status, lines[errors..].iter().take(30).copied().collect::<Vec<_>>().join("\n")))
}
