//! Reports which persistent memory there is, device DAX too, what a set would get of it, and what would improve it.
//!
//! [`pmemset_linux::doctor`] lists what is read, and that nothing is changed. For a device DAX, sysfs is read; the
//! device itself is not opened.
//!
//! ```
//! use pmemset_devdax::doctor;
//!
//! let report = doctor::examine_machine();
//! println!("{report}"); // or `report.to_json()`
//! if !report.is_good() {
//!     println!("there are errors");
//! }
//! ```

use std::borrow::ToOwned;
use std::format;
use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;
use std::string::String;
use std::vec::Vec;

use pmemset_core::{Errno, Span};
use pmemset_linux::internal::doctor::{self as files, Folder, Machine, Size};
use pmemset_linux::internal::parse;
use pmemset_linux::nd::Doubt;
use rustix::fs::{Dev, makedev};

pub use pmemset_linux::doctor::{Fact, Finding, Kind, Report, Severity, Subject, Value, Verdict};

use crate::clear;
use crate::dax_error::DaxError;
use crate::device::{DaxDevice, Mode};
use crate::open::{self, DaxOptions};

/// What page tables of x86-64, aarch64 and riscv64 map in one entry above a page.
const HUGE_BYTES: usize = 2 << 20;

/// Examines `path`, which is a file, a directory, a mount point, a block device or a device DAX, and the memory below
/// it.
///
/// If it cannot be examined, for example because there is no such path, or if a set refuses the device, the report has
/// an error.
///
/// ```
/// use pmemset_devdax::doctor;
///
/// assert!(!doctor::examine("/dev/null".as_ref()).is_good()); // a character device, but not a device DAX
/// ```
#[must_use]
pub fn examine(path: &Path) -> Report {
    examine_of(&Machine::this(), path)
}

/// Examines the whole machine: its limits, and all persistent memory, with the file systems on it.
///
/// ```
/// use pmemset_devdax::doctor;
///
/// for subject in doctor::examine_machine().subjects {
///     println!("{}: {:?}", subject.name, subject.verdict.and_then(|verdict| verdict.granularity));
/// }
/// ```
#[must_use]
pub fn examine_machine() -> Report {
    examine_all_of(&Machine::this())
}

pub(crate) fn examine_all_of(machine: &Machine) -> Report {
    files::examine_all_with(machine, |machine, report| {
        for folder in devices(machine) {
            // One without bytes is a seed: what the kernel makes the next one of.
            if folder.number("size") != Ok(0) {
                report.push(subject(machine, &folder, Severity::Hint));
            }
        }
    })
}

pub(crate) fn examine_of(machine: &Machine, path: &Path) -> Report {
    let number = fs::metadata(path).ok().filter(|found| found.file_type().is_char_device()).map(|found| found.rdev());
    let is_it = |folder: &Folder| number.is_some() && number_of(folder) == number;
    let Some(folder) = devices(machine).into_iter().find(is_it) else { return files::examine(machine, path) };
    let mut report = Report::default();
    report.push(subject(machine, &folder, Severity::Error));
    let found = machine.sysfs().ok().zip(number).and_then(|(sysfs, number)| DaxDevice::find(sysfs, number).ok());
    if let Some(region) = found.and_then(|device| device.region()) {
        files::add_region(machine, region, &mut report);
    }
    files::add_limits(machine, &mut report);
    report
}

/// Returns the folders of the devices, in every layout of the kernel's.
fn devices(machine: &Machine) -> Vec<Folder> {
    let on_bus = machine.sys("bus/dax/devices").numbered("dax");
    if on_bus.is_empty() { machine.sys("class/dax").numbered("dax") } else { on_bus }
}

fn number_of(folder: &Folder) -> Option<Dev> {
    let (major, minor) = parse::device_number(folder.text("dev").ok()?.as_bytes()).ok()?;
    Some(makedev(major, minor))
}

