//! What opening finds: the records that are whole, and whether what comes behind them was torn or is damaged.

use lock_api::RawRwLock;
use pmemset_core::error::PersistError;
use pmemset_core::{Observer, Platform, Source};

use crate::error::OpenError;
use crate::format::{
    RECORD_HEAD_BYTES, RecordHead, SEGMENT_HEAD_BYTES, SEGMENT_HEAD_USED_BYTES, SegmentHead, UNIT_BYTES,
};
use crate::log::Log;
use crate::mistake::Mistake;
use crate::table::Live;

/// What the segments and the records say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Walk {
    /// Where the good records end, and the number of the next one.
    pub(crate) position: u64,
    pub(crate) sequence: u64,
    /// The last record that something says was durable.
    pub(crate) durable: u64,
    /// Whether there is something behind the good records.
    pub(crate) rest: bool,
    /// Whether a segment is missing that must have been there.
    pub(crate) gap: bool,
    /// The number behind that of the newest segment that was found; 0 where there is none.
    pub(crate) strays: u64,
    /// Whether a slot begins with what is neither the head of a segment nor zeros.
    pub(crate) broken: bool,
}

/// The head of a segment is torn or damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Broken;

impl<P: Platform<Lock: RawRwLock>, S: Source<Space = P::Space> + Clone, O: Observer<S>> Log<'_, P, S, O> {
    /// Walks along the good records, and looks at what comes behind.
    pub(crate) fn walk(&self, mut walk: Walk, cut: Option<u64>) -> Result<Walk, OpenError> {
        while cut.is_none_or(|sequence| walk.sequence < sequence) {
            let head = self.good_at(walk.position, walk.sequence)?;
            let Some(head) = head else { break };
            let number = self.geometry.number(walk.position);
            let within = self.geometry.within(walk.position);
            self.live.write().mark(number, within, self.geometry.data_bytes(), walk.sequence);
            walk.durable = walk.durable.max(head.durable());
            walk.position = self.geometry.behind(walk.position, head.length_bytes);
            walk.sequence = walk.sequence.wrapping_add(1);
        }
        {
            let mut live = self.live.write();
            (live.end, live.next) = (walk.position, walk.sequence);
        }
        if cut == Some(walk.sequence) {
            // What comes behind has been truncated.
            (walk.rest, walk.gap, walk.durable) = (true, false, walk.sequence.wrapping_sub(1));
            return Ok(walk);
        }
        self.look_behind(&mut walk)?;
        self.look_into_broken(&mut walk)?;
        Ok(walk)
    }

    /// Returns the head of record `sequence`, if it is at `position`, and whole.
    fn good_at(&self, position: u64, sequence: u64) -> Result<Option<RecordHead>, PersistError> {
        let live = self.live.read();
        let Some(head) = self.head_at(&live, position)?.filter(|head| head.sequence == sequence) else {
            return Ok(None);
        };
        let payload_at = position.wrapping_add(RECORD_HEAD_BYTES as u64);
        let sum = self.sum_at(&live, payload_at, head.length_bytes.into())?;
        Ok((sum == Some(head.payload_sum) || self.makes(Mistake::PayloadUnchecked)).then_some(head))
    }

    /// Looks for anything behind the good records, and for records there that were written when the first bad one was
    /// durable.
    fn look_behind(&self, walk: &mut Walk) -> Result<(), PersistError> {
        let live = self.live.read();
        let own = self.geometry.number(walk.position);
        walk.gap |= self.is_overtaken(&live, own)? && !self.makes(Mistake::OvertakenUnseen);
        walk.rest = walk.gap || walk.broken || walk.strays > live.behind() || live.behind() > own.wrapping_add(1);
        let Some((address, length_bytes)) = self.piece(&live, walk.position, u64::MAX) else { return Ok(()) };
        walk.rest |= self.is_used(address, length_bytes)?;
        if !walk.rest {
            return Ok(());
        }
        // As long as heads are whole, where the next one is need not be searched: a payload may hold what looks like
        // one.
        let (mut position, mut sequence) = (walk.position, walk.sequence);
        while let Some(head) = self.head_at(&live, position)?.filter(|head| head.sequence == sequence) {
            walk.durable = walk.durable.max(head.durable());
            position = self.geometry.behind(position, head.length_bytes);
            sequence = sequence.wrapping_add(1);
        }
        let own = self.geometry.number(position);
        for number in own..live.behind() {
            let from = if number == own { position } else { self.geometry.start_of(number) };
            let Some((address, length_bytes)) = self.piece(&live, from, u64::MAX) else { continue };
            self.look_for_heads(walk, number, address, length_bytes)?;
        }
        Ok(())
    }

    /// Returns whether segment `number` does not say that there is the next one, although something is stored there, or
    /// another one follows: the mark is durable before, so this is an older copy of the segment.
    fn is_overtaken(&self, live: &Live<'_>, number: u64) -> Result<bool, PersistError> {
        let (next, behind) = (number.wrapping_add(1), live.behind());
        let Some(address) = live.address(number).filter(|_| next < behind) else { return Ok(false) };
        let is_unmarked = matches!(self.segment_at(address)?, Ok(Some(SegmentHead { next: None, .. })));
        match self.piece(live, self.geometry.start_of(next), u64::MAX).filter(|_| is_unmarked) {
            Some((address, length_bytes)) => Ok(next.wrapping_add(1) < behind || self.is_used(address, length_bytes)?),
            None => Ok(false),
        }
    }

    /// Returns the head of the segment at `address`, or that there is none.
    pub(crate) fn segment_at(&self, address: usize) -> Result<Result<Option<SegmentHead>, Broken>, PersistError> {
        let mut bytes = [0; SEGMENT_HEAD_USED_BYTES];
        self.set.read(address, &mut bytes)?;
        Ok(match SegmentHead::from_bytes(&bytes) {
            None if bytes != [0; SEGMENT_HEAD_USED_BYTES] => Err(Broken),
            head => Ok(head),
        })
    }

    /// Looks for records of the next segment where the head of a segment is broken: it was torn if there are none,
    /// since it is durable before them.
    fn look_into_broken(&self, walk: &mut Walk) -> Result<(), OpenError> {
        if !walk.broken {
            return Ok(());
        }
        let number = self.live.read().behind();
        self.each_slot(|log, _, address| {
            if log.segment_at(address)? == Err(Broken) {
                let length_bytes = log.geometry.segment_bytes.saturating_sub(SEGMENT_HEAD_BYTES);
                log.look_for_heads(walk, number, address.saturating_add(SEGMENT_HEAD_BYTES), length_bytes)?;
            }
            Ok(false)
        })
    }

    /// Looks for heads of later records, at every unit where one could begin.
    fn look_for_heads(
        &self,
        walk: &mut Walk,
        number: u64,
        address: usize,
        length_bytes: usize,
    ) -> Result<(), PersistError> {
        // What was read before, and may be the front of a head.
        let mut window = [0; RECORD_HEAD_BYTES];
        self.chunks(address, length_bytes, |_, bytes| {
            for unit in bytes.as_chunks::<UNIT_BYTES>().0 {
                window.copy_within(UNIT_BYTES.., 0);
                if let Some(last) = window.last_chunk_mut() {
                    *last = *unit;
                }
                // No head without a number in its middle.
                if window.as_chunks::<UNIT_BYTES>().0.get(1).is_some_and(|number| *number == [0; UNIT_BYTES]) {
                    continue;
                }
                let head = RecordHead::from_bytes(&window, number).filter(|head| head.sequence > walk.sequence);
                walk.durable = head.map_or(walk.durable, |head| walk.durable.max(head.durable()));
            }
            Ok(())
        })
    }
}
