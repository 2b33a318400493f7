//! Files on partitions behind mapped devices: bad blocks and the shutdown state are found through linear tables, and
//! only through these.

use std::fs::{self, File};
use std::sync::Arc;

use pmemset_core::{BadBlocks, Checked, Granularity, Health, MapConfig, PartState, ShutdownRecord, Source};
use pmemset_linux::StripedRwLock;
use pmemset_linux::internal::Sysfs;
use pmemset_linux::nd::{Attribute, NdError};
use rustix::ioctl::{Setter, ioctl};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::badblocks::{PAGE, listed, page, scrub, source, spoil, text, write_pages};
use crate::lab::{Checks, Failure, Lab, same};
use crate::mapper::{self, number};

pub(crate) const CHECKS: &[Checks] = &[("bad-behind-linear", behind_linear)];

/// Sectors of the second partition, which is the beginning of the disk.
const HEAD: u64 = 2048;

#[repr(C)]
struct Partition {
    start_bytes: i64,
    length_bytes: i64,
    number: i32,
    names: [u8; 128],
}

#[repr(C)]
struct Request {
    operation: i32,
    flags: i32,
    length: i32,
    data: *const Partition,
}

/// Adds a partition to the kernel's view of a disk, none of which is written to it (`linux/blkpg.h`).
fn add_partition(disk: &File, number: i32, start: u64, count: u64) -> Result<(), Failure> {
    let (start_bytes, length_bytes) = (i64::try_from(start * 512)?, i64::try_from(count * 512)?);
    let partition = Partition { start_bytes, length_bytes, number, names: [0; 128] };
    let request = Request { operation: 1, flags: 0, length: i32::try_from(size_of::<Partition>())?, data: &partition };
    // SAFETY: the number is BLKPG's, and the request points to a partition.
    let call = unsafe { Setter::<0x1269, Request>::new(request) };
    // SAFETY: BLKPG only reads.
    unsafe { ioctl(disk, call) }?;
    Ok(())
}

/// Cuts the disk in two partitions, and puts it together again behind two mapped devices, the pieces swapped twice.
fn build() -> Result<(), Failure> {
    unmount("/mnt0", UnmountFlags::empty())?;
    let whole: u64 = fs::read_to_string("/sys/class/block/pmem0/size")?.trim().parse()?;
    let disk = File::open("/dev/pmem0")?;
    add_partition(&disk, 1, HEAD, whole - HEAD)?;
    add_partition(&disk, 2, 0, HEAD)?;
    drop(disk);
    let (tail, head) = (number("pmem0p1")?, number("pmem0p2")?);
    let cut = whole - HEAD;
    let swapped = mapper::make(
        "swapped",
        0,
        &[(0, cut, "linear", format!("{tail} 0")), (cut, HEAD, "linear", format!("{head} 0"))],
    )?;
    mapper::make(
        "again",
        1,
        &[(0, HEAD, "linear", format!("{swapped} {cut}")), (HEAD, cut, "linear", format!("{swapped} 0"))],
    )?;
    mount("/dev/dm-1", "/mnt0", "ext4", MountFlags::NOATIME, Some(c"dax=always"))?;
    Ok(())
}

fn behind_linear(lab: &mut Lab) -> Result<(), Failure> {
    build()?;
    write_pages()?;
    same("before", listed(&source()?)?, vec![])?;
    spoil(lab, 5, 0, PAGE)?;
    spoil(lab, 9, 512, 256)?;
    scrub()?;
    let file = source()?;
    same("granularity", file.granularity(), Ok(Granularity::CacheLine))?;
    same("listed", listed(&file)?, vec![page(5)?, page(9)?])?;
    file.clear_bad_block(page(5)?)?;
    same("listed after clearing", listed(&file)?, vec![page(9)?])?;
    file.clear_bad_block(page(9)?)?;
    same("the firmware's list", lab.ask("bad-list 0")?.as_str(), "")?;
    let mut bytes = [0; 12];
    file.read_mcsafe(8 * PAGE, &mut bytes)?;
    same("page 8", &bytes[..], text(8).as_bytes())?;
    let checked: crate::sets::Handle =
        Arc::new(Checked::<_, StripedRwLock>::new(source()?).shutdown_record(ShutdownRecord::new()));
    let set = crate::sets::set(Granularity::CacheLine);
    let verdict = set.map(checked, &MapConfig::new().length(1 << 20))?.shutdown_verdict().ok_or("no verdict")?;
    same("the state", (verdict.state, verdict.current_count), (PartState::Ok, 5))?;
    refuse_other_tables(&file)
}

/// The same device behind a table that is not linear to the last sector says nothing of its bad blocks.
fn refuse_other_tables(file: &impl Health) -> Result<(), Failure> {
    let device = number("pmem0p1")?;
    mapper::load("again", &[(0, HEAD, "linear", format!("{device} 0"))])?;
    let mut blocks = [page(0)?; 4];
    // A table that is loaded and not yet live is not the one that counts.
    same("with a table in waiting", file.bad_blocks(page(0)?, &mut blocks), BadBlocks::None)?;
    unmount("/mnt0", UnmountFlags::DETACH)?;
    mapper::make("broken", 2, &[(0, HEAD, "error", String::new())])?;
    let sysfs = Sysfs::system().map_err(|cause| cause.to_string())?;
    let (major, minor) = number("dm-2")?.split_once(':').map(|(a, b)| (a.parse(), b.parse())).ok_or("no number")?;
    let refused = sysfs.pieces(rustix::fs::makedev(major?, minor?)).map(|pieces| pieces.as_slice().len());
    same("a table that is not linear", refused, Err(NdError::Garbage { attribute: Attribute::Table }))
}
