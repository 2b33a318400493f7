//! Reports which persistent memory there is, what a set would get of it, and what would improve it: for a path, or for
//! the whole machine.
//!
//! The same code decides here as when a source is opened. Nothing is changed:
//!
//! - An existing file is opened for reading and writing, mapped, and unmapped without having been touched.
//! - For a directory, a file without a name (`O_TMPFILE`) is opened in it, mapped and closed. If the file system has no
//!   such files, nothing is made, and the answer is "not known".
//! - Everything else is read from sysfs, procfs and the device mapper's tables.
//!
//! `pmemset_devdax::doctor` does the same, and knows device DAX too.
//!
//! ```
//! use pmemset_linux::doctor;
//!
//! let report = doctor::examine(std::env::temp_dir().as_path());
//! println!("{report}"); // or `report.to_json()`
//! for (subject, finding) in report.findings() {
//!     println!("{}: {}", subject.name, finding.mend.as_deref().unwrap_or("no command helps"));
//! }
//! ```

pub(crate) mod attributes;
mod cxl;
pub(crate) mod damage;
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

/// Examines `path`, which is a file, a directory, a mount point or a block device, and the memory below it.
///
/// If it cannot be examined, for example because there is no such path, the report has an error.
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
