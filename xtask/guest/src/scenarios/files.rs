//! Files on fs-dax and on other file systems as sources.

use std::fs;
use std::os::unix::fs::MetadataExt;

use pmemset_core::error::MapError;
use pmemset_core::{Errno, Granularity, GranularityLimit, MapConfig, contract};
use pmemset_linux::{FileSource, GranularityReason, Linux, OpenOptions};
use rustix::fs::statvfs;

use crate::lab::{Checks, Failure, Lab, check, same};
use crate::sets::{Handle, file, load, map, set, store};

pub(crate) const CHECKS: &[Checks] = &[
    ("file-ext4", cache_line),
    ("file-xfs", cache_line),
    ("file-cpu-domain", byte),
    ("file-contract", contract_suite),
    ("file-contract-xfs", contract_suite),
    ("file-contract-no-dax", contract_suite),
    ("file-grows", grows),
    ("file-grows-xfs", grows),
    ("file-system-full", full),
    ("file-system-full-xfs", full),
    ("file-interleaved", interleaved),
    ("file-two-regions", two_regions),
    ("file-no-dax", no_dax),
    ("file-no-dax-xfs", no_dax),
    ("file-not-armed", not_armed),
];

/// Stores something, removes the part, and looks whether it is in the file and the flush hint was written.
fn round_trip(lab: &mut Lab, expected: Granularity, hints: u32) -> Result<(), Failure> {
    let source = file("/mnt0/file")?;
    let set = set(expected);
    let mapping = map(&set, source, 4 << 20)?;
    same("granularity", set.granularity(), Some(expected))?;
    store(mapping, 12_345, b"the quick brown fox");
    for dimm in 0..hints {
        lab.ask(format!("hint {dimm}"))?;
    }
    set.remove(set.part_at(mapping.start())?)?;
    for dimm in 0..hints {
        same(&format!("the flush hint of module {dimm}"), lab.ask(format!("hint {dimm}"))?.as_str(), "1")?;
    }
    same("the file", &fs::read("/mnt0/file")?[12_345..12_364], &b"the quick brown fox"[..])
}

fn cache_line(lab: &mut Lab) -> Result<(), Failure> {
    round_trip(lab, Granularity::CacheLine, 1)?;
    let facts = file("/mnt0/file")?.facts()?;
    same("region", facts.region, Some(0))?;
    // 2 MiB pages are what makes mapping persistent memory fast: the address must allow for them.
    let set = set(Granularity::CacheLine);
    let mapping = map(&set, file("/mnt0/big")?, 8 << 20)?;
    check(mapping.is_aligned(2 << 20), format!("{mapping} is on 2 MiB"))?;
    let strict = crate::sets::set(Granularity::Byte);
    let refused = strict.map(file("/mnt0/big")?, &MapConfig::new());
    let (required, available) = (Granularity::Byte, Granularity::CacheLine);
    let reason = MapError::GranularityNotSupported { required, available, limit: GranularityLimit::NoCaches };
    same("byte granularity", refused.map(|mapped| mapped.extent().length_bytes()), Err(reason))
}

fn byte(lab: &mut Lab) -> Result<(), Failure> {
    round_trip(lab, Granularity::Byte, 1)
}

fn interleaved(lab: &mut Lab) -> Result<(), Failure> {
    round_trip(lab, Granularity::CacheLine, 2)?;
    same("region", file("/mnt0/file")?.facts()?.region, Some(0))
}

/// Each file is on its own region, and flushing one does not touch the other.
fn two_regions(lab: &mut Lab) -> Result<(), Failure> {
    round_trip(lab, Granularity::CacheLine, 1)?;
    let other = file("/mnt1/file")?;
    same("region", other.facts()?.region, Some(1))?;
    let set = set(Granularity::CacheLine);
    let first = map(&set, file("/mnt0/file")?, 4 << 20)?;
    let second = map(&set, other, 2 << 20)?;
    store(second, 0, b"second");
    lab.ask("hint 0")?;
    lab.ask("hint 1")?;
    set.remove(set.part_at(second.start())?)?;
    same("hint of the other region", lab.ask("hint 0")?.as_str(), "0")?;
    same("hint of its own region", lab.ask("hint 1")?.as_str(), "1")?;
    same("the first part", &load(first, 12_345, 3)[..], b"the")
}

/// Checks every duty of the platform and of a file that may grow, and of one that may not.
fn contract_suite(lab: &mut Lab) -> Result<(), Failure> {
    let platform = Linux::new();
    let (mut kept, mut breaches) = (0, Vec::new());
    let mut report = |duty: &'static str, finding: contract::Finding| match finding {
        Ok(contract::Outcome::Kept) => kept += 1,
        Ok(contract::Outcome::Skipped(reason)) => lab.say(format!("note skipped {duty}: {reason}")),
        Err(breach) => breaches.push(format!("{duty}: {breach}")),
    };
    contract::platform(&platform, &mut report);
    fs::write("/mnt0/growing", vec![1; 64 << 10])?;
    contract::source(&platform, &*file("/mnt0/growing")?, &mut report);
    fs::write("/mnt0/fixed", vec![1; 64 << 10])?;
    contract::source(&platform, &FileSource::open("/mnt0/fixed", OpenOptions::new().do_not_grow())?, &mut report);
    lab.say(format!("note {kept} duties"));
    check(kept > 50, "all duties were checked")?;
    if breaches.is_empty() { Ok(()) } else { Err(breaches.join("; ").into()) }
}

