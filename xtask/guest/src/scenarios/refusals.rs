//! Memory that promises less than the lab's own NVDIMMs: it must not be believed more than it says.

use std::fs;
use std::path::Path;

use pmemset_core::{DeepFlush, Errno, Granularity, Source};
use pmemset_linux::GranularityReason;
use pmemset_linux::nd::PersistenceDomain;

use crate::lab::{Checks, Failure, Lab, check, same};
use crate::sets::{file, map, set, store};

pub(crate) const CHECKS: &[Checks] = &[
    ("plain-nvdimm", plain_nvdimm),
    ("plain-nvdimm-memory-domain", plain_nvdimm_memory),
    ("plain-nvdimm-cpu-domain", plain_nvdimm_cpu),
    ("no-domain", no_domain),
    ("virtio-pmem-file", virtio),
    ("legacy-pmem-file", legacy),
];

/// Maps a file, and checks what the granularity is and why.
pub(crate) fn granularity(expected: Granularity, reason: GranularityReason) -> Result<(), Failure> {
    let source = file("/mnt0/file")?;
    same("why", source.facts()?.granularity, Ok(reason))?;
    let set = set(Granularity::Page);
    let mapping = map(&set, source, 2 << 20)?;
    same("granularity", set.granularity(), Some(expected))?;
    store(mapping, 0, b"stored");
    set.remove(set.part_at(mapping.start())?)?;
    same("the file", &fs::read("/mnt0/file")?[..6], &b"stored"[..])
}

fn deep_flush() -> Result<DeepFlush, Failure> {
    let source = file("/mnt0/file")?;
    let set = set(Granularity::Page);
    let mapping = map(&set, source.clone(), 2 << 20)?;
    Ok(source.deep_flush(mapping, 0)?)
}

/// Nothing is said about power failure: stores are flushed, not trusted to caches.
fn plain_nvdimm(_: &mut Lab) -> Result<(), Failure> {
    check(!Path::new("/sys/bus/nd/devices/region0/persistence_domain").exists(), "the region says nothing")?;
    granularity(Granularity::CacheLine, GranularityReason::Domain(PersistenceDomain::Unknown))?;
    same("deep flush", deep_flush()?, DeepFlush::NotNeeded)
}

fn plain_nvdimm_memory(_: &mut Lab) -> Result<(), Failure> {
    granularity(Granularity::CacheLine, GranularityReason::Domain(PersistenceDomain::MemoryController))
}

fn plain_nvdimm_cpu(_: &mut Lab) -> Result<(), Failure> {
    granularity(Granularity::Byte, GranularityReason::Domain(PersistenceDomain::CpuCache))
}

fn no_domain(_: &mut Lab) -> Result<(), Failure> {
    let said = GranularityReason::Domain(PersistenceDomain::Unknown);
    granularity(Granularity::CacheLine, said)?;
    same("deep flush", deep_flush()?, DeepFlush::Done)
}

/// The host keeps nothing without a flush command, and the kernel refuses `MAP_SYNC` for it.
fn virtio(_: &mut Lab) -> Result<(), Failure> {
    granularity(Granularity::Page, GranularityReason::NoMapSync(Errno::OPNOTSUPP))
}

fn legacy(_: &mut Lab) -> Result<(), Failure> {
    granularity(Granularity::CacheLine, GranularityReason::Domain(PersistenceDomain::Unknown))?;
    same("deep flush", deep_flush()?, DeepFlush::NotNeeded)
}
