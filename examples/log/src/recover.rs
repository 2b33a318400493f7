//! Opening: making a log where there is none, and finding one, after whatever has happened.

use lock_api::RwLock;
use pmemset_core::error::PersistError;
use pmemset_core::{MapConfig, Observer, Platform, Set, Source};

use crate::cell::{CELL_BYTES, Cell, Content};
use crate::error::{ChangeError, OpenError};
use crate::format::{
    Geometry, RECORD_HEAD_BYTES, RecordHead, SEGMENT_HEAD_BYTES, SEGMENT_HEAD_USED_BYTES, STATE_BYTES, SegmentHead,
    State, UNIT_BYTES,
};
use crate::header::{HEADER_BYTES, Header, HeaderError, Opened};
use crate::log::{HEAD_BYTES, Head, Log, NOTES, NOTES_AT, STATE_AT, Tail};
use crate::options::{OnDamage, Options};
use crate::table::{Live, Table};

const MAGIC: [u8; 8] = *b"pmemslog";
const VERSION: u64 = 1;
const FIRST_STATE: State = State { start: 0, first: 1, durable: 0, cut: None };

/// What opening a log has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// Whether there was none, and one was made.
    pub made: bool,
    /// The sequence number of the oldest record.
    pub first: u64,
    /// The sequence number behind that of the newest record.
    pub next: u64,
    /// Whether what was behind the newest record was erased: records that a power cut has torn, that were truncated, or, with
    /// [`OnDamage::CutThere`], are damaged.
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
}

