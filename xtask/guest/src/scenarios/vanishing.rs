//! Devices that go while a set maps them: errors where the kernel allows for one, and never the death of the machine.

use core::time::Duration;
use std::fs;
use std::io::{ErrorKind, Write};
use std::sync::mpsc::channel;

use pmemset_core::error::{MapError, PersistError, RemoveError};
use pmemset_core::{Errno, Granularity, MapConfig, Source};
use pmemset_devdax::{DaxError, DaxOptions, DaxSource};
use pmemset_linux::{LinuxSet, PopulateError};

use super::devdax::device;
use super::facts::facts;
use crate::lab::{Checks, Failure, Lab, check, same};
use crate::sets::{map, set, store};

pub(crate) const CHECKS: &[Checks] =
    &[("devdax-vanishes", device_vanishes), ("disk-vanishes", disk_vanishes), ("disk-vanishes-xfs", disk_vanishes)];

/// Has the kernel read a mapped byte: what would raise a signal is an error of the call.
fn touched_by_the_kernel(address: usize) -> Result<(), ErrorKind> {
    let (_reader, mut writer) = std::io::pipe().map_err(|error| error.kind())?;
    let byte = core::ptr::with_exposed_provenance::<u8>(address);
    // SAFETY: the set maps the address; the slice goes to the kernel alone, which checks it.
    let byte = unsafe { core::slice::from_raw_parts(byte, 1) };
    match rustix::io::write(&mut writer, byte) {
        Ok(_) => writer.flush().map_err(|error| error.kind()),
        Err(rustix::io::Errno::FAULT) => Err(ErrorKind::InvalidInput),
        Err(_) => Err(ErrorKind::Other),
    }
}

/// The driver goes, then the device itself; the set gives its part up, and can be used again.
fn device_vanishes(lab: &mut Lab) -> Result<(), Failure> {
    let source = device(0)?;
    let set = set(Granularity::CacheLine);
    let mapping = map(&set, source.clone(), 4 << 20)?;
    store(mapping, 0, b"while it is there");
    set.persist(mapping.start(), 17)?;
    same("a touch", touched_by_the_kernel(mapping.start()), Ok(()))?;

    fs::write("/sys/bus/dax/drivers/device_dax/unbind", "dax0.0")?;
    same("a touch without the driver", touched_by_the_kernel(mapping.start()), Err(ErrorKind::InvalidInput))?;
    same("populating", set.populate(mapping), Err(PopulateError::NoMemoryBehind))?;
    let found = facts(lab, &set, mapping)?;
    same("nothing is in the page tables", found.resident_bytes, Ok(0))?;
    let again = set.map(source.clone(), &MapConfig::new().length(2 << 20)).map(drop);
    check(matches!(again, Err(MapError::Map { .. })), format!("mapping more of it: {again:?}"))?;
    same("opening it", DaxSource::open("/dev/dax0.0", DaxOptions::new()).map(drop), Err(DaxError::NoDriver))?;
    same("asking the source", source.check(), Err(DaxError::NoDriver))?;
    let persisted = set.persist(mapping.start(), 17);
    check(matches!(persisted, Err(PersistError::FailedBefore { .. })), format!("persisting: {persisted:?}"))?;
    let removed = set.remove(set.part_at(mapping.start())?);
    check(removed.is_err(), "nothing is removed as if it were durable")?;

    fs::write("/sys/bus/nd/drivers/dax_pmem/unbind", "dax0.1")?;
    let length = source.length_bytes();
    check(length.is_err(), format!("the length of what has gone: {length:?}"))?;
    let again = set.map(source, &MapConfig::new().length(2 << 20)).map(drop);
    check(again.is_err(), format!("mapping what has gone: {again:?}"))?;
    set.discard(set.part_at(mapping.start())?)?;
    same("segments", set.segment_count(), 0)?;

    fs::write("/sys/bus/nd/drivers/dax_pmem/bind", "dax0.1")?;
    let back = device(0)?;
    let mapping = map(&set, back, 4 << 20)?;
    same("what was durable", crate::sets::load(mapping, 0, 17), b"while it is there".to_vec())?;
    set.remove(set.part_at(mapping.start())?)?;
    Ok(())
}

/// The disk goes under a mounted file system, whose files are mapped.
///
/// Linux 6.1 frees what it knows of the disk's pages while they are mapped, and dies when anybody looks there:
/// `/proc/self/pagemap`, XFS when the file grows.
fn disk_vanishes(lab: &mut Lab) -> Result<(), Failure> {
    let source = crate::sets::file("/mnt0/file")?;
    let set = set(Granularity::CacheLine);
    let mapping = map(&set, source.clone(), 4 << 20)?;
    store(mapping, 0, b"while it is there");
    set.persist(mapping.start(), 17)?;
    let disk = fs::canonicalize("/sys/block/pmem0/device")?;
    let name = disk.file_name().and_then(|name| name.to_str()).ok_or("no name")?.to_owned();
    let (tell, told) = channel();
    std::thread::spawn(move || {
        let _ = tell.send(fs::write("/sys/bus/nd/drivers/nd_pmem/unbind", name).map_err(|error| error.to_string()));
    });
    // What is mapped stays so, and is of use to nobody: the kernel waits for no mapping.
    told.recv_timeout(Duration::from_secs(30))??;
    same("a touch of what was touched before", touched_by_the_kernel(mapping.start()), Ok(()))?;
    let behind = mapping.slice(2 << 20, 2 << 20).ok_or("no such piece")?;
    same("populating the rest", set.populate(behind), Err(PopulateError::NoMemoryBehind))?;
    let found = facts(lab, &set, mapping)?;
    check(found.node.is_err() && found.region.is_none(), format!("nobody tells of what has gone: {found:?}"))?;
    let removed = set.remove(set.part_at(mapping.start())?);
    check(matches!(removed, Err(RemoveError::DeepFlush { cause: Errno::IO, .. })), format!("removing: {removed:?}"))?;
    let persisted = set.persist(mapping.start(), 17);
    check(matches!(persisted, Err(PersistError::FailedBefore { .. })), format!("persisting: {persisted:?}"))?;
    let again = set.map(source, &MapConfig::new().length(2 << 20)).map(drop);
    check(matches!(again, Err(MapError::FailedBefore { .. })), format!("mapping it again: {again:?}"))?;
    set.discard(set.part_at(mapping.start())?)?;
    same("segments", set.segment_count(), 0)
}