/// A file grows when it is mapped, and what is mapped of a sparse one has storage.
fn grows(_: &mut Lab) -> Result<(), Failure> {
    let sparse = fs::File::create("/mnt0/sparse")?;
    sparse.set_len(64 << 20)?;
    for path in ["/mnt0/sparse", "/mnt0/new"] {
        let set = set(Granularity::CacheLine);
        let mapping = map(&set, file(path)?, 8 << 20)?;
        let metadata = fs::metadata(path)?;
        check(metadata.blocks() * 512 >= 8 << 20, format!("{path} has storage for what is mapped"))?;
        store(mapping, (8 << 20) - 5, b"last!");
        let coalesced = set.map(file(path)?, &MapConfig::new().offset(8 << 20).length(1 << 20))?.extent();
        store(coalesced, 0, b"first");
        drop(set);
        same("across the border", &fs::read(path)?[(8 << 20) - 5..(8 << 20) + 5], &b"last!first"[..])?;
    }
    same("length of the sparse file", fs::metadata("/mnt0/sparse")?.len(), 64 << 20)?;
    same("length of the new file", fs::metadata("/mnt0/new")?.len(), 9 << 20)
}

/// A map call that the file system has no room for is refused, and leaves the file as it was.
fn full(_: &mut Lab) -> Result<(), Failure> {
    let room = statvfs("/mnt0")?;
    let too_much = usize::try_from(room.f_bfree * room.f_bsize)?.next_multiple_of(2 << 20) + (2 << 20);
    fs::write("/mnt0/file", [7; 4096])?;
    let set = set(Granularity::CacheLine);
    let refused = set.map(file("/mnt0/file")?, &MapConfig::new().length(too_much));
    let reason = MapError::CannotGrow { needed_bytes: too_much as u64, cause: Errno::NOSPC };
    same("mapping more than there is room for", refused.map(|mapped| mapped.extent().length_bytes()), Err(reason))?;
    same("length of the file", fs::metadata("/mnt0/file")?.len(), 4096)?;
    same("content of the file", fs::read("/mnt0/file")?, vec![7; 4096])?;
    let left = statvfs("/mnt0")?.f_bfree;
    check(left + 64 > room.f_bfree, format!("{left} of {} blocks are free again", room.f_bfree))?;
    same("segments", set.segment_count(), 0)?;
    let mapping = map(&set, file("/mnt0/file")?, 1 << 20)?;
    store(mapping, 0, &[8]);
    same("content of the file", fs::read("/mnt0/file")?[0], 8)
}

/// Without DAX there is page granularity and nothing finer, and the reason is told.
fn no_dax(_: &mut Lab) -> Result<(), Failure> {
    let source = file("/mnt0/file")?;
    same("why", source.facts()?.granularity, Ok(GranularityReason::NoMapSync(Errno::OPNOTSUPP)))?;
    for required in [Granularity::CacheLine, Granularity::Byte] {
        let set = set(required);
        let refused = set.map(source.clone() as Handle, &MapConfig::new().length(1 << 20));
        let (available, limit) = (Granularity::Page, GranularityLimit::NoDax);
        let reason = MapError::GranularityNotSupported { required, available, limit };
        same("what was required", refused.map(|mapped| mapped.extent().length_bytes()), Err(reason))?;
    }
    same("length of the file after refusals", fs::metadata("/mnt0/file")?.len(), 0)?;
    let set = set(Granularity::Page);
    let mapping = map(&set, source, 1 << 20)?;
    store(mapping, 5000, b"page");
    set.remove(set.part_at(mapping.start())?)?;
    same("the file", &fs::read("/mnt0/file")?[5000..5004], &b"page"[..])
}

/// Modules that will not save their content make a region that is not written to.
fn not_armed(_: &mut Lab) -> Result<(), Failure> {
    same("read_only", fs::read_to_string("/sys/bus/nd/devices/region0/read_only")?.trim(), "1")?;
    let refused = FileSource::open("/mnt0/file", OpenOptions::new().create_if_needed());
    let refused = refused.map(drop).map_err(|error| error.code());
    same("a new file", refused, Err(Errno::ROFS.code()))?;
    let refused = FileSource::open("/dev/pmem0", OpenOptions::new()).map(drop);
    check(refused.is_err(), format!("the block device is refused: {refused:?}"))
}
