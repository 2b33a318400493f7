//! Opening: making a log where there is none, and finding one, after whatever has happened.

use lock_api::RawRwLock;
use lock_api::RwLock;
use pmemset_core::error::{MapError, PersistError};
use pmemset_core::{MapConfig, Observer, Platform, Set, Source};

use crate::cell::{CELL_BYTES, Cell, Content};
use crate::error::{ChangeError, OpenError, ReadError};
use crate::format::{
    Geometry, RECORD_HEAD_BYTES, RecordHead, SEGMENT_HEAD_BYTES, SEGMENT_HEAD_USED_BYTES, STATE_BYTES, SegmentHead,
    State, UNIT_BYTES,
};
use crate::header::{HEADER_BYTES, Header, HeaderError, Opened};
use crate::log::{HEAD_BYTES, Head, Log, NOTES, NOTES_AT, STATE_AT, Tail};
use crate::mistake::Mistake;
use crate::options::{OnDamage, Options};
use crate::table::{Live, Table};

const MAGIC: [u8; 8] = *b"pmemslog";
const VERSION: u64 = 1;
const FIRST_STATE: State = State { start: 0, first: 1, durable: 0, cut: None };

fn notes_at() -> impl Iterator<Item = usize> {
    (NOTES_AT..).step_by(CELL_BYTES).take(NOTES)
}

/// What opening a log has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// Whether there was none, and one was made.
    pub made: bool,
    /// The sequence number of the oldest record.
    pub first: u64,
    /// The sequence number behind that of the newest record.
    pub next: u64,
    /// Whether what was behind the newest record was erased: records that a power cut has torn, that were truncated,
    /// or, with [`OnDamage::CutThere`], are damaged.
    pub erased: bool,
    /// The damaged record behind the newest one, with [`OnDamage::CutThere`].
    pub damaged: Option<u64>,
}

/// What the segments and the records say.
#[derive(Clone, Copy, Debug)]
struct Walk {
    /// Where the good records end, and the number of the next one.
    position: u64,
    sequence: u64,
    /// The last record that something says was durable.
    durable: u64,
    /// Whether there is something behind the good records.
    rest: bool,
    /// Whether the head of a segment is missing that must have been there.
    gap: bool,
    /// The number behind that of the newest segment that was found.
    strays: u64,
    /// Whether a slot begins with what is neither the head of a segment nor zeros.
    broken: bool,
}

/// The head of a segment is torn or damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Broken;

impl<'m, P: Platform<Lock: RawRwLock>, S: Source<Space = P::Space> + Clone, O: Observer<S>> Log<'m, P, S, O> {
    /// Opens the log in `source`, or makes one where the source is empty; what it finds is durable when this returns.
    ///
    /// The set is empty, and has room for one segment more than `table`. Reads all records, and checks them.
    ///
    /// # Errors
    ///
    /// See [`OpenError`]. A log that is refused as damaged is left as it was.
    pub fn open(
        set: Set<'m, P, S, O>,
        source: S,
        options: &Options,
        table: impl Into<Table<'m>>,
    ) -> Result<Self, OpenError> {
        let alignment_bytes = source.alignment_bytes().max(set.platform().page_size_bytes());
        let round_up = |bytes: usize| bytes.checked_next_multiple_of(alignment_bytes).unwrap_or(usize::MAX);
        let head_bytes = round_up(HEAD_BYTES);
        let segment_bytes = round_up(options.segment_bytes.max(2 * SEGMENT_HEAD_BYTES));
        let geometry = Geometry { head_bytes, segment_bytes };
        let head_at = set.map(source.clone(), &MapConfig::new().length(head_bytes))?.extent();
        let head = Head { state: FIRST_STATE, state_cell: Cell::NOWHERE, notes: [Cell::NOWHERE; NOTES] };
        let recovered = Recovered { made: false, first: 1, next: 1, erased: false, damaged: None };
        let mut log = Self {
            set,
            source,
            geometry,
            head_at,
            recovered,
            head: RwLock::new(head),
            commit: RwLock::new(()),
            tail: RwLock::new(Tail { end: 0, next: 1, stop: None }),
            live: RwLock::new(Live::new(table.into())),
            #[cfg(test)]
            mistake: options.mistake,
        };
        log.open_head(alignment_bytes)?;
        let walk = log.find_all()?;
        log.settle(walk, options)?;
        Ok(log)
    }

