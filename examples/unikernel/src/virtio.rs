//! A virtio-pmem disk as a source: memory whose pages the host makes durable on request.

use core::ptr;
use core::sync::atomic::{AtomicBool, Ordering};

use firmware::flush_queue::{ENTRIES, FlushQueue, Rings};
use pmemset_core::{DeepFlush, Errno, Extent, Granularity, Source};
use spin::Mutex;

use crate::paging::{Cache, PAGE_BYTES};
use crate::pci::Function;
use crate::platform::{self, Machine};
use crate::port;

/// Vendor and device number of a virtio-pmem function (virtio 1.2, section 5.19).
pub const IDENTITY: u32 = 0x105b_1af4;

static mut RINGS: Rings = Rings::new();
static RINGS_TAKEN: AtomicBool = AtomicBool::new(false);

/// How long an answer is waited for, in ticks of the time stamp counter; minutes on any processor.
const PATIENCE_TICKS: u64 = 1 << 38;

/// Offsets in the common configuration (virtio 1.2, section 4.1.4.3).
mod common {
    pub const OFFER_SELECT: usize = 0;
    pub const OFFER: usize = 4;
    pub const FEATURE_SELECT: usize = 8;
    pub const FEATURES: usize = 12;
    pub const STATUS: usize = 20;
    pub const QUEUE_SELECT: usize = 22;
    pub const QUEUE_SIZE: usize = 24;
    pub const QUEUE_ENABLE: usize = 28;
    pub const QUEUE_NOTIFY: usize = 30;
    pub const QUEUE_ADDRESSES: usize = 32;
}

/// A virtio-pmem disk.
#[derive(Debug)]
pub struct VirtioPmem {
    base: u64,
    length_bytes: u64,
    bell: usize,
    queue: Mutex<FlushQueue>,
}

/// Registers of a device, mapped.
#[derive(Clone, Copy)]
struct Registers(usize);

impl Registers {
    fn read<T: Copy>(self, offset: usize) -> T {
        // SAFETY: the structure is mapped, and the offsets are those of the specification.
        unsafe { ptr::read_volatile((self.0 + offset) as *const T) }
    }

    fn write<T: Copy>(self, offset: usize, value: T) {
        // SAFETY: as above; the values are those that the specification asks for.
        unsafe { ptr::write_volatile((self.0 + offset) as *mut T, value) }
    }
}

fn map_structure(function: Function, kind: u8, at_least_bytes: u32) -> Result<(Registers, u8), Errno> {
    let structure = function.virtio_structure(kind).ok_or(Errno::NODEV)?;
    if structure.length_bytes < at_least_bytes {
        return Err(Errno::INVAL);
    }
    let address = Machine::map_device(structure.physical, structure.length_bytes as usize)?;
    Ok((Registers(address), structure.capability))
}

impl VirtioPmem {
    /// Starts the device.
    ///
    /// # Errors
    ///
    /// - `ENODEV`: it lacks a structure that every virtio 1 device has.
    /// - `EOPNOTSUPP`: it does not speak virtio 1.
    /// - `EINVAL`: its range of memory is empty, wraps, or is not on pages.
    /// - `EBUSY`: there is one already; this kernel has rings for one.
    pub fn start(function: Function) -> Result<Self, Errno> {
        function.write(4, function.read(4) | 6);
        let (registers, _) = map_structure(function, 1, 56)?;
        let (notify, capability) = map_structure(function, 2, 2)?;
        let (config, _) = map_structure(function, 4, 16)?;
        let multiplier = function.read(capability + 16) as usize;

        registers.write(common::STATUS, 0u8);
        while registers.read::<u8>(common::STATUS) != 0 {
            core::hint::spin_loop();
        }
        registers.write(common::STATUS, 3u8);
        negotiate(registers)?;

        let (base, length_bytes) = (config.read::<u64>(0), config.read::<u64>(8));
        let on_pages = (base | length_bytes) % PAGE_BYTES as u64 == 0;
        if length_bytes == 0 || !on_pages || base.checked_add(length_bytes).is_none() {
            registers.write(common::STATUS, 0x80u8);
            return Err(Errno::INVAL);
        }
        let queue = start_queue(registers)?;
        let bell = notify.0 + usize::from(registers.read::<u16>(common::QUEUE_NOTIFY)) * multiplier;
        registers.write(common::STATUS, 15u8);
        Ok(Self { base, length_bytes, bell, queue: Mutex::new(queue) })
    }

