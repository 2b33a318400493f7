//! A kernel and a virtio-pmem disk for tests and fuzzers; the disk can be told to lie.
#![allow(clippy::new_without_default, reason = "a disk is made to be told to lie")]
#![allow(unsafe_code, reason = "kernels and devices have unsafe duties")]

use std::boxed::Box;
use std::sync::Mutex;
use std::vec;
use std::vec::Vec;

use pmemset_core::{Errno, Extent, Span};

use crate::Kernel;
use crate::pci::Configuration;

/// Physical memory that holds tables; the kernel's own memory ends at [`Ram::END`]. What is mapped is written down.
#[derive(Debug, Default)]
pub struct Ram {
    pub bytes: Vec<u8>,
    pub root: Option<u64>,
    pub mapped: Mutex<Vec<(Extent, u64)>>,
    /// Registers that were mapped, at their physical addresses.
    pub registers: Mutex<Vec<Extent>>,
}

impl Ram {
    pub const END: u64 = 1 << 30;

    pub fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, root: Some(0), ..Self::default() }
    }
}

// SAFETY: nothing is mapped, and nobody stores anything there; registers have the address that is their own.
unsafe impl Kernel for Ram {
    fn bytes(&self, physical: u64, length_bytes: usize) -> Option<&[u8]> {
        let start = usize::try_from(physical).ok()?;
        self.bytes.get(start..start.checked_add(length_bytes)?)
    }

    fn acpi_root(&self) -> Option<u64> {
        self.root
    }

    fn is_in_use(&self, range: Span) -> bool {
        range.start() < Self::END
    }

    unsafe fn map(&self, window: Extent, physical: u64) -> Result<(), Errno> {
        self.mapped.lock().unwrap().push((window, physical));
        Ok(())
    }

    unsafe fn unmap(&self, window: Extent) -> Result<(), Errno> {
        self.mapped.lock().unwrap().retain(|mapped| mapped.0 != window);
        Ok(())
    }

    fn map_registers(&self, physical: u64, length_bytes: usize) -> Result<usize, Errno> {
        let start = usize::try_from(physical).map_err(|_| Errno::INVAL)?;
        self.registers.lock().unwrap().push(Extent::new(start, length_bytes).ok_or(Errno::INVAL)?);
        Ok(start)
    }
}

/// What a disk does otherwise than it should.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lies {
    /// It never ends its reset.
    pub never_resets: bool,
    /// It does not offer virtio 1.
    pub is_old: bool,
    /// It takes back what was agreed on.
    pub disagrees: bool,
    /// It asks to be reset at the end.
    pub fails_at_last: bool,
    /// It does not answer requests.
    pub is_silent: bool,
}

#[derive(Debug)]
struct Inside {
    space: [u8; 256],
    registers: [u8; 56],
    own: [u8; 16],
    lies: Lies,
    enabled: bool,
    /// Addresses that were written to and are no register.
    strays: Vec<usize>,
    flushes: u32,
    status: u32,
}

/// A virtio-pmem disk; its registers are at their physical addresses.
#[derive(Debug)]
pub struct Disk(Mutex<Box<Inside>>);

impl Disk {
    /// Where its registers begin: the common configuration, bells 4 KiB behind, its own configuration 8 KiB behind.
    pub const BASE: u64 = 0xfe_0000_0000;
    /// Where its memory is, and how much.
    pub const MEMORY: (u64, u64) = (0x1_0000_0000, 16 << 20);

    pub fn new() -> Self {
        let mut space = [0; 256];
        space[..4].copy_from_slice(&0x105b_1af4_u32.to_le_bytes());
        let base = Self::BASE.to_le_bytes();
        space[0x10..0x18].copy_from_slice(&base);
        space[0x10] |= 4;
        space[0x34] = 0x40;
        let mut capability = |at: usize, next: u8, kind: u8, offset: u32, length: u32| {
            space[at..at + 5].copy_from_slice(&[9, next, 20, kind, 0]);
            space[at + 8..at + 12].copy_from_slice(&offset.to_le_bytes());
            space[at + 12..at + 16].copy_from_slice(&length.to_le_bytes());
        };
        capability(0x40, 0x60, 1, 0, 56);
        capability(0x60, 0x80, 2, 0x1000, 16);
        capability(0x80, 0, 4, 0x2000, 16);
        space[0x70..0x74].copy_from_slice(&4_u32.to_le_bytes());
        let mut registers = [0; 56];
        registers[24..26].copy_from_slice(&8_u16.to_le_bytes());
        registers[30..32].copy_from_slice(&3_u16.to_le_bytes());
        let mut own = [0; 16];
        own[..8].copy_from_slice(&Self::MEMORY.0.to_le_bytes());
        own[8..].copy_from_slice(&Self::MEMORY.1.to_le_bytes());
        Self(Mutex::new(Box::new(Inside {
            space,
            registers,
            own,
            lies: Lies::default(),
            enabled: false,
            strays: vec![],
            flushes: 0,
            status: 0,
        })))
    }

    pub fn lying(lies: Lies) -> Self {
        let disk = Self::new();
        disk.0.lock().unwrap().lies = lies;
        disk
    }

    /// Changes the configuration space.
    pub fn configure(&self, change: impl FnOnce(&mut [u8; 256])) {
        change(&mut self.0.lock().unwrap().space);
    }

