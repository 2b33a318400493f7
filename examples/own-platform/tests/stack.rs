//! How much stack the calls of a set need on x86-64, and how much memory a set: measured, and kept within limits.
//!
//! `cargo xtask size` reads the lines that this prints in a release build. Beside the example, because the core's own
//! tests are built with the simulator in it.
#![cfg(target_arch = "x86_64")]

use core::arch::asm;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicUsize, Ordering};

use pmemset_core::arch::Cpu;
use pmemset_core::error::{DeviceError, MapFailure, ReserveError};
use pmemset_core::lock::SpinRwLock;
use pmemset_core::observer::from_fn;
use pmemset_core::{
    Answer, BadBlockPolicy, BadBlocks, Checked, Coalescing, Config, DeepFlush, DeviceId, Errno, Event, Extent,
    FailedWriteBack, Granularity, Health, LiveRecordRef, MapConfig, Platform, Reservation, ReservationSlab, Set,
    ShutdownRecord, Slab, Source, Span,
};

/// What no call of a release build may exceed, in bytes.
const RELEASE_MAX: usize = 2048;
/// The same for a debug build, whose functions keep every value in a place of its own.
const DEBUG_MAX: usize = 64 << 10;

const PAINTED_BYTES: usize = 128 << 10;
const RED_ZONE_BYTES: usize = 128;
const PAINT: u64 = 0x5a17_5a17_5a17_5a17;

/// Returns how many bytes of stack `call` has touched, without its own return address.
#[inline(never)]
fn depth_of(call: &mut dyn FnMut()) -> usize {
    // SAFETY: paints memory below the stack pointer and its red zone, where nothing is; the thread's stack is longer.
    unsafe {
        asm!(
            "lea rdi, [rsp - {below}]",
            "rep stosq",
            below = const PAINTED_BYTES + RED_ZONE_BYTES,
            inout("rcx") PAINTED_BYTES / 8 => _,
            in("rax") PAINT,
            out("rdi") _,
            options(nostack)
        );
    }
    call();
    let (first, stack): (usize, usize);
    // SAFETY: reads what was painted, from its far end to the first word that has changed.
    unsafe {
        asm!(
            "mov {stack}, rsp",
            "lea rdi, [rsp - {below}]",
            "repe scasq",
            below = const PAINTED_BYTES + RED_ZONE_BYTES,
            stack = out(reg) stack,
            inout("rcx") PAINTED_BYTES / 8 => _,
            in("rax") PAINT,
            out("rdi") first,
            options(nostack)
        );
    }
    stack - (first - 8)
}

const PAGE: usize = 4096;
const PAGES: usize = 64;

#[repr(align(4096))]
struct Arena(UnsafeCell<[u8; PAGES * PAGE]>);

// SAFETY: each test stores to its own parts only.
unsafe impl Sync for Arena {}

static ARENA: Arena = Arena(UnsafeCell::new([0; PAGES * PAGE]));

/// As little of a platform as will do, so that the stack is the core's.
struct Small {
    next: AtomicUsize,
    cpu: Cpu,
}

impl Small {
    fn new() -> Self {
        Self { next: AtomicUsize::new(ARENA.0.get().expose_provenance()), cpu: Cpu::detect() }
    }
}

// SAFETY: gives no address away twice.
unsafe impl Platform for Small {
    type Lock = SpinRwLock;
    type Space = ();

    fn space(&self) {}
    fn page_size_bytes(&self) -> usize {
        PAGE
    }
    fn cpu(&self) -> &Cpu {
        &self.cpu
    }
    fn reserve(&self, length_bytes: usize, _alignment_bytes: usize) -> Result<Extent, ReserveError> {
        let start = self.next.fetch_add(length_bytes, Ordering::Relaxed);
        Extent::new(start, length_bytes).ok_or(ReserveError::CannotFit)
    }
    fn reserve_at(&self, window: Extent) -> Result<(), ReserveError> {
        let ends = self.next.compare_exchange(window.start(), window.end(), Ordering::Relaxed, Ordering::Relaxed);
        ends.map(drop).map_err(|_| ReserveError::Occupied)
    }
    unsafe fn release(&self, _window: Extent) -> Result<(), Errno> {
        Ok(())
    }
}

#[derive(Default)]
struct Memory {
    failed: FailedWriteBack,
}

// SAFETY: every window is memory of the arena.
unsafe impl Source for Memory {
    type Space = ();

    fn space(&self) {}
    fn length_bytes(&self) -> Result<u64, Errno> {
        Ok(1 << 40)
    }
    fn alignment_bytes(&self) -> usize {
        PAGE
    }
    fn granularity(&self) -> Result<Granularity, Errno> {
        Ok(Granularity::Page)
    }
    unsafe fn map(&self, _window: Extent, _offset: u64) -> Result<(), MapFailure> {
        Ok(())
    }
    unsafe fn unmap(&self, _window: Extent, _offset: u64) -> Result<(), Errno> {
        Ok(())
    }
    fn sync(&self, _range: Extent, _offset: u64) -> Result<(), Errno> {
        Ok(())
    }
    fn deep_flush(&self, _range: Extent, _offset: u64) -> Result<DeepFlush, Errno> {
        Ok(DeepFlush::Done)
    }
    fn failed_write_back(&self) -> &FailedWriteBack {
        &self.failed
    }
    fn health(&self) -> Option<&dyn Health> {
        Some(self)
    }
}

