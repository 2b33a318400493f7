//! Persistent memory behind CXL: made into a region, a namespace and a device by hand, as `cxl(1)` and `ndctl(1)` do;
//! and memory that the firmware has set apart for a purpose, which a DAX device shows too.

use std::fs;
use std::path::{Path, PathBuf};

use pmemset_core::error::DeviceError;
use pmemset_core::{BadBlocks, DeviceId, Granularity, Health as _, MapConfig, Span};
use pmemset_devdax::{DaxError, DaxOptions, DaxSource, Durability};
use pmemset_linux::GranularityReason;
use pmemset_linux::nd::{Doubt, PersistenceDomain};

use super::devdax::device;
use super::refusals::granularity;
use crate::lab::{Checks, Failure, Lab, check, same};
use crate::mount::mount_file_system;
use crate::sets::{file, load, map, set, store};
use crate::wait::{until, wait_for};

pub(crate) const CHECKS: &[Checks] = &[("cxl-devdax", cxl), ("cxl-file", cxl_file), ("soft-reserved", soft_reserved)];

/// All of the device.
const BYTES: &str = "0x20000000";
/// The same as in the image that the host makes: a namespace without labels of its own is known by it.
const UUID: &str = "6b3ad91c-5a1c-4a0f-9f3c-2f6f1c9d0e01";

fn write(path: impl AsRef<Path>, text: &str) -> Result<(), Failure> {
    let path = path.as_ref();
    // Some attributes insist on the newline.
    fs::write(path, format!("{text}\n")).map_err(|error| format!("{text} to {}: {error}", path.display()).into())
}

fn read(path: impl AsRef<Path>) -> Result<String, Failure> {
    let path = path.as_ref();
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(text.trim().to_owned())
}

/// Returns a name that the kernel fills in when it has made the device.
fn name(path: impl AsRef<Path>) -> Result<String, Failure> {
    let path = path.as_ref();
    until(&format!("the name in {}", path.display()), || read(path).ok().filter(|name| !name.is_empty()))
}

/// Returns the first device of the CXL bus that has all these attributes: the kernel uses decoders by their numbers.
fn with(attributes: &[&str]) -> Result<PathBuf, Failure> {
    until(&format!("a CXL device with {}", attributes.join(" and ")), || {
        let all = fs::read_dir("/sys/bus/cxl/devices").ok()?.flatten().map(|entry| entry.path());
        let fitting = all.filter(|path| attributes.iter().all(|attribute| path.join(attribute).exists()));
        fitting.min_by_key(|path| numbers(path))
    })
}

/// Returns the numbers in the name of a device: `decoder2.10` comes behind `decoder2.9`.
fn numbers(path: &Path) -> Vec<u32> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

/// Makes the memory of the only CXL device a region of the nd bus.
pub(super) fn make_region() -> Result<(), Failure> {
    let root = with(&["create_pmem_region"])?;
    let endpoint = with(&["dpa_size", "mode"])?;
    let name = name(root.join("create_pmem_region"))?;
    write(root.join("create_pmem_region"), &name)?;
    write(endpoint.join("mode"), "pmem")?;
    write(endpoint.join("dpa_size"), BYTES)?;
    let region = Path::new("/sys/bus/cxl/devices").join(&name);
    let target = endpoint.file_name().and_then(|name| name.to_str()).ok_or("no name")?;
    let settings = [
        ("uuid", UUID),
        ("interleave_ways", "1"),
        ("interleave_granularity", "256"),
        ("size", BYTES),
        ("target0", target),
        ("commit", "1"),
    ];
    for (attribute, value) in settings {
        write(region.join(attribute), value)?;
    }
    write("/sys/bus/cxl/drivers/cxl_region/bind", &name)
}

/// Returns the name of the device that the region keeps for this, once it is there: the kernel adds it later.
fn seed(attribute: &str) -> Result<String, Failure> {
    let bus = Path::new("/sys/bus/nd/devices");
    until(attribute, || {
        let device = name(bus.join("region0").join(attribute)).ok()?;
        bus.join(&device).join("uuid").exists().then_some(device)
    })
}

/// Makes the whole region one namespace, and returns its name.
pub(super) fn make_namespace() -> Result<String, Failure> {
    let bus = Path::new("/sys/bus/nd/devices");
    let namespace = seed("namespace_seed")?;
    write(bus.join(&namespace).join("uuid"), UUID)?;
    write(bus.join(&namespace).join("size"), BYTES)?;
    Ok(namespace)
}

