//! Power cuts: no acknowledged record is lost, and no torn one is taken for whole.

use core::ptr::null_mut;
use std::fs;

use pmemset_core::error::MapError;
use pmemset_core::{CopyFlags, Extent, Granularity, MapConfig, PartState, PartStates, Platform, Source};
use pmemset_linux::Process;
use pmemset_log::{Options, Table};
use rustix::mm::{MapFlags, ProtFlags, mmap};

use super::state::{self, judged};
use crate::lab::{Checks, Failure, Lab, check, same};
use crate::sets::{AnySet, Handle, file, load, store};

pub(crate) const CHECKS: &[Checks] = &[
    ("cut-kill-ext4", file_log),
    ("cut-kill-xfs", file_log),
    ("cut-kill-canary-sparse", sparse_log),
    ("cut-flushed-ext4", file_log),
    ("cut-flushed-xfs", file_log),
    ("cut-flushed-devdax", device_log),
    ("cut-flushed-log", appended_log),
    ("cut-flushed-canary-no-flush", unflushed_log),
];

const LOG_BYTES: usize = 4 << 20;
const SLOT_BYTES: usize = 1024;
/// The first page holds the number of the last record.
const SLOTS: u64 = (LOG_BYTES / SLOT_BYTES - 4) as u64;

/// How a log writes its bytes: offset, bytes and the number of the record.
type Write<'a> = &'a dyn Fn(usize, &[u8], u64) -> Result<(), Failure>;

/// A ring of records in persistent memory: a record is made durable first, then its number.
struct Log<'a> {
    memory: Extent,
    write: Write<'a>,
}

impl Log<'_> {
    /// Runs one boot: looks at what the last cut has left, then writes until the next.
    fn boot(&self, lab: &mut Lab) -> Result<(), Failure> {
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
            (self.write)(Self::offset(number), &record(number), number)?;
            (self.write)(0, &number.to_le_bytes(), number)?;
            lab.say(format!("ack {number}"));
        }
        Ok(())
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

/// Maps a log; after a cut, its record must tell of the interruption, and of nothing worse.
fn mapped<'a>(lab: &Lab, source: impl Source<Space = Process> + 'static) -> Result<(AnySet<'a>, Extent), Failure> {
    let source: Handle = judged(source)?;
    let config = MapConfig::new().length(LOG_BYTES);
    if lab.phase() > 0 {
        let set = state::set(PartStates::DEFAULT);
        let refused = set.map(source.clone(), &config);
        let Err(MapError::UndesirablePartState { verdict }) = refused else {
            return Err(format!("after a power cut: {refused:?}").into());
        };
        same("shutdown state after a power cut", verdict.state, PartState::OkButInterrupted)?;
    }
    let set = state::set(PartStates::DEFAULT | PartStates::OK_BUT_INTERRUPTED);
    let memory = set.map(source, &config)?.extent();
    settle();
    Ok((set, memory))
}

/// A writer that does it right, in all the ways that there are.
fn right_log(lab: &mut Lab, source: impl Source<Space = Process> + 'static) -> Result<(), Failure> {
    let (set, memory) = mapped(lab, source)?;
    let write = |offset: usize, bytes: &[u8], number: u64| -> Result<(), Failure> {
        let address = memory.start() + offset;
        let flags = match number % 5 {
            0 => CopyFlags::empty(),
            1 => CopyFlags::NONTEMPORAL,
            2 => CopyFlags::TEMPORAL,
            3 => CopyFlags::NOFLUSH,
            _ => {
                store(memory, offset, bytes);
                return Ok(set.persist(address, bytes.len())?);
            }
        };
        set.write_with(address, bytes, flags)?;
        if flags.contains(CopyFlags::NOFLUSH) { Ok(set.persist(address, bytes.len())?) } else { Ok(()) }
    };
    Log { memory, write: &write }.boot(lab)
}

fn file_log(lab: &mut Lab) -> Result<(), Failure> {
    right_log(lab, file("/mnt0/log")?)
}

/// The record of the device's shutdown state is kept in a file, on the other region.
fn device_log(lab: &mut Lab) -> Result<(), Failure> {
    right_log(lab, super::devdax::device(1)?)
}

/// How many records [`appended_log`] keeps.
const KEPT: u64 = 300;

/// The write-ahead log of `examples/log` on a device: record by record, over the ends of segments, the oldest dropped.
fn appended_log(lab: &mut Lab) -> Result<(), Failure> {
    let payload = |sequence: u64| record(sequence).repeat(16);
    let source: Handle = super::devdax::device(0)?;
    let set = crate::sets::set(Granularity::CacheLine);
    let log = match pmemset_log::Log::open(set, source, &Options::new(), Table::on_heap(8)) {
        Err(error) if lab.phase() > 0 => {
            lab.say(format!("lost {error}"));
            return Ok(());
        }
        opened => opened?,
    };
    let recovered = log.recovered();
    lab.say(format!("note {recovered:?}"));
    let verify = || -> Result<(), Failure> {
        check(recovered.made == (lab.phase() == 0), "a log is made once")?;
        let (first, next, acknowledged) = (log.first(), log.next(), lab.acknowledged());
        check(next > acknowledged, format!("record {acknowledged} was acknowledged, {next} is next"))?;
        check(first <= next.saturating_sub(KEPT).max(1), format!("{first} is the first"))?;
        let mut expected = first;
        for record in log.iter(first) {
            let record = record?;
            same("sequence", record.sequence, expected)?;
            check(record.payload == payload(expected), format!("record {expected} is what was appended"))?;
            expected += 1;
        }
        same("behind the last record", expected, next)
    };
    if let Err(reason) = verify() {
        lab.say(format!("lost {reason}"));
        return Ok(());
    }
    if lab.is_last() {
        return Ok(());
    }
    lab.say("ready");
    loop {
        let sequence = log.append(&payload(log.next()))?;
        lab.say(format!("ack {sequence}"));
        if sequence % 16 == 0 && sequence > KEPT {
            log.drop_before(sequence - KEPT)?;
        }
    }
}

/// A writer that forgets to flush.
fn unflushed_log(lab: &mut Lab) -> Result<(), Failure> {
    let (_set, memory) = mapped(lab, file("/mnt0/log")?)?;
    let write = |offset: usize, bytes: &[u8], _: u64| {
        store(memory, offset, bytes);
        Ok(())
    };
    Log { memory, write: &write }.boot(lab)
}

/// A writer that flushes, but maps a file with holes, and without `MAP_SYNC`: the blocks are not in the file's
/// metadata.
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
    let platform = pmemset_linux::Linux::new();
    let write = |offset: usize, bytes: &[u8], _: u64| {
        store(memory, offset, bytes);
        let range = memory.slice(offset, bytes.len()).ok_or("outside the log")?;
        // SAFETY: the range lies in the log, which is mapped.
        unsafe { platform.write_back(range) };
        platform.fence();
        Ok(())
    };
    Log { memory, write: &write }.boot(lab)
}
