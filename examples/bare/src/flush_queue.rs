//! The flush requests of a virtio-pmem device (virtio 1.2, sections 2.7 and 5.19) over one split virtqueue.
//!
//! One request is under way at a time. A request that the device does not answer leaves the queue *lost* for good: the
//! device may still write its answer, so neither its memory nor the queue is ever used again.
#![allow(unsafe_code, reason = "the device reads and writes the rings")]

use core::mem::offset_of;
use core::sync::atomic::{Ordering, fence};

use pmemset_core::Errno;

/// Entries of the queue; two descriptors make a request.
pub const ENTRIES: u16 = 2;

#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Descriptor {
    address: u64,
    length: u32,
    flags: u16,
    next: u16,
}

const NEXT: u16 = 1;
const DEVICE_WRITES: u16 = 2;
const FLUSH: u32 = 0;

/// Status that no device answers: shows that none was written.
const UNANSWERED: u32 = 0xffff_ffff;

/// The memory that the device reads and writes: 16-byte aligned, in one piece also physically, never moved once in use.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Rings {
    descriptors: [Descriptor; ENTRIES as usize],
    available: [u16; 2 + ENTRIES as usize + 1],
    used: Used,
    request: u32,
    status: u32,
}

#[derive(Clone, Copy, Debug)]
#[repr(C, align(4))]
struct Used {
    flags: u16,
    index: u16,
    entries: [[u32; 2]; ENTRIES as usize],
    event: u16,
}

impl Rings {
    /// Returns rings that hold no request.
    #[must_use]
    pub const fn new() -> Self {
        let descriptor = Descriptor { address: 0, length: 0, flags: 0, next: 0 };
        Self {
            descriptors: [descriptor; ENTRIES as usize],
            available: [0; 5],
            used: Used { flags: 0, index: 0, entries: [[0; 2]; ENTRIES as usize], event: 0 },
            request: FLUSH,
            status: UNANSWERED,
        }
    }
}

impl Default for Rings {
    fn default() -> Self {
        Self::new()
    }
}

/// Where the device looks for descriptors, available and used entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// Physical address of the descriptor table.
    pub descriptors: u64,
    /// Physical address of the ring that the driver fills.
    pub available: u64,
    /// Physical address of the ring that the device fills.
    pub used: u64,
}

/// The driver's end of the queue.
#[derive(Debug)]
pub struct FlushQueue {
    rings: *mut Rings,
    /// Where the device finds them.
    physical: u64,
    requests: u16,
    lost: bool,
}

// SAFETY: the queue owns its rings, and every use of it is exclusive.
unsafe impl Send for FlushQueue {}
// SAFETY: what a shared queue is asked for is not in the rings.
unsafe impl Sync for FlushQueue {}

impl FlushQueue {
    /// Returns a queue over `rings`, which are at the address `physical` for the device.
    #[must_use]
    pub fn new(rings: &'static mut Rings, physical: u64) -> Self {
        Self { rings, physical, requests: 0, lost: false }
    }

    /// Returns what the device must be told.
    #[must_use]
    pub fn addresses(&self) -> Addresses {
        let field = |offset: usize| self.physical.wrapping_add(offset as u64);
        Addresses {
            descriptors: field(offset_of!(Rings, descriptors)),
            available: field(offset_of!(Rings, available)),
            used: field(offset_of!(Rings, used)),
        }
    }

    /// Asks the device to make everything stored before durable, and waits for the answer.
    ///
    /// `notify` rings the device's bell; `patient` says whether to go on waiting.
    ///
    /// # Errors
    ///
    /// - `EIO`: the device says that the flush failed, or has answered what it may not. The stores may be lost.
    /// - `ENXIO`: no answer came, now or earlier; the stores may be lost and the queue is of no more use.
    pub fn flush(&mut self, notify: impl FnOnce(), mut patient: impl FnMut() -> bool) -> Result<(), Errno> {
        if self.lost {
            return Err(Errno::NXIO);
        }
        self.submit();
        notify();
        let expected = self.requests;
        loop {
            // SAFETY: the rings live for ever; the device writes the index whole.
            let index = unsafe { self.at::<u16>(offset_of!(Rings, used.index)).read_volatile() };
            if index == expected {
                break;
            }
            if index != expected.wrapping_sub(1) || !patient() {
                self.lost = true;
                return Err(Errno::NXIO);
            }
        }
        fence(Ordering::Acquire);
        // SAFETY: the device has given the status back.
        match unsafe { self.at::<u32>(offset_of!(Rings, status)).read_volatile() } {
            0 => Ok(()),
            _ => Err(Errno::IO),
        }
    }

