//! Debian packages: what is there, in which version, and installing what is missing or too old.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::sync::{Mutex, Once, PoisonError};

use crate::support::processes::{find_program, is_root, output_of};
use crate::support::progress;

/// A package, and the version that it must have: `qemu-user`, `rustc-web (>= 1.88)`, `rust-src (= 1.95.0)`.
///
/// Versions are compared as deb-version(7) says. `=` asks for that version of the original, in any revision of
/// Debian's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Need<'a> {
    package: &'a str,
    version: Version<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version<'a> {
    Any,
    AtLeast(&'a str),
    Exactly(&'a str),
}

impl<'a> Need<'a> {
    fn parse(text: &'a str) -> Self {
        let Some((package, rest)) = text.split_once(" (") else { return Self { package: text, version: Version::Any } };
        let version = match rest.trim_end_matches(')').split_once(' ') {
            Some((">=", version)) => Version::AtLeast(version),
            Some((_, version)) => Version::Exactly(version),
            None => Version::Any,
        };
        Self { package, version }
    }

    fn is_met_by(&self, version: &str) -> bool {
        match self.version {
            Version::Any => true,
            Version::AtLeast(least) => compare(version, "ge", least),
            Version::Exactly(exact) => upstream(version) == exact,
        }
    }

    fn is_installed(&self) -> bool {
        installed(self.package).is_some_and(|version| self.is_met_by(&version))
    }

    /// Returns the words that make apt-get install it, or which version is the newest that can be had.
    fn choose(&self) -> Result<String, Option<String>> {
        let versions = available(self.package);
        match (self.version, versions.iter().find(|version| self.is_met_by(version))) {
            (_, None) => Err(versions.first().cloned()),
            // What apt prefers need not be new enough.
            (Version::Any, Some(_)) => Ok(self.package.to_owned()),
            (_, Some(version)) => Ok(format!("{}={version}", self.package)),
        }
    }
}

/// Installs Debian packages when run as root; otherwise says the one command that does.
///
/// What is there already costs nothing and needs no network. Where something is missing or too old, the package lists
/// are refreshed first, once in a run. What was refused once is refused again without another attempt.
///
/// # Errors
///
/// Why a package cannot be had, with the command that may help.
pub(crate) fn install(needs: &[&str]) -> Result<(), String> {
    // Also keeps the threads of a run from getting into each other's way.
    static DONE: Mutex<BTreeMap<String, Result<(), String>>> = Mutex::new(BTreeMap::new());
    let mut done = DONE.lock().unwrap_or_else(PoisonError::into_inner);
    let missing: Vec<Need<'_>> =
        needs.iter().map(|need| Need::parse(need)).filter(|need| !need.is_installed()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    done.entry(needs.join(", ")).or_insert_with(|| get(&missing)).clone()
}

/// Installs what is not there.
fn get(missing: &[Need<'_>]) -> Result<(), String> {
    let names: Vec<&str> = missing.iter().map(|need| need.package).collect();
    let advice = format!("apt-get update && apt-get install --no-install-recommends {}", names.join(" "));
    if find_program("apt-get").is_none() {
        return Err(format!("missing packages (on Debian: {advice})"));
    }
    if !is_root() {
        return Err(format!("packages are missing or too old; as root: {advice}"));
    }
    refresh();
    let mut chosen = Vec::new();
    for need in missing {
        chosen.push(need.choose().map_err(|newest| refusal(need, newest.as_deref(), &advice))?);
    }
    eprintln!("installing {}", names.join(" "));
    let mut arguments = vec!["install", "-y", "--no-install-recommends"];
    arguments.extend(chosen.iter().map(String::as_str));
    if apt(&arguments) && missing.iter().all(Need::is_installed) { Ok(()) } else { Err(format!("failed: {advice}")) }
}

/// Says why a package cannot be had, although the lists are new.
fn refusal(need: &Need<'_>, newest: Option<&str>, advice: &str) -> String {
    let package = need.package;
    match (newest, need.version) {
        (None, _) => format!("this Debian's lists have no package {package} ({advice})"),
        (Some(newest), Version::AtLeast(least)) => {
            format!("this Debian's {package} is {newest}, older than {least}")
        }
        (Some(newest), _) => format!("this Debian's {package} is {newest}"),
    }
}

/// Refreshes the package lists, once in a run, if this may be done. Without a network they stay as they are.
pub(crate) fn refresh() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if is_root() && find_program("apt-get").is_some() {
            eprintln!("refreshing the package lists");
            if !apt(&["update"]) {
                eprintln!("the package lists could not be refreshed: they are used as they are");
            }
        }
    });
}

/// The Debian release of this machine, and the mirror that apt has it from.
pub(crate) struct Mirror {
    pub(crate) site: String,
    pub(crate) codename: String,
}

