//! Bad blocks of files: present at boot, found while running, refused, survived, cleared.

use core::sync::atomic::{AtomicU32, Ordering};
use std::fs;
use std::sync::Arc;

use pmemset_core::error::{ClearError, MapError, McsafeError};
use pmemset_core::observer::from_fn;
use pmemset_core::{
    Answer, BadBlockPolicy, BadBlocks, Checked, Config, Event, Granularity, Health, MapConfig, Set, Source, Span,
};
use pmemset_linux::{FileSource, Linux, OpenOptions, StripedRwLock};

use crate::lab::{Checks, Failure, Lab, check, same};
use crate::sets::{Handle, load};

pub(crate) const CHECKS: &[Checks] = &[
    ("bad-at-boot", at_boot),
    ("bad-at-boot-xfs", at_boot),
    ("bad-while-running", while_running),
    ("bad-while-running-xfs", while_running),
    ("bad-interleaved", while_running),
    ("bad-devdax", device),
    ("bad-plain-nvdimm", plain),
    ("bad-overwritten", overwritten),
    ("bad-overwritten-xfs", overwritten),
];

pub(crate) const PAGE: u64 = 4096;
const PAGES: u64 = 256;
const PATH: &str = "/mnt0/file";

/// Writes a file in which every page begins with a text of its own.
pub(crate) fn write_pages() -> Result<(), Failure> {
    let mut bytes = vec![0xa5; usize::try_from(PAGES * PAGE)?];
    for (number, page) in bytes.chunks_mut(4096).enumerate() {
        page[..12].copy_from_slice(text(number as u64).as_bytes());
    }
    fs::write(PATH, &bytes)?;
    fs::File::open(PATH)?.sync_all()?;
    rustix::fs::sync();
    Ok(())
}

pub(crate) fn text(page: u64) -> String {
    format!("lab-page-{page:03}")
}

/// Has the host make `length` bytes of a page bad, from `offset` of the page on.
pub(crate) fn spoil(lab: &mut Lab, page: u64, offset: u64, length: u64) -> Result<(), Failure> {
    let at: u64 = lab.ask(format!("find 0 {}", text(page)))?.parse()?;
    lab.ask(format!("bad 0 {} {length}", at + offset))?;
    Ok(())
}

/// Has the kernel look for bad memory, and waits until it has.
pub(crate) fn scrub() -> Result<(), Failure> {
    const PATH: &str = "/sys/bus/nd/devices/ndbus0/nfit/scrub";
    let count = || -> Result<String, Failure> { Ok(fs::read_to_string(PATH)?.trim().to_owned()) };
    let before = count()?;
    fs::write(PATH, "1")?;
    loop {
        let now = count()?;
        if now != before && !now.ends_with('+') {
            return Ok(());
        }
        std::thread::yield_now();
    }
}

pub(crate) fn source() -> Result<FileSource, Failure> {
    Ok(FileSource::open(PATH, OpenOptions::new().do_not_grow())?)
}

pub(crate) fn page(number: u64) -> Result<Span, Failure> {
    Ok(Span::new(number * PAGE, PAGE).ok_or("no span")?)
}

pub(crate) fn listed(source: &impl Health) -> Result<Vec<Span>, Failure> {
    let all = Span::new(0, PAGES * PAGE).ok_or("no span")?;
    let mut blocks = [all; 16];
    match source.bad_blocks(all, &mut blocks) {
        BadBlocks::None => Ok(Vec::new()),
        BadBlocks::Listed { count, more: false } => Ok(blocks[..count].to_vec()),
        other => Err(format!("bad blocks: {other:?}").into()),
    }
}

fn checked(policy: BadBlockPolicy) -> Result<Handle, Failure> {
    Ok(Arc::new(Checked::<_, StripedRwLock>::new(source()?).bad_block_detection(policy)))
}

fn pages(first: u64, count: u64) -> Result<MapConfig, Failure> {
    Ok(MapConfig::new().offset(first * PAGE).length(usize::try_from(count * PAGE)?))
}

