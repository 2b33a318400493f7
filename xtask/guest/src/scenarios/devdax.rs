//! Device DAX as a source.

use std::fs;
use std::sync::Arc;

use pmemset_core::error::MapError;
use pmemset_core::{Coalescing, Config, Granularity, MapConfig, Set, Source, contract};
use pmemset_devdax::{AnySource, DaxError, DaxOptions, DaxSource, Durability};
use pmemset_linux::nd::{Doubt, PersistenceDomain};
use pmemset_linux::{FileSource, Linux, OpenError, OpenOptions};

use crate::lab::{Checks, Failure, Lab, check, same};
use crate::sets::{Handle, file, load, map, set, store};
use crate::wait::wait_for;

pub(crate) const CHECKS: &[Checks] = &[
    ("devdax", round_trip),
    ("devdax-4k", round_trip),
    ("devdax-contract", contract_suite),
    ("devdax-contract-4k", contract_suite),
    ("devdax-two-regions", two_regions),
    ("devdax-and-file", with_file),
    ("devdax-1000-parts", thousand_parts),
    ("devdax-cpu-domain", cpu_domain),
    ("devdax-plain-nvdimm", plain),
    ("devdax-not-armed", not_armed),
    ("devdax-virtio-pmem", virtio),
    ("devdax-system-ram", system_ram),
];

/// Opens `/dev/daxN.0`.
pub(crate) fn device(number: u32) -> Result<Arc<DaxSource>, Failure> {
    let path = format!("/dev/dax{number}.0");
    wait_for(&path)?;
    Ok(Arc::new(DaxSource::open(&*path, DaxOptions::new()).map_err(|error| format!("{path}: {error}"))?))
}

fn round_trip(lab: &mut Lab) -> Result<(), Failure> {
    let source = device(0)?;
    let unit = source.alignment_bytes();
    let declared: u64 = fs::read_to_string("/sys/bus/dax/devices/dax0.0/size")?.trim().parse()?;
    same("length", source.length_bytes()?, declared)?;
    same("durability", source.durability(), Durability::WriteBack(PersistenceDomain::MemoryController))?;
    let set = set(Granularity::CacheLine);
    let mapping = map(&set, source.clone(), 2 * unit)?;
    check(mapping.is_aligned(unit), format!("{mapping} is aligned to {unit}"))?;
    same("granularity", set.granularity(), Some(Granularity::CacheLine))?;
    store(mapping, unit + 77, b"device");
    lab.ask("hint 0")?;
    set.remove(set.part_at(mapping.start())?)?;
    same("the flush hint", lab.ask("hint 0")?.as_str(), "1")?;
    let second = set.map(source.clone(), &MapConfig::new().offset(unit as u64).length(unit))?;
    same("what was stored", load(second.extent(), 77, 6), b"device".to_vec())?;
    wrong_sizes(source, declared)
}

/// Every wrong size is refused with its reason, and nothing of it is ever touched.
fn wrong_sizes(source: Arc<DaxSource>, device_bytes: u64) -> Result<(), Failure> {
    let set = set(Granularity::CacheLine);
    let unit = source.alignment_bytes();
    let map = |offset: u64, length: usize| -> Result<Result<usize, MapError>, Failure> {
        let config = MapConfig::new().offset(offset).length(length);
        Ok(set.map(source.clone() as Handle, &config).map(|mapped| mapped.extent().length_bytes()))
    };
    let alignment_bytes = unit;
    let odd = unit as u64 / 2;
    same("offset", map(odd, unit)?, Err(MapError::OffsetUnaligned { offset: odd, alignment_bytes }))?;
    same("length", map(0, unit / 2)?, Err(MapError::LengthUnaligned { length_bytes: odd, alignment_bytes }))?;
    let beyond = MapError::SourceTooSmall { needed_bytes: device_bytes + unit as u64, length_bytes: device_bytes };
    same("beyond the end", map(device_bytes, unit)?, Err(beyond))?;
    same("across the end", map(device_bytes - unit as u64, 2 * unit)?, Err(beyond))?;
    same("nothing left", map(device_bytes, 0)?, Err(MapError::LengthUnset))?;
    same("the last unit", map(device_bytes - unit as u64, 0)?, Ok(unit))?;
    let as_file = FileSource::open("/dev/dax0.0", OpenOptions::new()).map(drop);
    same("as a file", as_file.err(), Some(OpenError::DeviceDax))?;
    let any = AnySource::open("/dev/dax0.0", OpenOptions::new().create_if_needed());
    check(matches!(any, Ok(AnySource::Dax(_))), format!("as what it is: {any:?}"))
}

fn contract_suite(lab: &mut Lab) -> Result<(), Failure> {
    let (mut kept, mut breaches) = (0, Vec::new());
    contract::source(&Linux::new(), &*device(0)?, &mut |duty, finding| match finding {
        Ok(contract::Outcome::Kept) => kept += 1,
        Ok(contract::Outcome::Skipped(reason)) => lab.say(format!("note skipped {duty}: {reason}")),
        Err(breach) => breaches.push(format!("{duty}: {breach}")),
    });
    check(kept > 18, "all duties were checked")?;
    if breaches.is_empty() { Ok(()) } else { Err(breaches.join("; ").into()) }
}