    /// Asks the host to make everything durable.
    fn flush(&self) -> Result<(), Errno> {
        let start = port::ticks();
        self.queue.lock().flush(
            || {
                // SAFETY: the bell is mapped, and takes the number of the queue.
                unsafe { ptr::write_volatile(self.bell as *mut u16, 0) }
            },
            || {
                core::hint::spin_loop();
                port::ticks().wrapping_sub(start) < PATIENCE_TICKS
            },
        )
    }
}

/// Agrees on virtio 1 and nothing else.
fn negotiate(registers: Registers) -> Result<(), Errno> {
    registers.write(common::OFFER_SELECT, 1u32);
    if registers.read::<u32>(common::OFFER) & 1 == 0 {
        return Err(Errno::OPNOTSUPP);
    }
    registers.write(common::FEATURE_SELECT, 0u32);
    registers.write(common::FEATURES, 0u32);
    registers.write(common::FEATURE_SELECT, 1u32);
    registers.write(common::FEATURES, 1u32);
    registers.write(common::STATUS, 11u8);
    if registers.read::<u8>(common::STATUS) & 8 == 0 { Err(Errno::OPNOTSUPP) } else { Ok(()) }
}

fn start_queue(registers: Registers) -> Result<FlushQueue, Errno> {
    if RINGS_TAKEN.swap(true, Ordering::Relaxed) {
        return Err(Errno::BUSY);
    }
    let rings = &raw mut RINGS;
    // SAFETY: the flag says that this is the only reference ever made.
    let queue = FlushQueue::new(unsafe { &mut *rings });
    registers.write(common::QUEUE_SELECT, 0u16);
    if registers.read::<u16>(common::QUEUE_SIZE) < ENTRIES {
        return Err(Errno::OPNOTSUPP);
    }
    registers.write(common::QUEUE_SIZE, ENTRIES);
    let addresses = queue.addresses();
    for (index, address) in [addresses.descriptors, addresses.available, addresses.used].into_iter().enumerate() {
        registers.write(common::QUEUE_ADDRESSES + 8 * index, address);
    }
    registers.write(common::QUEUE_ENABLE, 1u16);
    Ok(queue)
}

// SAFETY: `map` puts exactly the window's pages onto the disk's memory, which the device says is memory.
unsafe impl Source for VirtioPmem {
    fn length_bytes(&self) -> Result<u64, Errno> {
        Ok(self.length_bytes)
    }

    fn alignment_bytes(&self) -> usize {
        PAGE_BYTES
    }

    fn granularity(&self) -> Result<Granularity, Errno> {
        Ok(Granularity::Page)
    }

    unsafe fn map(&self, window: Extent, offset: u64) -> Result<(), Errno> {
        let end = offset.checked_add(window.length_bytes() as u64).ok_or(Errno::OVERFLOW)?;
        if end > self.length_bytes {
            return Err(Errno::NXIO);
        }
        platform::map(window, self.base + offset, Cache::Memory)
    }

    unsafe fn unmap(&self, window: Extent, _offset: u64) -> Result<(), Errno> {
        platform::unmap(window);
        Ok(())
    }

    /// Flushes the whole disk: the device knows no ranges.
    fn sync(&self, _range: Extent, _offset: u64) -> Result<(), Errno> {
        self.flush()
    }

    fn deep_flush(&self, _range: Extent, _offset: u64) -> Result<DeepFlush, Errno> {
        self.flush().map(|()| DeepFlush::Done)
    }
}
