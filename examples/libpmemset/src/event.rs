//! Events as C sees them.

use core::ffi::{c_char, c_int, c_uint, c_void};

use pmemset_core::{Answer, DeviceId, Event, Extent, Observer, ShutdownRecord};

use crate::host::{self, Pmem2Source, Source, SourceHandle};
use crate::set::Pmemset;

/// `pmemset_event_callback`.
pub type Callback = unsafe extern "C" fn(*mut Pmemset, *mut Context, *mut c_void) -> c_int;

/// `struct pmemset_event_context`.
#[repr(C)]
pub struct Context {
    kind: c_uint,
    data: Data,
}

/// Its union: `char _data[64]` and a structure for each kind.
#[repr(C)]
#[derive(Clone, Copy)]
union Data {
    bytes: [c_char; 64],
    copy: Copied,
    set: Filled,
    range: Range,
    part_add: PartAdd,
    sds_update: Pair<Sds>,
    badblock: Pair<BadBlock>,
    source: *mut Source,
}

/// `struct pmemset_event_copy`, `_move`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Copied {
    source: *mut c_void,
    dest: *mut c_void,
    length: usize,
    flags: c_uint,
}

/// `struct pmemset_event_set`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Filled {
    dest: *mut c_void,
    value: c_int,
    length: usize,
    flags: c_uint,
}

/// `struct pmemset_event_flush`, `_persist`, `_remove_range`, `_part_remove`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Range {
    address: *mut c_void,
    length: usize,
}

impl From<Extent> for Range {
    fn from(range: Extent) -> Self {
        Self { address: pointer(range), length: range.length_bytes() }
    }
}

/// `struct pmemset_event_part_add`.
#[repr(C)]
#[derive(Clone, Copy)]
struct PartAdd {
    range: Range,
    source: *mut Pmem2Source,
}

/// `struct pmemset_event_sds_update`, `_badblock`.
#[repr(C)]
struct Pair<T> {
    what: *mut T,
    source: *mut Source,
}

impl<T> Clone for Pair<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Pair<T> {}

/// `struct pmemset_badblock`.
#[repr(C)]
pub struct BadBlock {
    pub(crate) offset: usize,
    pub(crate) length: usize,
}

/// `struct pmemset_sds`.
#[repr(C)]
pub struct Sds {
    id: [u8; DeviceId::BYTES_MAX + 2],
    count: u64,
    references: c_int,
}

const COUNT_AT: usize = 520;
const REFERENCES_AT: usize = 528;

impl Sds {
    /// Returns the record: on 64-bit processors its bytes are the same.
    pub(crate) fn record(&self) -> ShutdownRecord {
        let mut bytes = [0; ShutdownRecord::BYTES];
        let fields =
            [(0, &self.id[..]), (COUNT_AT, &self.count.to_le_bytes()), (REFERENCES_AT, &self.references.to_le_bytes())];
        for (at, field) in fields {
            bytes.iter_mut().skip(at).zip(field).for_each(|(to, from)| *to = *from);
        }
        ShutdownRecord::from_bytes(&bytes)
    }
}

impl From<&ShutdownRecord> for Sds {
    fn from(record: &ShutdownRecord) -> Self {
        let mut id = [0; DeviceId::BYTES_MAX + 2];
        id.iter_mut().zip(record.device_id()).for_each(|(to, from)| *to = *from);
        Self { id, count: record.unsafe_shutdowns(), references: record.references() }
    }
}

const _: () = assert!(size_of::<usize>() != 8 || (size_of::<Context>() == 72 && size_of::<Sds>() == 536));

fn pointer(range: Extent) -> *mut c_void {
    core::ptr::with_exposed_provenance_mut(range.start())
}

/// Who is told of a set's events: the C program's callback.
pub(crate) struct Teller {
    callback: Option<Callback>,
    argument: *mut c_void,
    /// The set that the caller has.
    set: *mut Pmemset,
}

// SAFETY: both pointers are only passed on; that the callback may be called by several threads is the C program's
// business.
unsafe impl Send for Teller {}
// SAFETY: as above.
unsafe impl Sync for Teller {}

impl Teller {
    pub(crate) const fn new(callback: Option<Callback>, argument: *mut c_void, set: *mut Pmemset) -> Self {
        Self { callback, argument, set }
    }

    fn tell(&self, kind: c_uint, data: Data) -> c_int {
        let Some(callback) = self.callback else { return 0 };
        let mut context = Context { kind, data };
        // SAFETY: the C program's own function, its own argument, and an event of the kind that it says it is.
        unsafe { callback(self.set, &raw mut context, self.argument) }
    }
}

impl Observer<SourceHandle> for Teller {
    fn event(&self, event: &Event<'_, SourceHandle>) -> Answer {
        // All of the union, so that no byte of it is left as it happened to be.
        let empty = Data { bytes: [0; 64] };
        match *event {
            Event::Write { dest, bytes, flags } => {
                self.copied(bytes.as_ptr().cast_mut().cast(), dest, flags.bits(), false);
            }
            Event::CopyWithin { dest, source, flags } => self.copied(pointer(source), dest, flags.bits(), true),
            Event::Fill { dest, value, flags } => {
                let value = host::copying().map_or(c_int::from(value), |copying| copying.value);
                let set = Filled { dest: pointer(dest), value, length: dest.length_bytes(), flags: flags.bits() };
                self.tell(2, Data { set });
            }
            Event::Flush { range } => drop(self.tell(3, Data { range: range.into() })),
            Event::Drain => drop(self.tell(4, empty)),
            Event::Persist { range } => drop(self.tell(5, Data { range: range.into() })),
            Event::RemoveRange { range } => drop(self.tell(6, Data { range: range.into() })),
            Event::PartAdd { part, source, .. } => {
                let part_add = PartAdd { range: part.into(), source: source.pmem2() };
                self.tell(7, Data { part_add });
            }
            Event::PartRemove { part } => drop(self.tell(8, Data { range: part.into() })),
            // Of several threads the latest has the last word.
            Event::SdsUpdate { source, record, sequence } if source.is_latest(sequence) => {
                let mut sds = Sds::from(record);
                let sds_update = Pair { what: &raw mut sds, source: host::pointer(source) };
                self.tell(9, Data { sds_update });
            }
            Event::BadBlock { source, block } => {
                let to_size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
                let mut bad = BadBlock { offset: to_size(block.start()), length: to_size(block.length_bytes()) };
                let badblock = Pair { what: &raw mut bad, source: host::pointer(source) };
                self.tell(10, Data { badblock });
            }
            Event::BadBlocksCleared { source, .. } => {
                let said = self.tell(11, Data { source: host::pointer(source) });
                return if said == 0 { Answer::Proceed } else { Answer::Refuse };
            }
            _ => {}
        }
        Answer::Proceed
    }

    fn listens(&self) -> bool {
        self.callback.is_some()
    }
}

impl Teller {
    /// Tells of a copy by the function that was called, or where that is not known, by what has become of it.
    fn copied(&self, source: *mut c_void, dest: Extent, flags: u32, moves: bool) {
        let moves = host::copying().map_or(moves, |copying| copying.moves);
        let copy = Copied { source, dest: pointer(dest), length: dest.length_bytes(), flags };
        self.tell(c_uint::from(moves), Data { copy });
    }
}