impl Health for Memory {
    fn shutdown(&self) -> Option<LiveRecordRef<'_>> {
        None
    }
    fn bad_block_policy(&self) -> BadBlockPolicy {
        BadBlockPolicy::Off
    }
    fn device(&self, id: &mut DeviceId) -> Result<u64, DeviceError> {
        id.push(b"arena").map(|()| 7)
    }
    fn bad_blocks(&self, _range: Span, _blocks: &mut [Span]) -> BadBlocks {
        BadBlocks::None
    }
}

type Handle<'s> = &'s Checked<Memory, SpinRwLock>;
type SmallSet<'s, O = ()> = Set<'s, &'s Small, Handle<'s>, O>;

/// Measures every call of a set over `source`; they are told of under `name`.
fn calls(name: &str, source: Handle<'_>) -> Vec<(String, usize)> {
    let small = Small::new();
    let keep = from_fn(|_: &Event<'_, Handle<'_>>| Answer::Proceed);
    let config = Config::new(Granularity::Page).reserve_ahead(4 * PAGE).observer(&keep);
    let mut slab = Slab::<Handle<'_>, 16>::new();
    let (mut made, mut config) = (None, Some(config));
    let mut lent = Some(&mut slab);
    let new = depth_of(&mut || made = Some(Set::new(&small, config.take().unwrap(), lent.take().unwrap())));
    let set: SmallSet<'_, _> = made.unwrap();
    set.set_coalescing(Coalescing::Opportunistic);
    let mut found = vec![(format!("new{name}"), new)];
    let mut measure = |call: &str, act: &mut dyn FnMut()| found.push((format!("{call}{name}"), depth_of(act)));
    let one = MapConfig::new().length(PAGE);
    measure("map", &mut || assert!(set.map(source, &one).is_ok()));
    measure("map", &mut || assert!(set.map(source, &one).is_ok()));
    set.map(source, &one).unwrap();
    let start = set.first_part().unwrap().unwrap().extent().start();
    measure("part_at", &mut || drop(set.part_at(start).unwrap()));
    measure("persist", &mut || set.persist(start, 3 * PAGE).unwrap());
    let ranges = [100, 300, 40].map(|at| Extent::new(start + at, 200).unwrap());
    measure("persist_many", &mut || set.persist_many(&ranges).unwrap());
    measure("copy", &mut || set.write(start + 5, &[7; 900]).unwrap());
    measure("deep_flush", &mut || assert!(set.deep_flush(start, 3 * PAGE).is_ok()));
    measure("remove_range", &mut || set.remove_range(start + PAGE, PAGE).unwrap());
    let mut part = Some(set.part_at(start).unwrap());
    measure("remove", &mut || assert!(set.remove(part.take().unwrap()).is_ok()));
    set.remove_range(start, 4 * PAGE).unwrap();
    measure("repair_shutdown_state", &mut || {
        assert_eq!(set.repair_shutdown_state(&source).is_err(), source.shutdown().is_none())
    });
    assert_eq!(set.segment_count(), 0);
    found
}

#[test]
fn no_call_needs_much_stack() {
    let plain = Checked::new(Memory::default());
    let record = ShutdownRecord::new();
    let judged = Checked::new(Memory::default()).shutdown_record(record).bad_block_detection(BadBlockPolicy::Required);
    let all: Vec<_> = calls("", &plain).into_iter().chain(calls("_checked", &judged)).collect();
    let most = if cfg!(debug_assertions) { DEBUG_MAX } else { RELEASE_MAX };
    for (call, bytes) in &all {
        println!("stack_{call} {bytes}");
        assert!(*bytes > 64, "{call}: {bytes} bytes cannot be");
        assert!(*bytes <= most, "{call} needs {bytes} bytes of stack");
    }
}

#[test]
fn memory_is_what_was_promised() {
    const N: usize = 4097;
    type Wide = &'static dyn Source<Space = ()>;
    let each = |one: usize, all: usize| (all - one).div_ceil(N - 1);
    let fixed = size_of::<Set<'static, &'static Small, Handle<'static>>>();
    let segment = each(size_of::<Slab<Handle<'static>, 1>>(), size_of::<Slab<Handle<'static>, N>>());
    println!("set_fixed {fixed}");
    println!("set_segment {segment}");
    assert!(segment <= 88 && fixed < 512, "{segment} bytes a segment, and {fixed}");
    let wide = each(size_of::<Slab<Wide, 1>>(), size_of::<Slab<Wide, N>>());
    assert!(wide <= 96, "{wide} bytes a segment where a handle has two words");
    let claimed = each(size_of::<ReservationSlab<1>>(), size_of::<ReservationSlab<N>>());
    let window = size_of::<Reservation<'static, &'static Small>>();
    assert!(claimed <= 36 && window < 256, "{claimed} bytes a segment of a reservation, and {window}");
}

/// A set of any size is made where there is little stack: its books are made where they stay.
#[test]
fn set_of_the_largest_size_is_made_on_a_small_stack() {
    let make = || {
        let small = Small::new();
        let source = Checked::new(Memory::default());
        let set: SmallSet<'_> = Set::with_capacity(&small, Config::new(Granularity::Page), 65_536);
        let part = set.map(&source, &MapConfig::new().length(PAGE)).unwrap();
        set.remove(part).unwrap();
        let moved = Box::new(set);
        assert_eq!((moved.capacity(), moved.segment_count()), (65_536, 0));
    };
    std::thread::Builder::new().stack_size(256 << 10).spawn(make).unwrap().join().unwrap();
}
