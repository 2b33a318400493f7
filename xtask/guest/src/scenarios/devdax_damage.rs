//! Damaged device DAX: bad blocks listed, refused, survived and cleared; and what an ordinary user may not do.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use pmemset_core::error::{BadBlocksError, ClearError, MapError, McsafeError};
use pmemset_core::observer::from_fn;
use pmemset_core::{
    Answer, BadBlockPolicy, BadBlocks, Checked, Config, DeepFlush, Errno, Event, Granularity, Health, MapConfig, Set,
    Source, Span,
};
use pmemset_devdax::{DaxError, DaxOptions, DaxSource};
use pmemset_linux::{Linux, StripedRwLock};
use rustix::process::Uid;
use rustix::thread::set_thread_res_uid;

use super::badblocks::scrub;
use super::devdax::device;
use crate::lab::{Checks, Failure, Lab, check, same};
use crate::sets::{Handle, load, map, set, store};

pub(crate) const CHECKS: &[Checks] = &[
    ("devdax-bad", bad),
    ("devdax-bad-4k", bad),
    ("devdax-cannot-clear", cannot_clear),
    ("devdax-mcsafe", copies),
    ("devdax-ordinary-user", ordinary_user),
];

const UNIT: usize = 2 << 20;

fn span(start: u64, length_bytes: u64) -> Result<Span, Failure> {
    Ok(Span::new(start, length_bytes).ok_or("no span")?)
}

/// Returns the bad blocks of the whole device.
fn listed(source: &DaxSource) -> Result<Vec<Span>, Failure> {
    let whole = span(0, source.length_bytes()?)?;
    let mut blocks = [whole; 16];
    match source.bad_blocks(whole, &mut blocks) {
        BadBlocks::None => Ok(Vec::new()),
        BadBlocks::Listed { count, more: false } => Ok(blocks[..count].to_vec()),
        other => Err(format!("bad blocks: {other:?}").into()),
    }
}

/// Has the host spoil bytes of the device, and the kernel find them.
fn spoil(lab: &mut Lab, source: &DaxSource, blocks: &[(i64, u64)]) -> Result<(), Failure> {
    let region = source.facts().region().ok_or("no region")?;
    let start = fs::read_to_string(format!("/sys/bus/nd/devices/region{region}/resource"))?;
    let start = u64::from_str_radix(start.trim().trim_start_matches("0x"), 16)?;
    let data = source.facts().physical_address()? - start;
    for (offset, length) in blocks {
        lab.ask(format!("bad 0 {} {length}", data.checked_add_signed(*offset).ok_or("before the region")?))?;
    }
    scrub()
}

fn checked(source: &Arc<DaxSource>) -> Handle {
    Arc::new(Checked::<_, StripedRwLock>::new(source.clone()).bad_block_detection(BadBlockPolicy::Required))
}

/// A page and a corner of another are bad, and the metadata before the device's bytes are.
fn bad(lab: &mut Lab) -> Result<(), Failure> {
    let source = device(0)?;
    source.write_mcsafe(0, &vec![0xa5; 64 << 10])?;
    same("before", listed(&source)?, vec![])?;
    spoil(lab, &source, &[(-4096, 4096), (20_480, 4096), (37_376, 256)])?;
    let (page, corner) = (span(20_480, 4096)?, span(37_376, 512)?);
    same("listed", listed(&source)?, vec![page, corner])?;
    let config = |offset: u64| MapConfig::new().offset(offset).length(UNIT);
    let set = set(Granularity::CacheLine);
    let refused = set.map(checked(&source), &config(0)).map(|mapped| mapped.extent().length_bytes());
    same("mapping what is bad", refused, Err(MapError::BadBlock { block: page }))?;
    set.map(checked(&source), &config(UNIT as u64)).map_err(|error| format!("mapping what is good: {error}"))?;
    same("reading", source.read_mcsafe(20_000, &mut [0; 1000]), Err(McsafeError::IoFail))?;
    same("writing", source.write_mcsafe(37_000, &[0; 1000]), Err(McsafeError::IoFail))?;
    source.read_mcsafe(24_576, &mut [0; 4096])?;
    // Half of the page: the other half stays bad.
    source.clear_bad_block(span(20_480, 2048)?)?;
    same("after half was cleared", listed(&source)?, vec![span(22_528, 2048)?, corner])?;
    clear_by_observer(&source, &config(0))?;
    same("after clearing", listed(&source)?, vec![])?;
    // What is left at the host is the metadata's, which no part of the device is.
    same("the firmware's list", lab.ask("bad-list 0")?.split(' ').count(), 1)?;
    let mut bytes = vec![0; 64 << 10];
    source.read_mcsafe(0, &mut bytes)?;
    let cleared = |at: usize| (20_480..24_576).contains(&at) || (37_376..37_888).contains(&at);
    let expected: Vec<u8> = (0..bytes.len()).map(|at| if cleared(at) { 0 } else { 0xa5 }).collect();
    check(bytes == expected, "cleared bytes are 0, their neighbours are what they were")?;
    let beyond = source.clear_bad_block(span(source.length_bytes()?, 512)?);
    same("beyond", beyond, Err(ClearError::OutOfRange { length_bytes: source.length_bytes()? }))
}

