//! What every verb needs: running programs, counting results, finding programs.

use core::cell::RefCell;
use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::progress;

/// Whether a verb succeeded; `Err` is for what kept it from running at all.
pub(crate) type Outcome = Result<bool, Box<dyn core::error::Error>>;

/// Results counted the way every verb reports them.
#[derive(Debug, Default, Clone)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
}

impl Tally {
    /// Counts one check, and prints it.
    pub(crate) fn check(&mut self, name: &str, result: Result<(), String>) {
        match result {
            Ok(()) => {
                self.passed += 1;
                say(&format!("ok      {name}"));
            }
            Err(reason) => {
                self.failed += 1;
                say(&format!("FAILED  {name}: {reason}"));
            }
        }
    }

    /// Does one check, counts it and prints it.
    pub(crate) fn run(&mut self, name: &str, check: impl FnOnce() -> Result<(), String>) {
        let result = progress::during(name, check);
        self.check(name, result);
    }

    /// Counts one check that cannot run here, and prints why.
    pub(crate) fn skip(&mut self, name: &str, reason: &str) {
        self.skipped += 1;
        say(&format!("skipped {name}: {reason}"));
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }

    /// Says the same in a form that cannot be taken for the last line of a run.
    pub(crate) fn summary(&self) -> String {
        format!("{} ok, {} bad, {} left out", self.passed, self.failed, self.skipped)
    }

    /// Returns whether nothing failed, and something ran or was left out with a reason.
    pub(crate) fn good(&self) -> bool {
        self.failed == 0 && self.passed + self.skipped > 0
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

thread_local! {
    /// What this thread has said, where it is kept for later.
    static KEPT: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Says a line of results.
pub(crate) fn say(line: &str) {
    KEPT.with_borrow_mut(|kept| match kept {
        Some(text) => text.push_str(&format!("{line}\n")),
        None => println!("{line}"),
    });
}

/// Does `work`, and returns what it has said instead of printing it.
pub(crate) fn keeping<T>(work: impl FnOnce() -> T) -> (T, String) {
    let before = KEPT.replace(Some(String::new()));
    let result = work();
    (result, KEPT.replace(before).unwrap_or_default())
}

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
