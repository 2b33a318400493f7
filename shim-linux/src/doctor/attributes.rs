//! Attributes and folders of sysfs and procfs below a root, by name; bounded, whatever they turn out to be.

use std::borrow::ToOwned;
use std::format;
use std::fs::{self, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::string::String;
use std::vec::Vec;

use pmemset_core::Errno;
use rustix::fs::OFlags;

use crate::nd::parse;

/// The most entries of one folder that are looked at.
const ENTRIES_MAX: usize = 4096;

/// A folder of sysfs or procfs, or of a tree that looks like it.
#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// Takes the folder `path`, which need not be there.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Returns its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Returns its name.
    #[must_use]
    pub fn name(&self) -> String {
        self.0.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
    }

    /// Returns the folder `name` below.
    #[must_use]
    pub fn below(&self, name: &str) -> Self {
        Self(self.0.join(name))
    }

    /// Returns whether it is there.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.0.is_dir()
    }

    /// Returns the folders below whose names are `prefix` and numbers with dots between, in the order of the numbers.
    #[must_use]
    pub fn numbered(&self, prefix: &str) -> Vec<Self> {
        let mut found: Vec<(Vec<u32>, Self)> = Vec::new();
        for name in self.names() {
            if let Some(numbers) = name.strip_prefix(prefix).and_then(numbers) {
                found.push((numbers, self.below(&name)));
            }
        }
        found.sort_by(|one, other| one.0.cmp(&other.0));
        found.into_iter().map(|(_, folder)| folder).filter(Self::exists).collect()
    }

    /// Returns the names of what is in it, in the order of their bytes.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).into_iter().flatten().take(ENTRIES_MAX).flatten();
        let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort_unstable();
        names
    }

    /// Reads up to `length_max` bytes of `name`, and takes off the newline that ends them.
    ///
    /// # Errors
    ///
    /// Why it cannot be read, with its name; also where there is more.
    pub fn text_of(&self, name: &str, length_max: usize) -> Result<String, String> {
        let failed = |error: &std::io::Error| {
            let cause = error.raw_os_error().map_or(Errno::IO, Errno::from_raw);
            format!("cannot read {name}: {cause}")
        };
        // `NONBLOCK`: what turns out to be a pipe must not be waited for.
        let flags = i32::try_from((OFlags::NONBLOCK | OFlags::NOCTTY).bits()).unwrap_or(0);
        let file = OpenOptions::new().read(true).custom_flags(flags).open(self.0.join(name));
        let file = file.map_err(|error| failed(&error))?;
        let mut bytes = Vec::new();
        let more = u64::try_from(length_max).unwrap_or(u64::MAX).saturating_add(1);
        file.take(more).read_to_end(&mut bytes).map_err(|error| failed(&error))?;
        if bytes.len() > length_max {
            return Err(format!("{name} is longer than there is room for"));
        }
        Ok(String::from_utf8_lossy(parse::trim(&bytes)).into_owned())
    }

    /// Reads the attribute `name`.
    ///
    /// # Errors
    ///
    /// See [`text_of`](Self::text_of).
    pub fn text(&self, name: &str) -> Result<String, String> {
        self.text_of(name, 4096)
    }

    /// Reads the attribute `name`, which is a number.
    ///
    /// # Errors
    ///
    /// See [`text_of`](Self::text_of); also where it is none.
    pub fn number(&self, name: &str) -> Result<u64, String> {
        let text = self.text(name)?;
        parse::number(text.as_bytes()).map_err(|_| format!("{name} is no number"))
    }

    /// Returns the NUMA node of the nearest processors; `None` where there is none.
    ///
    /// # Errors
    ///
    /// See [`text_of`](Self::text_of); also where it is no number.
    pub fn numa_node(&self) -> Result<Option<u64>, String> {
        let text = self.text("numa_node")?;
        parse::count(text.as_bytes()).map_err(|_| "numa_node is no number".to_owned())
    }
}

/// Returns the numbers in `12` or `12.3`; `None` where there is anything else.
fn numbers(text: &str) -> Option<Vec<u32>> {
    text.split('.').map(|digits| parse::numbered(digits.as_bytes(), b"")).collect()
}
