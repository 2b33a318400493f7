//! The records of the handles of one set.
//!
//! A record stays on the heap for the next handle. A thread that has one handle at a time gets the record back that it
//! gave back: no lock, and no atomic change.

use alloc::vec::Vec;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use lock_api::Mutex;
use rustix_futex_sync::RawMutex;

use super::heap;
use crate::part::PartMap;

/// The binary logarithm of the number of nests: enough that two threads seldom want the same one.
const NESTS_LOG: u32 = 4;
const NESTS: usize = 1 << NESTS_LOG;

/// The records of the handles of one set; when they are dropped, so are the handles that are out.
pub(crate) struct Handles {
    nests: [Nest; NESTS],
    /// A spare record, or NULL, for threads without a nest.
    ready: AtomicPtr<PartMap>,
    records: Mutex<RawMutex, Records>,
}

/// Where one thread keeps a spare record.
///
/// Whoever comes first has it for as long as the set lives: no other thread ever looks at its record. A later thread
/// with the same thread pointer begins after the first one has ended, and goes on where that has stopped.
/// A signal handler has the thread pointer of the thread that it interrupts, perhaps in the middle of
/// [`take`](Handles::take): like `malloc`, handles are not for signal handlers.
#[repr(align(64))]
struct Nest {
    /// The thread's pointer; 0 as long as there is none.
    thread: AtomicUsize,
    /// The spare record, or NULL.
    spare: AtomicPtr<PartMap>,
}

/// All records: as many as have ever been out at a time, and a few that lie in nests.
struct Records {
    all: Vec<*mut PartMap>,
    /// The place of the spare record that was given back last, which knows the one before; past the end for none.
    next: usize,
}

impl Handles {
    pub(super) const fn new() -> Self {
        let records = Records { all: Vec::new(), next: usize::MAX };
        Self {
            nests: [const { Nest { thread: AtomicUsize::new(0), spare: AtomicPtr::new(null_mut()) } }; NESTS],
            ready: AtomicPtr::new(null_mut()),
            records: Mutex::new(records),
        }
    }

    /// Returns where the calling thread may keep a record, and its thread pointer.
    #[inline]
    fn nest(&self) -> (&Nest, usize) {
        let thread = thread_pointer();
        // The multiplication spreads the stack size, which thread pointers are apart, over the top bits.
        let spread = (thread as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - NESTS_LOG);
        let [first, ..] = &self.nests;
        (usize::try_from(spread).ok().and_then(|index| self.nests.get(index)).unwrap_or(first), thread)
    }

    /// Returns a record that no handle has.
    #[inline]
    pub(crate) fn take(&self) -> Option<*mut PartMap> {
        let (nest, thread) = self.nest();
        if let Some(spare) = nest.of(thread) {
            let record = spare.load(Ordering::Relaxed);
            if !record.is_null() {
                spare.store(null_mut(), Ordering::Relaxed);
                return Some(record);
            }
        }
        self.find(nest, thread)
    }

    /// Returns a record that nobody has, where the thread keeps none.
    #[cold]
    fn find(&self, nest: &Nest, thread: usize) -> Option<*mut PartMap> {
        if thread != 0 {
            // Whether it has it now is seen when there is something to keep.
            let _ = nest.thread.compare_exchange(0, thread, Ordering::Relaxed, Ordering::Relaxed);
        }
        let ready = self.ready.swap(null_mut(), Ordering::Acquire);
        if !ready.is_null() {
            return Some(ready);
        }
        let mut records = self.records.lock();
        let place = records.next.min(records.all.len());
        if let Some(spare) = records.all.get(place).copied() {
            // SAFETY: a record that was given back, which says which one was before.
            records.next = unsafe { core::mem::replace(&mut (*spare).place, place) };
            return Some(spare);
        }
        records.all.try_reserve(1).ok()?;
        let record = heap::new_with(|_| PartMap::spare(place))?;
        records.all.push(record);
        Some(record)
    }

    /// Takes a record back.
    ///
    /// # Safety
    ///
    /// It is one of these, and no handle has it.
    #[inline]
    pub(crate) unsafe fn give(&self, record: *mut PartMap) {
        let (nest, thread) = self.nest();
        match nest.of(thread) {
            Some(spare) if spare.load(Ordering::Relaxed).is_null() => spare.store(record, Ordering::Relaxed),
            // SAFETY: as the caller promises.
            _ => unsafe { self.keep(record) },
        }
    }

    /// Keeps a record for which the thread has no place.
    ///
    /// # Safety
    ///
    /// As for [`give`](Self::give).
    #[cold]
    unsafe fn keep(&self, record: *mut PartMap) {
        if self.ready.compare_exchange(null_mut(), record, Ordering::Release, Ordering::Relaxed).is_ok() {
            return;
        }
        let mut records = self.records.lock();
        // SAFETY: a record of this list, which is nobody's now.
        core::mem::swap(unsafe { &mut (*record).place }, &mut records.next);
    }
}

impl Nest {
    /// Returns the place of the spare record, if the nest is this thread's.
    #[inline]
    fn of(&self, thread: usize) -> Option<&AtomicPtr<PartMap>> {
        (thread != 0 && self.thread.load(Ordering::Relaxed) == thread).then_some(&self.spare)
    }
}

impl Drop for Handles {
    fn drop(&mut self) {
        for mut handle in core::mem::take(&mut self.records.get_mut().all) {
            // SAFETY: made by `new_with`, and the C program uses neither set nor handles any more.
            unsafe { heap::delete(&raw mut handle) };
        }
    }
}

/// Returns a number that differs between threads that live, and never changes within one; 0 where none is known.
#[inline]
fn thread_pointer() -> usize {
    let thread: usize;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: where C programs run, the word that FS leads to is its own address (System V ABI, thread-local storage).
    unsafe {
        core::arch::asm!("mov {}, fs:[0]", out(reg) thread, options(pure, readonly, nostack, preserves_flags));
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: user space may always read the register.
    unsafe {
        core::arch::asm!("mrs {}, tpidr_el0", out(reg) thread, options(pure, nomem, nostack, preserves_flags));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    {
        thread = 0;
    }
    thread
}
