//! A set on this processor: coalescing, stores of every kind, removal, and an offset beyond 4 GiB.

use core::sync::atomic::{AtomicU64, Ordering};

use pmemset_core::arch::Cpu;
use pmemset_core::{Coalescing, Config, CopyFlags, FailedWriteBack, Granularity, MapConfig, static_set};

use crate::memory::{Board, Dimm, PAGE};

static_set! {
    static SET: Set<Board, &'static Dimm>[200] = (Board::new(Cpu::NONE), Config::new(Granularity::Page));
}
static DIMM: Dimm = Dimm { offset: AtomicU64::new(0), failed: FailedWriteBack::new() };

/// Uses a set over memory of the board, with a lock that spins.
pub fn works() -> bool {
    uses_everything().is_some() && SET.segment_count() == 0
}

fn uses_everything() -> Option<()> {
    const FAR: u64 = (5 << 32) + PAGE as u64;
    SET.set_coalescing(Coalescing::Opportunistic);
    let config = MapConfig::new().offset(FAR).length(2 * PAGE);
    let part = SET.map(&DIMM, &config).ok()?.part_extent();
    let longer = SET.map(&DIMM, &config).ok()?.part_extent();
    let offset_is_whole = DIMM.offset.load(Ordering::Relaxed) == FAR;
    (offset_is_whole && part.start() == longer.start() && longer.length_bytes() == 4 * PAGE).then_some(())?;
    let at = part.start() + PAGE - 3;
    SET.write(at, b"remember me").ok()?;
    SET.copy_within(at..at + 11, at + 4, CopyFlags::NODRAIN).ok()?;
    SET.fill(at, b'-', 2, CopyFlags::TEMPORAL).ok()?;
    SET.persist(part.start(), PAGE).ok()?;
    SET.persist_many(&[part, longer]).ok()?;
    let mut bytes = [0; 15];
    SET.read(at, &mut bytes).ok()?;
    (&bytes == b"--meremember me").then_some(())?;
    SET.remove_range(part.start(), 2 * PAGE).ok()?;
    SET.remove(SET.first_part().ok()??).ok()
}
