//! Where the world is worse than one would like: write-back that fails, a file system that is shut down, memory that is
//! volatile, and a timer that ticks while a file grows.

use core::ffi::c_void;
use core::sync::atomic::{AtomicU64, Ordering};
use std::fs::{self, File};
use std::sync::Arc;

use pmemset_core::error::{MapError, PersistError};
use pmemset_core::{
    Config, CopyFlags, Errno, Extent, Granularity, GranularityLimit, MapConfig, Reservation, Set, Source,
};
use pmemset_devdax::{DaxError, DaxOptions, DaxSource};
use pmemset_linux::nd::Doubt;
use pmemset_linux::{FileSource, GranularityReason, Linux, OpenOptions};
use rustix::fs::sync;
use rustix::ioctl::{Setter, Updater, ioctl};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::lab::{Checks, Failure, Lab, check, same};
use crate::mapper;
use crate::sets::{Handle, file, load, map, set, store};

pub(crate) const CHECKS: &[Checks] = &[
    ("write-back-fails", write_back_fails),
    ("file-shut-down", shut_down),
    ("file-shut-down-dax", shut_down_dax),
    ("volatile-memory", volatile_memory),
    ("grows-while-a-timer-ticks", grows_under_timer),
];

const MIB: usize = 1 << 20;
const SECTOR_BYTES: u64 = 512;

/// Where the bytes of a file are on its block device: first byte and length, in their order (`FS_IOC_FIEMAP`).
fn extents(file: &File) -> Result<Vec<(u64, u64)>, Failure> {
    const MOST: usize = 32;
    const HEADER: usize = 4;
    const EXTENT: usize = 7;
    let mut request = [0_u64; HEADER + EXTENT * MOST];
    (request[1], request[3]) = (u64::MAX, MOST as u64);
    // SAFETY: the number is FIEMAP's, and the request says how many extents it has room for.
    let call = unsafe { Updater::<0xc020_660b, _>::new(&mut request) };
    // SAFETY: the call writes to the request alone.
    unsafe { ioctl(file, call) }?;
    let count = usize::try_from(request[2] >> 32)?;
    check(count < MOST, "the file has few extents")?;
    Ok(request[HEADER..].chunks(EXTENT).take(count).map(|extent| (extent[1], extent[2])).collect())
}

/// Returns a table of the whole disk on which `bad` bytes fail, and what lies behind it: a device cannot lose its DAX
/// later.
fn table(disk: &str, sectors: u64, mut bad: Vec<(u64, u64)>) -> Vec<mapper::Target<'static>> {
    bad.sort_unstable();
    let (mut targets, mut at) = (Vec::new(), 0);
    for (start, length) in bad {
        let (start, length) = (start / SECTOR_BYTES, length / SECTOR_BYTES);
        if start > at {
            targets.push((at, start - at, "linear", format!("{disk} {at}")));
        }
        targets.push((start, length, "error", String::new()));
        at = start + length;
    }
    targets.push((at, sectors - at, "linear", format!("{disk} {at}")));
    targets.push((sectors, 8, "error", String::new()));
    targets
}

/// Linux tells a failed write-back once for each open file, and takes the pages for clean: what was stored is gone, and
/// a second `msync` says that all is well. So nothing of the source is durable from then on, in any set.
fn write_back_fails(_: &mut Lab) -> Result<(), Failure> {
    unmount("/mnt0", UnmountFlags::empty())?;
    let sectors: u64 = fs::read_to_string("/sys/class/block/pmem0/size")?.trim().parse()?;
    let disk = mapper::number("pmem0")?;
    mapper::make("lossy", 0, &table(&disk, sectors, vec![]))?;
    mount("/dev/dm-0", "/mnt0", "ext4", MountFlags::NOATIME, None)?;

    let source = file("/mnt0/file")?;
    let own = set(Granularity::Page);
    let first = map(&own, source.clone(), MIB)?;
    let second = own.map(source.clone(), &MapConfig::new().offset(MIB as u64).length(MIB))?.extent();
    let other = set(Granularity::Page);
    let third = other.map(source.clone(), &MapConfig::new().offset(2 * MIB as u64).length(MIB))?.extent();
    for (set, mapping) in [(&own, first), (&own, second), (&other, third)] {
        set.fill(mapping.start(), 0x11, MIB, CopyFlags::empty())?;
    }
    sync();

    let bad = extents(&File::open("/mnt0/file")?)?;
    check(bad.iter().map(|extent| extent.1).sum::<u64>() >= 3 * MIB as u64, format!("the whole file: {bad:?}"))?;
    mapper::replace("lossy", &table(&disk, sectors, bad))?;
    for (set, mapping) in [(&own, first), (&own, second), (&other, third)] {
        set.fill(mapping.start(), 0x22, MIB, CopyFlags::NOFLUSH)?;
    }
    sync();
    mapper::replace("lossy", &table(&disk, sectors, vec![]))?;

    // The device is well again, and only the first that asks is told what has happened.
    let failed = own.persist(first.start(), 4096);
    same("the first to ask", failed, Err(PersistError::Sync { segment: first, cause: Errno::IO }))?;
    for (set, segment) in [(&own, first), (&own, second), (&other, third)] {
        let before = Err(PersistError::FailedBefore { segment, cause: Errno::IO });
        same("persist", set.persist(segment.start(), 4096), before)?;
        let deep = set.deep_flush(segment.start(), 4096).map(drop);
        check(deep.is_err(), format!("a deep flush says {deep:?}"))?;
        let refused = set.remove(set.part_at(segment.start())?);
        check(refused.is_err(), "a part whose bytes may be lost is not removed as if they were not")?;
    }
    for (set, segment) in [(&own, first), (&own, second), (&other, third)] {
        set.discard(set.part_at(segment.start())?)?;
    }
    drop((own, other, source));

    // What was stored last has not survived, which is what the first failure has told.
    fs::write("/proc/sys/vm/drop_caches", "3")?;
    let bytes = fs::read("/mnt0/file")?;
    check(bytes.contains(&0x11), "the kernel has lost what was stored")?;
    let anew = set(Granularity::Page);
    let mapping = map(&anew, file("/mnt0/file")?, MIB)?;
    anew.fill(mapping.start(), 0x33, MIB, CopyFlags::empty())?;
    anew.remove(anew.part_at(mapping.start())?).map_err(Into::into)
}