    /// Returns the field at `offset` of the rings.
    fn at<T>(&self, offset: usize) -> *mut T {
        self.rings.wrapping_byte_add(offset).cast()
    }

    fn submit(&mut self) {
        let address = |offset: usize| self.physical.wrapping_add(offset as u64);
        let request = Descriptor { address: address(offset_of!(Rings, request)), length: 4, flags: NEXT, next: 1 };
        let status =
            Descriptor { address: address(offset_of!(Rings, status)), length: 4, flags: DEVICE_WRITES, next: 0 };
        let available = offset_of!(Rings, available);
        let slot = usize::from(self.requests % ENTRIES);
        self.requests = self.requests.wrapping_add(1);
        // SAFETY: no request is under way, so the descriptors are the driver's.
        unsafe { self.at::<[Descriptor; 2]>(offset_of!(Rings, descriptors)).write_volatile([request, status]) };
        // SAFETY: as above.
        unsafe { self.at::<u32>(offset_of!(Rings, status)).write_volatile(UNANSWERED) };
        // SAFETY: the slot is below `ENTRIES`, and entries start at 2.
        unsafe { self.at::<u16>(available + 2 * (2 + slot)).write_volatile(0u16) };
        fence(Ordering::SeqCst);
        // SAFETY: the index is the driver's to write.
        unsafe { self.at::<u16>(available + 2).write_volatile(self.requests) };
        fence(Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use core::ptr;
    use std::boxed::Box;

    use super::*;

    /// Answers the newest request with `status`, as the device would.
    fn answer(rings: *mut Rings, status: u32) {
        // SAFETY: the test's rings are leaked, and nothing else touches them now.
        let rings = unsafe { &mut *rings };
        let head = rings.available[2 + usize::from(rings.available[1].wrapping_sub(1) % ENTRIES)];
        let request = rings.descriptors[usize::from(head)];
        assert_eq!((request.address, request.length, request.flags), (&raw const rings.request as u64, 4, NEXT));
        let reply = rings.descriptors[usize::from(request.next)];
        assert_eq!((reply.address, reply.length, reply.flags), (&raw const rings.status as u64, 4, DEVICE_WRITES));
        assert_eq!((rings.request, rings.status), (FLUSH, UNANSWERED));
        rings.status = status;
        rings.used.entries[usize::from(rings.used.index % ENTRIES)] = [u32::from(head), 4];
        rings.used.index = rings.used.index.wrapping_add(1);
    }

    fn queue() -> (FlushQueue, *mut Rings) {
        let rings = Box::leak(Box::new(Rings::new()));
        let physical = core::ptr::from_ref(rings) as u64;
        let queue = FlushQueue::new(rings, physical);
        let rings = queue.rings;
        (queue, rings)
    }

    #[test]
    fn answers_reach_the_caller() {
        let (mut queue, rings) = queue();
        for round in 0..70_000u32 {
            let failed = round % 3 == 1;
            let result = queue.flush(|| answer(rings, u32::from(failed)), || false);
            assert_eq!(result, if failed { Err(Errno::IO) } else { Ok(()) });
        }
    }

    #[test]
    fn late_answers_are_waited_for() {
        let (mut queue, rings) = queue();
        let mut polls = 0;
        let result = queue.flush(
            || {},
            || {
                polls += 1;
                if polls == 1000 {
                    answer(rings, 0);
                }
                true
            },
        );
        assert_eq!((result, polls), (Ok(()), 1000));
    }

    #[test]
    fn unanswered_request_is_lost_and_nothing_is_reused() {
        let (mut queue, rings) = queue();
        assert_eq!(queue.flush(|| {}, || false), Err(Errno::NXIO));
        // SAFETY: only read, and the test is the only user.
        let before = unsafe { ptr::read(rings) };
        answer(rings, 0);
        assert_eq!(queue.flush(|| panic!("the bell rang"), || false), Err(Errno::NXIO));
        // SAFETY: as above.
        let after = unsafe { ptr::read(rings) };
        assert_eq!(after.available, before.available);
        assert_eq!(after.status, 0, "the late answer is still there");
    }

    #[test]
    fn answers_to_nothing_lose_the_queue() {
        let (mut queue, rings) = queue();
        let twice = || {
            answer(rings, 0);
            // SAFETY: as in `answer`.
            unsafe { (*rings).used.index = 7 };
        };
        assert_eq!(queue.flush(twice, || true), Err(Errno::NXIO));
        assert_eq!(queue.flush(|| {}, || true), Err(Errno::NXIO));
    }

    #[test]
    fn rings_are_aligned_as_the_specification_asks() {
        let (queue, _) = queue();
        let addresses = queue.addresses();
        assert_eq!((addresses.descriptors % 16, addresses.available % 2, addresses.used % 4), (0, 0, 0));
    }
}
