//! What persistent memory there is, what a set would get of it, and what would make it better: for a path, or for the
//! whole machine.
//!
//! The answers are those of the library's own code, the same that decides when a source is opened. Nothing is changed:
//!
//! - An existing file is opened for reading and writing, mapped, and unmapped without having been touched.
//! - What a directory's file system grants is asked with a file that never has a name (`O_TMPFILE`) and is gone when the
//!   answer is there. Where the file system has no such files, nothing is made, and the answer is "not known".
//! - All else is read: sysfs, procfs, the device mapper's tables.
//!
//! `pmemset-devdax` has the same with device DAX in it, as `pmemset_devdax::doctor`.
//!
//! ```
//! use pmemset_linux::doctor;
//!
//! let report = doctor::examine(std::env::temp_dir().as_path());
//! println!("{report}"); // or `report.to_json()`
//! for (subject, finding) in report.findings() {
//!     println!("{}: {}", subject.name, finding.mend.as_deref().unwrap_or("nothing mends it"));
//! }
//! ```

pub(crate) mod attributes;
mod cxl;
mod json;
pub(crate) mod limits;
pub(crate) mod machine;
pub(crate) mod mounts;
pub(crate) mod namespaces;
pub(crate) mod paths;
mod regions;
mod report;
pub(crate) mod text;
pub(crate) mod whole;

use std::path::Path;

pub use report::{Fact, Finding, Kind, Report, Severity, Subject, Value, Verdict};

use machine::Machine;

/// Examines what `path` is, and what it stands on: a file, a directory or mount point, a block device.
///
/// What keeps it from being examined, such as that there is no such path, is an error in the report.
///
/// ```
/// use pmemset_linux::doctor;
///
/// let report = doctor::examine("/no/such/path".as_ref());
/// assert!(!report.is_good());
/// assert!(report.to_string().contains("no such file or directory"));
/// ```
#[must_use]
pub fn examine(path: &Path) -> Report {
    paths::examine(&Machine::this(), path)
}

/// Examines the whole machine: its limits, and all persistent memory, with the file systems on it.
///
/// ```
/// use pmemset_linux::doctor;
///
/// let report = doctor::examine_machine();
/// println!("{report}");
/// ```
#[must_use]
pub fn examine_machine() -> Report {
    whole::examine_all_with(&Machine::this(), |_, _| {})
}