/// Shuts the file system at `path` down without writing anything back (`EXT4_IOC_SHUTDOWN`, `XFS_IOC_GOINGDOWN`).
fn shut(path: &str) -> Result<(), Failure> {
    const NO_LOG_FLUSH: u32 = 2;
    // SAFETY: the number is that of the request, which reads 32 bits.
    let call = unsafe { Setter::<0x8004_587d, u32>::new(NO_LOG_FLUSH) };
    // SAFETY: nothing is written to memory.
    unsafe { ioctl(File::open(path)?, call) }?;
    Ok(())
}

/// Whether something is mapped, or reserved, at every address of `extent`.
fn all_taken(extent: Extent) -> Result<bool, Failure> {
    let mut at = extent.start();
    for line in fs::read_to_string("/proc/self/maps")?.lines() {
        let (start, end) = line.split(' ').next().and_then(|range| range.split_once('-')).ok_or("no range")?;
        let (start, end) = (usize::from_str_radix(start, 16)?, usize::from_str_radix(end, 16)?);
        if start <= at && at < end {
            at = end;
        }
    }
    Ok(at >= extent.end())
}

/// Maps more of `source` after its file system was shut down, again and again: refused, and no address is given up.
fn refused_maps(source: &Arc<FileSource>, mapped: &dyn Fn() -> Result<(), Failure>) -> Result<(), Failure> {
    let window = Reservation::with_capacity(Linux::new(), 8 * MIB, 8)?;
    let small: Set<'_, &Reservation<Linux>, Handle> = Set::with_capacity(&window, Config::new(Granularity::Page), 8);
    for _ in 0..50 {
        let refused = small.map(source.clone(), &MapConfig::new().offset(2 * MIB as u64).length(MIB));
        let refused = refused.map(|part| part.extent().length_bytes());
        check(matches!(refused, Err(MapError::Map { .. } | MapError::Source { .. })), format!("{refused:?}"))?;
        same("segments", small.segment_count(), 0)?;
        check(all_taken(window.extent())?, "every address of the reservation is kept")?;
        mapped()?;
    }
    Ok(())
}

/// Page granularity: what is not durable yet never will be, and nothing says otherwise.
fn shut_down(_: &mut Lab) -> Result<(), Failure> {
    let source = file("/mnt0/file")?;
    let whole = set(Granularity::Page);
    let mapping = map(&whole, source.clone(), 4 * MIB)?;
    whole.fill(mapping.start(), 0x11, 4 * MIB, CopyFlags::empty())?;
    shut("/mnt0")?;
    refused_maps(&source, &|| check(load(mapping, 5, 1) == [0x11], "what is mapped stays"))?;
    store(mapping, 5, b"!");
    let failed = whole.persist(mapping.start(), 4096);
    same("persist", failed, Err(PersistError::Sync { segment: mapping, cause: Errno::IO }))?;
    let before = Err(PersistError::FailedBefore { segment: mapping, cause: Errno::IO });
    same("persist", whole.persist(mapping.start() + MIB, 4096), before)?;
    let refused = whole.remove(whole.part_at(mapping.start())?);
    check(refused.is_err(), "a part whose bytes may be lost is not removed as if they were not")?;
    whole.discard(whole.part_at(mapping.start())?).map_err(Into::into)
}

