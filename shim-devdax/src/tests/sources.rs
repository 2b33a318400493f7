//! Mapping: checked before the kernel is asked, aligned, and undone without a trace.
#![allow(unsafe_code, reason = "the duties of a source are called without a set")]

use std::format;
use std::vec::Vec;

use pmemset_core::error::{ClearError, MapError, McsafeError, PersistError, ReserveError};
use pmemset_core::{
    BadBlocks, Coalescing, Config, DeepFlush, Errno, Extent, Granularity, Health as _, MapConfig, Platform as _,
    Reservation, Set, Source, Span, contract,
};
use pmemset_linux::{Linux, Process};

use super::alone;
use super::tree::{ACPI, MIB, Tree, memory};
use crate::{DaxError, DaxSource};

type DaxSet<'a> = Set<'a, Linux, &'a dyn Source<Space = Process>>;

fn set<'a>(capacity: usize) -> DaxSet<'a> {
    Set::with_capacity(Linux, Config::new(Granularity::CacheLine).reserve_ahead(64 << 20), capacity)
}

/// Maps without a set, in a reservation of its own; the placeholder must be there afterwards.
fn map_alone(source: &DaxSource, window: (usize, usize), offset: u64) -> Result<(), Errno> {
    let whole = Linux.reserve(16 << 20, 2 << 20).unwrap();
    let window = whole.slice(window.0, window.1).unwrap();
    // SAFETY: the window lies in the reservation made above.
    let result = unsafe { source.map(window, offset) };
    if result.is_ok() {
        // SAFETY: mapped just now.
        unsafe { source.unmap(window, offset) }.unwrap();
    }
    for page in (0..16 << 20).step_by(1 << 20) {
        assert_eq!(Linux.reserve_at(whole.slice(page, 4096).unwrap()), Err(ReserveError::Occupied));
    }
    // SAFETY: reserved above, and nothing is mapped.
    unsafe { Linux.release(whole) }.unwrap();
    result.map_err(pmemset_core::error::MapFailure::cause)
}

/// The file in the device's place takes any page, and is longer than the device: no refusal can be the kernel's.
#[test]
fn refusals_come_before_the_kernel_is_asked() {
    let tree = Tree::nfit();
    let source = tree.source_of(memory(64 * MIB)).unwrap();
    const UNIT: usize = 2 << 20;
    assert_eq!(map_alone(&source, (0, UNIT), 0), Ok(()));
    assert_eq!(map_alone(&source, (UNIT, 2 * UNIT), 30 * MIB - 2 * MIB), Ok(()));
    assert_eq!(map_alone(&source, (4096, UNIT), 0), Err(Errno::INVAL), "the address is not aligned");
    assert_eq!(map_alone(&source, (0, 4096), 0), Err(Errno::INVAL), "the length is not aligned");
    assert_eq!(map_alone(&source, (0, UNIT), 4096), Err(Errno::INVAL), "the offset is not aligned");
    for offset in [32 * MIB, 34 * MIB, 1 << 62] {
        assert_eq!(map_alone(&source, (0, UNIT), offset), Err(Errno::NXIO), "beyond the device");
    }
    assert_eq!(map_alone(&source, (0, 2 * UNIT), 30 * MIB), Err(Errno::NXIO), "half of it is beyond the device");
    assert_eq!(map_alone(&source, (0, 2 * UNIT), u64::MAX - 2 * MIB + 1), Err(Errno::OVERFLOW));
    let window = Linux.reserve(UNIT, UNIT).unwrap();
    // SAFETY: the device refuses to touch what is not in whole units.
    assert_eq!(unsafe { source.unmap(window.slice(0, 4096).unwrap(), 0) }, Err(Errno::INVAL));
    // SAFETY: reserved above.
    unsafe { Linux.release(window) }.unwrap();
    let gone = Tree::nfit().source().unwrap();
    assert_eq!(map_alone(&gone, (0, UNIT), 0), Err(Errno::NOENT), "the device has gone");
}

