//! Finds PCI devices through the configuration ports, and what virtio keeps in their configuration space.
#![allow(unsafe_code, reason = "ports, and registers of devices")]

#[cfg(target_arch = "x86_64")]
pub use ports::{Function, find};

/// A function of a PCI device.
///
/// # Safety
///
/// [`load`](Self::load) and [`store`](Self::store) reach the register at an address, and nothing else.
pub unsafe trait Configuration: Sync {
    /// Reads the four bytes at `offset`, a multiple of four, of the configuration space.
    fn read(&self, offset: u8) -> u32;

    /// Lets the device answer at its base addresses, and read and write memory.
    fn enable(&self);

    /// Reads a register of `width_bytes` (1, 2, 4 or 8) that is mapped at `address`.
    ///
    /// # Safety
    ///
    /// It is mapped there, and reading it does no harm.
    unsafe fn load(&self, address: usize, width_bytes: u8) -> u64 {
        match width_bytes {
            // SAFETY: the caller's promise.
            1 => unsafe { (address as *const u8).read_volatile() }.into(),
            // SAFETY: the caller's promise.
            2 => unsafe { (address as *const u16).read_volatile() }.into(),
            // SAFETY: the caller's promise.
            4 => unsafe { (address as *const u32).read_volatile() }.into(),
            // SAFETY: the caller's promise.
            _ => unsafe { (address as *const u64).read_volatile() },
        }
    }

    /// Writes the low `width_bytes` (1, 2 or 4, or all 8) of `value` to the register that is mapped at `address`.
    ///
    /// # Safety
    ///
    /// It is mapped there, and may be given the value.
    unsafe fn store(&self, address: usize, width_bytes: u8, value: u64) {
        let [one, two, three, four, ..] = value.to_le_bytes();
        match width_bytes {
            // SAFETY: the caller's promise.
            1 => unsafe { (address as *mut u8).write_volatile(one) },
            // SAFETY: the caller's promise.
            2 => unsafe { (address as *mut u16).write_volatile(u16::from_le_bytes([one, two])) },
            // SAFETY: the caller's promise.
            4 => unsafe { (address as *mut u32).write_volatile(u32::from_le_bytes([one, two, three, four])) },
            // SAFETY: the caller's promise.
            _ => unsafe { (address as *mut u64).write_volatile(value) },
        }
    }

    /// Returns whether to go on waiting for the device after `polls` looks at it: 2^32 of them take minutes.
    fn is_patient(&self, polls: u64) -> bool {
        polls < 1 << 32
    }
}

// SAFETY: every call goes to the function behind the reference.
unsafe impl<F: Configuration + ?Sized> Configuration for &F {
    fn read(&self, offset: u8) -> u32 {
        (**self).read(offset)
    }
    fn enable(&self) {
        (**self).enable();
    }
    unsafe fn load(&self, address: usize, width_bytes: u8) -> u64 {
        // SAFETY: the caller's promise is passed on as it is.
        unsafe { (**self).load(address, width_bytes) }
    }
    unsafe fn store(&self, address: usize, width_bytes: u8, value: u64) {
        // SAFETY: the caller's promise is passed on as it is.
        unsafe { (**self).store(address, width_bytes, value) }
    }
    fn is_patient(&self, polls: u64) -> bool {
        (**self).is_patient(polls)
    }
}

/// Returns a byte of the configuration space.
fn byte(function: &impl Configuration, offset: u8) -> u8 {
    function.read(offset & 0xfc).to_le_bytes()[usize::from(offset & 3)]
}

/// Returns the physical address of base address register `index`; `None` for ports and unset registers.
pub fn base_address(function: &impl Configuration, index: u8) -> Option<u64> {
    const REGISTERS: u8 = 6;
    let offset = 0x10 + 4 * Some(index).filter(|index| *index < REGISTERS)?;
    let low = function.read(offset);
    let high = match low & 6 {
        4 if index + 1 < REGISTERS => function.read(offset + 4),
        4 => return None,
        _ => 0,
    };
    let address = u64::from(high) << 32 | u64::from(low & !15);
    (low & 1 == 0 && address != 0).then_some(address)
}

/// Where a structure of a virtio device lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Structure {
    /// Its physical address.
    pub physical: u64,
    /// Its length in bytes.
    pub length_bytes: u32,
    /// The offset of its capability in configuration space.
    pub capability: u8,
}

