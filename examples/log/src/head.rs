//! The head of a log: its header, state and notes, each of which is there twice; made where there is none.

use lock_api::RawRwLock;
use pmemset_core::error::{MapError, PersistError};
use pmemset_core::{MapConfig, Observer, Part, Platform, SetRef, Source};

use crate::cell::{Cell, Content};
use crate::error::OpenError;
use crate::format::{
    FIRST_STATE, Geometry, SEGMENT_HEAD_BYTES, SEGMENT_HEAD_USED_BYTES, STATE_BYTES, SegmentHead, State,
};
use crate::header::{HEADER_BYTES, Header, HeaderError, Opened, is_torn};
use crate::log::{HEAD_BYTES, HEADER_AT, Log, NOTES, STATE_AT, note_at};
use crate::mistake::Mistake;
use crate::options::Options;

const MAGIC: [u8; 8] = *b"pmemslog";
const VERSION: u64 = 3;

impl<P: Platform<Lock: RawRwLock>, S: Source<Space = P::Space> + Clone, O: Observer<S>> Log<'_, P, S, O> {
    /// Returns the header of a log of this geometry.
    fn header(&self) -> Header {
        let layout = [self.geometry.head_bytes as u64, self.geometry.segment_bytes as u64, 0, 0, 0];
        Header { magic: MAGIC, version: VERSION, layout }
    }

    /// Finds the header, or makes it, and the state that goes with it.
    pub(crate) fn open_head(&mut self, alignment_bytes: usize, options: &Options) -> Result<(), OpenError> {
        let header = self.header();
        let part = self.pin(self.head_at)?;
        let opened = if let Some(second) = second_header(&part)? {
            if second.version == VERSION {
                Ok(Opened::Found(second.layout))
            } else {
                Err(HeaderError::Version { found: second.version }.into())
            }
        } else if self.makes(Mistake::HeaderFirst) {
            let opened = header.open(&part, HEADER_AT[0]).map_err(OpenError::from);
            if opened == Ok(Opened::Made) {
                self.make(alignment_bytes, options)?;
            }
            opened
        } else {
            header.open_with(&part, HEADER_AT[0], || self.make(alignment_bytes, options))
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
        live.oldest = self.geometry.oldest(&state);
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
        for (index, note) in head.notes.iter_mut().enumerate() {
            let (cell, content) = Cell::open(&part, note_at(index))?;
            if content == Content::Damaged {
                return Err(OpenError::DamagedNote { index });
            }
            *note = cell;
        }
        Ok(())
    }

    /// Prepares the source for a log: no segments of an older one, the first state, and the second copy of the header.
    fn make(&self, alignment_bytes: usize, options: &Options) -> Result<(), OpenError> {
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
        for index in 0..NOTES {
            if Cell::open(&part, note_at(index))?.1 != Content::Nothing {
                return Err(HeaderError::NotOurs.into());
            }
        }
        let header = self.header().to_bytes();
        let mut found = [0; HEADER_BYTES];
        part.read(HEADER_AT[1], &mut found)?;
        if !is_torn(&found, &header) {
            return Err(HeaderError::NotOurs.into());
        }
        if !options.start_over && !self.makes(Mistake::RemainsUnseen) {
            self.refuse_remains(alignment_bytes)?;
        }
        self.each_slot(|log, _, address| {
            log.erase(address, SEGMENT_HEAD_BYTES)?;
            Ok(false)
        })?;
        match content {
            Content::Value => cell.refresh(&part)?,
            _ => cell.store(&part, &FIRST_STATE.to_bytes()).map(|_| ())?,
        }
        part.write(HEADER_AT[1], &header)?;
        Ok(())
    }

    /// Looks for segments of a log whose head is not there any more. How long they were is not known: they began at
    /// some page.
    fn refuse_remains(&self, alignment_bytes: usize) -> Result<(), OpenError> {
        let length_bytes = self.source.length_bytes().map_err(|cause| MapError::Source { cause })?;
        let mut offset = self.geometry.head_bytes as u64;
        loop {
            let left = usize::try_from(length_bytes.saturating_sub(offset)).unwrap_or(usize::MAX);
            let pages = left.min(self.geometry.segment_bytes).checked_div(alignment_bytes).unwrap_or(0);
            if pages == 0 {
                return Ok(());
            }
            let piece = pages.saturating_mul(alignment_bytes);
            let mapped = self.set.map(self.source.clone(), &MapConfig::new().offset(offset).length(piece))?;
            let address = mapped.extent().start();
            drop(mapped);
            let mut found = None;
            for within in (0..piece).step_by(alignment_bytes) {
                let mut bytes = [0; SEGMENT_HEAD_USED_BYTES];
                self.set.read(address.saturating_add(within), &mut bytes)?;
                if SegmentHead::front(&bytes).is_some() {
                    found = Some(offset.saturating_add(within as u64));
                    break;
                }
            }
            self.set.remove_range(address, piece)?;
            if let Some(offset) = found {
                return Err(OpenError::HeadLost { offset });
            }
            offset = offset.saturating_add(piece as u64);
        }
    }

    /// Stores the header again, both copies: what was read may have been in the cache only, and one of them may be
    /// lost.
    pub(crate) fn refresh_header<R: SetRef>(&self, part: &Part<R>) -> Result<(), PersistError> {
        let header = self.header().to_bytes();
        HEADER_AT.iter().try_for_each(|copy| part.write(*copy, &header))
    }
}

/// Returns the second copy of a log's header, if the first was made zero, or was torn.
fn second_header<R: SetRef>(part: &Part<R>) -> Result<Option<Header>, PersistError> {
    let [mut first, mut second] = [[0; HEADER_BYTES]; 2];
    part.read(HEADER_AT[0], &mut first)?;
    part.read(HEADER_AT[1], &mut second)?;
    let header = Header::from_bytes(&second).filter(|header| header.magic == MAGIC);
    Ok(header.filter(|header| first != second && is_torn(&first, &header.to_bytes())))
}