/// SIGBUS is what the kernel would answer later.
#[test]
fn a_set_refuses_what_does_not_fit_the_device() {
    let tree = Tree::nfit();
    let source = tree.source_of(memory(64 * MIB)).unwrap();
    let set = set(4);
    let map = |offset: u64, length| set.map(&source, &MapConfig::new().offset(offset).length(length)).err();
    let alignment_bytes = 2 << 20;
    assert_eq!(map(4096, 0), Some(MapError::OffsetUnaligned { offset: 4096, alignment_bytes }));
    assert_eq!(map(0, 4096), Some(MapError::LengthUnaligned { length_bytes: 4096, alignment_bytes }));
    let small = |needed_bytes| Some(MapError::SourceTooSmall { needed_bytes, length_bytes: 32 * MIB });
    assert_eq!(map(0, 34 << 20), small(34 * MIB));
    assert_eq!(map(32 * MIB, 2 << 20), small(34 * MIB));
    assert_eq!(map(32 * MIB, 0), Some(MapError::LengthUnset));
    assert_eq!(set.segment_count(), 0);
    assert_eq!(map(0, 0), None, "the whole device");
    assert_eq!(set.first_part().unwrap().unwrap().extent().length_bytes(), 32 << 20);
}

/// What lies behind the last whole unit cannot be mapped; all before it can, and errors name that length.
#[test]
fn a_device_ends_with_its_last_whole_unit() {
    let tree = Tree::sized(2 * MIB, 6 * MIB + 4096);
    let source = tree.source_of(memory(8 * MIB)).unwrap();
    assert_eq!(source.length_bytes(), Ok(6 * MIB));
    let set = set(4);
    let mapped = set.map(&source, &MapConfig::new()).unwrap().extent();
    assert_eq!(mapped.length_bytes(), 6 << 20);
    let refused = set.map(&source, &MapConfig::new().length(8 << 20)).unwrap_err();
    assert_eq!(refused, MapError::SourceTooSmall { needed_bytes: 8 * MIB, length_bytes: 6 * MIB });
    let whole = Span::new(0, 6 * MIB).unwrap();
    assert_eq!(source.bad_blocks(whole, &mut []), BadBlocks::None);
    let end = McsafeError::OutOfRange { length_bytes: 6 * MIB };
    assert_eq!(source.read_mcsafe(6 * MIB, &mut [0]), Err(end));
    assert_eq!(
        source.clear_bad_block(Span::new(6 * MIB, 512).unwrap()).err(),
        Some(ClearError::OutOfRange { length_bytes: 6 * MIB })
    );
}

/// Pitfall 17, also with the page table's largest unit.
#[test]
fn parts_are_on_the_devices_alignment() {
    for (alignment, length) in [(4096_u64, 12 << 10), (2 * MIB, 4 << 20), (1 << 30, 1 << 30)] {
        let tree = Tree::sized(alignment, 4 << 30);
        let source = tree.source().unwrap();
        let unit = usize::try_from(alignment).unwrap();
        let set = set(8);
        for offset in [0, alignment, 2 * alignment] {
            let config = MapConfig::new().offset(offset).length(length);
            let mapped = set.map(&source, &config).unwrap().extent();
            assert_eq!(mapped.start() % unit, 0);
        }
        if unit == 4096 {
            continue;
        }
        // A reservation that begins and ends off the alignment, with room for two units in whole.
        let room = Linux.reserve(4 * unit, unit).unwrap();
        let window = room.slice(unit - 4096, 2 * unit + 8192).unwrap();
        // SAFETY: reserved above, and nothing is mapped.
        unsafe { Linux.release(room) }.unwrap();
        let reservation = Reservation::at_with_capacity(Linux, window, 4).unwrap();
        let inside = Set::with_capacity(&reservation, Config::new(Granularity::CacheLine), 4);
        let config = MapConfig::new().length(unit);
        for number in 1..3 {
            let mapped = inside.map(&source, &config).unwrap().extent();
            assert_eq!(mapped.start(), room.start() + number * unit);
        }
        let refused = inside.map(&source, &config).err();
        assert!(matches!(refused, Some(MapError::CannotFit { .. })), "{refused:?}");
    }
}

#[test]
fn devices_coalesce_when_their_granularity_agrees() {
    let (first, second) = (Tree::nfit(), Tree::sized(4096, 32 * MIB));
    let (first, second) = ((first.source().unwrap(), first), (second.source().unwrap(), second));
    let cached = Tree::nfit().file(&format!("{ACPI}/region0/persistence_domain"), "cpu_cache\n");
    let cached = (cached.source().unwrap(), cached);
    let set = set(8);
    set.set_coalescing(Coalescing::Full);
    let config = MapConfig::new().length(2 << 20);
    let whole = set.map(&first.0, &config).unwrap().part_extent();
    let part = set.map(&second.0, &config).unwrap().part_extent();
    assert_eq!((part.start(), part.length_bytes()), (whole.start(), 4 << 20));
    let part = set.map(&first.0, &config).unwrap().part_extent();
    assert_eq!(part.length_bytes(), 6 << 20);
    let mismatch = MapError::GranularityMismatch { set: Granularity::CacheLine, source: Granularity::Byte };
    assert_eq!(set.map(&cached.0, &config).err(), Some(mismatch));
    // 4 KiB further the next unit of the first device is 2 MiB away.
    set.map(&second.0, &MapConfig::new().length(4096)).unwrap();
    let refused = set.map(&first.0, &config).err();
    assert_eq!(refused, Some(MapError::CannotCoalesce { at: whole.start() + (6 << 20) + 4096 }));
}