impl<'m, P: Platform, S: Source<Space = P::Space> + Clone, O: Observer<S>> Log<'m, P, S, O> {
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
        let cell = |offset| Cell::open(&set.pin(head_at)?, offset);
        let mut notes = [const { None }; NOTES];
        for (index, (note, offset)) in notes.iter_mut().zip((NOTES_AT..).step_by(CELL_BYTES)).enumerate() {
            let (cell, content) = cell(offset)?;
            if content == Content::Damaged {
                return Err(OpenError::DamagedNote { index });
            }
            *note = Some(cell);
        }
        let notes = notes.map(|note| note.unwrap_or(Cell::UNUSABLE));
        let head = Head { state: FIRST_STATE, state_cell: cell(STATE_AT)?.0, notes };
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
        let opened = header.open_with(&self.pin(self.head_at)?, 0, || self.make());
        match opened? {
            Opened::Made => self.recovered.made = true,
            Opened::Found([head_bytes, segment_bytes, ..]) => {
                let fits = |bytes: u64| {
                    usize::try_from(bytes).ok().filter(|bytes| bytes.checked_rem(alignment_bytes) == Some(0))
                };
                let refused = OpenError::SegmentBytes { segment_bytes };
                let segment_bytes = fits(segment_bytes).filter(|bytes| *bytes > SEGMENT_HEAD_BYTES).ok_or(refused)?;
                let head_bytes = fits(head_bytes).ok_or(refused)?;
                self.geometry = Geometry { head_bytes, segment_bytes };
            }
        }
        let (cell, content) = Cell::open(&self.pin(self.head_at)?, STATE_AT)?;
        let mut bytes = [0; STATE_BYTES];
        cell.load(&self.pin(self.head_at)?, &mut bytes)?;
        let state = State::from_bytes(&bytes).filter(|_| content == Content::Value).ok_or(OpenError::DamagedState)?;
        let head = self.head.get_mut();
        (head.state_cell, head.state) = (cell, state);
        let live = self.live.get_mut();
        (live.start, live.first) = (state.start, state.first);
        live.oldest = self.geometry.number(state.start);
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
        self.each_slot(|log, _, address| {
            log.erase(address, SEGMENT_HEAD_BYTES)?;
            Ok(())
        })?;
        if content == Content::Nothing {
            cell.store(&part, &FIRST_STATE.to_bytes())?;
        }
        Ok(())
    }

    /// Maps each slot of the source for as long as `act` looks at it.
    fn each_slot(&self, mut act: impl FnMut(&Self, u32, usize) -> Result<(), OpenError>) -> Result<(), OpenError> {
        let length_bytes =
            self.source.length_bytes().map_err(|cause| pmemset_core::error::MapError::Source { cause })?;
        let mut slot = 0_u32;
        while self.geometry.offset(slot).saturating_add(self.geometry.segment_bytes as u64) <= length_bytes {
            let address = self.map_slot(slot, None)?;
            let acted = act(self, slot, address);
            self.set.remove_range(address, self.geometry.segment_bytes)?;
            acted?;
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
        let mut newest = None;
        let state = self.head.read().state;
        let mut durable = state.durable;
        self.each_slot(|log, slot, address| {
            let mut bytes = [0; SEGMENT_HEAD_USED_BYTES];
            log.set.read(address, &mut bytes)?;
            let Some(head) = SegmentHead::from_bytes(&bytes).filter(|head| head.number >= oldest) else {
                return Ok(());
            };
            if !log.live.write().found(head.number, slot) {
                return Err(OpenError::TooManySegments { room });
            }
            newest = newest.max(Some(head.number));
            durable = durable.max(head.durable);
            Ok(())
        })?;
        let mut before = None;
        for number in oldest.. {
            let Some(slot) = self.live.read().found_in(number) else { break };
            let address = self.map_slot(slot, before)?;
            let mut live = self.live.write();
            live.set_place(number, address, slot);
            live.count = live.count.wrapping_add(1);
            before = Some(address);
        }
        let gap = newest.is_some_and(|newest| newest >= self.live.read().behind());
        let walk = Walk { position: state.start, sequence: state.first, durable, rest: false, gap };
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
        Ok((sum == Some(head.payload_sum)).then_some(head))
    }

    /// Looks for anything behind the good records, and for records there that were written when the first bad one was
    /// durable.
    fn look_behind(&self, walk: &mut Walk) -> Result<(), PersistError> {
        let live = self.live.read();
        let own = self.geometry.number(walk.position);
        walk.rest = walk.gap || live.behind() > own.wrapping_add(1);
        let Some((address, length_bytes)) = self.piece(&live, walk.position, u64::MAX) else { return Ok(()) };
        walk.rest |= self.is_used(address, length_bytes)?;
        if !walk.rest {
            return Ok(());
        }
        let end = self.geometry.start_of(live.behind());
        let mut position = walk.position;
        while position < end {
            let head = self.head_at(&live, position)?.filter(|head| head.sequence > walk.sequence);
            walk.durable = head.map_or(walk.durable, |head| walk.durable.max(head.durable()));
            position = self.geometry.begin(position.wrapping_add(UNIT_BYTES));
        }
        Ok(())
    }

    /// Decides what the walk has come to, makes durable what is kept, and erases the rest.
    fn settle(&mut self, walk: Walk, options: &Options) -> Result<(), OpenError> {
        let damaged = walk.gap || walk.durable >= walk.sequence;
        if damaged && options.on_damage == OnDamage::Refuse {
            return Err(OpenError::Damaged { sequence: walk.sequence });
        }
        self.make_durable(&walk)?;
        let mut head = self.head.write();
        let mut tail = self.tail.write();
        (tail.end, tail.next) = (walk.position, walk.sequence);
        if walk.rest || damaged {
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

    /// Stores again, and makes durable, what may have been in a cache only: by a program that was killed before it waited
    /// for the medium, or whose synchronisation has failed.
    fn make_durable(&self, walk: &Walk) -> Result<(), OpenError> {
        let sure = walk.durable.min(walk.sequence.wrapping_sub(1));
        let (from, newest) = {
            let live = self.live.read();
            let unsure = sure.wrapping_add(1).max(live.first);
            let from = match self.find(&live, unsure) {
                Ok((position, _)) => position,
                Err(_) => walk.position,
            };
            self.store_again(&live, from, walk.position)?;
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
