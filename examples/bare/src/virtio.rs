//! A virtio-pmem disk as a source: memory whose pages the host makes durable on request.
#![allow(unsafe_code, reason = "a source is an unsafe duty, and the device has registers")]

use lock_api::RwLock;
use pmemset_core::lock::SpinRwLock;
use pmemset_core::{DeepFlush, Errno, Extent, Granularity, GranularityLimit, Source, forward_source};

use crate::addresses::KernelSpace;
use crate::flush_queue::{ENTRIES, FlushQueue, Rings};
use crate::kernel::{self, Kernel};
use crate::memory::Memory;
use crate::pci::{self, Configuration, Structure};

/// How often the device is asked whether it has reset itself. Each time takes a microsecond or so.
const RESET_POLLS: u32 = 1 << 20;

/// The device's status register (virtio 1.2, section 2.1).
mod status {
    pub(super) const RESET: u8 = 0;
    pub(super) const KNOWN: u8 = 3;
    pub(super) const FEATURES_OK: u8 = 8;
    pub(super) const DRIVER_OK: u8 = 4;
    pub(super) const NEEDS_RESET: u8 = 0x40;
    pub(super) const FAILED: u8 = 0x80;
}

/// Offsets in the common configuration (virtio 1.2, section 4.1.4.3).
mod common {
    pub(super) const OFFER_SELECT: usize = 0;
    pub(super) const OFFER: usize = 4;
    pub(super) const FEATURE_SELECT: usize = 8;
    pub(super) const FEATURES: usize = 12;
    pub(super) const STATUS: usize = 20;
    pub(super) const QUEUE_SELECT: usize = 22;
    pub(super) const QUEUE_SIZE: usize = 24;
    pub(super) const QUEUE_ENABLE: usize = 28;
    pub(super) const QUEUE_NOTIFY: usize = 30;
    pub(super) const QUEUE_ADDRESSES: usize = 32;
}

/// A virtio-pmem disk (virtio 1.2, section 5.19).
#[derive(Debug)]
pub struct VirtioPmem<K, F> {
    memory: Memory<K>,
    function: F,
    bell: usize,
    queue: RwLock<SpinRwLock, FlushQueue>,
}

/// The common configuration of a device, mapped.
struct Common<'f, F> {
    function: &'f F,
    address: usize,
}

impl<F: Configuration> Common<'_, F> {
    const LENGTH_BYTES: u32 = 56;

    fn read(&self, offset: usize, width_bytes: u8) -> u64 {
        // SAFETY: the structure is mapped, and the offsets are those of the specification, below its length.
        unsafe { self.function.load(self.address + offset, width_bytes) }
    }

    fn write(&self, offset: usize, width_bytes: u8, value: u64) {
        // SAFETY: as above; the values are those that the specification asks for.
        unsafe { self.function.store(self.address + offset, width_bytes, value) }
    }

    fn status(&self) -> u8 {
        self.read(common::STATUS, 1).to_le_bytes()[0]
    }

    fn set_status(&self, status: u8) {
        self.write(common::STATUS, 1, status.into());
    }

    /// Resets the device. Fails with `ENXIO` where that never ends.
    fn reset(&self) -> Result<(), Errno> {
        self.set_status(status::RESET);
        for _ in 0..RESET_POLLS {
            if self.status() == status::RESET {
                return Ok(());
            }
            core::hint::spin_loop();
        }
        Err(Errno::NXIO)
    }

    /// Agrees on virtio 1 and nothing else.
    fn negotiate(&self) -> Result<(), Errno> {
        self.set_status(status::KNOWN);
        self.write(common::OFFER_SELECT, 4, 1);
        if self.read(common::OFFER, 4) & 1 == 0 {
            return Err(Errno::OPNOTSUPP);
        }
        for (half, features) in [(0, 0), (1, 1)] {
            self.write(common::FEATURE_SELECT, 4, half);
            self.write(common::FEATURES, 4, features);
        }
        self.set_status(status::KNOWN | status::FEATURES_OK);
        if self.status() & status::FEATURES_OK == 0 { Err(Errno::OPNOTSUPP) } else { Ok(()) }
    }

    /// Shows the device where `queue` is; returns what it says of the queue's bell.
    fn start_queue(&self, queue: &FlushQueue) -> Result<u16, Errno> {
        self.write(common::QUEUE_SELECT, 2, 0);
        if self.read(common::QUEUE_SIZE, 2) < ENTRIES.into() {
            return Err(Errno::OPNOTSUPP);
        }
        self.write(common::QUEUE_SIZE, 2, ENTRIES.into());
        let addresses = queue.addresses();
        for (index, address) in [addresses.descriptors, addresses.available, addresses.used].into_iter().enumerate() {
            self.write(common::QUEUE_ADDRESSES + 8 * index, 8, address);
        }
        self.write(common::QUEUE_ENABLE, 2, 1);
        let [low, high, ..] = self.read(common::QUEUE_NOTIFY, 2).to_le_bytes();
        Ok(u16::from_le_bytes([low, high]))
    }
}

