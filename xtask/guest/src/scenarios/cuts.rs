//! Power cuts: no acknowledged record is lost, and no torn one is taken for whole.

use std::fs;
use std::ptr::null_mut;
use std::sync::Arc;

use pmemset_core::{Extent, Granularity, Platform, Source};
use rustix::mm::{MapFlags, ProtFlags, mmap};

use crate::lab::{Lab, check};
use crate::machine::{Cut, Failure, Machine, Scenario};
use crate::sets::{AnySet, file, load, map, set, store};

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new("cut-kill-ext4", file_log).once().cut(Cut::Kill(20)),
    Scenario::new("cut-kill-xfs", file_log).on(Machine::XFS).once().cut(Cut::Kill(20)),
    Scenario::new("cut-kill-canary-sparse", sparse_log).once().cut(Cut::KillLoses(10)),
    Scenario::new("cut-flushed-ext4", file_log).once().cut(Cut::Flushed(10)),
    Scenario::new("cut-flushed-xfs", file_log).on(Machine::XFS).once().cut(Cut::Flushed(10)),
    Scenario::new("cut-flushed-canary-no-flush", unflushed_log).once().cut(Cut::FlushedLoses(10)),
];

const LOG_BYTES: usize = 4 << 20;
const SLOT_BYTES: usize = 1024;
/// The first page holds the number of the last record.
const SLOTS: u64 = (LOG_BYTES / SLOT_BYTES - 4) as u64;

/// How a log makes its bytes durable.
pub(crate) type Persist<'a> = &'a dyn Fn(Extent) -> Result<(), Failure>;

/// A ring of records in persistent memory: a record is made durable first, then its number.
pub(crate) struct Log<'a> {
    pub(crate) memory: Extent,
    pub(crate) persist: Persist<'a>,
}

impl Log<'_> {
    /// Runs one boot: looks at what the last cut has left, then writes until the next.
    pub(crate) fn boot(&self, lab: &mut Lab) -> Result<(), Failure> {
        if lab.phase() > 0
            && let Err(reason) = self.verify(lab.acknowledged())
        {
            lab.say(format!("lost {reason}"));
            return Ok(());
        }
        if lab.is_last() {
            return Ok(());
        }
        lab.say("ready");
        for number in self.last() + 1.. {
            let record = record(number);
            let offset = Self::offset(number);
            store(self.memory, offset, &record);
            self.make_durable(offset, record.len())?;
            store(self.memory, 0, &number.to_le_bytes());
            self.make_durable(0, 8)?;
            lab.say(format!("ack {number}"));
        }
        Ok(())
    }

    fn make_durable(&self, offset: usize, length_bytes: usize) -> Result<(), Failure> {
        (self.persist)(self.memory.slice(offset, length_bytes).ok_or("outside the log")?)
    }

    fn last(&self) -> u64 {
        load(self.memory, 0, 8).try_into().map(u64::from_le_bytes).unwrap_or(0)
    }

    fn offset(number: u64) -> usize {
        4096 + usize::try_from(number % SLOTS).unwrap_or(0) * SLOT_BYTES
    }

    fn verify(&self, acknowledged: u64) -> Result<(), Failure> {
        let last = self.last();
        check(last >= acknowledged, format!("record {acknowledged} was acknowledged, the last one here is {last}"))?;
        // The oldest record may be the one that is being overwritten.
        for number in (last + 2).saturating_sub(SLOTS).max(1)..=last {
            let expected = record(number);
            let found = load(self.memory, Self::offset(number), expected.len());
            check(found == expected, format!("record {number} of {last} is torn or not there"))?;
        }
        Ok(())
    }
}

/// Returns record `number`: 40 to 1,000 bytes that no other record has.
fn record(number: u64) -> Vec<u8> {
    let length = 40 + usize::try_from(number.wrapping_mul(2_654_435_761) % 960).unwrap_or(0);
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Makes what was stored so far durable, files and folders.
fn settle() {
    rustix::fs::sync();
}

fn file_set<'a>() -> Result<(AnySet<'a>, Extent), Failure> {
    let source: Arc<dyn Source> = file("/mnt0/log")?;
    let set = set(Granularity::CacheLine);
    let memory = map(&set, source, LOG_BYTES)?;
    settle();
    Ok((set, memory))
}

fn file_log(lab: &mut Lab) -> Result<(), Failure> {
    let (set, memory) = file_set()?;
    let persist = |range: Extent| {
        // SAFETY: the range lies in the log, which is mapped.
        unsafe { set.platform().write_back(range) };
        set.platform().fence();
        Ok(())
    };
    Log { memory, persist: &persist }.boot(lab)
}

/// A writer that forgets to flush.
fn unflushed_log(lab: &mut Lab) -> Result<(), Failure> {
    let (_set, memory) = file_set()?;
    Log { memory, persist: &|_| Ok(()) }.boot(lab)
}

/// A writer that flushes, but maps a file with holes, and without `MAP_SYNC`: the blocks are not in the file's metadata.
fn sparse_log(lab: &mut Lab) -> Result<(), Failure> {
    if lab.phase() == 0 {
        fs::File::create("/mnt0/log")?.set_len(LOG_BYTES as u64)?;
        settle();
    }
    let file = fs::File::options().read(true).write(true).open("/mnt0/log")?;
    // SAFETY: a new mapping at an address that the kernel chooses.
    let memory =
        unsafe { mmap(null_mut(), LOG_BYTES, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED, &file, 0) }?;
    let memory = Extent::new(memory as usize, LOG_BYTES).ok_or("no extent")?;
    let platform = shim_linux::Linux::new();
    let persist = |range: Extent| {
        // SAFETY: the range lies in the log, which is mapped.
        unsafe { platform.write_back(range) };
        platform.fence();
        Ok(())
    };
    Log { memory, persist: &persist }.boot(lab)
}
