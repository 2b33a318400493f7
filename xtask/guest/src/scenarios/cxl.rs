//! Persistent memory behind CXL: made into a region, a namespace and a device by hand, as `cxl(1)` and `ndctl(1)` do.

use std::fs;
use std::path::{Path, PathBuf};

use pmemset_core::shutdown::{DeviceError, DeviceId};
use pmemset_core::{BadBlocks, Errno, Granularity, MapConfig, Source, Span};
use shim_devdax::Durability;
use shim_linux::nd::PersistenceDomain;

use super::devdax::device;
use crate::boot::wait_for;
use crate::lab::{Lab, same};
use crate::machine::{Failure, Machine, Scenario};
use crate::sets::{load, map, set, store};

const CXL: Machine = Machine { device: "cxl", domain: "none", modes: "raw", fs: "none", ..Machine::NFIT };

pub(crate) const SCENARIOS: &[Scenario] = &[Scenario::new("cxl-devdax", cxl).on(CXL).once()];

const BYTES: &str = "0x10000000";
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

/// Returns the device of the CXL bus that has all these attributes.
fn with(attributes: &[&str]) -> Result<PathBuf, Failure> {
    loop {
        for entry in fs::read_dir("/sys/bus/cxl/devices")?.flatten() {
            if attributes.iter().all(|name| entry.path().join(name).exists()) {
                return Ok(entry.path());
            }
        }
        std::thread::yield_now();
    }
}

/// Makes the memory of the only CXL device a region of the nd bus.
fn make_region() -> Result<(), Failure> {
    let root = with(&["create_pmem_region"])?;
    let endpoint = with(&["dpa_size", "mode"])?;
    let name = read(root.join("create_pmem_region"))?;
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

/// Makes the whole region one namespace, and that a character device.
fn make_device() -> Result<(), Failure> {
    let bus = Path::new("/sys/bus/nd/devices");
    wait_for("/sys/bus/nd/devices/region0/namespace_seed");
    let namespace = read(bus.join("region0/namespace_seed"))?;
    write(bus.join(&namespace).join("uuid"), UUID)?;
    write(bus.join(&namespace).join("size"), BYTES)?;
    let dax = read(bus.join("region0/dax_seed"))?;
    for (attribute, value) in [("mode", "pmem"), ("align", "2097152"), ("uuid", UUID), ("namespace", &*namespace)] {
        write(bus.join(&dax).join(attribute), value)?;
    }
    write("/sys/bus/nd/drivers/dax_pmem/bind", &dax)
}

/// Stores are durable once they have left the caches; the memory counts nothing, and Linux is told of nothing bad.
fn cxl(_: &mut Lab) -> Result<(), Failure> {
    make_region()?;
    make_device()?;
    let source = device(0)?;
    same("durability", source.durability(), Durability::WriteBack(PersistenceDomain::MemoryController))?;
    let set = set(Granularity::CacheLine);
    let mapping = map(&set, source.clone(), 4 << 20)?;
    store(mapping, 100, b"compute express");
    set.persist(mapping.start() + 100, 15)?;
    set.remove(set.part_at(mapping.start())?).map_err(|refused| refused.error)?;
    let again = set.map(source.clone(), &MapConfig::new().length(2 << 20))?;
    same("what was stored", load(again.segment, 100, 15), b"compute express".to_vec())?;
    same("count of unsafe shutdowns", source.device(&mut DeviceId::new()), Err(DeviceError::Unsupported))?;
    let all = Span::new(0, 4 << 20).ok_or("no span")?;
    same("bad blocks", source.bad_blocks(all, &mut [all]), BadBlocks::Unknown(Errno::OPNOTSUPP))
}
