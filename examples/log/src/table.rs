//! Which segments there are: where each is mapped, and where in it a record is found quickly.

/// How many places of a segment are remembered at which a record begins.
const MARKS: usize = 16;

/// Room for one segment in a [`Table`].
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Of the segment whose number has this place: where it is mapped, and its slot.
    address: usize,
    slot: u32,
    /// Whether that segment is there.
    found: bool,
    /// Whether the slot with the number of this place is in use.
    used: bool,
    /// Whether that slot is zero, durably.
    zero: bool,
    /// The first record that begins in each sixteenth of the segment: its number, or 0, and where.
    marks: [(u64, u64); MARKS],
}

impl Entry {
    /// An entry that is free.
    pub const EMPTY: Self =
        Self { address: 0, slot: 0, found: false, used: false, zero: false, marks: [(0, 0); MARKS] };
}

/// Memory for what a log knows of its segments: as many as there are entries, 272 bytes each.
///
/// It is the caller's, or on the heap (`Table::on_heap`, feature `alloc`). It bounds the number of slots, and so the
/// length of the source, as well.
#[derive(Debug)]
pub enum Table<'m> {
    /// The caller's.
    Lent(&'m mut [Entry]),
    /// On the heap.
    #[cfg(feature = "alloc")]
    Owned(alloc::boxed::Box<[Entry]>),
}

impl<'m, const N: usize> From<&'m mut [Entry; N]> for Table<'m> {
    fn from(entries: &'m mut [Entry; N]) -> Self {
        Self::Lent(entries)
    }
}

impl Table<'_> {
    /// Returns room for `segments` segments, at least 1, on the heap.
    #[cfg(feature = "alloc")]
    #[must_use]
    pub fn on_heap(segments: usize) -> Self {
        Self::Owned(alloc::vec![Entry::EMPTY; segments.max(1)].into_boxed_slice())
    }

    fn entries(&self) -> &[Entry] {
        match self {
            Self::Lent(entries) => entries,
            #[cfg(feature = "alloc")]
            Self::Owned(entries) => entries,
        }
    }

    fn entries_mut(&mut self) -> &mut [Entry] {
        match self {
            Self::Lent(entries) => entries,
            #[cfg(feature = "alloc")]
            Self::Owned(entries) => entries,
        }
    }
}

/// The segments that are mapped, and the records in them that may be read.
#[derive(Debug)]
pub(crate) struct Live<'m> {
    table: Table<'m>,
    /// The number of the oldest segment, and how many there are.
    pub(crate) oldest: u64,
    pub(crate) count: u64,
    /// Where the oldest record begins, or would, and its sequence number.
    pub(crate) start: u64,
    pub(crate) first: u64,
    /// Where the durable records end, and the sequence number of the next one.
    pub(crate) end: u64,
    pub(crate) next: u64,
    /// How often records were truncated.
    pub(crate) cuts: u64,
}

impl<'m> Live<'m> {
    pub(crate) fn new(mut table: Table<'m>) -> Self {
        table.entries_mut().fill(Entry::EMPTY);
        Self { table, oldest: 0, count: 0, start: 0, first: 1, end: 0, next: 1, cuts: 0 }
    }

    /// Notes that slot `slot`, at `address`, holds segment `number`, one of as many from the oldest on as there is room
    /// for.
    ///
    /// Returns whether it could be.
    pub(crate) fn found(&mut self, number: u64, address: usize, slot: u32) -> bool {
        let room = self.room();
        let fits =
            number.wrapping_sub(self.oldest) < room as u64 && usize::try_from(slot).is_ok_and(|slot| slot < room);
        if fits {
            self.set_place(number, address, slot);
            self.use_slot(slot);
        }
        fits
    }

    /// Returns how many segments there is room for.
    pub(crate) fn room(&self) -> usize {
        self.table.entries().len()
    }

    /// Returns the number behind that of the newest segment.
    pub(crate) fn behind(&self) -> u64 {
        self.oldest.wrapping_add(self.count)
    }

    pub(crate) fn has(&self, number: u64) -> bool {
        number.wrapping_sub(self.oldest) < self.count
    }

    fn place(&self, number: u64) -> usize {
        let place = number.checked_rem(self.room() as u64).unwrap_or(0);
        usize::try_from(place).unwrap_or(0)
    }

    fn entry(&self, number: u64) -> Option<&Entry> {
        self.table.entries().get(self.place(number))
    }

    fn entry_mut(&mut self, number: u64) -> Option<&mut Entry> {
        let place = self.place(number);
        self.table.entries_mut().get_mut(place)
    }

    /// Returns where segment `number` is mapped.
    pub(crate) fn address(&self, number: u64) -> Option<usize> {
        self.entry(number).filter(|_| self.has(number)).map(|entry| entry.address)
    }

