//! A platform and sources that only keep account of addresses, and refuse whatever breaks their contract.
#![allow(unsafe_code, reason = "implements the unsafe traits over bookkeeping alone")]

use alloc::collections::BTreeMap;
use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender};

use crate::arch::Cpu;
use crate::error::{MapFailure, PrepareError, ReserveError};
use crate::lock::SpinRwLock;
use crate::{
    DeepFlush, Errno, Extent, FailedWriteBack, Granularity, GranularityLimit, Growth, Health, Platform, Source, Span,
    forward_platform,
};

pub(super) const PAGE: usize = 4096;
/// Where address space begins: at 1 TiB, or 16 MiB where addresses have 32 bits.
pub(super) const FAR: usize = 1 << (usize::BITS / 2 + 8);

#[derive(Debug, Default)]
struct World {
    reserved: BTreeMap<usize, usize>,
    mapped: BTreeMap<usize, usize>,
    lost: BTreeMap<usize, usize>,
    next: usize,
}

/// Address space: reservations go upwards from `FAR`, with a page between them that somebody else has.
#[derive(Debug, Default)]
pub(super) struct Fake {
    world: Mutex<World>,
    pub(super) reservations_made: AtomicUsize,
    pub(super) refuse_reserve: AtomicU32,
    /// The alignment that large pages would want; 0 for none.
    pub(super) wish_bytes: AtomicUsize,
    /// Refuse what is aligned to more than this; 0 for no such limit.
    pub(super) refuse_above_bytes: AtomicUsize,
    /// How far beside the alignment reservations begin: a fault of the platform.
    pub(super) astray_bytes: AtomicUsize,
    /// Leave this many bytes free behind each reservation.
    pub(super) slack: AtomicUsize,
}

impl Fake {
    /// Forgets what is mapped at `window` while `act` runs, so that a call of `unmap` for it panics.
    pub(super) fn forgetting(&self, window: Extent, act: impl FnOnce()) {
        let end = self.world.lock().unwrap().mapped.remove(&window.start()).unwrap();
        act();
        self.world.lock().unwrap().mapped.insert(window.start(), end);
    }

    pub(super) fn reserved_bytes(&self) -> usize {
        self.world.lock().unwrap().reserved.iter().map(|(start, end)| end - start).sum()
    }

    pub(super) fn mapped_bytes(&self) -> usize {
        self.world.lock().unwrap().mapped.iter().map(|(start, end)| end - start).sum()
    }

    fn covered(map: &BTreeMap<usize, usize>, window: Extent) -> bool {
        let mut at = window.start();
        while at < window.end() {
            match map.range(..=at).next_back() {
                Some((_, end)) if *end > at => at = *end,
                _ => return false,
            }
        }
        true
    }

    fn touches(map: &BTreeMap<usize, usize>, window: Extent) -> bool {
        map.range(..window.end()).next_back().is_some_and(|(_, end)| *end > window.start())
    }
}

// SAFETY: hands out each address once; nothing is ever accessed.
unsafe impl Platform for Fake {
    type Lock = SpinRwLock;
    type Space = usize;

    const UNLOCKED_CALLS: bool = super::UNLOCKED_CALLS;

    fn space(&self) -> usize {
        core::ptr::from_ref(self).addr()
    }
    fn page_size_bytes(&self) -> usize {
        PAGE
    }
    fn cpu(&self) -> &Cpu {
        &Cpu::NONE
    }
    fn alignment_for(&self, _: usize) -> usize {
        self.wish_bytes.load(Ordering::Relaxed).max(PAGE)
    }
    fn reserve(&self, length_bytes: usize, alignment_bytes: usize) -> Result<Extent, ReserveError> {
        let limit = self.refuse_above_bytes.load(Ordering::Relaxed);
        if self.refuse_reserve.load(Ordering::Relaxed) != 0 || limit != 0 && alignment_bytes > limit {
            return Err(Errno::NOMEM.into());
        }
        assert!(length_bytes > 0 && length_bytes.is_multiple_of(PAGE) && alignment_bytes.is_power_of_two());
        let mut world = self.world.lock().unwrap();
        let start = (world.next.max(FAR)).next_multiple_of(alignment_bytes) + self.astray_bytes.load(Ordering::Relaxed);
        world.next = start + length_bytes + PAGE + self.slack.load(Ordering::Relaxed);
        world.reserved.insert(start, start + length_bytes);
        self.reservations_made.fetch_add(1, Ordering::Relaxed);
        Ok(Extent::new(start, length_bytes).unwrap())
    }
    fn reserve_at(&self, window: Extent) -> Result<(), ReserveError> {
        let mut world = self.world.lock().unwrap();
        let free_to = world.next.saturating_sub(PAGE);
        if Self::touches(&world.reserved, window) || window.end() > free_to {
            return Err(ReserveError::Occupied);
        }
        world.reserved.insert(window.start(), window.end());
        Ok(())
    }
    unsafe fn release(&self, window: Extent) -> Result<(), Errno> {
        let mut world = self.world.lock().unwrap();
        assert!(Self::covered(&world.reserved, window), "released {window} without holding it");
        assert!(!Self::touches(&world.mapped, window), "released {window} with a mapping in it");
        assert!(!Self::touches(&world.lost, window), "released {window}, where somebody else is");
        let pieces: Vec<(usize, usize)> = world.reserved.iter().map(|(start, end)| (*start, *end)).collect();
        for (start, end) in pieces {
            if start < window.end() && window.start() < end {
                world.reserved.remove(&start);
                if start < window.start() {
                    world.reserved.insert(start, window.start());
                }
                if window.end() < end {
                    world.reserved.insert(window.end(), end);
                }
            }
        }
        Ok(())
    }
}

