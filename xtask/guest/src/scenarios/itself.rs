//! The lab tested by itself: what it rests on is there, and what goes wrong is seen.

use std::fs;

use rustix::fs::{FallocateFlags, fallocate};
use rustix::mm::{MapFlags, ProtFlags, mmap};

use crate::lab::{Checks, Failure, Lab, check, same};

pub(crate) const CHECKS: &[Checks] = &[
    ("lab-map-sync", map_sync),
    ("lab-map-sync-xfs", map_sync),
    ("lab-sees-failure", fails),
    ("lab-sees-oops", oopses),
    ("lab-sees-hang", hangs),
];

/// A file of an fs-dax file system can be mapped synchronously, and the host sees its flush hints.
fn map_sync(lab: &mut Lab) -> Result<(), Failure> {
    let file = fs::File::options().read(true).write(true).create(true).truncate(true).open("/mnt0/file")?;
    fallocate(&file, FallocateFlags::empty(), 0, 4 << 20)?;
    // SAFETY: a new mapping at an address that the kernel chooses.
    let memory = unsafe {
        let flags = MapFlags::SHARED_VALIDATE | MapFlags::SYNC;
        mmap(core::ptr::null_mut(), 4 << 20, ProtFlags::READ | ProtFlags::WRITE, flags, &file, 0)
    }?;
    // SAFETY: mapped above, four mebibytes of it.
    unsafe { memory.cast::<u8>().write_volatile(42) };
    lab.ask("hint 0")?;
    file.sync_all()?;
    same("the flush hint after fsync", lab.ask("hint 0")?.as_str(), "1")?;
    same("the content", fs::read("/mnt0/file")?[0], 42)
}

fn fails(_: &mut Lab) -> Result<(), Failure> {
    check(false, "two and two are five")
}

fn oopses(_: &mut Lab) -> Result<(), Failure> {
    fs::write("/proc/sysrq-trigger", "c")?;
    Ok(())
}

fn hangs(_: &mut Lab) -> Result<(), Failure> {
    loop {
        std::thread::park();
    }
}