    /// Changes the common configuration.
    pub fn register(&self, at: usize, bytes: &[u8]) {
        self.0.lock().unwrap().registers[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// Says where its memory is.
    pub fn memory(&self, start: u64, length_bytes: u64) {
        let mut inside = self.0.lock().unwrap();
        inside.own[..8].copy_from_slice(&start.to_le_bytes());
        inside.own[8..].copy_from_slice(&length_bytes.to_le_bytes());
    }

    /// Answers requests with `status`.
    pub fn answers(&self, status: u32) {
        self.0.lock().unwrap().status = status;
    }

    pub fn device_status(&self) -> u8 {
        self.0.lock().unwrap().registers[20]
    }

    pub fn flushes(&self) -> u32 {
        self.0.lock().unwrap().flushes
    }

    /// Returns the addresses that were written to and are no register.
    pub fn strays(&self) -> Vec<usize> {
        self.0.lock().unwrap().strays.clone()
    }
}

/// Answers the newest request of a queue as a device does, which knows three addresses (virtio 1.2, section 2.7).
fn answer(descriptors: u64, available: u64, used: u64, status: u32) {
    const ENTRIES: u64 = 2;
    // SAFETY: the driver has told where its rings are, and touches them through raw pointers only, not now.
    let half = |address: u64| unsafe { (address as *const u16).read_volatile() };
    // SAFETY: as above.
    let word = |address: u64| unsafe { (address as *const u32).read_volatile() };
    let newest = u64::from(half(available + 2).wrapping_sub(1)) % ENTRIES;
    let head = u64::from(half(available + 4 + 2 * newest));
    let next = u64::from(half(descriptors + 16 * head + 14));
    let place = descriptors + 16 * next;
    let target = u64::from(word(place)) | u64::from(word(place + 4)) << 32;
    let index = half(used + 2);
    let entry = used + 4 + 8 * (u64::from(index) % ENTRIES);
    for (address, value) in [(target, status), (entry, u32::try_from(head).unwrap()), (entry + 4, 4)] {
        // SAFETY: as above.
        unsafe { (address as *mut u32).write_volatile(value) };
    }
    // SAFETY: as above.
    unsafe { ((used + 2) as *mut u16).write_volatile(index.wrapping_add(1)) };
}

fn at(address: usize, offset: u64, length: usize) -> Option<usize> {
    let start = usize::try_from(Disk::BASE + offset).ok()?;
    address.checked_sub(start).filter(|at| *at < length)
}

impl Inside {
    fn store(&mut self, address: usize, bytes: &[u8]) {
        let Some(place) = at(address, 0, self.registers.len()) else {
            match at(address, 0x1000, 15) {
                Some(_) => self.ring(),
                None => self.strays.push(address),
            }
            return;
        };
        match place {
            20 => {
                let (never, disagrees, fails) = (self.lies.never_resets, self.lies.disagrees, self.lies.fails_at_last);
                self.registers[20] = match bytes[0] {
                    0 if never => 1,
                    11 if disagrees => 3,
                    15 if fails => 15 | 0x40,
                    other => other,
                };
            }
            _ => match self.registers.get_mut(place..place + bytes.len()) {
                Some(register) => register.copy_from_slice(bytes),
                None => self.strays.push(address),
            },
        }
    }

    fn ring(&mut self) {
        if self.lies.is_silent {
            return;
        }
        let word = |at: usize| u64::from_le_bytes(self.registers[at..at + 8].try_into().unwrap());
        // What the driver has written elsewhere, because it was told so, are no rings.
        let is_near = |at: u64| at.wrapping_sub(word(32)) < 256;
        if word(32) == 0 || !is_near(word(40)) || !is_near(word(48)) {
            return;
        }
        self.flushes += 1;
        answer(word(32), word(40), word(48), self.status);
    }
}

// SAFETY: no address is touched; what registers there are is decided above.
unsafe impl Configuration for Disk {
    fn read(&self, offset: u8) -> u32 {
        let at = usize::from(offset);
        u32::from_le_bytes(self.0.lock().unwrap().space[at..at + 4].try_into().unwrap())
    }

    fn enable(&self) {
        self.0.lock().unwrap().enabled = true;
    }

    unsafe fn load(&self, address: usize, width_bytes: u8) -> u64 {
        let inside = self.0.lock().unwrap();
        assert!(inside.enabled);
        let width = usize::from(width_bytes);
        let mut bytes = [0; 8];
        let offered = [u8::from(!inside.lies.is_old && inside.registers[0] == 1)];
        let found = match (at(address, 0x2000, 16), at(address, 0, 56)) {
            (Some(at), _) => inside.own.get(at..at + width),
            (None, Some(4)) => Some(&offered[..]),
            (None, Some(at)) => inside.registers.get(at..at + width),
            (None, None) => None,
        };
        // Nothing is there, as on a bus: the driver looks where it was told to look.
        let found = found.unwrap_or_default();
        bytes[..found.len()].copy_from_slice(found);
        u64::from_le_bytes(bytes)
    }

    unsafe fn store(&self, address: usize, width_bytes: u8, value: u64) {
        let mut inside = self.0.lock().unwrap();
        inside.store(address, &value.to_le_bytes()[..usize::from(width_bytes)]);
    }

    fn is_patient(&self, polls: u64) -> bool {
        polls < 1000
    }
}