/// Returns the mirror that apt has this release from.
///
/// # Errors
///
/// That this is no Debian, or that apt has no mirror.
pub(crate) fn mirror() -> Result<Mirror, String> {
    let format = "$(SITE) $(CODENAME) $(COMPONENT)";
    let targets = output_of("apt-get", &["indextargets", "--format", format, "Created-By: Packages"])?;
    let text = std::fs::read_to_string("/etc/os-release").map_err(|error| format!("/etc/os-release: {error}"))?;
    let release = text.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME=")).ok_or("no name of a release")?;
    // Not what comes later: `bookworm-updates`, `bookworm-security`.
    let found = targets.lines().find_map(|line| match line.split(' ').collect::<Vec<_>>()[..] {
        [site, codename, "main"] if codename == release => Some(site.to_owned()),
        _ => None,
    });
    let site = found.ok_or_else(|| format!("apt knows no mirror of {release}"))?;
    Ok(Mirror { site, codename: release.to_owned() })
}

/// Runs apt-get with all that it says on standard error: standard output belongs to results.
fn apt(arguments: &[&str]) -> bool {
    progress::during(&format!("apt-get {}", arguments[0]), || {
        Command::new("apt-get")
            .args(["-q", "-o", "DPkg::Lock::Timeout=300", "-o", "Dpkg::Use-Pty=0"])
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin(Stdio::null())
            .stdout(std::io::stderr())
            .status()
            .is_ok_and(|status| status.success())
    })
}

/// Returns whether all of `needs` are met as things are.
pub(crate) fn are_installed(needs: &[&str]) -> bool {
    needs.iter().all(|need| Need::parse(need).is_installed())
}

/// Returns whether `need` is met, or could be by what the package lists have now.
pub(crate) fn is_listed(need: &str) -> bool {
    let need = Need::parse(need);
    need.is_installed() || need.choose().is_ok()
}

/// Returns the version of `package` that is installed.
fn installed(package: &str) -> Option<String> {
    let text = output_of("dpkg-query", &["-W", "-f", "${db:Status-Status} ${Version}", package]).ok()?;
    Some(text.strip_prefix("installed ")?.to_owned())
}

/// Returns the versions of `package` that the package lists have, the newest first.
fn available(package: &str) -> Vec<String> {
    output_of("apt-cache", &["madison", package]).map_or_else(|_| Vec::new(), |text| table(&text))
}

/// Reads the versions from what `apt-cache madison` prints, the newest first: `package | version | source`.
fn table(text: &str) -> Vec<String> {
    let version = |line: &str| Some(line.split('|').nth(1)?.trim().to_owned());
    text.lines().filter(|line| line.ends_with("Packages")).filter_map(version).collect()
}

fn compare(version: &str, relation: &str, other: &str) -> bool {
    let status = Command::new("dpkg").args(["--compare-versions", version, relation, other]).status();
    status.is_ok_and(|status| status.success())
}

/// Returns the version of the original: without epoch, revision and what was left out of it
/// (`1:1.95.0+dfsg1-1~deb12u2`).
fn upstream(version: &str) -> &str {
    let version = version.split_once(':').map_or(version, |(_, rest)| rest);
    let version = version.rsplit_once('-').map_or(version, |(original, _)| original);
    version.split(['+', '~']).next().unwrap_or(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needs_are_read() {
        let need = |package, version| Need { package, version };
        assert_eq!(Need::parse("qemu-user"), need("qemu-user", Version::Any));
        assert_eq!(Need::parse("rustc-web (>= 1.88)"), need("rustc-web", Version::AtLeast("1.88")));
        assert_eq!(Need::parse("rust-src (= 1.95.0)"), need("rust-src", Version::Exactly("1.95.0")));
    }

    #[test]
    fn originals_versions_are_read() {
        assert_eq!(upstream("1.96.0+dfsg1-1~deb12u2"), "1.96.0");
        assert_eq!(upstream("1:7.2+dfsg-7+deb12u18"), "7.2");
        assert_eq!(upstream("1.95.0-2"), "1.95.0");
        assert_eq!(upstream("1.95.0"), "1.95.0");
    }

    #[test]
    fn lists_of_versions_are_read() {
        let text = " rustc-web | 1.96.0+dfsg1-1~deb12u2 | http://mirror bookworm-security/main amd64 Packages\n \
                    rustc-web | 1.85.0+dfsg3-1~deb12u3 | http://mirror bookworm/main amd64 Packages\n \
                    rustc-web | 1.85.0+dfsg3-1~deb12u3 | http://mirror bookworm/main Sources\n";
        assert_eq!(table(text), ["1.96.0+dfsg1-1~deb12u2", "1.85.0+dfsg3-1~deb12u3"]);
        assert!(table("").is_empty());
    }

    #[test]
    fn presence_is_not_enough() {
        let need = Need::parse("rust-src (= 1.95.0)");
        assert!(need.is_met_by("1.95.0+dfsg1-1~deb12u2") && !need.is_met_by("1.95.1-1") && !need.is_met_by("1.85.0-1"));
        if find_program("dpkg").is_none() {
            return println!("SKIPPED Debian's versions: there is no dpkg here");
        }
        let need = Need::parse("rustc-web (>= 1.88)");
        assert!(need.is_met_by("1.96.0+dfsg1-1~deb12u2") && need.is_met_by("1.88"));
        assert!(!need.is_met_by("1.85.0+dfsg3-1~deb12u3"));
        assert!(Need::parse("rustc-web").is_met_by("1.85.0+dfsg3-1~deb12u3"));
    }
}
