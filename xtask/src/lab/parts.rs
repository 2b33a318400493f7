//! Gets what a virtual machine is made of from the Debian mirror that apt already uses, and keeps it under `target/lab`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::packages::{self, Mirror};
use crate::tools::{find_program, output_of, root};

/// Where the lab keeps everything.
pub(crate) fn home() -> PathBuf {
    root().join("target/lab")
}

/// A QEMU and the folders that its firmware is in.
#[derive(Clone, Debug)]
pub(crate) struct Qemu {
    pub(crate) program: PathBuf,
    pub(crate) data: Vec<PathBuf>,
}

const PROGRAMS: [(&str, &str); 6] = [
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("mkfs.ext4", "e2fsprogs"),
    ("mkfs.xfs", "xfsprogs"),
    ("iasl", "acpica-tools"),
    ("busybox", "busybox-static"),
    ("xz", "xz-utils"),
];

/// Makes sure that the programs of the host are there.
///
/// # Errors
///
/// What is missing, with the command that installs it.
pub(crate) fn programs() -> Result<(), String> {
    let missing: Vec<&str> = PROGRAMS.iter().filter(|(name, _)| program(name).is_none()).map(|part| part.1).collect();
    if missing.is_empty() { Ok(()) } else { packages::install(&missing) }
}

/// Returns the path of `name`, also where the search path of a user leaves out the administrator's folders.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    find_program(name).or_else(|| {
        ["/usr/sbin", "/sbin"].map(|folder| Path::new(folder).join(name)).into_iter().find(|path| path.is_file())
    })
}

/// Returns the QEMU of this machine, if it is one that the lab knows to work.
///
/// # Errors
///
/// That there is none, or that it is too old.
pub(crate) fn qemu() -> Result<Qemu, String> {
    let program = program("qemu-system-x86_64").ok_or("no qemu-system-x86_64 on this machine")?;
    let qemu = Qemu { program, data: Vec::new() };
    let version = version(&qemu)?;
    if version < (7, 2) {
        return Err(format!("QEMU {}.{} is too old: the lab needs 7.2 or newer", version.0, version.1));
    }
    Ok(qemu)
}

/// Returns a QEMU whose plugins can read registers: the machine's own, or one unpacked from backports.
///
/// # Errors
///
/// Why none can be had.
pub(crate) fn plugin_qemu() -> Result<Qemu, String> {
    if let Ok(own) = qemu()
        && version(&own)? >= (10, 0)
    {
        return Ok(own);
    }
    let folder = home().join("qemu-10");
    if !folder.join("complete").is_file() {
        let packages = ["qemu-system-x86", "qemu-system-common", "qemu-system-data", "seabios"].map(str::to_owned);
        unpack(&Packages::backports()?, &packages, &folder)?;
        fs::write(folder.join("complete"), "").map_err(|error| error.to_string())?;
    }
    let share = folder.join("usr/share");
    let data = vec![share.join("qemu"), share.join("seabios"), PathBuf::from("/usr/share/qemu")];
    let qemu = Qemu { program: folder.join("usr/bin/qemu-system-x86_64"), data };
    match version(&qemu)? {
        found if found >= (10, 0) => Ok(qemu),
        (major, minor) => Err(format!("backports have QEMU {major}.{minor}, power cuts need 10.0 or newer")),
    }
}

fn version(qemu: &Qemu) -> Result<(u32, u32), String> {
    let text = output_of(&qemu.program.to_string_lossy(), &["--version"])?;
    parse_version(&text).ok_or_else(|| format!("cannot read the version of QEMU from {:?}", text.lines().next()))
}

fn parse_version(text: &str) -> Option<(u32, u32)> {
    let numbers = text.split_once("version ")?.1;
    let mut parts = numbers.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// A set of package lists: the machine's own, or those of its backports.
pub(crate) struct Packages {
    options: Vec<String>,
}

impl Packages {
    /// Returns the package lists that apt has already.
    pub(crate) fn own() -> Self {
        Self { options: Vec::new() }
    }

    /// Returns the backports of this Debian release, from the mirror that apt already uses, in folders of their own.
    ///
    /// # Errors
    ///
    /// That there is no apt, no mirror or no network.
    pub(crate) fn backports() -> Result<Self, String> {
        let Mirror { site, codename } = packages::mirror()?;
        let folder = home().join("backports");
        fs::create_dir_all(folder.join("lists/partial")).map_err(|error| error.to_string())?;
        fs::create_dir_all(folder.join("cache/archives/partial")).map_err(|error| error.to_string())?;
        let sources = folder.join("sources.list");
        fs::write(&sources, format!("deb {site} {codename}-backports main\n")).map_err(|error| error.to_string())?;
        let options = [
            format!("Dir::Etc::SourceList={}", sources.display()),
            "Dir::Etc::SourceParts=/dev/null".into(),
            format!("Dir::State::Lists={}", folder.join("lists").display()),
            format!("Dir::Cache={}", folder.join("cache").display()),
        ];
        let packages = Self { options: options.into_iter().flat_map(|option| ["-o".into(), option]).collect() };
        packages.run("apt-get", &["-qq", "update"], &folder)?;
        Ok(packages)
    }

    /// Returns the packages that `package` depends on, in its newest version here.
    pub(crate) fn dependencies(&self, package: &str) -> Result<Vec<String>, String> {
        let text = self.run("apt-cache", &["depends", package], &home())?;
        Ok(text.lines().filter_map(|line| Some(line.trim().strip_prefix("Depends: ")?.to_owned())).collect())
    }

    fn run(&self, program: &str, arguments: &[&str], folder: &Path) -> Result<String, String> {
        let output = Command::new(program).args(&self.options).args(arguments).current_dir(folder).output();
        let output = output.map_err(|error| format!("{program}: {error}"))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(format!("{program} {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
    }
}

/// Downloads packages and unpacks them into `folder`, without installing them.
///
/// # Errors
///
/// What apt or dpkg said.
pub(crate) fn unpack(packages: &Packages, names: &[String], folder: &Path) -> Result<(), String> {
    let download = folder.with_extension("deb");
    for path in [folder, &download] {
        let _ = fs::remove_dir_all(path);
        fs::create_dir_all(path).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    let mut arguments = vec!["-qq", "download"];
    arguments.extend(names.iter().map(String::as_str));
    packages.run("apt-get", &arguments, &download)?;
    for entry in fs::read_dir(&download).map_err(|error| error.to_string())?.flatten() {
        output_of("dpkg", &[Path::new("-x"), &entry.path(), folder])?;
    }
    fs::remove_dir_all(&download).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::parse_version;

    #[test]
    fn versions_of_qemu_are_read() {
        let debian = "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)\nCopyright";
        assert_eq!(parse_version(debian), Some((7, 2)));
        assert_eq!(parse_version("QEMU emulator version 10.0.2"), Some((10, 0)));
        assert_eq!(parse_version("something else"), None);
        assert_eq!(parse_version("QEMU emulator version ten"), None);
    }
}