/// A platform for small sets that says so besides.
pub(super) struct Small(Fake);

// SAFETY: every call goes on to the platform inside.
unsafe impl Platform for Small {
    type Lock = SpinRwLock;
    type Space = usize;

    const SEGMENTS_MAX: usize = 64;
    const UNLOCKED_CALLS: bool = super::UNLOCKED_CALLS;

    forward_platform!(self { Self(fake) => fake });
}

/// A source of any length that counts what it is asked to do.
#[derive(Debug)]
pub(super) struct FakeSource<'p> {
    pub(super) platform: &'p Fake,
    pub(super) length_bytes: Mutex<u64>,
    pub(super) grows: bool,
    /// It says at once that it has what is asked for.
    pub(super) holds: bool,
    /// What it will be found to have when it is mapped next: somebody has shortened it. 0 for what it says.
    pub(super) really_bytes: AtomicU64,
    pub(super) alignment_bytes: usize,
    pub(super) granule_bytes: usize,
    pub(super) granularity: Granularity,
    pub(super) limit: GranularityLimit,
    pub(super) fixed: Option<usize>,
    pub(super) maps: AtomicU32,
    /// The offsets that were mapped, unmapped, synchronised and deep-flushed.
    pub(super) offsets: Mutex<Vec<u64>>,
    pub(super) refuse_map: AtomicU32,
    /// Refuse to map so that nobody knows what is in the window then.
    pub(super) lose_window: AtomicU32,
    /// Refuse to unmap after this many more.
    pub(super) unmaps_left: AtomicU32,
    /// Refuse to unmap what is mapped from this offset on.
    pub(super) stays: Mutex<Option<u64>>,
    /// Say so when something is about to be mapped or unmapped, and wait for the answer.
    pub(super) midway: Mutex<Option<(Sender<()>, Receiver<()>)>>,
    /// What to do when the last handle goes.
    pub(super) _goodbye: Goodbye,
    pub(super) refuse_flush: AtomicU32,
    pub(super) flushes: AtomicU32,
    pub(super) failed: FailedWriteBack,
}

/// Calls a function when it is dropped.
#[derive(Debug)]
pub(super) struct Goodbye(pub(super) Option<fn()>);

impl Drop for Goodbye {
    fn drop(&mut self) {
        if let Some(say) = self.0 {
            say();
        }
    }
}

impl<'p> FakeSource<'p> {
    pub(super) fn new(platform: &'p Fake, length_bytes: u64) -> Self {
        Self {
            platform,
            length_bytes: Mutex::new(length_bytes),
            grows: false,
            holds: false,
            really_bytes: AtomicU64::new(0),
            alignment_bytes: PAGE,
            granule_bytes: 1,
            granularity: Granularity::Page,
            limit: GranularityLimit::Unspecified,
            fixed: None,
            maps: AtomicU32::new(0),
            offsets: Mutex::default(),
            refuse_map: AtomicU32::new(0),
            lose_window: AtomicU32::new(0),
            unmaps_left: AtomicU32::new(u32::MAX),
            stays: Mutex::default(),
            midway: Mutex::default(),
            _goodbye: Goodbye(None),
            refuse_flush: AtomicU32::new(0),
            flushes: AtomicU32::new(0),
            failed: FailedWriteBack::new(),
        }
    }

    fn pause(&self) {
        if let Some((say, answer)) = &*self.midway.lock().unwrap() {
            say.send(()).unwrap();
            answer.recv().unwrap();
        }
    }
}