/// Examines a device; that a set refuses it is `refusal`.
fn subject(machine: &Machine, folder: &Folder, refusal: Severity) -> Subject {
    let name = folder.name();
    let mut subject = Subject::new(Kind::Device, format!("/dev/{name}"));
    let asked = match (machine.sysfs(), number_of(folder)) {
        (Ok(sysfs), Some(number)) => DaxDevice::find(sysfs, number).map(|device| (device, sysfs, number)),
        (Err(cause), _) => Err(DaxError::Open(cause)),
        (_, None) => Err(DaxError::Open(Errno::NODEV)),
    };
    let (device, sysfs, number) = match asked {
        Ok(found) => found,
        Err(error) => {
            refused(error, &name, None, refusal, &mut subject);
            return subject;
        }
    };
    facts(&device, folder, &mut subject);
    match open::judged(sysfs, number, &machine.kernel().cpu()) {
        Ok((_, durability)) => match DaxOptions::new().check(durability) {
            Ok(()) => subject.gets(Some(durability.granularity()), durability),
            Err(error) => refused(error, &name, device.mode().ok(), refusal, &mut subject),
        },
        Err(error) => refused(error, &name, device.mode().ok(), refusal, &mut subject),
    }
    small_pages(&device, &name, &mut subject);
    if let Err(cause @ (Errno::ACCES | Errno::PERM)) = machine.kernel().may_open(Path::new(&subject.name)) {
        let mend = format!("setfacl -m u:$USER:rw {}", subject.name);
        find(
            refusal,
            (format!("this user may not open {}", subject.name), format!("{cause}"), Some(mend)),
            &mut subject,
        );
    }
    subject
}

fn find(severity: Severity, (what, why, mend): (String, String, Option<String>), subject: &mut Subject) {
    match severity {
        Severity::Error => subject.error(what, why, mend),
        _ => subject.hint(what, why, mend),
    }
}

/// Says that a set refuses the device, and what would make it take it.
fn refused(error: DaxError, name: &str, mode: Option<Mode>, severity: Severity, subject: &mut Subject) {
    subject.gets(None, error);
    let (why, mend) = match (error, mode) {
        (DaxError::SystemRam, _) | (DaxError::NotPersistent(_), Some(Mode::SystemRam)) => (
            "the kernel uses its memory as ordinary memory".to_owned(),
            Some(format!("daxctl reconfigure-device --mode=devdax --force {name}")),
        ),
        (DaxError::NoDriver, _) => (
            "no driver is bound to it, so it cannot be opened".to_owned(),
            Some(format!("daxctl enable-device {name}")),
        ),
        (DaxError::NotPersistent(Doubt::NoRegion), _) => (
            "nothing says that memory on no nd bus is persistent (soft-reserved or volatile CXL memory). \
             DaxOptions::accept_unproven accepts it anyway"
                .to_owned(),
            None,
        ),
        (DaxError::NotPersistent(doubt), _) => (format!("{doubt}: see its region"), None),
        (error, _) => (format!("{error}"), None),
    };
    find(severity, (format!("a set refuses {}", subject.name), why, mend), subject);
}

fn facts(device: &DaxDevice, folder: &Folder, subject: &mut Subject) {
    subject.note("mode", device.mode().map(|mode| format!("{mode}")));
    let length_bytes = device.length_bytes();
    subject.note("size", length_bytes.map(Value::Bytes));
    subject.note("alignment", Value::Bytes(device.alignment_bytes() as u64));
    let node = |node: Option<u64>| node.map_or_else(|| "none".into(), Value::Count);
    subject.note("NUMA node", device.numa_node().map(node));
    subject.note("target node", device.target_node().map(node));
    match device.region() {
        Some(region) => subject.note("region", format!("region{region}")),
        None => subject.note("region", "none"),
    }
    if let Ok(Some((region, number))) = device.namespace() {
        subject.note("namespace", format!("namespace{region}.{number}"));
    }
    if let (Ok(whole), Ok(length_bytes)) = (folder.number("size"), length_bytes)
        && whole > length_bytes
    {
        subject.hint(
            format!("the last {} cannot be mapped", Size(whole.saturating_sub(length_bytes))),
            "they are less than a unit of the alignment",
            None,
        );
    }
    let list = |range, blocks: &mut [Span]| clear::list(device, range, blocks);
    let name = subject.name.clone();
    files::add_damage(length_bytes.unwrap_or(0), list, &name, "clears them, and leaves zeros", subject);
}

/// Says that no huge page fits.
fn small_pages(device: &DaxDevice, name: &str, subject: &mut Subject) {
    if device.alignment_bytes() >= HUGE_BYTES {
        return;
    }
    let mend = match device.namespace() {
        Ok(Some((region, number))) => {
            format!("ndctl create-namespace -f -e namespace{region}.{number} -m devdax -a 2M")
        }
        _ => format!("daxctl reconfigure-device -a 2M {name}"),
    };
    subject.hint(
        format!("{} is aligned to {}", subject.name, Size(device.alignment_bytes() as u64)),
        "pages of 2 MiB need that alignment; smaller pages take more page faults and page-table entries. The command \
         destroys what is in the device",
        Some(mend),
    );
}
