//! What the fuzzers of tables and devices do with the choices of a generator: a seeded one by `cargo xtask fuzz`, bytes
//! by `cargo fuzz`.

use bare::flush_queue::Rings;
use bare::nfit::{self, Nfit};
use bare::{Kernel as _, Nvdimm, VirtioPmem};
use pmemset_core::error::DeviceError;
use pmemset_core::support::Random;
use pmemset_core::{DeviceId, Extent, Source as _};

use bare::fake::{Disk, Ram};

use crate::nfit as tables;

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
pub fn nfit(random: &mut Random) {
    fuzz(random, |state, more| state | more);
}

/// The same with a model that believes the last module of a range alone: fails on many seeds.
pub fn canary(random: &mut Random) {
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

fn half(random: &mut Random) -> u32 {
    u32::from_le_bytes(*random.word().to_le_bytes().first_chunk().unwrap())
}

/// Ranges in the order of their addresses, which may touch.
fn ranges(random: &mut Random) -> Vec<Range> {
    let mut base = random.word() >> (1 + random.below(60));
    let mut handle = 0;
    let mut ranges = Vec::new();
    for at in 0..u16::try_from(random.below(6)).unwrap() {
        base += (random.word() % 3) << 12;
        let length_bytes = 1 + (random.word() >> (24 + random.below(39)));
        let mut modules = Vec::new();
        for _ in 0..random.below(5) {
            handle += 1 + half(random) % 1000;
            modules.push(Module {
                handle,
                serial: (!random.one_in(4)).then(|| half(random)),
                state: if random.one_in(2) { 1 << random.below(7) } else { 0 },
                flush_hint: random.one_in(2).then(|| random.word()),
            });
        }
        // Numbers of ranges are in no order.
        ranges.push(Range { index: (7 * at + 3) % 16, base, length_bytes, modules });
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

/// Memory with a root pointer, indices and tables in it, some of it changed: no panic, no endless loop, and a table
/// that is found is whole. What it names is mapped nowhere but where it says, and never over the kernel's own memory.
pub fn acpi(random: &mut Random) {
    const ROOT: usize = 0;
    let mut bytes = vec![0; 2048];
    let seal = |bytes: &mut [u8], sum: usize| {
        bytes[sum] = 0;
        bytes[sum] = bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)).wrapping_neg();
    };
    let header = |bytes: &mut [u8], signature: &[u8; 4], entries: &[u64], entry_bytes: usize| {
        bytes[..4].copy_from_slice(signature);
        let length = 36 + entry_bytes * entries.len();
        bytes[4..8].copy_from_slice(&u32::try_from(length).unwrap().to_le_bytes());
        for (slot, entry) in bytes[36..length].chunks_mut(entry_bytes).zip(entries) {
            slot.copy_from_slice(&entry.to_le_bytes()[..entry_bytes]);
        }
        seal(&mut bytes[..length], 9);
    };
    let ranges = ranges(random);
    let table = tables::table(&structures(random, &ranges));
    bytes.resize(2048 + table.len(), 0);
    bytes[2048..].copy_from_slice(&table);
    header(&mut bytes[512..], b"XSDT", &[random.word() % 4096, 2048], 8);
    header(&mut bytes[1024..], b"RSDT", &[2048, random.word() % 4096], 4);
    bytes[ROOT..ROOT + 8].copy_from_slice(b"RSD PTR ");
    bytes[15] = if random.one_in(2) { 2 } else { 0 };
    bytes[16..20].copy_from_slice(&1024_u32.to_le_bytes());
    bytes[24..32].copy_from_slice(&512_u64.to_le_bytes());
    seal(&mut bytes[ROOT..ROOT + 20], 8);
    seal(&mut bytes[ROOT..ROOT + 36], 32);
    let is_damaged = random.one_in(2);
    for _ in 0..if is_damaged { 1 + random.below(4) } else { 0 } {
        let at = random.below(bytes.len());
        bytes[at] = random.word().to_le_bytes()[0];
    }
    let ram = Ram::new(bytes);
    let found = ram.nfit();
    assert!(is_damaged || found.is_some(), "what is whole is found");
    let Some(Ok(found)) = found else { return };
    for range in &found.ranges {
        let Ok(dimm) = Nvdimm::new(&ram, &found, *range, None) else { continue };
        assert!(range.base >= Ram::END && range.base.checked_add(range.length_bytes).is_some());
        let offset = random.word() >> random.below(64);
        let window = Extent::new(0x1000, 0x1000 * (1 + random.below(8))).unwrap();
        // SAFETY: the fake maps nothing.
        if unsafe { dimm.map(window, offset) }.is_ok() {
            let (_, physical) = ram.mapped.lock().unwrap().pop().unwrap();
            let end = physical + window.length_bytes() as u64;
            assert!(physical == range.base + offset && end <= range.base + range.length_bytes);
        }
    }
}

/// A disk whose registers and configuration space hold anything: it is refused, or it is used where it may be.
pub fn virtio(random: &mut Random) {
    let disk = Disk::new();
    for _ in 0..random.below(4) {
        let (at, value) = (random.below(256), random.word().to_le_bytes()[0]);
        disk.configure(|space| space[at] = value);
    }
    for at in [24, 30] {
        if random.one_in(3) {
            disk.register(at, &random.word().to_le_bytes()[..2]);
        }
    }
    let (start, length) = Disk::MEMORY;
    if random.one_in(2) {
        disk.memory((random.word() >> random.below(64)) & !0xfff, (random.word() >> random.below(64)) & !0xfff);
    } else {
        disk.memory(start, length);
    }
    let ram = Ram::default();
    let rings = Box::leak(Box::new(Rings::new()));
    let physical = core::ptr::from_ref(rings) as u64;
    let started = VirtioPmem::start(&ram, &disk, rings, physical);
    if let Ok(source) = &started {
        let window = Extent::new(0x1000, 0x1000).unwrap();
        let _ = source.sync(window, 0);
        let offset = (random.word() >> random.below(64)) & !0xfff;
        // SAFETY: the fake maps nothing.
        if unsafe { source.map(window, offset) }.is_ok() {
            let (_, physical) = ram.mapped.lock().unwrap().pop().unwrap();
            assert!(physical >= Ram::END, "the kernel's own memory");
        }
    }
    let registers = ram.registers.lock().unwrap();
    assert!(registers.iter().all(|registers| registers.start() as u64 >= Ram::END), "the kernel's own memory");
    for stray in disk.strays() {
        assert!(registers.iter().any(|registers| registers.contains(stray)), "{stray:#x} is in no structure");
    }
}
