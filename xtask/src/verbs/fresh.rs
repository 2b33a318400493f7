//! `cargo xtask fresh`: the two commands of the README on a machine that has just been installed.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use crate::support::packages;
use crate::support::processes::{self, is_root, output_of, root};
use crate::support::progress;
use crate::support::tally::{Outcome, Tally};

/// What there is besides Debian's smallest system: what a Rust toolchain needs to link, and git.
const INCLUDED: &str = "ca-certificates,gcc,libc6-dev,git";
const WHOLE: &str = "cargo xtask demo && cargo xtask test";
const QUICK: &str = "cargo xtask demo && cargo xtask test --quick";

/// What apt knows on the new machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Lists {
    /// Nothing yet: nobody has asked the mirrors.
    None,
    /// What the release had on its first day, although the mirrors have more by now.
    Old,
    /// The same, and the mirrors have no more: neither security updates nor a compiler that is new enough.
    Frozen,
}

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The age of the package lists; all kinds after one another, if none is named.
    #[arg(long)]
    lists: Option<Lists>,
    /// Leave out virtual machines and other targets.
    #[arg(long)]
    quick: bool,
    /// A command for the shell, to be run there instead.
    #[arg(conflicts_with = "quick")]
    command: Option<String>,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let command = args.command.as_deref().unwrap_or(if args.quick { QUICK } else { WHOLE });
    let all = [Lists::None, Lists::Old, Lists::Frozen];
    let mut tally = Tally::default();
    for lists in args.lists.as_ref().map_or(&all[..], core::slice::from_ref) {
        let _ = machine(&mut tally, *lists, command);
    }
    tally.outcome()
}

/// Runs the demo and the quick tests on one new machine, as one check, and returns what the tests there came to; none
/// if there can be no such machine.
pub(crate) fn quick(tally: &mut Tally) -> Option<Tally> {
    let line = machine(tally, Lists::Old, QUICK)?;
    Some(Tally::read(&line).unwrap_or_default())
}

/// Returns whether a new machine would have what is in this folder: it gets the last commit.
pub(crate) fn is_committed() -> bool {
    output_of("git", &["-C".as_ref(), root().as_os_str(), "status".as_ref(), "--porcelain".as_ref()])
        .is_ok_and(|changed| changed.is_empty())
}

/// Runs `command` on a new machine, and returns the last line that it said, empty if it failed; none if there can be no
/// such machine.
fn machine(tally: &mut Tally, lists: Lists, command: &str) -> Option<String> {
    let kind = match lists {
        Lists::None => "no package lists",
        Lists::Old => "old package lists",
        Lists::Frozen => "no package newer than the release",
    };
    let name = format!("`{command}` on a new machine with {kind}");
    let parts = base().and_then(|base| Ok((base, toolchain()?)));
    let (base, toolchain) = match parts {
        Ok(parts) => parts,
        Err(reason) => {
            tally.skip(&name, &reason);
            return None;
        }
    };
    let folder = home().join(format!("{lists:?}").to_lowercase());
    let result = prepare(&base, &folder, lists).and_then(|()| enter(&folder, &toolchain, kind, command));
    let removed = remove(&folder);
    match result.and_then(|line| removed.map(|()| line)) {
        Ok(line) => {
            tally.check(&format!("{name}: {line}"), Ok(()));
            Some(line)
        }
        Err(reason) => {
            tally.check(&name, Err(reason));
            Some(String::new())
        }
    }
}

fn home() -> PathBuf {
    root().join("target/fresh")
}

/// Returns a folder with a Debian that has just been installed, made the first time.
fn base() -> Result<PathBuf, String> {
    if !is_root() {
        return Err("a new machine is made by root; as root: cargo xtask fresh".into());
    }
    packages::install(&["debootstrap", "util-linux"])?;
    output_of("unshare", &["--mount", "--pid", "--fork", "true"])
        .map_err(|reason| format!("this root may not mount anything: {reason}"))?;
    let mirror = packages::mirror()?;
    let folder = home().join(&mirror.codename);
    let complete = home().join(format!("{}.complete", mirror.codename));
    if complete.is_file() {
        return Ok(folder);
    }
    remove(&folder)?;
    fs::create_dir_all(home()).map_err(|error| error.to_string())?;
    let mut debootstrap = Command::new("debootstrap");
    debootstrap.args(["--variant=minbase", &format!("--include={INCLUDED}"), &mirror.codename]);
    processes::run(debootstrap.arg(&folder).arg(&mirror.site))?;
    fs::write(complete, "").map_err(|error| error.to_string())?;
    Ok(folder)
}

/// Returns the folder of the user's Rust toolchain, which the new machine gets as it is.
fn toolchain() -> Result<PathBuf, String> {
    let folder = PathBuf::from(output_of("rustc", &["--print", "sysroot"])?.trim());
    if folder.join("bin/cargo").is_file() && !folder.starts_with("/usr") {
        return Ok(folder);
    }
    Err(format!("the toolchain in {} cannot be lent: rustup's can", folder.display()))
}