    /// Finds the header, or makes it, and the state that goes with it.
    fn open_head(&mut self, alignment_bytes: usize) -> Result<(), OpenError> {
        let header = Header {
            magic: MAGIC,
            version: VERSION,
            layout: [self.geometry.head_bytes as u64, self.geometry.segment_bytes as u64, 0, 0, 0],
        };
        let part = self.pin(self.head_at)?;
        let opened = if self.makes(Mistake::HeaderFirst) {
            let opened = header.open(&part, 0).map_err(OpenError::from);
            if opened == Ok(Opened::Made) {
                self.make()?;
            }
            opened
        } else {
            header.open_with(&part, 0, || self.make())
        };
        drop(part);
        match opened? {
            Opened::Made => self.recovered.made = true,
            Opened::Found([head_bytes, segment_bytes, ..]) => {
                let fits = |bytes: u64| {
                    usize::try_from(bytes).ok().filter(|bytes| bytes.checked_rem(alignment_bytes) == Some(0))
                };
                let refused = OpenError::SegmentBytes { segment_bytes };
                let segment_bytes = fits(segment_bytes).filter(|bytes| *bytes > SEGMENT_HEAD_BYTES).ok_or(refused)?;
                let head_bytes = fits(head_bytes).filter(|bytes| *bytes >= HEAD_BYTES).ok_or(refused)?;
                self.geometry = Geometry { head_bytes, segment_bytes };
            }
        }
        self.open_cells()?;
        let state = self.head.get_mut().state;
        let live = self.live.get_mut();
        (live.start, live.first) = (state.start, state.first);
        live.oldest = self.geometry.number(state.start);
        Ok(())
    }

    /// Finds the state and the notes.
    fn open_cells(&mut self) -> Result<(), OpenError> {
        let part = self.set.pin(self.head_at).map_err(PersistError::from)?;
        let head = self.head.get_mut();
        let mut bytes = [0; STATE_BYTES];
        let (cell, content) = Cell::open(&part, STATE_AT)?;
        cell.load(&part, &mut bytes)?;
        let state = State::from_bytes(&bytes).filter(|state| content == Content::Value && self.geometry.allows(state));
        let state = state.ok_or(OpenError::DamagedState)?;
        (head.state_cell, head.state) = (cell, state);
        for (index, (note, offset)) in head.notes.iter_mut().zip(notes_at()).enumerate() {
            let (cell, content) = Cell::open(&part, offset)?;
            if content == Content::Damaged {
                return Err(OpenError::DamagedNote { index });
            }
            *note = cell;
        }
        Ok(())
    }

    /// Prepares the source for a log: no segments of an older one, and the first state.
    fn make(&self) -> Result<(), OpenError> {
        let part = self.pin(self.head_at)?;
        let (mut cell, content) = Cell::open(&part, STATE_AT)?;
        let mut bytes = [0; STATE_BYTES];
        cell.load(&part, &mut bytes)?;
        match content {
            Content::Nothing => {}
            Content::Value if bytes == FIRST_STATE.to_bytes() => {}
            // A log has been used: its header was not torn while it was made.
            _ => return Err(HeaderError::NotOurs.into()),
        }
        for offset in notes_at() {
            if Cell::open(&part, offset)?.1 != Content::Nothing {
                return Err(HeaderError::NotOurs.into());
            }
        }
        self.each_slot(|log, _, address| {
            log.erase(address, SEGMENT_HEAD_BYTES)?;
            Ok(false)
        })?;
        match content {
            Content::Value => cell.refresh(&part)?,
            _ => cell.store(&part, &FIRST_STATE.to_bytes()).map(|_| ())?,
        }
        Ok(())
    }

