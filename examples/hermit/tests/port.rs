//! The port over a machine that behaves like Hermit's: the contract suite, restarts, and what is used up.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]
#![allow(missing_docs, reason = "a test")]

mod fake;

use std::fs::File;
use std::sync::Arc;

use bare::{Kernel as _, Nvdimm};
use fake::{DIMM_BYTES, Kernel, Machine, RAM_BYTES};
use hermit_port::Port;
use pmemset_core::error::ReserveError;
use pmemset_core::{Config, Errno, Granularity, MapConfig, Platform, Set, contract};
use x86_64::structures::paging::PageTableFlags;

type HermitPort = Port<Kernel>;
type Dimm<'p> = Nvdimm<&'p HermitPort>;

/// Leaves firmware tables in memory: the root pointer in the BIOS's area, the others behind it.
fn firmware(memory: &File, nfit_bytes: Option<u32>) {
    let sealed = |mut bytes: Vec<u8>, at: usize| {
        bytes[at] = bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)).wrapping_neg();
        bytes
    };
    let mut root = b"RSD PTR \0PMSET \0".to_vec();
    root.extend(0xe_1000_u32.to_le_bytes());
    let mut index = b"RSDT".to_vec();
    index.extend(40_u32.to_le_bytes());
    index.resize(36, 0);
    index.extend(0xe_2000_u32.to_le_bytes());
    let mut nfit = testkit::nfit::table(&[testkit::nfit::range(1, RAM_BYTES, DIMM_BYTES)]);
    if let Some(length) = nfit_bytes {
        nfit[4..8].copy_from_slice(&length.to_le_bytes());
    }
    for (at, bytes) in [(0xe_0440, sealed(root, 8)), (0xe_1000, sealed(index, 9)), (0xe_2000, nfit)] {
        Machine::store(memory, at, &bytes);
    }
}

fn start(memory: &File) -> (HermitPort, &'static Machine) {
    let kernel = Machine::start(memory);
    (Port::new(kernel), kernel.0)
}

fn dimm(port: &HermitPort) -> Dimm<'_> {
    let table = port.nfit().unwrap().unwrap();
    Nvdimm::new(port, &table, table.ranges[0], None).unwrap()
}

#[test]
fn every_duty_is_kept() {
    const SKIPPED: [&str; 7] = [
        "fixed_address_is_aligned",
        "growth_in_use_is_not_undone",
        "sync_reaches_the_medium",
        "device_stays",
        "bad_blocks_are_in_order",
        "mcsafe_copies_stay_inside",
        "mcsafe_copies_go_where_they_are_told",
    ];
    let memory = fake::memory();
    firmware(&memory, None);
    let (port, _) = start(&memory);
    let (mut breaches, mut skipped) = (Vec::new(), Vec::new());
    let mut report = |duty: &'static str, finding: contract::Finding| match finding {
        Ok(contract::Outcome::Kept) => {}
        Ok(contract::Outcome::Skipped(_)) => skipped.push(duty),
        Err(breach) => breaches.push(format!("{duty}: {breach}")),
    };
    contract::platform(&port, &mut report);
    contract::source(&port, &dimm(&port), &mut report);
    assert_eq!(breaches, [""; 0]);
    assert_eq!(skipped, SKIPPED);
}

#[test]
fn records_are_found_after_a_restart() {
    let memory = fake::memory();
    firmware(&memory, None);
    for start_number in 1..=3_u64 {
        let (port, machine) = start(&memory);
        let dimm = Arc::new(dimm(&port));
        let (free, before) = (machine.free_bytes(), machine.mapped());
        let set: Set<'_, &HermitPort, Arc<Dimm<'_>>> =
            Set::with_capacity(&port, Config::new(Granularity::CacheLine), 4);
        let part = set.map(dimm, &MapConfig::new()).unwrap();
        assert_eq!(machine.mapped().iter().filter(|length| **length == 2 << 20).count(), 4, "large pages");
        let mut word = [0; 8];
        part.read(3 << 20, &mut word).unwrap();
        assert_eq!(u64::from_le_bytes(word), start_number - 1);
        part.write(3 << 20, &start_number.to_le_bytes()).unwrap();
        set.remove(part).unwrap();
        assert_eq!((machine.free_bytes(), machine.mapped()), (free, before));
    }
}

#[test]
fn failed_map_leaves_nothing_mapped() {
    let memory = fake::memory();
    firmware(&memory, None);
    let (port, machine) = start(&memory);
    let dimm = dimm(&port);
    // From the middle of a large page on: small pages first, then large ones, and a second table for small ones.
    let window = port.reserve(8 << 20, 4 << 20).unwrap();
    let window = window.starting_at(window.start() + (1 << 20)).unwrap();
    let before = machine.mapped();
    *machine.frames.lock().unwrap() = 1;
    // SAFETY: reserved above, and not in use.
    let refused = unsafe { port.map(window, RAM_BYTES + 4096) };
    assert_eq!((refused, machine.mapped()), (Err(Errno::NOMEM), before.clone()));
    *machine.frames.lock().unwrap() = 64;
    // SAFETY: as above.
    unsafe { port.map(window.slice(0, 8192).unwrap(), RAM_BYTES) }.unwrap();
    // SAFETY: as above, and some of it is mapped.
    let refused = unsafe { port.map(window.slice(4096, 8192).unwrap(), RAM_BYTES) };
    assert_eq!((refused, machine.mapped().len()), (Err(Errno::EXIST), before.len() + 2));
    // SAFETY: as above.
    assert_eq!(unsafe { port.map(window, RAM_BYTES + 1) }, Err(Errno::INVAL));
    drop(dimm);
}

#[test]
fn pages_that_are_used_up_or_taken_are_refused() {
    let (port, machine) = start(&fake::memory());
    let all = machine.free_bytes();
    let first = port.reserve(all - 8192, 4096).unwrap();
    assert_eq!(port.reserve(16384, 4096), Err(ReserveError::CannotFit));
    assert_eq!(port.reserve(12345, 4096), Err(ReserveError::CannotFit), "no pages");
    assert_eq!(port.reserve_at(first.slice(4096, 4096).unwrap()), Err(ReserveError::Occupied));
    // SAFETY: reserved above, and nothing is mapped there.
    unsafe { port.release(first.slice(4096, 4096).unwrap()) }.unwrap();
    port.reserve_at(first.slice(4096, 4096).unwrap()).unwrap();
    assert_eq!(machine.free_bytes(), 8192);
}

#[test]
fn registers_are_not_cached() {
    let (port, machine) = start(&fake::memory());
    let address = port.map_registers(0x12_3458, 8).unwrap();
    assert_eq!(address % 4096, 0x458);
    let uncached = PageTableFlags::NO_CACHE | PageTableFlags::WRITE_THROUGH;
    assert!(machine.flags(address).unwrap().contains(uncached));
    let window = port.reserve(4096, 4096).unwrap();
    // SAFETY: just reserved.
    unsafe { port.map(window, RAM_BYTES) }.unwrap();
    assert!(!machine.flags(window.start()).unwrap().intersects(uncached));
}

#[test]
fn tables_that_lie_are_none() {
    let memory = fake::memory();
    for length in [u32::MAX, (1 << 20) + 1, 3] {
        firmware(&memory, Some(length));
        let (port, machine) = start(&memory);
        let free = machine.free_bytes();
        assert!(port.nfit().is_none(), "{length}");
        assert!(free - machine.free_bytes() < 1 << 20, "no memory is mapped for it");
    }
    Machine::store(&memory, 0xe_0440, &[0; 8]);
    assert!(start(&memory).0.nfit().is_none());
}
