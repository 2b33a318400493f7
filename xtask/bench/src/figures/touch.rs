//! The first touch of each page, with small and with large pages.
#![allow(unsafe_code, reason = "mappings are touched at raw addresses")]

use std::fs::{self, File};
use std::path::PathBuf;

use memmap2::MmapOptions;
use pmemset_core::{Config, Granularity, MapConfig, Set};
use pmemset_linux::{FileSource, Linux};
use rustix::fs::{FallocateFlags, fallocate};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use super::{PAGE, Subject};
use crate::measure::{Clock, Sample, timed};
use crate::report::Figure;

pub(crate) const SUBJECT: Subject = Subject {
    name: "first-touch",
    title: "map N pages of a file that has its memory, and touch each one",
    unit: "pages",
    about: "Processor time for one page of 4 KiB, mapping and removal included. A set puts large parts where large pages fit, \
            so on a tmpfs with huge pages 2 MiB come with each fault; memmap2 takes what address the kernel gives. The tmpfs is \
            mounted for this process alone, by root.",
    run,
};

const BYTES: usize = 32 << 20;

fn run(figure: &mut Figure) {
    let folders = match [mounted("always"), mounted("never")] {
        [Ok(huge), Ok(small)] => [huge, small],
        [huge, small] => {
            let reason = huge.err().or(small.err()).unwrap_or_default();
            return figure.skip("first-touch", &reason);
        }
    };
    let [huge, small] = folders.map(|folder| {
        let file = File::options().read(true).write(true).create_new(true).open(folder.join("file")).unwrap();
        fallocate(&file, FallocateFlags::empty(), 0, BYTES as u64).unwrap();
        file
    });
    let contenders = vec![
        timed("pmemset", || ours(&huge)),
        timed("pmemset, 4 KiB pages", || ours(&small)),
        timed("memmap2, huge pages", || crates(&huge)),
        timed("memmap2, 4 KiB pages", || crates(&small)),
    ];
    figure.row("tmpfs", BYTES / PAGE, contenders);
}

fn ours(file: &File) -> Sample {
    use std::os::fd::AsFd;
    let source = FileSource::from_fd(file.as_fd()).unwrap();
    let set = Set::with_capacity(Linux::new(), Config::new(Granularity::Page), 1);
    let clock = Clock::start();
    let part = set.map(&source, &MapConfig::new().length(BYTES)).unwrap();
    touch(part.as_ptr(0, BYTES).unwrap());
    set.remove(part).unwrap();
    clock.stop(BYTES / PAGE)
}

fn crates(file: &File) -> Sample {
    let clock = Clock::start();
    // SAFETY: nothing else changes the file.
    let mut map = unsafe { MmapOptions::new().len(BYTES).map_mut(file) }.unwrap();
    touch(map.as_mut_ptr());
    map.flush().unwrap();
    drop(map);
    clock.stop(BYTES / PAGE)
}

fn touch(start: *mut u8) {
    for page in (0..BYTES).step_by(PAGE) {
        // SAFETY: the callers have mapped it.
        unsafe { start.wrapping_add(page).write_volatile(1) };
    }
}

/// Mounts a tmpfs that only this process sees, and returns its folder.
fn mounted(huge: &str) -> Result<PathBuf, String> {
    let folder = std::env::temp_dir().join(format!("pmemset-bench-{huge}-{}", std::process::id()));
    fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let options = std::ffi::CString::new(format!("huge={huge}")).map_err(|error| error.to_string())?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    // SAFETY: descriptors stay shared; this process has one thread here.
    let apart = unsafe { unshare_unsafe(UnshareFlags::NEWNS) };
    let result = apart
        .and_then(|()| mount_change("/", private))
        .and_then(|()| mount("tmpfs", &folder, "tmpfs", MountFlags::empty(), Some(options.as_c_str())));
    result.map_err(|error| {
        let _ = fs::remove_dir(&folder);
        format!("a tmpfs with huge={huge} cannot be mounted: {error}")
    })?;
    Ok(folder)
}
