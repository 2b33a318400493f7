//! Ranges that a table names, and where they cannot be.

use pmemset_core::BadBlocks;

use super::*;
use crate::fake::Ram;
use crate::nfit::{self, NOT_ARMED};
use testkit::nfit as tables;

const BASE: u64 = 0x1_0000_0000;

fn table(base: u64, length_bytes: u64, hint: Option<u64>, state: u16) -> Nfit {
    let mut structures = std::vec![tables::range(1, base, length_bytes), tables::mapping(7, 1, 0, state)];
    structures.extend(hint.map(|address| tables::flush_hint(7, address)));
    nfit::parse(&tables::table(&structures)).unwrap()
}

fn dimm(table: &Nfit, ram: &Ram) -> Result<(), Errno> {
    Nvdimm::new(ram, table, table.ranges[0], None).map(drop)
}

#[test]
fn a_range_is_mapped_within_itself() {
    let (ram, table) = (Ram::default(), table(BASE, 0x10_0000, None, 0));
    let dimm = Nvdimm::new(&ram, &table, table.ranges[0], None).unwrap();
    let window = Extent::new(0x40_0000, 0x2000).unwrap();
    // SAFETY: the fake maps nothing.
    assert_eq!(unsafe { dimm.map(window, 0xf_e000) }, Ok(()));
    assert_eq!(*ram.mapped.lock().unwrap(), [(window, BASE + 0xf_e000)]);
    for offset in [0xf_f000, 0x10_0000, u64::MAX - 0xfff] {
        // SAFETY: as above.
        assert!(unsafe { dimm.map(window, offset) }.is_err(), "{offset:#x}");
    }
    assert_eq!(dimm.deep_flush(window, 0), Ok(DeepFlush::NotNeeded));
    assert!(matches!(dimm.bad_blocks(Span::new(0, 1).unwrap(), &mut []), BadBlocks::Unknown(_)));
}

#[test]
fn ranges_and_hints_in_other_memory_are_refused() {
    let ram = Ram::default();
    let refused = |base, length, hint, state| dimm(&table(base, length, hint, state), &ram);
    assert_eq!(refused(BASE, 0x10_0000, None, NOT_ARMED), Err(Errno::ROFS));
    assert_eq!(refused(BASE + 0x800, 0x10_0000, None, 0), Err(Errno::INVAL));
    assert_eq!(refused(BASE, 0x10_0800, None, 0), Err(Errno::INVAL));
    assert_eq!(refused(1 << 52, 0x10_0000, None, 0), Err(Errno::INVAL));
    assert_eq!(refused(Ram::END - 0x1000, 0x10_0000, None, 0), Err(Errno::FAULT));
    assert_eq!(refused(BASE, 0x10_0000, Some(0xfe_0000_0000), 0), Ok(()));
    assert_eq!(refused(BASE, 0x10_0000, Some(0xfe_0000_0004), 0), Err(Errno::INVAL));
    assert_eq!(refused(BASE, 0x10_0000, Some(u64::MAX - 7), 0), Err(Errno::INVAL));
    assert_eq!(refused(BASE, 0x10_0000, Some(0x1000), 0), Err(Errno::FAULT), "the kernel's own memory");
    assert_eq!(refused(BASE, 0x10_0000, Some(BASE + 0x1000), 0), Err(Errno::FAULT), "a store there would be in a part");
}