#[test]
fn the_contract_is_kept_at_every_alignment() {
    for alignment in [4096, 2 * MIB] {
        alone(&format!("sources::the_contract_is_kept_at_every_alignment {alignment}"), || {
            let tree = Tree::sized(alignment, 16 * MIB);
            let source = tree.source().unwrap();
            let mut skipped = Vec::new();
            contract::source(&Linux, &source, &mut |duty, finding| match finding {
                Ok(contract::Outcome::Kept) => {}
                Ok(contract::Outcome::Skipped(_)) => skipped.push(duty),
                Err(breach) => panic!("{duty}: {breach}"),
            });
            // Devices do not grow, their granularity is finer than a page, and this tree has no memory modules.
            let unseen =
                ["fixed_address_is_aligned", "growth_in_use_is_not_undone", "sync_reaches_the_medium", "device_stays"];
            assert_eq!(skipped, unseen, "not checked");
        });
    }
}

/// The mappings of this process: their number, and the address space that they take.
pub(super) fn address_space() -> (usize, usize) {
    let text = std::fs::read_to_string("/proc/self/maps").unwrap();
    let number = |text: &str| usize::from_str_radix(text, 16).unwrap();
    let lines = text.lines().filter(|line| !line.ends_with("[heap]"));
    let lengths = lines.map(|line| line.split(' ').next().unwrap().split_once('-').unwrap());
    lengths.fold((0, 0), |(count, bytes), (from, to)| (count + 1, bytes + (number(to) - number(from))))
}

fn xorshift(state: &mut u64) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    usize::try_from(*state >> 33).unwrap()
}

#[test]
fn a_thousand_parts_leave_nothing_behind() {
    alone("sources::a_thousand_parts_leave_nothing_behind", || {
        let tree = Tree::sized(4096, 8 * MIB);
        let source = tree.source().unwrap();
        let (mut random, mut parts) = (88_172_645_463_325_252, Vec::with_capacity(1000));
        let set = set(1024);
        // Whatever the allocator and procfs need, they have by now.
        let _ = address_space();
        let before = address_space();
        for round in 0..2 {
            set.set_coalescing(if round == 0 { Coalescing::None } else { Coalescing::Opportunistic });
            for number in 0..1000 {
                let config = MapConfig::new().offset(number * 4096).length(8192);
                let segment = set.map(&source, &config).unwrap().extent();
                assert_eq!(segment.start() % 4096, 0);
                parts.push(segment);
            }
            while !parts.is_empty() {
                let segment: Extent = parts.swap_remove(xorshift(&mut random) % parts.len());
                set.remove_range(segment.start(), segment.length_bytes()).unwrap();
            }
            assert_eq!(set.segment_count(), 0);
            assert_eq!(address_space(), before, "round {round}");
        }
    });
}

#[test]
fn stores_reach_the_device() {
    let tree = Tree::nfit();
    let source = tree.source().unwrap();
    let set = set(4);
    let segment = set.map(&source, &MapConfig::new().offset(4 * MIB).length(2 << 20)).unwrap().extent();
    let address = segment.start() + 12_345;
    // SAFETY: inside of the mapping.
    unsafe { core::ptr::with_exposed_provenance_mut::<u8>(address).write_volatile(42) };
    let mut byte = [0];
    rustix::io::pread(&source, &mut byte, 4 * MIB + 12_345).unwrap();
    assert_eq!(byte, [42]);
    assert_eq!(source.sync(segment, 4 * MIB), Err(Errno::OPNOTSUPP));
}