/// Maps the structure of type `kind`.
fn map_structure<K: Kernel, F: Configuration>(
    kernel: &K,
    function: &F,
    kind: u8,
    at_least_bytes: u32,
) -> Result<(usize, Structure), Errno> {
    let structure = pci::virtio_structure(function, kind).ok_or(Errno::NODEV)?;
    if structure.length_bytes < at_least_bytes || structure.physical % 4 != 0 {
        return Err(Errno::INVAL);
    }
    let address = kernel::registers(kernel, structure.physical, structure.length_bytes)?;
    Ok((address, structure))
}

impl<K: Kernel, F: Configuration> VirtioPmem<K, F> {
    /// Vendor and device number of a virtio-pmem function.
    pub const IDENTITY: u32 = 0x105b_1af4;

    /// Starts the device `function`, which will read and write `rings`; they are at the physical address
    /// `rings_physical`.
    ///
    /// # Errors
    ///
    /// The device is left alone, or has been told that it is given up.
    ///
    /// - `ENODEV`: it lacks a structure that every virtio 1 device has.
    /// - `EOPNOTSUPP`: it does not speak virtio 1.
    /// - `ENXIO`: it does not end its reset.
    /// - `EIO`: it asks to be reset when all is said.
    /// - `EINVAL`: a structure is too short; its range of memory is empty, wraps, or is not on pages; its bell is not
    ///   in the structure of bells.
    /// - `EFAULT`: its registers or its memory are where the kernel's own memory is.
    /// - The reason why registers could not be mapped.
    pub fn start(kernel: K, function: F, rings: &'static mut Rings, rings_physical: u64) -> Result<Self, Errno> {
        const COMMON: u8 = 1;
        const BELLS: u8 = 2;
        const OWN: u8 = 4;
        function.enable();
        let (address, _) = map_structure(&kernel, &function, COMMON, Common::<F>::LENGTH_BYTES)?;
        let bells = map_structure(&kernel, &function, BELLS, 2)?;
        let (own, _) = map_structure(&kernel, &function, OWN, 16)?;
        let common = Common { function: &function, address };
        common.reset()?;
        match Self::set_up(kernel, &common, bells, own, FlushQueue::new(rings, rings_physical)) {
            Ok((memory, bell, queue)) => Ok(Self { memory, function, bell, queue: RwLock::new(queue) }),
            Err(cause) => {
                common.set_status(status::FAILED);
                Err(cause)
            }
        }
    }

    /// Does what follows the reset; returns the device's memory and the address of its bell.
    fn set_up(
        kernel: K,
        common: &Common<'_, F>,
        (bells, structure): (usize, Structure),
        own: usize,
        queue: FlushQueue,
    ) -> Result<(Memory<K>, usize, FlushQueue), Errno> {
        common.negotiate()?;
        // SAFETY: the structure is mapped, and has 16 bytes at least.
        let start = unsafe { common.function.load(own, 8) };
        // SAFETY: as above.
        let length_bytes = unsafe { common.function.load(own + 8, 8) };
        let memory = Memory::new(kernel, start, length_bytes)?;
        let number = common.start_queue(&queue)?;
        let multiplier = common.function.read(structure.capability + 16);
        let offset = u64::from(number) * u64::from(multiplier);
        let is_inside = offset % 2 == 0 && offset + 2 <= structure.length_bytes.into();
        let offset = usize::try_from(offset).ok().filter(|_| is_inside).ok_or(Errno::INVAL)?;
        common.set_status(status::KNOWN | status::FEATURES_OK | status::DRIVER_OK);
        if common.status() & (status::NEEDS_RESET | status::FAILED) != 0 {
            return Err(Errno::IO);
        }
        Ok((memory, bells + offset, queue))
    }

    /// Asks the host to make everything durable.
    fn flush(&self) -> Result<(), Errno> {
        let mut polls = 0;
        self.queue.write().flush(
            || {
                // SAFETY: the bell is mapped, and takes the number of the queue.
                unsafe { self.function.store(self.bell, 2, 0) }
            },
            || {
                core::hint::spin_loop();
                polls += 1;
                self.function.is_patient(polls)
            },
        )
    }
}

// SAFETY: the memory inside, which is none that the kernel uses, keeps the promises.
unsafe impl<K: Kernel + Send, F: Configuration + Send> Source for VirtioPmem<K, F> {
    type Space = KernelSpace;

    // The device tells nothing of what is behind it: it has no health.
    forward_source!(self { Self { memory, .. } => memory } except granularity, granularity_limit, sync, deep_flush);

    fn granularity(&self) -> Result<Granularity, Errno> {
        Ok(Granularity::Page)
    }

    fn granularity_limit(&self) -> GranularityLimit {
        GranularityLimit::Request
    }

    /// Flushes the whole disk: the device knows no ranges.
    fn sync(&self, _range: Extent, _offset: u64) -> Result<(), Errno> {
        self.flush()
    }

    fn deep_flush(&self, _range: Extent, _offset: u64) -> Result<DeepFlush, Errno> {
        self.flush().map(|()| DeepFlush::Done)
    }
}

#[cfg(test)]
mod tests;