/// Two devices of one set: each is flushed through its own region.
fn two_regions(lab: &mut Lab) -> Result<(), Failure> {
    let (first, second) = (device(0)?, device(1)?);
    let regions = [&first, &second].map(|source| source.facts().region());
    same("regions", regions, [Some(0), Some(1)])?;
    let set = set(Granularity::CacheLine);
    let first = map(&set, first, 2 << 20)?;
    let second = map(&set, second, 2 << 20)?;
    store(first, 0, b"first");
    store(second, 0, b"second");
    for (mapping, hints) in [(first, ["1", "0"]), (second, ["0", "1"])] {
        lab.ask("hint 0")?;
        lab.ask("hint 1")?;
        set.remove(set.part_at(mapping.start())?)?;
        same("hints", [lab.ask("hint 0")?, lab.ask("hint 1")?], hints.map(str::to_owned))?;
    }
    Ok(())
}

/// A file and a device make one part.
fn with_file(_: &mut Lab) -> Result<(), Failure> {
    let set = Set::with_capacity(Linux::new(), Config::new(Granularity::CacheLine).reserve_ahead(64 << 20), 64);
    set.set_coalescing(Coalescing::Full);
    let first = set.map(file("/mnt0/file")? as Handle, &MapConfig::new().length(4 << 20))?;
    let second = set.map(device(1)?, &MapConfig::new().length(4 << 20))?;
    same("one part", second.part_extent().length_bytes(), 8 << 20)?;
    same("behind the file", second.extent().start(), first.extent().end())?;
    store(second.part_extent(), (4 << 20) - 3, b"across");
    same("the file's end", &fs::read("/mnt0/file")?[(4 << 20) - 3..], &b"acr"[..])?;
    let start = first.extent().start();
    drop((first, second));
    set.remove(set.part_at(start)?)?;
    same("segments", set.segment_count(), 0)
}

/// Parts come and go in any order, and the address space is what it was.
fn thousand_parts(_: &mut Lab) -> Result<(), Failure> {
    let source = device(0)?;
    let maps = || -> Result<usize, Failure> { Ok(fs::read_to_string("/proc/self/maps")?.lines().count()) };
    let set = Set::with_capacity(Linux::new(), Config::new(Granularity::CacheLine), 1024);
    let before = maps()?;
    let mut parts = Vec::new();
    for number in 0..1000_u64 {
        let config = MapConfig::new().offset(number * 4096).length(4096);
        parts.push(set.map(source.clone(), &config)?.extent());
    }
    let mut state = 88_172_645_463_325_252_u64;
    while !parts.is_empty() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let gone = parts.swap_remove(usize::try_from(state % parts.len() as u64)?);
        set.remove(set.part_at(gone.start())?)?;
    }
    same("segments", set.segment_count(), 0)?;
    let after = maps()?;
    check(after <= before + 2, format!("{before} mappings of the process before, {after} after"))
}

fn cpu_domain(_: &mut Lab) -> Result<(), Failure> {
    same("durability", device(0)?.durability(), Durability::CpuCache)?;
    let set = set(Granularity::Byte);
    map(&set, device(0)?, 2 << 20)?;
    same("granularity", set.granularity(), Some(Granularity::Byte))
}

fn plain(_: &mut Lab) -> Result<(), Failure> {
    same("durability", device(0)?.durability(), Durability::WriteBack(PersistenceDomain::Unknown))
}

/// Returns what opening `/dev/dax0.0` comes to.
fn opened() -> Result<Result<(), DaxError>, Failure> {
    wait_for("/dev/dax0.0")?;
    Ok(DaxSource::open("/dev/dax0.0", DaxOptions::new()).map(drop))
}

fn not_armed(_: &mut Lab) -> Result<(), Failure> {
    same("refusal", opened()?, Err(DaxError::NotPersistent(Doubt::ReadOnly)))
}

/// `MAP_SYNC` succeeds on it, and promises nothing.
fn virtio(_: &mut Lab) -> Result<(), Failure> {
    same("refusal", opened()?, Err(DaxError::NotPersistent(Doubt::Virtio)))
}

/// Memory that the system uses as its own is refused; so is a device that no driver has.
fn system_ram(_: &mut Lab) -> Result<(), Failure> {
    use std::os::fd::AsFd;
    wait_for("/dev/dax0.0")?;
    let device = fs::File::options().read(true).write(true).open("/dev/dax0.0")?;
    // The descriptor stays, whatever becomes of the device's file.
    let refusal = || DaxSource::from_fd(device.as_fd(), DaxOptions::new()).map(drop).err();
    same("with its driver", refusal(), None)?;
    fs::write("/sys/bus/dax/drivers/device_dax/unbind", "dax0.0")?;
    same("without a driver", refusal(), Some(DaxError::NoDriver))?;
    fs::write("/sys/bus/dax/drivers/kmem/new_id", "dax0.0")?;
    same("as memory of the system", refusal(), Some(DaxError::SystemRam))
}
