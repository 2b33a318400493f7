//! Mirrors every store to a set into a second file as it happens, then compares the two files: `mirror [FOLDER]`.
#![allow(
    unsafe_code,
    clippy::cast_possible_truncation,
    reason = "stores through a slice of a part; random numbers are cut"
)]

use core::sync::atomic::{AtomicUsize, Ordering};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, OnceLock, Weak};

use pmemset_linux::error::PersistError;
use pmemset_linux::{
    Answer, Config, CopyFlags, Event, Extent, FileSource, Granularity, Linux, MapConfig, Observer, OpenOptions, Part,
    Set, SetRef,
};

type Error = Box<dyn core::error::Error>;
type FileSet<O = ()> = Set<'static, Linux, Arc<FileSource>, O>;

const PART_BYTES: usize = 256 << 10;

/// An observer that repeats in a part of another set what happens to the set that it observes.
struct Mirror {
    replica: Part<Arc<FileSet>>,
    /// The set that is observed; it owns a share of this.
    observed: OnceLock<Weak<FileSet<Arc<Mirror>>>>,
    /// Where the observed part begins.
    base: AtomicUsize,
    failure: Mutex<Option<PersistError>>,
}

impl Mirror {
    fn offset(&self, range: &Extent) -> usize {
        range.start() - self.base.load(Ordering::Relaxed)
    }

    /// Copies what is in `source` of the observed set to where `dest` is in the replica.
    fn take_over(&self, dest: &Extent, source: &Extent) -> Result<(), PersistError> {
        let Some(set) = self.observed.get().and_then(Weak::upgrade) else { return Ok(()) };
        let mut bytes = [0; 4096];
        for at in (0..source.length_bytes()).step_by(bytes.len()) {
            let piece = &mut bytes[..(source.length_bytes() - at).min(4096)];
            set.read(source.start() + at, piece)?;
            self.replica.write_with(self.offset(dest) + at, piece, CopyFlags::NODRAIN)?;
        }
        Ok(())
    }

    fn repeat(&self, event: &Event<'_, Arc<FileSource>>) -> Result<(), PersistError> {
        match event {
            Event::PartAdd { part, .. } => self.base.store(part.start(), Ordering::Relaxed),
            Event::Write { dest, bytes, flags } => self.replica.write_with(self.offset(dest), bytes, *flags)?,
            Event::Fill { dest, value, flags } => {
                self.replica.fill(self.offset(dest), *value, dest.length_bytes(), *flags)?;
            }
            // Told before it happens, so the source still is what will be moved; overlapping ranges too.
            Event::CopyWithin { dest, source, .. } => self.take_over(dest, source)?,
            // Stores through a slice are seen when they are flushed.
            Event::Flush { range } => self.take_over(range, range)?,
            Event::Drain => self.replica.set().drain(),
            Event::Persist { range } => self.replica.persist(self.offset(range), range.length_bytes())?,
            _ => {}
        }
        Ok(())
    }
}

impl Observer<Arc<FileSource>> for Mirror {
    fn event(&self, event: &Event<'_, Arc<FileSource>>) -> Answer {
        if let Err(error) = self.repeat(event) {
            self.failure.lock().unwrap().get_or_insert(error);
        }
        Answer::Proceed
    }
}

fn main() -> ExitCode {
    let folder = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    match mirror(&folder) {
        Ok((stores, true)) => {
            println!("after {stores} stores the two files have the same {} KiB", PART_BYTES >> 10);
            ExitCode::SUCCESS
        }
        Ok((stores, false)) => {
            println!("after {stores} stores the two files differ");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("mirror: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Returns the number of stores, and whether the files are equal.
fn mirror(folder: &Path) -> Result<(usize, bool), Error> {
    let path = |name: &str| folder.join(format!("pmemset-{name}-{}", std::process::id()));
    let paths = [path("primary"), path("replica")];
    let outcome = store_and_compare(&paths);
    for path in &paths {
        std::fs::remove_file(path)?;
    }
    outcome
}

fn store_and_compare(paths: &[PathBuf; 2]) -> Result<(usize, bool), Error> {
    let open = |path: &Path| FileSource::open(path, OpenOptions::new().create_always());
    let (primary, replica) = (open(&paths[0])?, open(&paths[1])?);
    let config = MapConfig::new().length(PART_BYTES);
    let replicas: Arc<FileSet> = Arc::new(Set::with_capacity(Linux::new(), Config::new(Granularity::Page), 4));
    let replica = replicas.map_owned(Arc::new(replica), &config)?;
    let (observed, base, failure) = (OnceLock::new(), AtomicUsize::new(0), Mutex::new(None));
    let mirror = Arc::new(Mirror { replica, observed, base, failure });
    let observing = Config::new(Granularity::Page).observer(Arc::clone(&mirror));
    let set: Arc<FileSet<_>> = Arc::new(Set::with_capacity(Linux::new(), observing, 4));
    let _ = mirror.observed.set(Arc::downgrade(&set));
    let mut part = set.map(Arc::new(primary), &config)?;
    let stores = store(&mut part)?;
    set.remove(part)?;
    if let Some(error) = *mirror.failure.lock().unwrap() {
        return Err(error.into());
    }
    Ok((stores, std::fs::read(&paths[0])? == std::fs::read(&paths[1])?))
}

/// Stores in every way there is, at places that depend on each other's bytes.
fn store<R: SetRef>(part: &mut Part<R>) -> Result<usize, PersistError> {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random >> 11) as usize % below
    };
    let flags = [CopyFlags::empty(), CopyFlags::NOFLUSH, CopyFlags::NODRAIN, CopyFlags::TEMPORAL];
    for turn in 0..1000 {
        let (at, from) = (next(PART_BYTES - 9000), next(PART_BYTES - 9000));
        let (length_bytes, value, flags) = (next(9000), next(256) as u8, flags[next(4)]);
        match turn % 4 {
            0 => part.write_with(at, &vec![value; length_bytes], flags)?,
            1 => part.fill(at, value, length_bytes, flags)?,
            2 => part.copy_within(from..from + length_bytes, at, flags)?,
            _ => {
                // SAFETY: the file is this program's own, and nothing else uses these bytes while the slice lives.
                unsafe { part.as_mut_slice(at, length_bytes) }?.fill(value);
                part.persist(at, length_bytes)?;
            }
        }
    }
    Ok(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replica_ends_with_identical_bytes() {
        assert_eq!(mirror(&std::env::temp_dir()).unwrap(), (1000, true));
    }
}