/// With DAX, what is mapped is the medium: stores to it are durable whatever happens to the file system.
fn shut_down_dax(_: &mut Lab) -> Result<(), Failure> {
    let source = file("/mnt0/file")?;
    let whole = set(Granularity::CacheLine);
    let mapping = map(&whole, source.clone(), 4 * MIB)?;
    whole.fill(mapping.start(), 0x11, 4 * MIB, CopyFlags::empty())?;
    shut("/mnt0")?;
    refused_maps(&source, &|| check(load(mapping, 5, 1) == [0x11], "what is mapped stays"))?;
    store(mapping, 5, b"!");
    whole.persist(mapping.start(), 4096)?;
    let refused = whole.remove(whole.part_at(mapping.start())?);
    check(refused.is_err(), "the file system cannot say that it is all there")?;
    whole.discard(whole.part_at(mapping.start())?)?;
    drop((whole, source));
    unmount("/mnt0", UnmountFlags::empty())?;
    mount("/dev/pmem0", "/mnt0", "ext4", MountFlags::NOATIME, Some(c"dax=always"))?;
    same("the file", &fs::read("/mnt0/file")?[4..7], &[0x11, b'!', 0x11][..])
}

/// The kernel accepts `MAP_SYNC` there, and shows the platform's persistence domain.
fn volatile_memory(_: &mut Lab) -> Result<(), Failure> {
    same("devtype", fs::read_to_string("/sys/bus/nd/devices/region0/devtype")?.trim(), "nd_volatile")?;
    let source = file("/mnt0/file")?;
    same("why", source.facts()?.granularity, Ok(GranularityReason::Doubted(Doubt::Volatile)))?;
    let refused = set(Granularity::CacheLine).map(source.clone(), &MapConfig::new().length(MIB)).map(drop);
    let (required, available, limit) = (Granularity::CacheLine, Granularity::Page, GranularityLimit::Volatile);
    let reason = MapError::GranularityNotSupported { required, available, limit };
    same("cache lines", refused, Err(reason))?;
    let pages = set(Granularity::Page);
    let mapping = map(&pages, source, MIB)?;
    pages.fill(mapping.start(), 0x44, MIB, CopyFlags::empty())?;
    pages.remove(pages.part_at(mapping.start())?)?;
    crate::wait::wait_for("/dev/dax1.0")?;
    let device = DaxSource::open("/dev/dax1.0", DaxOptions::new()).map(drop);
    same("device DAX", device, Err(DaxError::NotPersistent(Doubt::Volatile)))
}

static TICKS: AtomicU64 = AtomicU64::new(0);

extern "C" fn tick(_: i32) {
    TICKS.fetch_add(1, Ordering::Relaxed);
}

// SAFETY: glibc's, as its manual pages declare them; `signal` sets `SA_RESTART`.
unsafe extern "C" {
    fn signal(number: i32, handler: extern "C" fn(i32)) -> *mut c_void;
    fn setitimer(which: i32, new: &[i64; 4], old: *mut c_void) -> i32;
}

/// Up to Linux 6.1, `fallocate` on tmpfs throws away what it has done at each signal, and starts over when it is
/// repeated.
fn grows_under_timer(lab: &mut Lab) -> Result<(), Failure> {
    const SIGALRM: i32 = 14;
    const REAL: i32 = 0;
    const MICROSECONDS: i64 = 10_000;
    const LENGTH: usize = 96 * MIB;
    let memory = Some(c"size=128m");
    fs::create_dir_all("/shm")?;
    mount("tmpfs", "/shm", "tmpfs", MountFlags::empty(), memory)?;
    // SAFETY: the handler adds to an atomic number and does nothing else.
    unsafe { signal(SIGALRM, tick) };
    // SAFETY: the timer is this program's own, and its signal has a handler.
    let started = unsafe { setitimer(REAL, &[0, MICROSECONDS, 0, MICROSECONDS], core::ptr::null_mut()) };
    same("the timer", started, 0)?;
    let source = Arc::new(FileSource::temporary("/shm")?);
    let set = set(Granularity::Page);
    let mapping = map(&set, source.clone(), LENGTH)?;
    // SAFETY: as above; zeros stop it.
    unsafe { setitimer(REAL, &[0; 4], core::ptr::null_mut()) };
    lab.say(format!("note {} ticks", TICKS.load(Ordering::Relaxed)));
    same("length", source.length_bytes()?, LENGTH as u64)?;
    store(mapping, LENGTH - 1, b"!");
    let another = FileSource::open("/shm/another", OpenOptions::new().create_if_needed())?;
    map(&set, Arc::new(another), MIB).map(drop)
}