/// Page 5 and a corner of page 9 are bad: listed, refused, survived, and cleared by the observer.
fn refuse_survive_clear(lab: &mut Lab) -> Result<(), Failure> {
    let source = source()?;
    same("listed", listed(&source)?, vec![page(5)?, page(9)?])?;
    let set = crate::sets::set(Granularity::CacheLine);
    let refused = set.map(checked(BadBlockPolicy::Required)?, &pages(4, 3)?);
    let block = page(5)?;
    same(
        "mapping pages 4 to 6",
        refused.map(|mapped| mapped.extent().length_bytes()),
        Err(MapError::BadBlock { block }),
    )?;
    set.map(checked(BadBlockPolicy::Required)?, &pages(6, 3)?).map_err(|error| format!("pages 6 to 8: {error}"))?;
    let mut bytes = [0; 12];
    source.read_mcsafe(4 * PAGE, &mut bytes)?;
    same("page 4", &bytes[..], text(4).as_bytes())?;
    same("page 5", source.read_mcsafe(5 * PAGE, &mut bytes), Err(McsafeError::IoFail))?;
    same("up to page 9", source.read_mcsafe(9 * PAGE - 6, &mut bytes), Err(McsafeError::IoFail))?;
    clear_by_observer()?;
    same("listed after clearing", listed(&source)?, vec![page(9)?])?;
    source.clear_bad_block(page(9)?)?;
    same("listed in the end", listed(&source)?, vec![])?;
    same("the firmware's list", lab.ask("bad-list 0")?.as_str(), "")?;
    let bytes = fs::read(PATH)?;
    for number in 0..PAGES {
        let found = &bytes[usize::try_from(number * PAGE)?..][..4096];
        let expected = if matches!(number, 5 | 9) { vec![0; 12] } else { text(number).into_bytes() };
        same(&format!("page {number}"), &found[..12], &expected[..])?;
        let rest = if matches!(number, 5 | 9) { 0 } else { 0xa5 };
        check(found[12..].iter().all(|byte| *byte == rest), format!("the rest of page {number}"))?;
    }
    Ok(())
}

fn clear_by_observer() -> Result<(), Failure> {
    let (seen, cleared) = (AtomicU32::new(0), AtomicU32::new(0));
    let observer = from_fn(|event: &Event<'_, Handle>| {
        match event {
            Event::BadBlock { source, block } => {
                seen.fetch_add(1, Ordering::Relaxed);
                if source.health().is_none_or(|health| health.clear_bad_block(*block).is_err()) {
                    return Answer::Refuse;
                }
            }
            Event::BadBlocksCleared { .. } => {
                cleared.fetch_add(1, Ordering::Relaxed);
            }
            _ => {}
        }
        Answer::Proceed
    });
    let config = Config::new(Granularity::CacheLine).observer(&observer);
    let set = Set::with_capacity(Linux::new(), config, 64);
    let mapped = set.map(checked(BadBlockPolicy::Required)?, &pages(4, 3)?)?.extent();
    same("blocks seen and cleared", (seen.load(Ordering::Relaxed), cleared.load(Ordering::Relaxed)), (1, 1))?;
    same("page 4, mapped", load(mapped, 0, 12), text(4).into_bytes())?;
    same("page 5, mapped", load(mapped, 4096, 12), vec![0; 12])?;
    same("page 6, mapped", load(mapped, 8192, 12), text(6).into_bytes())
}

fn at_boot(lab: &mut Lab) -> Result<(), Failure> {
    if lab.phase() == 0 {
        write_pages()?;
        spoil(lab, 5, 0, PAGE)?;
        spoil(lab, 9, 512, 256)?;
        lab.again();
        return Ok(());
    }
    refuse_survive_clear(lab)
}

fn while_running(lab: &mut Lab) -> Result<(), Failure> {
    write_pages()?;
    same("before", listed(&source()?)?, vec![])?;
    spoil(lab, 5, 0, PAGE)?;
    spoil(lab, 9, 512, 256)?;
    scrub()?;
    refuse_survive_clear(lab)
}

/// Writing over a whole bad page makes it good; writing over a piece of it fails and changes nothing.
fn overwritten(lab: &mut Lab) -> Result<(), Failure> {
    write_pages()?;
    spoil(lab, 5, 1024, 512)?;
    scrub()?;
    let source = source()?;
    let piece = source.write_mcsafe(5 * PAGE + 8, b"piece");
    check(piece.is_err(), format!("a piece is not written: {piece:?}"))?;
    same("listed", listed(&source)?, vec![page(5)?])?;
    source.write_mcsafe(5 * PAGE, &[7; 4096])?;
    same("listed after writing the page", listed(&source)?, vec![])?;
    let mut bytes = [0; 4096];
    source.read_mcsafe(5 * PAGE, &mut bytes)?;
    same("the page", bytes, [7; 4096])
}