fn clear_by_observer(source: &Arc<DaxSource>, config: &MapConfig) -> Result<(), Failure> {
    let observer = from_fn(|event: &Event<'_, Handle>| match event {
        Event::BadBlock { source, block }
            if source.health().is_none_or(|health| health.clear_bad_block(*block).is_err()) =>
        {
            Answer::Refuse
        }
        _ => Answer::Proceed,
    });
    let observed = Config::new(Granularity::CacheLine).observer(&observer);
    let set = Set::with_capacity(Linux::new(), observed, 64);
    let mapped = set.map(checked(source), config)?.extent();
    same("mapped", load(mapped, 20_479, 2), vec![0xa5, 0])
}

/// The firmware of a plain virtual NVDIMM has no command that clears: said also where nothing is bad.
fn cannot_clear(_: &mut Lab) -> Result<(), Failure> {
    let source = device(0)?;
    same("listed", listed(&source)?, vec![])?;
    same("clearing", source.clear_bad_block(span(0, 4096)?), Err(ClearError::Unsupported))?;
    let flushed = source.deep_flush(pmemset_core::Extent::new(4096, 1).ok_or("no extent")?, 0);
    same("deep flush", flushed, Ok(DeepFlush::NotNeeded))
}

/// Copies of any range, also across units of the alignment, are what a mapping of a set sees.
fn copies(_: &mut Lab) -> Result<(), Failure> {
    let source = device(0)?;
    let set = set(Granularity::CacheLine);
    let mapping = map(&set, source.clone(), 2 * UNIT)?;
    for (offset, length) in [(0, 1), (UNIT - 5, 10), (UNIT - 70_000, 140_001), (2 * UNIT - 1, 1)] {
        let bytes: Vec<u8> = (0..length).map(|at: usize| (at % 251).to_le_bytes()[0]).collect();
        source.write_mcsafe(offset as u64, &bytes)?;
        same("mapped", load(mapping, offset, length) == bytes, true)?;
        store(mapping, offset, b"!");
        let mut found = vec![0; length];
        source.read_mcsafe(offset as u64, &mut found)?;
        same("copied", (found[0], found[1..] == bytes[1..]), (b'!', true))?;
    }
    let length_bytes = source.length_bytes()?;
    let out = Err(McsafeError::OutOfRange { length_bytes });
    same("beyond", source.read_mcsafe(length_bytes - 1, &mut [0; 2]), out)?;
    same("a page sync", source.sync(mapping, 0), Err(Errno::OPNOTSUPP))?;
    // What a kernel that is asked for a page sync of it answers: nothing that could be believed.
    let file = |read, write| fs::File::options().read(read).write(write).open("/dev/dax0.0");
    let refusal = |file: fs::File| DaxSource::from_fd(file.as_fd(), DaxOptions::new()).map(drop).err();
    same("read only", refusal(file(true, false)?), Some(DaxError::NotWritable))?;
    same("write only", refusal(file(false, true)?), Some(DaxError::NotReadable))
}

/// Without the administrator's rights a device can be used; what is not allowed is told, and taken for nothing else.
fn ordinary_user(_: &mut Lab) -> Result<(), Failure> {
    drop(device(0)?);
    fs::set_permissions("/dev/dax0.0", fs::Permissions::from_mode(0o666))?;
    let (root, nobody) = (Uid::ROOT, Uid::from_raw(65_534));
    set_thread_res_uid(root, nobody, root)?;
    let result = as_nobody();
    set_thread_res_uid(root, root, root)?;
    result
}

fn as_nobody() -> Result<(), Failure> {
    let source = device(0)?;
    let set = set(Granularity::CacheLine);
    let mapping = map(&set, source.clone(), UNIT)?;
    store(mapping, 0, b"nobody");
    same("deep flush", source.deep_flush(mapping, 0), Ok(DeepFlush::NotPermitted))?;
    let range = span(0, 4096)?;
    let reason = BadBlocksError::NoBounds(Errno::ACCES);
    same("bad blocks", source.bad_blocks(range, &mut []), BadBlocks::Unknown(reason))?;
    same("clearing", source.clear_bad_block(range), Err(ClearError::Unknown(reason)))?;
    let mut bytes = [0; 6];
    source.read_mcsafe(0, &mut bytes)?;
    same("a copy", &bytes, b"nobody")?;
    let refused = set.map(checked(&source), &MapConfig::new().offset(UNIT as u64).length(UNIT));
    same("required", refused.map(drop).err(), Some(MapError::BadBlocksUnknown { reason }))
}