    /// Maps each slot of the source that is not in use, and unmaps it again where `act` does not want to keep it.
    fn each_slot(&self, mut act: impl FnMut(&Self, u32, usize) -> Result<bool, OpenError>) -> Result<(), OpenError> {
        let length_bytes = self.source.length_bytes().map_err(|cause| MapError::Source { cause })?;
        let (mut slot, mut kept) = (0_u32, None);
        while self.geometry.offset(slot).saturating_add(self.geometry.segment_bytes as u64) <= length_bytes {
            if !self.live.read().uses_slot(slot) {
                let address = self.map_slot(slot, kept)?;
                if act(self, slot, address)? {
                    kept = Some(address);
                } else {
                    self.set.remove_range(address, self.geometry.segment_bytes)?;
                }
            }
            slot = slot.wrapping_add(1);
        }
        Ok(())
    }

    /// Maps the segments of the log, and walks along its records.
    fn find_all(&self) -> Result<Walk, OpenError> {
        let (oldest, room) = {
            let live = self.live.read();
            (live.oldest, live.room())
        };
        let (mut newest, mut broken) = (None, false);
        let state = self.head.read().state;
        let mut durable = state.durable;
        self.each_slot(|log, slot, address| {
            let head = log.segment_at(address)?;
            broken |= head == Err(Broken);
            let Some(SegmentHead { number, durable: then }) = head.ok().flatten().filter(|head| head.number >= oldest)
            else {
                return Ok(false);
            };
            let mut live = log.live.write();
            if !live.found(number, slot) {
                return Err(OpenError::TooManySegments { room });
            }
            newest = newest.max(Some(number));
            durable = durable.max(then);
            let next = number == live.behind();
            if next {
                live.set_place(number, address, slot);
                live.count = live.count.wrapping_add(1);
            }
            Ok(next)
        })?;
        // Those whose slots are not in their order.
        let behind = self.live.read().behind();
        for number in behind.. {
            let Some(slot) = self.live.read().found_in(number) else { break };
            let before = self.live.read().address(number.wrapping_sub(1));
            let address = self.map_slot(slot, before)?;
            let mut live = self.live.write();
            live.set_place(number, address, slot);
            live.count = live.count.wrapping_add(1);
        }
        let behind = self.live.read().behind();
        let gap = newest.is_some_and(|newest| newest >= behind);
        let strays = newest.map_or(behind, |newest| newest.wrapping_add(1));
        let walk = Walk { position: state.start, sequence: state.first, durable, rest: false, gap, strays, broken };
        self.walk(walk, state.cut)
    }

