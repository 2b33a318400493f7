//! What the fuzzer of the firmware table reader does with the choices of a generator: a seeded one by
//! `cargo xtask fuzz`, bytes by `cargo fuzz`.

use firmware::nfit::{self, Nfit};
use pmemset_core::shutdown::{DeviceError, DeviceId};
use pmemset_core::sim::Random;

use crate::tables;

/// A memory module, as it is written.
struct Module {
    handle: u32,
    /// Its serial number; `None` has no control region.
    serial: Option<u32>,
    state: u16,
    flush_hint: Option<u64>,
}

/// A range, as it is written; its modules are in the order of their handles.
struct Range {
    index: u16,
    base: u64,
    length_bytes: u64,
    modules: Vec<Module>,
}

/// What is written is read; what is damaged is refused, or read as something that can be.
pub(crate) fn nfit(random: &mut Random) {
    fuzz(random, |state, more| state | more);
}

/// The same with a model that believes the last module of a range alone: fails on many seeds.
pub(crate) fn canary(random: &mut Random) {
    fuzz(random, |_, more| more);
}

fn fuzz(random: &mut Random, join: fn(u16, u16) -> u16) {
    let ranges = ranges(random);
    let durable = random.one_in(2);
    let mut structures = structures(random, &ranges);
    structures.push(tables::capabilities(2 | u32::from(durable)));
    for left in (1..structures.len()).rev() {
        structures.swap(left, random.below(left + 1));
    }
    let bytes = tables::table(&structures);
    let read = nfit::parse(&bytes).expect("a table that is as it should be");
    assert_eq!(read.caches_are_durable, durable);
    compare(&read, &ranges, join);

    let longer = [&bytes[..], &[random.word().to_le_bytes()[0]; 9]].concat();
    assert_eq!(nfit::parse(&longer), Ok(read), "bytes behind the table do not count");
    assert!(nfit::parse(&bytes[..random.below(bytes.len())]).is_err(), "a piece of a table is none");
    (0..8).for_each(|_| damaged(random, &bytes));
}

/// Ranges in the order of their addresses, which may touch.
fn ranges(random: &mut Random) -> Vec<Range> {
    let mut base = random.word() >> (1 + random.below(60));
    let mut handle = 0;
    let mut ranges = Vec::new();
    for at in 0..random.below(6) {
        base += (random.word() % 3) << 12;
        let length_bytes = 1 + (random.word() >> (24 + random.below(39)));
        let mut modules = Vec::new();
        for _ in 0..random.below(5) {
            handle += 1 + random.word() as u32 % 1000;
            modules.push(Module {
                handle,
                serial: (!random.one_in(4)).then(|| random.word() as u32),
                state: if random.one_in(2) { 1 << random.below(7) } else { 0 },
                flush_hint: random.one_in(2).then(|| random.word()),
            });
        }
        // Numbers of ranges are in no order.
        ranges.push(Range { index: (7 * at as u16 + 3) % 16, base, length_bytes, modules });
        base += length_bytes;
    }
    ranges
}

/// Everything that makes up the table, and some structures that mean nothing here.
fn structures(random: &mut Random, ranges: &[Range]) -> Vec<Vec<u8>> {
    let mut structures = Vec::new();
    for range in ranges {
        structures.push(tables::range(range.index, range.base, range.length_bytes));
        for module in &range.modules {
            let control = u16::try_from(module.handle % 60_000).unwrap() + 1;
            structures.push(tables::mapping(module.handle, range.index, control, module.state));
            structures.extend(module.serial.map(|serial| tables::control(control, None, serial)));
            structures.extend(module.flush_hint.map(|address| tables::flush_hint(module.handle, address)));
        }
    }
    for structure in &mut structures {
        // Some as a newer firmware would write them.
        let more = if random.one_in(4) { random.below(9) } else { 0 };
        structure.resize(structure.len() + more, 0xee);
        let length = u16::try_from(structure.len()).unwrap();
        structure[2..4].copy_from_slice(&length.to_le_bytes());
    }
    for _ in 0..random.below(3) {
        let length = 4 + random.below(40);
        let mut unknown = vec![0xdd; length];
        let kind = random.of(&[2_u16, 3, 5, 8, 0x8000]);
        unknown[..2].copy_from_slice(&kind.to_le_bytes());
        unknown[2..4].copy_from_slice(&u16::try_from(length).unwrap().to_le_bytes());
        structures.push(unknown);
    }
    let mut volatile = tables::range(99, random.word(), random.word());
    volatile[16 + random.below(16)] ^= 1;
    structures.push(volatile);
    structures.push(tables::mapping(0x7fff_0000, 99, 0, 0xff));
    structures
}

fn compare(read: &Nfit, written: &[Range], join: fn(u16, u16) -> u16) {
    assert_eq!(read.ranges.len(), written.len());
    for (range, written) in read.ranges.iter().zip(written) {
        let state = written.modules.iter().map(|module| module.state).fold(0, join);
        let handle = written.modules.first().map_or(0, |module| module.handle);
        assert_eq!((range.base, range.length_bytes), (written.base, written.length_bytes));
        assert_eq!((range.index, range.handle, range.state), (written.index, handle, state));
        assert_eq!((range.is_usable(), range.was_cut_badly()), (state & 0x48 == 0, state & 7 != 0));
        let hints = read.modules_of(range).map(|module| (module.handle, module.flush_hint));
        assert!(hints.eq(written.modules.iter().map(|module| (module.handle, module.flush_hint))));
        let mut id = DeviceId::new();
        let known = read.device(range, &mut id);
        let serials: Option<Vec<u32>> = written.modules.iter().map(|module| module.serial).collect();
        match serials.filter(|serials| !serials.is_empty()) {
            None => assert_eq!(known, Err(DeviceError::Unsupported)),
            Some(serials) => {
                let ids: Vec<String> = serials.iter().map(|serial| format!("8680-{serial:08x}")).collect();
                assert_eq!((known, id.as_bytes()), (Ok(()), ids.concat().as_bytes()));
            }
        }
    }
}

/// Changes some bytes, and makes the checksum right: no panic, no endless loop, and no range that cannot be.
fn damaged(random: &mut Random, whole: &[u8]) {
    let mut bytes = whole.to_vec();
    for _ in 0..1 + random.below(4) {
        let at = random.below(bytes.len());
        let any = random.word().to_le_bytes()[0];
        bytes[at] = random.of(&[0, 1, 4, 7, 16, 48, 56, 0x7f, 0xff, any]);
    }
    tables::seal(&mut bytes);
    let Ok(read) = nfit::parse(&bytes) else { return };
    let ends: Option<Vec<u64>> = read.ranges.iter().map(|range| range.base.checked_add(range.length_bytes)).collect();
    let ends = ends.expect("ranges do not wrap");
    assert!(read.ranges.iter().all(|range| range.length_bytes > 0));
    assert!(read.ranges.iter().skip(1).zip(ends).all(|(next, end)| end <= next.base), "in order and apart");
    for range in &read.ranges {
        let _ = read.device(range, &mut DeviceId::new());
        let holds = |word: u64| bytes.windows(8).any(|window| window == word.to_le_bytes());
        assert!(holds(range.base) && holds(range.length_bytes), "a range that the table does not name");
    }
}
