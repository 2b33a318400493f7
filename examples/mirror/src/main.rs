//! Stores in every way to a part that is mirrored, then compares the two files: `pmemset-mirror [FOLDER]`.
#![allow(
    unsafe_code,
    clippy::cast_possible_truncation,
    reason = "stores through a slice of a part; random numbers are cut"
)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use pmemset_core::error::PersistError;
use pmemset_core::{Config, CopyFlags, Granularity, MapConfig, Part, Set, SetRef};
use pmemset_linux::{FileSource, Linux, OpenOptions};
use pmemset_mirror::Mirror;

type Error = Box<dyn core::error::Error>;

const PART_BYTES: usize = 256 << 10;

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
    let open = |path: &Path| FileSource::open(path, OpenOptions::new().create_always().exclusive());
    let (primary, replica) = (Arc::new(open(&paths[0])?), Arc::new(open(&paths[1])?));
    let (config, map) = (Config::new(Granularity::Page), MapConfig::new().length(PART_BYTES));
    let replicas = Arc::new(Set::with_capacity(Linux::new(), config, 1));
    let mirror = Mirror::new(replicas.map_owned(replica, &map)?);
    let set = mirror.observed(Linux::new(), config, 1);
    let mut part = set.map(primary, &map)?;
    let stores = store(&mut part)?;
    mirror.confirm()?;
    set.remove(part)?;
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
        // In memory where there is such a folder: synchronising a disk takes most of the time.
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        assert_eq!(mirror(&folder).unwrap(), (1000, true));
    }
}