/// Bad memory of a device: refused, survived, and cleared partly and wholly.
fn device(lab: &mut Lab) -> Result<(), Failure> {
    let source = super::devdax::device(0)?;
    let region: u64 = hexadecimal("/sys/bus/nd/devices/region0/resource")?;
    let start = hexadecimal("/sys/bus/dax/devices/dax0.0/resource")? - region;
    same("where the device begins", start, 8 << 20)?;
    let span = |offset: u64, length: u64| Span::new(offset, length).ok_or("no span");
    let second = span((2 << 20) + 512, 512)?;
    let whole = || -> Result<Vec<Span>, Failure> {
        let mut blocks = [span(0, 1)?; 16];
        match source.bad_blocks(span(0, 4 << 20)?, &mut blocks) {
            BadBlocks::None => Ok(Vec::new()),
            BadBlocks::Listed { count, more: false } => Ok(blocks[..count].to_vec()),
            other => Err(format!("bad blocks: {other:?}").into()),
        }
    };
    same("listed", whole()?, vec![span(4096, 4096)?, second])?;
    let checked: Handle =
        Arc::new(Checked::<_, StripedRwLock>::new(source.clone()).bad_block_detection(BadBlockPolicy::Required));
    let set = crate::sets::set(Granularity::CacheLine);
    let refused = set.map(checked.clone(), &MapConfig::new().length(2 << 20)).map(|mapped| mapped.extent().start());
    same("mapping", refused, Err(MapError::BadBlock { block: span(4096, 4096)? }))?;
    let mut bytes = [0; 64];
    source.write_mcsafe(0, &[3; 64])?;
    source.read_mcsafe(0, &mut bytes)?;
    same("good bytes", bytes, [3; 64])?;
    // A piece of the first block, then the rest of it, then the second.
    source.clear_bad_block(span(4096, 1024)?)?;
    same("after a piece", whole()?, vec![span(5120, 3072)?, second])?;
    source.clear_bad_block(span(5120, 3072)?)?;
    same("after the rest", whole()?, vec![second])?;
    set.map(checked.clone(), &MapConfig::new().length(2 << 20))?;
    source.clear_bad_block(second)?;
    same("in the end", whole()?, vec![])?;
    same("the firmware's list", lab.ask("bad-list 0")?.as_str(), "")?;
    set.map(checked, &MapConfig::new().offset(2 << 20).length(2 << 20)).map(drop).map_err(Into::into)
}

fn hexadecimal(path: &str) -> Result<u64, Failure> {
    let text = fs::read_to_string(path)?;
    Ok(u64::from_str_radix(text.trim().trim_start_matches("0x"), 16)?)
}

/// Firmware that cannot clear: that is an error, nothing is lost by trying, and the block stays listed and refused.
fn plain(lab: &mut Lab) -> Result<(), Failure> {
    write_pages()?;
    let at: u64 = lab.ask(format!("find 0 {}", text(5)))?.parse()?;
    let start = hexadecimal("/sys/block/pmem0/device/resource")? - hexadecimal("/sys/bus/nd/devices/region0/resource")?;
    // The kernel takes it from the administrator that sectors of the disk are bad.
    fs::write("/sys/block/pmem0/badblocks", format!("{} 8", (at - start) / 512))?;
    let source = source()?;
    same("listed", listed(&source)?, vec![page(5)?])?;
    let cleared = source.clear_bad_block(page(5)?);
    lab.say(format!("note clearing answers {cleared:?}"));
    check(matches!(cleared, Err(ClearError::Failed(_) | ClearError::Unsupported)), format!("clearing: {cleared:?}"))?;
    same("listed after that", listed(&source)?, vec![page(5)?])?;
    let set = crate::sets::set(Granularity::CacheLine);
    let refused = set.map(checked(BadBlockPolicy::Required)?, &pages(5, 1)?);
    let block = page(5)?;
    same("mapping", refused.map(|mapped| mapped.extent().start()), Err(MapError::BadBlock { block }))?;
    let mut bytes = [0; 12];
    source.read_mcsafe(4 * PAGE, &mut bytes)?;
    same("page 4", &bytes[..], text(4).as_bytes())
}
