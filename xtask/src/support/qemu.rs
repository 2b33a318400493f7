//! QEMU for the lab: the machine's own, one that takes plugins, and the plugin that cuts power.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::downloads::{Packages, home, unpack};
use crate::support::packages;
use crate::support::processes::{find_program, output_of};

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
fn plugin_qemu() -> Result<Qemu, String> {
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

/// Compiles the plugin that keeps only what was flushed and fenced.
///
/// # Errors
///
/// That there is no C compiler, or what it said.
fn plugin() -> Result<PathBuf, String> {
    let path = home().join("pmcut.so");
    let source = home().join("pmcut.c");
    fs::create_dir_all(home())
        .and_then(|()| fs::write(&source, include_str!("pmcut.c")))
        .map_err(|error| error.to_string())?;
    let options = ["-O2", "-shared", "-fPIC", "-fvisibility=hidden", "-o"].map(Path::new);
    output_of("cc", &[&options[..], &[&path, &source]].concat())?;
    Ok(path)
}

/// The QEMU that takes the plugin, and the plugin.
pub(crate) type Plugged = (Qemu, PathBuf);

/// Gets the QEMU that takes the plugin, and compiles the plugin.
///
/// # Errors
///
/// Why one of them cannot be had.
pub(crate) fn plugged() -> Result<Plugged, String> {
    Ok((plugin_qemu()?, plugin()?))
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
