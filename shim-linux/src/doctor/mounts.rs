//! Mounted file systems: what they grant to files, and how to mount them so that they grant more.

use std::borrow::ToOwned;
use std::format;
use std::path::Path;
use std::string::{String, ToString as _};
use std::vec::Vec;

use rustix::fs::{Dev, makedev};

use crate::file::{Backing, FileSystem, GranularityReason};
use crate::nd::block_device::Pieces;
use crate::nd::parse;

use super::machine::{Machine, Probed};
use super::report::{Kind, Subject, Value};

/// The most text of `mountinfo` that is read.
const MOUNTS_MAX_BYTES: usize = 4 << 20;

/// A mounted file system (`proc_pid_mountinfo(5)`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The kernel's number for it.
    pub id: u64,
    /// The device number of its files.
    pub device: (u32, u32),
    /// Where it is mounted.
    pub point: String,
    /// How it is mounted, with the options of the file system itself behind.
    pub options: String,
    /// The kernel's name for the kind of file system.
    pub kind: String,
    /// What is mounted.
    pub source: String,
}

impl Mount {
    /// Returns the device number of its files.
    #[must_use]
    pub fn device(&self) -> Dev {
        makedev(self.device.0, self.device.1)
    }

    /// Returns whether it is mounted with `option`.
    fn has(&self, option: &str) -> bool {
        self.options.split(',').any(|other| other == option)
    }
}

/// Reads a line of `/proc/self/mountinfo`; `None` for what is none.
#[must_use]
pub fn entry(line: &str) -> Option<Mount> {
    let (front, back) = line.split_once(" - ")?;
    let (mut front, mut back) = (front.split(' '), back.split(' '));
    let id = front.next()?.parse().ok()?;
    let device = parse::device_number(front.nth(1)?.as_bytes()).ok()?;
    let point = unescaped(front.nth(1)?);
    let mut options = front.next()?.to_owned();
    let (kind, source) = (unescaped(back.next()?), unescaped(back.next()?));
    for option in back.next().unwrap_or_default().split(',').filter(|option| !option.is_empty()) {
        if !options.split(',').any(|other| other == option) {
            options.push(',');
            options.push_str(option);
        }
    }
    Some(Mount { id, device, point, options, kind, source })
}