/// Makes the namespace a character device.
fn make_device(namespace: &str) -> Result<(), Failure> {
    let bus = Path::new("/sys/bus/nd/devices");
    let dax = seed("dax_seed")?;
    for (attribute, value) in [("mode", "pmem"), ("align", "2097152"), ("uuid", UUID), ("namespace", namespace)] {
        write(bus.join(&dax).join(attribute), value)?;
    }
    write("/sys/bus/nd/drivers/dax_pmem/bind", &dax)
}

/// Makes the namespace a disk whose file system maps files directly, as the block in the image says.
pub(super) fn make_disk(namespace: &str) -> Result<(), Failure> {
    // The driver finds that block, makes another device, and leaves this one: the error that it says so with is none.
    let _ = write("/sys/bus/nd/drivers/nd_pmem/bind", namespace);
    // The namespace itself may have been the disk of that name before.
    until("the disk with a page map", || {
        let device = fs::read_link("/sys/block/pmem0").ok()?;
        device.to_string_lossy().contains("/pfn").then_some(())
    })
}

/// Stores are durable once they have left the caches; the memory counts nothing, and Linux is told of nothing bad.
fn cxl(_: &mut Lab) -> Result<(), Failure> {
    make_region()?;
    make_device(&make_namespace()?)?;
    let source = device(0)?;
    same("durability", source.durability(), Durability::WriteBack(PersistenceDomain::MemoryController))?;
    let set = set(Granularity::CacheLine);
    let mapping = map(&set, source.clone(), 4 << 20)?;
    store(mapping, 100, b"compute express");
    set.persist(mapping.start() + 100, 15)?;
    set.remove(set.part_at(mapping.start())?)?;
    let again = set.map(source.clone(), &MapConfig::new().length(2 << 20))?;
    same("what was stored", load(again.extent(), 100, 15), b"compute express".to_vec())?;
    same("count of unsafe shutdowns", source.device(&mut DeviceId::new()), Err(DeviceError::Unsupported))?;
    let all = Span::new(0, 4 << 20).ok_or("no span")?;
    same("bad blocks", source.bad_blocks(all, &mut [all]), BadBlocks::UNKNOWN)
}

/// Files behind CXL are flushed by cache lines.
fn cxl_file(lab: &mut Lab) -> Result<(), Failure> {
    make_region()?;
    make_disk(&make_namespace()?)?;
    mount_file_system(lab.machine(), 0)?;
    granularity(Granularity::CacheLine, GranularityReason::Domain(PersistenceDomain::MemoryController))?;
    let count = file("/mnt0/file")?.device(&mut DeviceId::new());
    same("count of unsafe shutdowns", count, Err(DeviceError::Unsupported))
}

/// Memory that the firmware has set apart is a DAX device without being persistent: refused without a driver, and with
/// one.
fn soft_reserved(_: &mut Lab) -> Result<(), Failure> {
    const DRIVER: &str = "/sys/bus/dax/drivers/device_dax";
    wait_for("/sys/bus/dax/devices/dax0.0")?;
    wait_for(DRIVER)?;
    // Some kernels give it to this driver by themselves.
    let _ = write(format!("{DRIVER}/unbind"), "dax0.0");
    check(!Path::new("/sys/bus/dax/devices/dax0.0/driver").exists(), "no driver has the device")?;
    same("without a driver", DaxSource::open("/dev/dax0.0", DaxOptions::new()).map(drop), Err(DaxError::NoDriver))?;
    write(format!("{DRIVER}/new_id"), "dax0.0")?;
    wait_for("/sys/bus/dax/devices/dax0.0/driver")?;
    let refused = DaxSource::open("/dev/dax0.0", DaxOptions::new()).map(drop);
    same("with a driver", refused, Err(DaxError::NotPersistent(Doubt::NoRegion)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoders_go_by_their_numbers() {
        let mut paths = ["decoder2.10", "decoder10.0", "decoder2.9"].map(Path::new);
        paths.sort_by_key(|path| numbers(path));
        assert_eq!(paths, ["decoder2.9", "decoder2.10", "decoder10.0"].map(Path::new));
    }
}
