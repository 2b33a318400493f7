//! What the kernel did with mappings of real DAX memory: sizes of pages, nodes, regions, what was touched.

use pmemset_core::{CopyFlags, Extent, Granularity, MapConfig};
use pmemset_linux::{BindError, FactError, Hindrance, LinuxSet, Memory, SegmentFacts};

use super::devdax::device;
use crate::lab::{Checks, Failure, Lab, check, same};
use crate::sets::{AnySet, file, map, set};

pub(crate) const CHECKS: &[Checks] = &[
    ("facts-ext4", on_fs_dax),
    ("facts-xfs", on_fs_dax),
    ("facts-devdax", on_device),
    ("facts-devdax-4k", on_small_device),
];

const HUGE: usize = 2 << 20;

/// Returns the facts of the one segment that `range` is in, and tells the host.
pub(crate) fn facts(lab: &mut Lab, set: &AnySet<'_>, range: Extent) -> Result<SegmentFacts, Failure> {
    let all: Vec<SegmentFacts> = set.facts(range).collect();
    let [one] = all[..] else { return Err(format!("one segment: {all:?}").into()) };
    lab.say(format!("note {one}; {:?}", one.hindrance));
    Ok(one)
}

/// Linux 6.7 tells by which pages DAX memory is mapped.
fn tells_pages() -> Result<bool, Failure> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    let (Some(major), Some(minor)) = (numbers.next(), numbers.next()) else { return Err(release.into()) };
    Ok((major?, minor?) >= (6, 7))
}

fn touch(set: &AnySet<'_>, address: usize, length_bytes: usize) -> Result<(), Failure> {
    Ok(set.fill(address, 1, length_bytes, CopyFlags::TEMPORAL)?)
}

/// Files are mapped by pages of 2 MiB where address, offset and medium go together, and the rest says why not.
fn on_fs_dax(lab: &mut Lab) -> Result<(), Failure> {
    let set = set(Granularity::CacheLine);
    let mapping = map(&set, file("/mnt0/large")?, 8 << 20)?;
    let before = facts(lab, &set, mapping)?;
    same("memory", before.memory, Ok(Memory::FsDax))?;
    same("untouched", (before.resident_bytes, before.pages), (Ok(0), Err(FactError::NotTouched)))?;
    same("region", before.region, Some(0))?;
    same("node", before.node.map(|node| (node.number, node.has_others)), Ok((0, false)))?;
    // One byte of each 2 MiB: what faults in with it shows the size of the page.
    for at in (0..mapping.length_bytes()).step_by(HUGE) {
        touch(&set, mapping.start() + at + 77, 1)?;
    }
    let after = facts(lab, &set, mapping)?;
    let is_huge = after.resident_bytes == Ok(8 << 20);
    check(is_huge || before.hindrance.is_some(), format!("{before:?} was wrong: {after:?}"))?;
    match after.pages {
        Ok(pages) if tells_pages()? => same("pages of 2 MiB", pages.smallest_bytes == HUGE, is_huge)?,
        Err(FactError::OldKernel) if !tells_pages()? => {}
        other => return Err(format!("pages: {other:?}").into()),
    }
    // A file that begins half a page of 2 MiB into the mapping.
    let config = MapConfig::new().offset(HUGE as u64 / 2).length(8 << 20);
    let misplaced = set.map(file("/mnt0/misplaced")?, &config)?.extent();
    touch(&set, misplaced.start(), 8 << 20)?;
    let found = facts(lab, &set, misplaced)?;
    same("misplaced", found.hindrance, Some(Hindrance::Misplaced { huge_bytes: HUGE, by_bytes: HUGE / 2 }))?;
    same("touched", found.resident_bytes, Ok(8 << 20))?;
    if let Ok(pages) = found.pages {
        same("its pages", (pages.smallest_bytes, pages.largest_bytes), (4096, 4096))?;
    }
    // Two files that grow in turn, a page at a time, lie page by page.
    let (one, other) = (file("/mnt0/one")?, file("/mnt0/other")?);
    for page in 0..1024_u64 {
        for source in [&one, &other] {
            let config = MapConfig::new().offset(page * 4096).length(4096);
            set.remove(set.map(source.clone(), &config)?)?;
        }
    }
    let scattered = map(&set, one, 2 * HUGE)?;
    touch(&set, scattered.start(), 1)?;
    let found = facts(lab, &set, scattered)?;
    check(matches!(found.hindrance, Some(Hindrance::Extents { .. })), format!("scattered: {found:?}"))?;
    same("a small page", found.resident_bytes, Ok(4096))?;
    whole_ranges(lab, &set, mapping)
}

/// Ranges are faulted in at once; a node for memory that stays where it is is refused.
fn whole_ranges(lab: &mut Lab, set: &AnySet<'_>, mapping: Extent) -> Result<(), Failure> {
    set.populate(mapping)?;
    let populated = facts(lab, set, mapping)?;
    same("all is there", populated.resident_bytes, Ok(mapping.length_bytes()))?;
    let (address, memory) = (mapping.start(), populated.memory?);
    same("a node for it", set.bind(mapping, 0), Err(BindError::NoEffect { address, memory }))
}

/// A device is mapped by pages of its alignment, on every kernel.
fn on_device(lab: &mut Lab) -> Result<(), Failure> {
    let set = set(Granularity::CacheLine);
    let mapping = map(&set, device(0)?, 8 << 20)?;
    let before = facts(lab, &set, mapping)?;
    same("memory", before.memory, Ok(Memory::DeviceDax { alignment_bytes: HUGE }))?;
    same("untouched", (before.resident_bytes, before.hindrance), (Ok(0), None))?;
    same("region", before.region, Some(0))?;
    touch(&set, mapping.start() + HUGE, 1)?;
    let after = facts(lab, &set, mapping)?;
    let pages = after.pages?;
    same("pages", (pages.smallest_bytes, pages.largest_bytes, pages.in_largest_bytes), (HUGE, HUGE, HUGE))?;
    same("node", after.node.map(|node| node.number), Ok(0))?;
    whole_ranges(lab, &set, mapping)
}

fn on_small_device(lab: &mut Lab) -> Result<(), Failure> {
    let set = set(Granularity::CacheLine);
    let mapping = map(&set, device(0)?, 8 << 20)?;
    touch(&set, mapping.start() + HUGE, 1)?;
    let facts = facts(lab, &set, mapping)?;
    same("memory", facts.memory, Ok(Memory::DeviceDax { alignment_bytes: 4096 }))?;
    same("one page", (facts.resident_bytes, facts.hindrance), (Ok(4096), Some(Hindrance::DeviceAlignment)))
}
