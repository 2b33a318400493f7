//! Where the world is worse than one would like: memory that is volatile, and a timer that ticks while a file grows.

use core::ffi::c_void;
use core::sync::atomic::{AtomicU64, Ordering};
use std::fs;
use std::sync::Arc;

use pmemset_core::error::MapError;
use pmemset_core::{CopyFlags, Granularity, MapConfig, Source};
use rustix::mount::{MountFlags, mount};
use shim_devdax::{DaxError, DaxSource, Doubt};
use shim_linux::{FileSource, GranularityReason, OpenOptions};

use crate::lab::{Lab, same};
use crate::machine::{Failure, Machine, Scenario};
use crate::sets::{file, map, set, store};

const VOLATILE: Machine = Machine { volatile: true, dimms: 2, modes: "fsdax,devdax", ..Machine::NFIT };
const PLAIN: Machine = Machine { device: "none", fs: "none", ..Machine::NFIT };

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new("volatile-memory", volatile_memory).on(VOLATILE),
    Scenario::new("grows-while-a-timer-ticks", grows_under_timer).on(PLAIN),
];

const MIB: usize = 1 << 20;
/// The kernel accepts `MAP_SYNC` there, and shows the platform's persistence domain.
fn volatile_memory(_: &mut Lab) -> Result<(), Failure> {
    same("devtype", fs::read_to_string("/sys/bus/nd/devices/region0/devtype")?.trim(), "nd_volatile")?;
    let source = file("/mnt0/file")?;
    same("why", source.facts()?.granularity, Ok(GranularityReason::Doubted(Doubt::Volatile)))?;
    let refused = set(Granularity::CacheLine).map(source.clone(), &MapConfig::new().length(MIB)).map(drop);
    let reason = MapError::GranularityNotSupported { required: Granularity::CacheLine, available: Granularity::Page };
    same("cache lines", refused, Err(reason))?;
    let pages = set(Granularity::Page);
    let mapping = map(&pages, source, MIB)?;
    pages.fill(mapping.start(), 0x44, MIB, CopyFlags::empty())?;
    pages.remove(pages.part_at(mapping.start())?)?;
    crate::boot::wait_for("/dev/dax1.0")?;
    let device = DaxSource::open("/dev/dax1.0").map(drop);
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

/// Up to Linux 6.1, `fallocate` on tmpfs throws away what it has done at each signal, and starts over when it is repeated.
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