// SAFETY: nothing is ever accessed; windows are checked against the reservations.
unsafe impl Source for FakeSource<'_> {
    type Space = usize;

    fn space(&self) -> usize {
        self.platform.space()
    }
    fn length_bytes(&self) -> Result<u64, Errno> {
        Ok(*self.length_bytes.lock().unwrap())
    }
    fn alignment_bytes(&self) -> usize {
        self.alignment_bytes
    }
    fn granularity(&self) -> Result<Granularity, Errno> {
        Ok(self.granularity)
    }
    fn granularity_limit(&self) -> GranularityLimit {
        self.limit
    }
    fn fixed_address(&self) -> Option<usize> {
        self.fixed
    }
    fn write_granule_bytes(&self) -> usize {
        self.granule_bytes
    }
    fn holds(&self, range: Span) -> bool {
        self.holds && range.end() <= *self.length_bytes.lock().unwrap()
    }
    fn prepare(&self, range: Span) -> Result<Option<Growth>, PrepareError> {
        assert!(!self.holds(range), "there was nothing to prepare");
        let mut length = self.length_bytes.lock().unwrap();
        let from_bytes = *length;
        if range.end() <= from_bytes {
            return Ok(None);
        }
        if !self.grows {
            return Err(PrepareError::TooSmall { length_bytes: from_bytes });
        }
        *length = range.end();
        Ok(Some(Growth { from_bytes, to_bytes: range.end() }))
    }
    fn undo_growth(&self, growth: Growth) {
        *self.length_bytes.lock().unwrap() = growth.from_bytes;
    }
    unsafe fn map(&self, window: Extent, offset: u64) -> Result<(), MapFailure> {
        self.pause();
        if self.refuse_map.load(Ordering::Relaxed) != 0 {
            return Err(Errno::ACCES.into());
        }
        if self.lose_window.load(Ordering::Relaxed) != 0 {
            let mut world = self.platform.world.lock().unwrap();
            assert!(!Fake::touches(&world.lost, window), "{window} was lost before");
            world.lost.insert(window.start(), window.end());
            return Err(MapFailure::WindowLost(Errno::IO));
        }
        match self.really_bytes.swap(0, Ordering::Relaxed) {
            0 => {}
            really => *self.length_bytes.lock().unwrap() = really,
        }
        if self.holds && !self.holds(Span::new(offset, window.length_bytes() as u64).unwrap()) {
            return Err(MapFailure::Outdated(Errno::NXIO));
        }
        assert!(offset + window.length_bytes() as u64 <= self.length_bytes().unwrap());
        let mut world = self.platform.world.lock().unwrap();
        assert!(Fake::covered(&world.reserved, window), "mapped {window} without holding it");
        assert!(!Fake::touches(&world.mapped, window), "mapped {window} over another mapping");
        assert!(!Fake::touches(&world.lost, window), "mapped {window} over what is somebody else's");
        assert!(window.is_aligned(self.alignment_bytes));
        world.mapped.insert(window.start(), window.end());
        self.maps.fetch_add(1, Ordering::Relaxed);
        self.offsets.lock().unwrap().push(offset);
        Ok(())
    }
    unsafe fn unmap(&self, window: Extent, offset: u64) -> Result<(), Errno> {
        self.pause();
        if self.unmaps_left.load(Ordering::Relaxed) == 0 || *self.stays.lock().unwrap() == Some(offset) {
            return Err(Errno::NOMEM);
        }
        self.unmaps_left.fetch_sub(1, Ordering::Relaxed);
        let removed = self.platform.world.lock().unwrap().mapped.remove(&window.start());
        assert_eq!(removed, Some(window.end()), "unmapped {window}, which is no mapping");
        self.offsets.lock().unwrap().push(offset);
        Ok(())
    }
    fn sync(&self, _range: Extent, offset: u64) -> Result<(), Errno> {
        self.offsets.lock().unwrap().push(offset);
        Ok(())
    }
    fn deep_flush(&self, _range: Extent, offset: u64) -> Result<DeepFlush, Errno> {
        self.offsets.lock().unwrap().push(offset);
        if self.refuse_flush.load(Ordering::Relaxed) != 0 {
            return Err(Errno::IO);
        }
        self.flushes.fetch_add(1, Ordering::Relaxed);
        Ok(DeepFlush::Done)
    }
    fn failed_write_back(&self) -> &FailedWriteBack {
        &self.failed
    }
    fn health(&self) -> Option<&dyn Health> {
        None
    }
}