    /// Walks along the good records, and looks at what comes behind.
    fn walk(&self, mut walk: Walk, cut: Option<(u64, u64)>) -> Result<Walk, OpenError> {
        while cut.is_none_or(|(_, sequence)| walk.sequence < sequence) {
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
        if cut.is_some_and(|(_, sequence)| walk.sequence == sequence) {
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
        walk.rest = walk.gap || walk.broken || live.behind() > own.wrapping_add(1);
        let Some((address, length_bytes)) = self.piece(&live, walk.position, u64::MAX) else { return Ok(()) };
        walk.rest |= self.is_used(address, length_bytes)?;
        if !walk.rest {
            return Ok(());
        }
        // As long as heads are whole, where the next one is need not be searched: a payload may hold what looks like one.
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

    /// Returns the head of the segment at `address`, or that there is none.
    fn segment_at(&self, address: usize) -> Result<Result<Option<SegmentHead>, Broken>, PersistError> {
        let mut bytes = [0; SEGMENT_HEAD_USED_BYTES];
        self.set.read(address, &mut bytes)?;
        Ok(match SegmentHead::from_bytes(&bytes) {
            None if bytes != [0; SEGMENT_HEAD_USED_BYTES] => Err(Broken),
            head => Ok(head),
        })
    }

    /// Looks for records of the next segment where the head of a segment is broken: it was torn if there are none, since
    /// it is durable before them.
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

    /// Decides what the walk has come to, makes durable what is kept, and erases the rest.
    fn settle(&mut self, walk: Walk, options: &Options) -> Result<(), OpenError> {
        let damaged = walk.gap || walk.durable >= walk.sequence;
        if damaged && options.on_damage == OnDamage::Refuse {
            return Err(OpenError::Damaged { sequence: walk.sequence });
        }
        self.make_durable(&walk)?;
        self.erase_strays(&walk)?;
        let mut head = self.head.write();
        let mut tail = self.tail.write();
        (tail.end, tail.next) = (walk.position, walk.sequence);
        if (walk.rest || damaged) && !self.makes(Mistake::RemainsLeft) {
            self.cut(&mut head, &mut tail, walk.position, walk.sequence).map_err(|error| match error {
                ChangeError::Remove(error) => OpenError::Remove(error),
                ChangeError::Stopped(stop) => OpenError::Failed(stop.cause),
                _ => OpenError::DamagedState,
            })?;
        }
        let (first, made) = (head.state.first, self.recovered.made);
        drop((head, tail));
        let damaged = damaged.then_some(walk.sequence);
        self.recovered = Recovered { made, first, next: walk.sequence, erased: walk.rest, damaged };
        Ok(())
    }

    /// Erases the heads of segments that come behind one that is missing, and broken ones. A power cut in the middle finds
    /// that they are to go.
    fn erase_strays(&self, walk: &Walk) -> Result<(), OpenError> {
        let behind = self.live.read().behind();
        if walk.strays <= behind && !walk.broken || self.makes(Mistake::StraysLeft) {
            return Ok(());
        }
        let mut head = self.head.write();
        let (durable, cut) = (walk.sequence.wrapping_sub(1), Some((walk.position, walk.sequence)));
        let state = State { durable, cut, ..head.state };
        self.keep(&mut head, state)?;
        if walk.broken {
            self.each_slot(|log, _, address| {
                if log.segment_at(address)? == Err(Broken) {
                    log.erase(address, SEGMENT_HEAD_BYTES)?;
                }
                Ok(false)
            })?;
        }
        for number in behind..walk.strays {
            let Some(slot) = self.live.read().found_in(number) else { continue };
            let address = self.map_slot(slot, None)?;
            self.erase(address, SEGMENT_HEAD_BYTES)?;
            self.set.remove_range(address, self.geometry.segment_bytes)?;
            self.live.write().free_slot(slot, false);
        }
        Ok(())
    }

    /// Stores again, and makes durable, what may have been in a cache only: by a program that was killed before it
    /// waited for the medium, or whose synchronisation has failed.
    fn make_durable(&self, walk: &Walk) -> Result<(), OpenError> {
        if self.makes(Mistake::FoundNotDurable) {
            return Ok(());
        }
        let sure = walk.durable.min(walk.sequence.wrapping_sub(1));
        let (from, newest) = {
            let live = self.live.read();
            let unsure = sure.wrapping_add(1).max(live.first);
            let from = match self.find(&live, unsure) {
                Ok((position, _)) => position,
                Err(ReadError::Failed(error)) => return Err(error.into()),
                Err(ReadError::Damaged { sequence }) => return Err(OpenError::Damaged { sequence }),
                Err(_) => walk.position,
            };
            if !self.makes(Mistake::FoundNotStored) {
                self.store_again(&live, from, walk.position)?;
            }
            (from, live.behind())
        };
        for number in self.geometry.number(from)..newest {
            let Some(address) = self.live.read().address(number) else { continue };
            let mut bytes = [0; SEGMENT_HEAD_USED_BYTES];
            self.set.read(address, &mut bytes)?;
            self.set.write(address, &bytes)?;
        }
        self.persist(from, walk.position)?;
        let head = self.head.read();
        let part = self.pin(self.head_at)?;
        let mut header = [0; HEADER_BYTES];
        part.read(0, &mut header)?;
        part.write(0, &header)?;
        head.state_cell.refresh(&part)?;
        for note in &head.notes {
            note.refresh(&part)?;
        }
        Ok(())
    }
}