/// Copies the base, and puts the project's last commit and what reaches the mirrors from here into it.
fn prepare(base: &Path, folder: &Path, lists: Lists) -> Result<(), String> {
    remove(folder)?;
    output_of("cp", &["-a".as_ref(), "--reflink=auto".as_ref(), base.as_os_str(), folder.as_os_str()])?;
    let home = PathBuf::from(std::env::var_os("HOME").unwrap_or_default());
    let cargo = std::env::var_os("CARGO_HOME").map_or_else(|| home.join(".cargo"), PathBuf::from);
    let sources = ["/etc/apt/sources.list", "/etc/apt/sources.list.d"];
    let settings = ["/etc/apt/apt.conf.d", "/etc/ssl/certs", "/etc/resolv.conf", "/etc/hosts"];
    if lists != Lists::Frozen {
        // The mirrors are those of this machine.
        remove(&folder.join("etc/apt/sources.list"))?;
    }
    let wanted = settings.iter().chain(sources.iter().filter(|_| lists != Lists::Frozen));
    for path in wanted.map(Path::new) {
        copy(path, &folder.join(path.strip_prefix("/").unwrap_or(path)))?;
    }
    copy(&cargo.join("config.toml"), &folder.join("root/.cargo/config.toml"))?;
    if lists == Lists::None {
        remove(&folder.join("var/lib/apt/lists"))?;
    }
    let project = folder.join("project");
    output_of("git", &["clone".as_ref(), "--quiet".as_ref(), root().as_os_str(), project.as_os_str()])?;
    fs::create_dir_all(folder.join("opt/rust")).map_err(|error| error.to_string())?;
    if !is_committed() {
        eprintln!("what is not committed is not on the new machine");
    }
    Ok(())
}

/// Copies a file or folder over another, links as what they stand for; nothing if there is none.
fn copy(from: &Path, to: &Path) -> Result<(), String> {
    if !from.exists() {
        return Ok(());
    }
    let above = to.parent().ok_or("no folder")?;
    fs::create_dir_all(above).map_err(|error| format!("{}: {error}", above.display()))?;
    remove(to)?;
    // Some certificates may be links to what is not there: the others are enough.
    let _ = output_of("cp", &["-aL".as_ref(), from.as_os_str(), to.as_os_str()]);
    to.exists().then_some(()).ok_or_else(|| format!("{} cannot be copied", from.display()))
}

fn remove(path: &Path) -> Result<(), String> {
    output_of("rm", &["-rf".as_ref(), "--one-file-system".as_ref(), path.as_os_str()]).map(drop)
}

/// Runs `command` in `folder`, and returns the last line that it said.
///
/// Mounts and processes end with the command, also when this program is killed.
fn enter(folder: &Path, toolchain: &Path, kind: &str, command: &str) -> Result<String, String> {
    const SCRIPT: &str = "set -e
        mount --bind \"$2\" \"$1/opt/rust\"; mount -o remount,ro,bind \"$1/opt/rust\"
        mount -t proc proc \"$1/proc\"; mount --rbind /sys \"$1/sys\"; mount --rbind /dev \"$1/dev\"
        mount -t tmpfs tmpfs \"$1/tmp\"
        exec chroot \"$1\" bash -c \"cd /project && $3\" 2>&1";
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "sh", "-c", SCRIPT, "sh"]);
    unshare.arg(folder).arg(toolchain).arg(command).env_clear();
    unshare.envs(std::env::vars_os().filter(|(name, _)| name.to_string_lossy().to_lowercase().ends_with("_proxy")));
    unshare.envs([("HOME", "/root"), ("LANG", "C.UTF-8"), ("CI", "true"), ("CARGO_INCREMENTAL", "0")]);
    unshare.env("PATH", "/opt/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    let log = home().join(format!("{}.log", folder.file_name().unwrap_or_default().display()));
    let mut written = File::create(&log).map_err(|error| format!("{}: {error}", log.display()))?;
    let child = unshare.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn();
    let mut child = child.map_err(|error| format!("unshare: {error}"))?;
    let output = BufReader::new(child.stdout.take().ok_or("no output")?);
    let latest = Mutex::new(String::new());
    let shown =
        || format!("new machine with {kind}: {}", latest.lock().map_or_else(|_| String::new(), |line| line.clone()));
    let lines: Vec<String> = progress::watching(shown, || {
        let lines =
            output.split(b'\n').map_while(Result::ok).map(|line| String::from_utf8_lossy(&line).trim_end().to_owned());
        let note = |line: &String| {
            let _ = writeln!(written, "{line}");
            if let Ok(mut latest) = latest.lock() {
                line.trim().clone_into(&mut latest);
            }
        };
        lines.inspect(note).collect()
    });
    let status = child.wait().map_err(|error| error.to_string())?;
    let end = |count: usize| lines[lines.len().saturating_sub(count)..].join("\n");
    let log = log.strip_prefix(root()).unwrap_or(&log).display();
    if status.success() { Ok(end(1)) } else { Err(format!("{status} (see {log})\n{}", end(30))) }
}