/// Returns the text with `\ooo` for the byte that it stands for: the kernel writes blanks and the like so.
fn unescaped(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((first, behind)) = rest.split_first() {
        let octal = behind.get(..3).and_then(|digits| core::str::from_utf8(digits).ok());
        match octal.filter(|_| *first == b'\\').and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = behind.get(3..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Returns the mounted file systems.
///
/// # Errors
///
/// Why they are not known.
pub(super) fn all(machine: &Machine) -> Result<Vec<Mount>, String> {
    let text = machine.proc().text_of("self/mountinfo", MOUNTS_MAX_BYTES)?;
    Ok(text.lines().filter_map(entry).collect())
}

/// Examines the file systems on persistent memory, each once.
pub(super) fn subjects(machine: &Machine) -> Vec<Subject> {
    let mut seen: Vec<((u32, u32), bool)> = Vec::new();
    let mut subjects = Vec::new();
    for mount in all(machine).unwrap_or_default() {
        let known = seen.iter().find(|(device, _)| *device == mount.device).map(|(_, below)| *below);
        let below = known.unwrap_or_else(|| {
            let below = matches!(machine.pieces(mount.device()), Ok(Some(_)));
            seen.push((mount.device, below));
            below
        });
        if below {
            subjects.push(subject(machine, &mount, Some(mount.point.as_ref())));
        }
    }
    subjects
}

/// Examines the file system `mount`, and, if it is given, asks what `directory` on it grants.
pub(super) fn subject(machine: &Machine, mount: &Mount, directory: Option<&Path>) -> Subject {
    let shown = directory.map_or_else(|| mount.point.clone(), |path| path.display().to_string());
    let mut subject = Subject::new(Kind::Mount, shown);
    subject.note("mount point", mount.point.as_str());
    subject.note("type", mount.kind.as_str());
    subject.note("source", mount.source.as_str());
    subject.note("options", mount.options.as_str());
    let pieces = machine.pieces(mount.device()).ok().flatten();
    if let Some(pieces) = &pieces {
        subject.note("regions", regions(pieces));
    }
    if let Some(directory) = directory {
        match machine.kernel().probe(directory, mount.device(), machine.sysfs().ok()) {
            Ok(probed) => granted(mount, pieces.is_some(), probed, &mut subject),
            Err(error) => subject.note("MAP_SYNC", Value::Unknown(format!("{error}"))),
        }
    }
    let read_only = |pieces: &Pieces| pieces.as_slice().iter().any(|piece| piece.region.read_only() == Ok(true));
    let takes_stores = !pieces.as_ref().is_some_and(read_only);
    if mount.has("ro") {
        subject.error(
            format!("{} is mounted read-only", mount.point),
            "a set opens files for reading and writing",
            takes_stores.then(|| format!("mount -o remount,rw {}", word(&mount.point))),
        );
    }
    subject
}

/// Returns the names of the regions below, each once.
fn regions(pieces: &Pieces) -> String {
    let mut names: Vec<String> = Vec::new();
    for piece in pieces.as_slice() {
        let name = format!("region{}", piece.region.id());
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names.join(", ")
}

/// Says what the file system grants, and how it would grant more.
fn granted(mount: &Mount, on_nd_bus: bool, probed: Probed, subject: &mut Subject) {
    let reason = match probed.reason {
        Ok(reason) => reason,
        Err(cause) => {
            subject.gets(None, format!("a file there cannot be mapped: {cause}"));
            subject.error("files there cannot be mapped", format!("{cause}"), None);
            return;
        }
    };
    subject.gets(Some(reason.granularity()), reason);
    subject.note("MAP_SYNC", !matches!(reason, GranularityReason::NoMapSync(_)));
    if probed.backing == Backing::NotInPlace {
        subject.hint(
            format!("{} may store changed bytes elsewhere", mount.kind),
            "a store to a part can raise SIGBUS when the disk is full, though its bytes were allocated; ext4 and XFS \
             store in place",
            None,
        );
    }
    if probed.file_system == FileSystem::TMPFS {
        subject.hint("tmpfs is ordinary memory", "nothing in it survives the machine's next start", None);
    }
    if on_nd_bus && matches!(reason, GranularityReason::NoMapSync(_)) {
        mountable(mount, subject);
    }
}

/// Says how a file system on the nd bus comes to grant `MAP_SYNC`.
fn mountable(mount: &Mount, subject: &mut Subject) {
    let what = format!("files below {} are not mapped directly", mount.point);
    if !matches!(mount.kind.as_str(), "ext4" | "xfs" | "ext2") {
        subject.hint(what, format!("{} does not map persistent memory directly; ext4 and XFS do", mount.kind), None);
    } else if mount.has("dax") || mount.has("dax=always") {
        subject.hint(
            what,
            "it is mounted with dax, but the kernel refuses MAP_SYNC: the disk does not support it (see the \
             namespace), or the file system's blocks are not of the page size",
            None,
        );
    } else {
        let (source, point) = (word(&mount.source), word(&mount.point));
        subject.hint(
            what,
            "it is mounted without dax=always: every flush takes a system call and writes whole pages",
            Some(format!("umount {point} && mount -o dax=always {source} {point}")),
        );
    }
}

/// Writes a path as a word for a shell.
pub(super) fn word(text: &str) -> String {
    let plain = |character: char| character.is_alphanumeric() || "/._-+:=@%,".contains(character);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_mountinfo_is_taken_apart() {
        let line = r"36 35 259:1 /sub /mnt/a\040b rw,noatime master:1 shared:2 - ext4 /dev/pmem0 rw,dax=always,noatime";
        let mount = entry(line).unwrap();
        assert_eq!((mount.id, mount.device, mount.point.as_str()), (36, (259, 1), "/mnt/a b"));
        assert_eq!((mount.kind.as_str(), mount.source.as_str()), ("ext4", "/dev/pmem0"));
        assert_eq!(mount.options, "rw,noatime,dax=always");
        assert!(mount.has("dax=always") && !mount.has("dax"));
        for line in
            ["", "36 35 259:1 / /mnt rw", "36 35 259 / /mnt rw - ext4 /dev/pmem0 rw", "x 35 259:1 / /mnt rw - a b c"]
        {
            assert_eq!(entry(line), None, "{line}");
        }
        assert_eq!(unescaped(r"\134\12\9"), "\\\\12\\9");
    }

    #[test]
    fn a_path_is_one_word_for_a_shell() {
        assert_eq!(word("/mnt/pmem0"), "/mnt/pmem0");
        assert_eq!(word("/mnt/a b"), "'/mnt/a b'");
        assert_eq!(word("$(it's)"), r"'$(it'\''s)'");
    }
}
