//! A path: a file, a directory, a disk; and what it stands on.

use std::format;
use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;
use std::string::{String, ToString as _};

use pmemset_core::{Config, DeviceId, Errno, Granularity, Health as _, MapConfig, Set, Span};
use rustix::fd::{AsFd as _, AsRawFd as _};
use rustix::fs::{Dev, FileType, Mode, OFlags};

use crate::address_space::Linux;
use crate::facts::{LinuxSet as _, Memory};
use crate::file::open;
use crate::file::{FileSource, GranularityReason, OpenError, OpenOptions};

use super::machine::Machine;
use super::mounts::{self, Mount};
use super::report::{Kind, Report, Subject, Value};
use super::{damage, limits, namespaces};

/// Examines `path`, its file system, the regions and namespaces below, and the machine's limits.
#[must_use]
pub fn examine(machine: &Machine, path: &Path) -> Report {
    let mut report = Report::default();
    add(machine, path, &mut report);
    limits::add(machine, &mut report);
    report
}

/// Appends `path` and what it stands on.
fn add(machine: &Machine, path: &Path, report: &mut Report) {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => {
            let cause = error.raw_os_error().map_or(Errno::INVAL, Errno::from_raw);
            return report.push(refused(path, &OpenError::InvalidPath(cause)));
        }
    };
    let kind = metadata.file_type();
    if kind.is_block_device() {
        let disk = metadata.rdev();
        let all = mounts::all(machine).unwrap_or_default();
        all.iter().filter(|mount| mount.device() == disk).for_each(|mount| {
            report.push(mounts::subject(machine, mount, Some(mount.point.as_ref())));
        });
        if !stands_on(machine, disk, report) {
            let mut subject = Subject::new(Kind::Other, path.display().to_string());
            subject.note("type", "a disk that is on no nd bus");
            report.push(subject);
        }
        return;
    }
    if kind.is_dir() {
        match mount_of(machine, path) {
            Ok(mount) => report.push(mounts::subject(machine, &mount, Some(path))),
            Err(reason) => {
                let mut subject = Subject::new(Kind::Mount, path.display().to_string());
                subject.note("mount point", Value::Unknown(reason));
                report.push(subject);
            }
        }
    } else if kind.is_file() {
        report.push(file(path));
        if let Ok(mount) = mount_of(machine, path) {
            report.push(mounts::subject(machine, &mount, None));
        }
    } else {
        // Opening other devices may do something: a watchdog starts, a tape is wound.
        let error = if open::is_dax(metadata.rdev()) {
            OpenError::DeviceDax
        } else {
            OpenError::InvalidFileType { kind: FileType::from_raw_mode(metadata.mode()) }
        };
        return report.push(refused(path, &error));
    }
    stands_on(machine, metadata.dev(), report);
}

/// Says that a set refuses `path`.
fn refused(path: &Path, error: &OpenError) -> Subject {
    let mut subject = Subject::new(Kind::Other, path.display().to_string());
    subject.gets(None, error);
    let mend = match *error {
        OpenError::Open(Errno::ACCES) => Some(format!("chmod u+rw {}", mounts::word(&path.display().to_string()))),
        _ => None,
    };
    subject.error("a set cannot open it", format!("{error}"), mend);
    subject
}

/// Appends the regions and namespaces below the block device `number`; returns whether there are any.
fn stands_on(machine: &Machine, number: Dev, report: &mut Report) -> bool {
    let Ok(Some(pieces)) = machine.pieces(number) else { return false };
    for piece in pieces.as_slice() {
        namespaces::add_region(machine, piece.region.id(), report);
    }
    true
}

/// Finds the mount that `path` is on (`proc_pid_fdinfo(5)`).
fn mount_of(machine: &Machine, path: &Path) -> Result<Mount, String> {
    let fd =
        rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(|error| format!("{error}"))?;
    let info = machine.proc().text(&format!("self/fdinfo/{}", fd.as_fd().as_raw_fd()))?;
    let id = info.lines().find_map(|line| line.strip_prefix("mnt_id:")).and_then(|id| id.trim().parse().ok());
    let id: u64 = id.ok_or("the kernel does not say which mount it is")?;
    mounts::all(machine)?.into_iter().find(|mount| mount.id == id).ok_or_else(|| "its mount is not listed".into())
}

/// Examines a regular file by opening it as a source, as a set would.
fn file(path: &Path) -> Subject {
    let source = match FileSource::open(path, OpenOptions::new()) {
        Ok(source) => source,
        Err(error) => return refused(path, &error),
    };
    let mut subject = Subject::new(Kind::File, path.display().to_string());
    let facts = match source.facts() {
        Ok(facts) => facts,
        Err(cause) => {
            subject.error("the file's length cannot be read", format!("{cause}"), None);
            return subject;
        }
    };
    match facts.granularity {
        Ok(reason) => {
            subject.gets(Some(reason.granularity()), reason);
            subject.note("MAP_SYNC", !matches!(reason, GranularityReason::NoMapSync(_)));
        }
        Err(cause) => {
            subject.gets(None, format!("the file cannot be mapped: {cause}"));
            subject.error("the file cannot be mapped", format!("{cause}"), None);
        }
    }
    subject.note("length", Value::Bytes(facts.length_bytes));
    subject.note("allocated", Value::Bytes(facts.allocated_bytes));
    subject.note("backing", format!("{}", facts.backing));
    mapping(path, &mut subject);
    let counted = source.device(&mut DeviceId::new());
    subject.note("unsafe shutdowns", counted.map(Value::Count));
    let list = |range, blocks: &mut [Span]| source.bad_blocks(range, blocks);
    let clearing = "clears whole pages, and leaves zeros";
    damage::add(facts.length_bytes, list, "the file", clearing, &mut subject);
    subject
}

/// Maps all of the file, which may not grow here, and says by which pages it would be mapped, and on which node it is.
/// Nothing is touched.
fn mapping(path: &Path, subject: &mut Subject) {
    let mapped = || {
        let source = FileSource::open(path, OpenOptions::new().do_not_grow()).map_err(|error| format!("{error}"))?;
        let set = Set::with_capacity(Linux::new(), Config::new(Granularity::Page), 1);
        let part = set.map(&source, &MapConfig::new()).map_err(|error| format!("{error}"))?;
        set.facts(part.extent()).next().ok_or_else(|| String::from("it has no segment"))
    };
    let facts = match mapped() {
        Ok(facts) => facts,
        Err(reason) => return subject.note("huge pages", Value::Unknown(reason)),
    };
    subject.note("NUMA node", facts.node.map(|node| Value::Count(u64::from(node.number))));
    match facts.hindrance {
        None => subject.note("huge pages", "possible"),
        Some(hindrance) => {
            subject.note("huge pages", format!("no: {hindrance}"));
            if facts.memory == Ok(Memory::FsDax) {
                subject.hint("the file is not mapped by pages of 2 MiB throughout", format!("{hindrance}"), None);
            }
        }
    }
}