    /// Returns the slot of segment `number`, which opening has found.
    pub(crate) fn found_in(&self, number: u64) -> Option<u32> {
        let fits = number.wrapping_sub(self.oldest) < self.room() as u64;
        self.entry(number).filter(|entry| fits && entry.found).map(|entry| entry.slot)
    }

    /// Returns address and slot of a segment, also of one that is not, or no longer, among those there are.
    pub(crate) fn place_of(&self, number: u64) -> Option<(usize, u32)> {
        self.entry(number).map(|entry| (entry.address, entry.slot))
    }

    /// Notes where segment `number` is, before it is one of those there are.
    pub(crate) fn set_place(&mut self, number: u64, address: usize, slot: u32) {
        if let Some(entry) = self.entry_mut(number) {
            (entry.address, entry.slot, entry.marks) = (address, slot, [(0, 0); MARKS]);
            entry.found = true;
        }
    }

    /// Takes the first free slot, and says whether it is zero.
    pub(crate) fn take_slot(&mut self) -> Option<(u32, bool)> {
        let place = self.table.entries().iter().position(|entry| !entry.used)?;
        let slot = u32::try_from(place).ok()?;
        let zero = self.table.entries().get(place)?.zero;
        self.use_slot(slot);
        Some((slot, zero))
    }

    pub(crate) fn uses_slot(&self, slot: u32) -> bool {
        let place = usize::try_from(slot).unwrap_or(usize::MAX);
        self.table.entries().get(place).is_some_and(|entry| entry.used)
    }

    pub(crate) fn use_slot(&mut self, slot: u32) {
        self.set_slot(slot, true, false);
    }

    /// Frees a slot, which is zero, or may hold anything.
    pub(crate) fn free_slot(&mut self, slot: u32, zero: bool) {
        self.set_slot(slot, false, zero);
    }

    fn set_slot(&mut self, slot: u32, used: bool, zero: bool) {
        let place = usize::try_from(slot).unwrap_or(usize::MAX);
        if let Some(entry) = self.table.entries_mut().get_mut(place) {
            (entry.used, entry.zero) = (used, zero);
        }
    }

    /// Remembers that record `sequence` begins `within` bytes into the records of segment `number`, which has
    /// `data_bytes`; if it is the first there.
    pub(crate) fn mark(&mut self, number: u64, within: u64, data_bytes: u64, sequence: u64) {
        let place = mark_of(within, data_bytes);
        if let Some(mark) = self.entry_mut(number).and_then(|entry| entry.marks.get_mut(place))
            && mark.0 == 0
        {
            *mark = (sequence, within);
        }
    }

    /// Returns whether a record that begins there would be the first of its sixteenth.
    pub(crate) fn wants_mark(&self, number: u64, within: u64, data_bytes: u64) -> bool {
        let mark = self.entry(number).and_then(|entry| entry.marks.get(mark_of(within, data_bytes)));
        mark.is_some_and(|mark| mark.0 == 0)
    }

    /// Forgets the records from `within` bytes of segment `number` on.
    pub(crate) fn unmark(&mut self, number: u64, within: u64) {
        if self.has(number)
            && let Some(entry) = self.entry_mut(number)
        {
            entry.marks.iter_mut().filter(|mark| mark.1 >= within).for_each(|mark| *mark = (0, 0));
        }
    }

    /// Returns a place before which, or at which, record `sequence` begins: a segment, how far into its records, and
    /// the sequence number of the record there. `None`: the start of the log.
    pub(crate) fn hint(&self, sequence: u64) -> Option<(u64, u64, u64)> {
        let (mut low, mut high) = (self.oldest, self.behind());
        let mut best = None;
        while low < high {
            let middle = low.wrapping_add(high.wrapping_sub(low) / 2);
            // A segment in which none begins says as much as the one before it.
            let told = (low..=middle).rev().find_map(|number| Some((number, self.first_in(number)?)));
            match told {
                Some((number, first)) if first <= sequence => {
                    best = Some(number);
                    low = middle.wrapping_add(1);
                }
                Some(_) => high = middle,
                None => low = middle.wrapping_add(1),
            }
        }
        let number = best?;
        let marks = &self.entry(number)?.marks;
        let near = marks.iter().filter(|mark| mark.0 != 0 && mark.0 <= sequence).max_by_key(|mark| mark.0)?;
        Some((number, near.1, near.0))
    }

    fn first_in(&self, number: u64) -> Option<u64> {
        self.entry(number)?.marks.iter().map(|mark| mark.0).find(|sequence| *sequence != 0)
    }
}

fn mark_of(within: u64, data_bytes: u64) -> usize {
    let place = within.saturating_mul(MARKS as u64).checked_div(data_bytes).unwrap_or(0);
    usize::try_from(place).unwrap_or(0).min(MARKS.saturating_sub(1))
}