/// Pitfall 37: the four answers, as the device's own region gives them.
#[test]
fn deep_flush_tells_its_answers_apart() {
    let file = format!("{ACPI}/region0/deep_flush");
    let range = Extent::new(0x1000, 10).unwrap();
    let flush = |tree: &Tree| tree.source().unwrap().deep_flush(range, 0);
    assert_eq!(flush(&Tree::nfit()), Ok(DeepFlush::Done));
    assert_eq!(flush(&Tree::nfit().file(&file, "0\n")), Ok(DeepFlush::NotNeeded));
    assert_eq!(flush(&Tree::hmem()), Ok(DeepFlush::NotNeeded));
    assert_eq!(flush(&Tree::nfit().without(&file)), Ok(DeepFlush::NotNeeded));
    assert_eq!(flush(&Tree::nfit().without(&file).file(&format!("{file}/x"), "")), Err(Errno::ISDIR));
}

#[test]
fn a_failed_deep_flush_keeps_the_part() {
    let file = format!("{ACPI}/region0/deep_flush");
    let tree = Tree::nfit();
    let source = tree.source().unwrap();
    let set = set(4);
    let segment = set.map(&source, &MapConfig::new()).unwrap().extent();
    let tree = tree.without(&file).file(&format!("{file}/x"), "");
    let refused = set.remove(set.part_at(segment.start()).unwrap()).map_err(|error| error.code());
    assert_eq!(refused, Err(-200_018));
    assert_eq!(set.segment_count(), 1);
    // Where the region flushes again, nothing is known of the bytes: they are given up, and the device is opened anew.
    let tree = tree.without(&file).file(&file, "1\n");
    assert_eq!(set.remove_range(segment.start(), 1).unwrap_err().code(), -200_018);
    assert!(set.discard(set.part_at(segment.start()).unwrap()).is_ok());
    assert!(set.map(&source, &MapConfig::new()).is_err());
    let anew = tree.source().unwrap();
    let set = self::set(4);
    let segment = set.map(&anew, &MapConfig::new()).unwrap().extent();
    set.remove_range(segment.start(), 1).unwrap();
}

/// Three devices on three regions behind one part: each region is flushed once its bytes go, and no other.
#[test]
fn several_regions_behind_one_range_are_all_flushed() {
    let file = format!("{ACPI}/region0/deep_flush");
    let trees = [Tree::nfit(), Tree::nfit(), Tree::nfit()];
    let sources = trees.each_ref().map(|tree| tree.source().unwrap());
    let set = set(8);
    set.set_coalescing(Coalescing::Full);
    let config = MapConfig::new().length(2 << 20);
    for source in &sources {
        set.map(source, &config).unwrap();
    }
    let part = set.first_part().unwrap().unwrap().extent();
    let flushed = |tree: &Tree| tree.modified(&file) != std::time::UNIX_EPOCH;
    trees.iter().for_each(|tree| tree.forget(&file));
    set.remove_range(part.start() + (2 << 20), 2 << 20).unwrap();
    assert_eq!(trees.each_ref().map(flushed), [false, true, false]);
    trees.iter().for_each(|tree| tree.forget(&file));
    set.remove_range(part.start(), part.length_bytes()).unwrap();
    assert_eq!(trees.each_ref().map(flushed), [true, false, true]);
}

/// Touching the memory of a device that has gone is a signal; once it is known, nothing is touched any more.
#[test]
fn a_device_that_has_gone_is_given_up_without_a_touch() {
    let tree = Tree::nfit();
    let source = tree.source().unwrap();
    let set = set(4);
    let part = set.map(&source as &dyn Source<Space = Process>, &MapConfig::new().length(2 << 20)).unwrap();
    assert_eq!(source.check(), Ok(()));
    part.persist(0, 64).unwrap();
    let tree = tree.without_driver();
    assert_eq!(source.check(), Err(DaxError::NoDriver));
    let tree = tree.driver("device_dax");
    assert_eq!(source.check(), Ok(()), "another driver, or the same once more");
    let segment = part.extent();
    let cause = Errno::NODEV;
    assert_eq!(part.persist(0, 64), Err(PersistError::FailedBefore { segment, cause }), "what was lost stays lost");
    let refused = set.remove(part).unwrap_err();
    assert!(format!("{refused}").contains("no such device"), "{refused}");
    let again = set.map(&source as &dyn Source<Space = Process>, &MapConfig::new()).map(drop);
    assert_eq!(again.err(), Some(MapError::FailedBefore { cause }));
    set.discard_range(segment.start(), segment.length_bytes()).unwrap();
    drop(tree);
    assert!(matches!(source.check(), Err(DaxError::Attribute(_) | DaxError::NoDriver)));
}
