//! Finds PCI devices through the configuration ports, and what virtio keeps in their configuration space.

use core::ops::Range;

use crate::port;

/// A function of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function(u32);

impl Function {
    /// Reads the four bytes at `offset`, a multiple of four, of the configuration space.
    pub fn read(self, offset: u8) -> u32 {
        // SAFETY: the address port takes any value; reading configuration space changes nothing.
        unsafe { port::write32(0xcf8, 0x8000_0000 | self.0 << 8 | u32::from(offset & 0xfc)) };
        // SAFETY: as above.
        unsafe { port::read32(0xcfc) }
    }

    /// Writes the four bytes at `offset`, a multiple of four, of the configuration space.
    pub fn write(self, offset: u8, value: u32) {
        // SAFETY: the address port takes any value.
        unsafe { port::write32(0xcf8, 0x8000_0000 | self.0 << 8 | u32::from(offset & 0xfc)) };
        // SAFETY: this kernel writes only the command register, to switch on memory and bus mastering.
        unsafe { port::write32(0xcfc, value) };
    }

    fn byte(self, offset: u8) -> u8 {
        (self.read(offset) >> (8 * u32::from(offset & 3))) as u8
    }

    /// Returns the physical address of base address register `index`; `None` for ports and unset registers.
    pub fn bar(self, index: u8) -> Option<u64> {
        let offset = 0x10 + index.checked_mul(4).filter(|offset| *offset <= 0x14)?;
        let low = self.read(offset);
        let high = if low & 6 == 4 { self.read(offset + 4) } else { 0 };
        let address = u64::from(high) << 32 | u64::from(low & !15);
        (low & 1 == 0 && address != 0).then_some(address)
    }

    /// Returns where the virtio structure of type `kind` lies: base address register, offset, length and the offset
    /// of its capability.
    pub fn virtio_structure(self, kind: u8) -> Option<Structure> {
        let mut at = self.byte(0x34) & 0xfc;
        // The list has at most 48 entries: more means that it is a ring.
        for _ in 0..48 {
            if at == 0 {
                return None;
            }
            if self.byte(at) == 9 && self.byte(at + 3) == kind {
                let base = self.bar(self.byte(at + 4))?;
                let (offset, length_bytes) = (self.read(at + 8), self.read(at + 12));
                return Some(Structure { physical: base + u64::from(offset), length_bytes, capability: at });
            }
            at = self.byte(at + 1) & 0xfc;
        }
        None
    }
}

/// Where a virtio structure lies.
#[derive(Clone, Copy, Debug)]
pub struct Structure {
    /// Its physical address.
    pub physical: u64,
    /// Its length in bytes.
    pub length_bytes: u32,
    /// The offset of its capability in configuration space.
    pub capability: u8,
}

/// Returns the functions whose vendor (low half) and device (high half) are `identity`.
pub fn find(identity: u32) -> impl Iterator<Item = Function> {
    let slots: Range<u32> = 0..256 * 32;
    slots
        .flat_map(|slot| {
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
