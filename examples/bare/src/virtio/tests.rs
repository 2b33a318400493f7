//! Disks that are as they should be, and disks that lie: about their memory, their registers, and whether they answer.

use std::boxed::Box;
use std::vec::Vec;

use super::*;
use crate::fake::{Disk, Lies, Ram};

const EXTENT: Extent = Extent::new(0x10_0000, 0x2000).unwrap();

fn rings() -> (&'static mut Rings, u64) {
    let rings = Box::leak(Box::new(Rings::new()));
    let physical = core::ptr::from_ref(rings) as u64;
    (rings, physical)
}

fn start(ram: &Ram, disk: Disk) -> Result<VirtioPmem<&Ram, Disk>, Errno> {
    let (rings, physical) = rings();
    VirtioPmem::start(ram, disk, rings, physical)
}

/// Starts a disk that was changed; returns the error, and what the device was told last.
fn refused(change: impl FnOnce(&Disk)) -> (Errno, u8) {
    let ram = Ram::default();
    let disk = &*Box::leak(Box::new(Disk::new()));
    change(disk);
    let (rings, physical) = rings();
    let error = VirtioPmem::start(&ram, disk, rings, physical).map(drop).unwrap_err();
    assert_eq!(disk.strays(), Vec::<usize>::new(), "nothing but registers is written to");
    (error, disk.device_status())
}

#[test]
fn a_disk_is_mapped_and_flushed() {
    let ram = Ram::default();
    let disk = start(&ram, Disk::new()).unwrap();
    assert_eq!(disk.length_bytes(), Ok(Disk::MEMORY.1));
    // SAFETY: the fake maps nothing.
    assert_eq!(unsafe { disk.map(EXTENT, 0x1000) }, Ok(()));
    assert_eq!(*ram.mapped.lock().unwrap(), [(EXTENT, Disk::MEMORY.0 + 0x1000)]);
    for offset in [Disk::MEMORY.1 - 0x1000, Disk::MEMORY.1, u64::MAX - 0xfff] {
        // SAFETY: as above.
        assert!(unsafe { disk.map(EXTENT, offset) }.is_err(), "{offset:#x}");
    }
    assert_eq!(disk.sync(EXTENT, 0), Ok(()));
    assert_eq!(disk.deep_flush(EXTENT, 0), Ok(DeepFlush::Done));
    disk.function.answers(1);
    assert_eq!(disk.sync(EXTENT, 0), Err(Errno::IO));
    assert_eq!((disk.function.flushes(), disk.function.strays().len()), (3, 0));
}

#[test]
fn memory_that_cannot_be_is_refused() {
    let memory = |start, length| refused(move |disk: &Disk| disk.memory(start, length));
    for (start, length) in [(1 << 32, 0), (!0xfff, 1 << 13), (1 << 52, 1 << 12), (1 << 32, 100), ((1 << 32) + 8, 4096)]
    {
        assert_eq!(memory(start, length), (Errno::INVAL, status::FAILED), "{start:#x} {length:#x}");
    }
    for (start, length) in [(0, 4096), (Ram::END - 4096, 8192), (1 << 20, 1 << 40)] {
        assert_eq!(memory(start, length), (Errno::FAULT, status::FAILED), "the kernel's own: {start:#x} {length:#x}");
    }
}

/// The bell is written to at each flush: beside its structure, that would be anybody's memory.
#[test]
fn a_bell_outside_its_structure_is_refused() {
    let bell = |number: u16, multiplier: u32| {
        refused(move |disk: &Disk| {
            disk.register(30, &number.to_le_bytes());
            disk.configure(|space| space[0x70..0x74].copy_from_slice(&multiplier.to_le_bytes()));
        })
    };
    for (number, multiplier) in [(4, 4), (15, 1), (u16::MAX, u32::MAX), (1, 15), (1, 1), (8, 2)] {
        assert_eq!(bell(number, multiplier), (Errno::INVAL, status::FAILED), "{number} * {multiplier}");
    }
    for (number, multiplier) in [(3, 4), (7, 2), (14, 1), (u16::MAX, 0)] {
        let ram = Ram::default();
        let disk = Disk::new();
        disk.register(30, &number.to_le_bytes());
        disk.configure(|space| space[0x70..0x74].copy_from_slice(&u32::to_le_bytes(multiplier)));
        let disk = start(&ram, disk).unwrap();
        assert_eq!(disk.bell as u64, Disk::BASE + 0x1000 + u64::from(number) * u64::from(multiplier));
    }
}

#[test]
fn registers_that_cannot_be_are_refused() {
    // Too short, in the kernel's own memory, beyond what there is; not started, so told nothing.
    assert_eq!(refused(|disk| disk.configure(|space| space[0x4c] = 55)), (Errno::INVAL, 0));
    assert_eq!(refused(|disk| disk.configure(|space| space[0x6c..0x70].fill(0))), (Errno::INVAL, 0));
    assert_eq!(refused(|disk| disk.configure(|space| space[0x48] = 2)), (Errno::INVAL, 0), "off its boundary");
    assert_eq!(refused(|disk| disk.configure(|space| space[0x11..0x18].fill(0x0f))), (Errno::INVAL, 0));
    let own = |space: &mut [u8; 256]| space[0x10..0x18].copy_from_slice(&0x10_0004_u64.to_le_bytes());
    assert_eq!(refused(|disk| disk.configure(own)), (Errno::FAULT, 0));
    assert_eq!(refused(|disk| disk.configure(|space| space[0x83] = 5)), (Errno::NODEV, 0));
    assert_eq!(refused(|disk| disk.register(24, &[1, 0])), (Errno::OPNOTSUPP, status::FAILED), "a queue of one");
}

#[test]
fn devices_that_do_not_answer_are_given_up() {
    let lies = |lies| {
        let ram = Ram::default();
        start(&ram, Disk::lying(lies)).map(drop)
    };
    assert_eq!(lies(Lies { never_resets: true, ..Lies::default() }), Err(Errno::NXIO));
    assert_eq!(lies(Lies { is_old: true, ..Lies::default() }), Err(Errno::OPNOTSUPP));
    assert_eq!(lies(Lies { disagrees: true, ..Lies::default() }), Err(Errno::OPNOTSUPP));
    assert_eq!(lies(Lies { fails_at_last: true, ..Lies::default() }), Err(Errno::IO));
    let ram = Ram::default();
    let disk = start(&ram, Disk::lying(Lies { is_silent: true, ..Lies::default() })).unwrap();
    assert_eq!(disk.sync(EXTENT, 0), Err(Errno::NXIO));
    assert_eq!(disk.sync(EXTENT, 0), Err(Errno::NXIO), "and never asked again");
}