/// Returns where the virtio structure of type `kind` lies (virtio 1.2, section 4.1.4); `None` where there is none, or
/// none that can be.
pub fn virtio_structure(function: &impl Configuration, kind: u8) -> Option<Structure> {
    const VENDOR: u8 = 9;
    /// The longest capability that is read: that of notifications.
    const LAST: u8 = 0xfc - 16;
    let mut at = byte(function, 0x34) & 0xfc;
    // The list has at most 48 entries: more means that it is a ring.
    for _ in 0..48 {
        if !(0x40..=LAST).contains(&at) {
            return None;
        }
        if byte(function, at) == VENDOR && byte(function, at + 3) == kind {
            let base = base_address(function, byte(function, at + 4))?;
            let (offset, length_bytes) = (function.read(at + 8), function.read(at + 12));
            let physical = base.checked_add(offset.into())?;
            return Some(Structure { physical, length_bytes, capability: at });
        }
        at = byte(function, at + 1) & 0xfc;
    }
    None
}

#[cfg(target_arch = "x86_64")]
mod ports {
    //! The configuration ports that every x86 machine has.

    use core::arch::asm;

    use super::Configuration;

    const ADDRESS: u16 = 0xcf8;
    const DATA: u16 = 0xcfc;

    fn write(port: u16, value: u32) {
        // SAFETY: the callers below choose an address, and set the two bits of a command register.
        unsafe { asm!("out dx, eax", in("dx") port, in("eax") value, options(nomem, nostack, preserves_flags)) }
    }

    fn read(port: u16) -> u32 {
        let value;
        // SAFETY: reading configuration space changes nothing.
        unsafe { asm!("in eax, dx", in("dx") port, out("eax") value, options(nomem, nostack, preserves_flags)) }
        value
    }

    /// A function of a device, reached through the configuration ports. One processor at a time.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Function(u32);

    // SAFETY: registers are reached by plain loads and stores.
    unsafe impl Configuration for Function {
        fn read(&self, offset: u8) -> u32 {
            write(ADDRESS, 0x8000_0000 | self.0 << 8 | u32::from(offset & 0xfc));
            read(DATA)
        }

        fn enable(&self) {
            const COMMAND: u8 = 4;
            const MEMORY_AND_MASTER: u32 = 6;
            let command = self.read(COMMAND);
            write(ADDRESS, 0x8000_0000 | self.0 << 8 | u32::from(COMMAND));
            write(DATA, command | MEMORY_AND_MASTER);
        }
    }

    /// Returns the functions whose vendor (low half) and device (high half) are `identity`.
    pub fn find(identity: u32) -> impl Iterator<Item = Function> {
        let slots = 0..256 * 32;
        slots
            .flat_map(|slot: u32| {
                let first = Function(slot << 3);
                let present = first.read(0) != 0xffff_ffff;
                let functions = if !present {
                    0
                } else if first.read(0x0c) & 0x0080_0000 != 0 {
                    8
                } else {
                    1
                };
                (0..functions).map(move |function| Function(slot << 3 | function))
            })
            .filter(move |function| function.read(0) == identity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::Disk;

    #[test]
    fn structures_are_found() {
        let disk = Disk::new();
        let structure = virtio_structure(&disk, 2).unwrap();
        assert_eq!((structure.physical, structure.length_bytes), (Disk::BASE + 0x1000, 16));
        assert_eq!(virtio_structure(&disk, 3), None);
    }

    /// A list of capabilities that is a ring, that leads out of the space, or whose entries are cut off by its end.
    #[test]
    fn lists_that_lie_end() {
        for next in [0x40, 0x44, 0x60, 0x04, 0xf0, 0xfc] {
            let disk = Disk::new();
            disk.configure(|space| (space[0x34], space[0x41], space[0x61]) = (0x40, next, next));
            disk.configure(|space| {
                space[0xf0..].copy_from_slice(&[9, 0xf0, 16, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0, 0, 0])
            });
            assert_eq!(virtio_structure(&disk, 3), None, "{next:#x}");
        }
        for (register, low, high) in [(0, 0xffff_f004, u32::MAX), (5, 0xfe00_0004, 1), (0, 1, 0), (0, 0, 0), (6, 0, 0)]
        {
            let disk = Disk::new();
            disk.configure(|space| {
                let at = 0x10 + 4 * register;
                if register < 6 {
                    space[at..at + 4].copy_from_slice(&u32::to_le_bytes(low));
                    space[at + 4..at + 8].copy_from_slice(&u32::to_le_bytes(high));
                }
                space[0x64] = u8::try_from(register).unwrap();
            });
            assert_eq!(virtio_structure(&disk, 2), None, "register {register} {low:#x}");
        }
    }
}
