//! What scenarios do with sets, in few words.

use std::sync::Arc;

use pmemset_core::{Config, Extent, Granularity, MapConfig, Observer, Set, Source};
use pmemset_linux::{FileSource, Linux, OpenOptions, Process};

use crate::lab::Failure;

/// A source of any kind.
pub(crate) type Handle = Arc<dyn Source<Space = Process>>;

/// A set over any sources.
pub(crate) type AnySet<'a> = Set<'a, Linux, Handle, Option<&'a dyn Observer<Handle>>>;

/// Returns an empty set that takes sources of `required` granularity or finer.
pub(crate) fn set<'a>(required: Granularity) -> AnySet<'a> {
    Set::with_capacity(Linux::new(), Config::new(required).observer(None), 64)
}

/// Opens a file, or makes it; it grows when more is mapped.
pub(crate) fn file(path: &str) -> Result<Arc<FileSource>, Failure> {
    let source = FileSource::open(path, OpenOptions::new().create_if_needed());
    Ok(Arc::new(source.map_err(|error| format!("{path}: {error}"))?))
}

/// Maps the first `length_bytes` of `source`.
pub(crate) fn map(set: &AnySet<'_>, source: Handle, length_bytes: usize) -> Result<Extent, Failure> {
    Ok(set.map(source, &MapConfig::new().length(length_bytes))?.extent())
}

/// Stores `bytes` at `offset` of a mapping; not flushed.
pub(crate) fn store(mapping: Extent, offset: usize, bytes: &[u8]) {
    assert!(offset + bytes.len() <= mapping.length_bytes());
    let target = (mapping.start() + offset) as *mut u8;
    // SAFETY: the scenario has mapped the extent, and `bytes` fit.
    unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), target, bytes.len()) };
}

/// Returns `length` bytes at `offset` of a mapping.
pub(crate) fn load(mapping: Extent, offset: usize, length: usize) -> Vec<u8> {
    assert!(offset + length <= mapping.length_bytes());
    let source = (mapping.start() + offset) as *const u8;
    // SAFETY: the scenario has mapped the extent, and the bytes are within.
    unsafe { core::slice::from_raw_parts(source, length) }.to_vec()
}
