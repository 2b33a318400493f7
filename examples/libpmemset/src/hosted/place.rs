//! Where the parts of a set go: anywhere in the process, or into a reservation of libpmem2 that the caller has made.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::ffi::c_void;

use lock_api::Mutex;
use pmemset_core::arch::Cpu;
use pmemset_core::error::{ReservationError, ReserveError};
use pmemset_core::{Errno, Extent, Platform, Reservation, forward_platform};
use pmemset_linux::{Linux, Process, StripedRwLock};
use rustix_futex_sync::RawMutex;

/// `struct pmem2_vm_reservation`, which is libpmem2's.
pub enum Pmem2Reservation {}

unsafe extern "C" {
    fn pmemset_pmem2_window_(reservation: *mut Pmem2Reservation, size: *mut usize) -> *mut c_void;
    fn pmemset_pmem2_map_(
        reservation: *mut Pmem2Reservation,
        address: *mut c_void,
        size: usize,
        found: *mut usize,
    ) -> *mut c_void;
}

/// How many segments all sets in one reservation may have.
const SEGMENTS: usize = 65_536;

/// A window that somebody else has reserved, and keeps: given away once, to the reservation that is made of it.
pub(crate) struct Adopted(Extent);

// SAFETY: the caller's reservation is made of placeholders as ours are, and libpmem2 places nothing in it unasked.
unsafe impl Platform for Adopted {
    type Lock = StripedRwLock;
    type Space = Process;

    fn space(&self) -> Process {
        Process
    }
    fn page_size_bytes(&self) -> usize {
        Linux.page_size_bytes()
    }
    fn cpu(&self) -> &Cpu {
        const { &LINUX }.cpu()
    }
    fn reserve(&self, _: usize, _: usize) -> Result<Extent, ReserveError> {
        Err(ReserveError::CannotFit)
    }
    fn reserve_at(&self, window: Extent) -> Result<(), ReserveError> {
        if window == self.0 { Ok(()) } else { Err(ReserveError::Occupied) }
    }
    unsafe fn release(&self, _: Extent) -> Result<(), Errno> {
        Ok(()) // the caller's pmem2_vm_reservation_delete does
    }
}

const LINUX: Linux = Linux::new();

type Window = Reservation<'static, Adopted>;

/// The reservations that sets are in, so that two sets in one know of each other.
static WINDOWS: Mutex<RawMutex, Vec<Weak<Window>>> = Mutex::new(Vec::new());

/// Where the parts of one set go.
pub(crate) enum Place {
    Anywhere,
    Inside(Arc<Window>, Theirs),
}

/// The caller's reservation, in which libpmem2 may have mapped something for the caller.
pub(crate) struct Theirs(*mut Pmem2Reservation);

// SAFETY: libpmem2 locks its reservations.
unsafe impl Send for Theirs {}
// SAFETY: as above.
unsafe impl Sync for Theirs {}

impl Theirs {
    /// Returns the lowest of the caller's own maps that `window` touches, as far as it lies in it.
    fn map_in(&self, window: Extent) -> Option<Extent> {
        let mut size = 0;
        let start = core::ptr::with_exposed_provenance_mut(window.start());
        // SAFETY: the window is one of this reservation, which the caller keeps; `size` is writable.
        let found = unsafe { pmemset_pmem2_map_(self.0, start, window.length_bytes(), &raw mut size) };
        Extent::new(found.addr(), size)?.intersect(window)
    }

    /// Reserves in `inside` where none of the caller's own maps is.
    fn reserve(&self, inside: &Window, length: usize, alignment: usize) -> Result<Extent, ReserveError> {
        let mut kept = Vec::new();
        let found = loop {
            let window = match inside.reserve(length, alignment) {
                Ok(window) => window,
                Err(error) => break Err(error),
            };
            let Some(map) = self.map_in(window) else { break Ok(window) };
            // SAFETY: reserved just now.
            if unsafe { inside.release(window) }.is_err() || inside.reserve_at(map).is_err() {
                break Err(ReserveError::Occupied);
            }
            // Only while this search goes on: the caller may take it away at any time.
            kept.push(map);
        };
        for map in kept {
            // SAFETY: reserved above.
            let _ = unsafe { inside.release(map) };
        }
        found
    }
}

impl Place {
    /// Adopts the caller's reservation; NULL is none.
    pub(crate) fn new(reservation: *mut Pmem2Reservation) -> Result<Self, ReservationError> {
        if reservation.is_null() {
            return Ok(Self::Anywhere);
        }
        let mut size = 0;
        // SAFETY: the caller's pointer is libpmem2's; `size` is writable.
        let start = unsafe { pmemset_pmem2_window_(reservation, &raw mut size) };
        let Some(window) = Extent::new(start.addr(), size).filter(|window| window.start() != 0) else {
            return Err(ReservationError::AddressSpace { cause: ReserveError::Failed(Errno::OPNOTSUPP) });
        };
        let mut windows = WINDOWS.lock();
        windows.retain(|known| known.strong_count() > 0);
        if let Some(known) = windows.iter().filter_map(Weak::upgrade).find(|known| known.extent() == window) {
            return Ok(Self::Inside(known, Theirs(reservation)));
        }
        let made = Arc::new(Reservation::at_with_capacity(Adopted(window), window, SEGMENTS)?);
        windows.push(Arc::downgrade(&made));
        Ok(Self::Inside(made, Theirs(reservation)))
    }
}

// SAFETY: every call goes to one of two platforms of one kind, always the same.
unsafe impl Platform for Place {
    type Lock = StripedRwLock;
    type Space = Process;

    forward_platform!(self { Self::Anywhere => LINUX, Self::Inside(inside, _) => inside } except
        cpu, reserve, reserve_at);

    fn cpu(&self) -> &Cpu {
        const { &LINUX }.cpu()
    }
    fn reserve(&self, length_bytes: usize, alignment_bytes: usize) -> Result<Extent, ReserveError> {
        match self {
            Self::Anywhere => LINUX.reserve(length_bytes, alignment_bytes),
            Self::Inside(inside, theirs) => theirs.reserve(inside, length_bytes, alignment_bytes),
        }
    }
    fn reserve_at(&self, window: Extent) -> Result<(), ReserveError> {
        match self {
            Self::Anywhere => LINUX.reserve_at(window),
            Self::Inside(_, theirs) if theirs.map_in(window).is_some() => Err(ReserveError::Occupied),
            Self::Inside(inside, _) => inside.reserve_at(window),
        }
    }
}
