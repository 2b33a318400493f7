//! What the programs that measure have in common.
#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on ends")]

use std::fs::File;

use pmemset_core::{Errno, Granularity, Source, forward_source};
use pmemset_linux::{FileSource, Process};

/// The page of everything here.
pub const PAGE: usize = 4096;

/// Returns an unlinked file of `length_bytes` bytes on tmpfs.
///
/// # Panics
///
/// If there is no tmpfs at `/dev/shm`.
#[must_use]
pub fn tmpfs_file(length_bytes: usize) -> File {
    let path = format!("/dev/shm/pmemset-bench-{}", std::process::id());
    let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    file.set_len(length_bytes as u64).unwrap();
    file
}

/// A file on tmpfs that claims cache-line granularity, as libpmem2 can be made to claim.
#[derive(Debug)]
pub struct Forced(FileSource);

impl Forced {
    /// Returns a source of its own for `file`.
    ///
    /// # Panics
    ///
    /// If the file is none that can be mapped.
    #[must_use]
    pub fn new(file: &File) -> Self {
        Self(FileSource::from_owned_fd(file.try_clone().unwrap().into()).unwrap())
    }
}

#[allow(unsafe_code, reason = "the trait is unsafe")]
// SAFETY: the file source keeps the promises; where there is no persistent memory nothing is durable anyway.
unsafe impl Source for Forced {
    type Space = Process;

    forward_source!(self { Self(file) => file } except granularity);

    fn granularity(&self) -> Result<Granularity, Errno> {
        Ok(Granularity::CacheLine)
    }
}
