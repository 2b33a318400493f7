//! What the doctor says of real kernels, and that a set then gets just that.

use core::fmt::Display;
use std::fs;
use std::path::Path;

use pmemset_core::{Granularity, Source as _};
use pmemset_devdax::doctor::{self, Report, Subject, Value};

use super::cxl;
use crate::lab::{Checks, Failure, Lab, check, same};
use crate::mount::mount_file_system;
use crate::sets::file;

pub(crate) const CHECKS: &[Checks] = &[
    ("doctor-nvdimm", nvdimm),
    ("doctor-no-dax", no_dax),
    ("doctor-not-armed", not_armed),
    ("doctor-bad-blocks", bad_blocks),
    ("doctor-virtio-pmem", virtio),
    ("doctor-cxl", behind_cxl),
    ("doctor-soft-reserved", soft_reserved),
];

/// The machine's report, whose text the host keeps.
fn machine(lab: &mut Lab) -> Report {
    let report = doctor::examine_machine();
    for line in report.to_string().lines() {
        lab.say(format!("note {line}"));
    }
    report
}

fn subject<'r>(report: &'r Report, name: &str) -> Result<&'r Subject, Failure> {
    let found = report.subjects.iter().find(|subject| subject.name == name);
    found.ok_or_else(|| format!("the report has no {name}:\n{report}").into())
}

fn gets(report: &Report, name: &str, granularity: Option<Granularity>) -> Result<(), Failure> {
    let verdict = subject(report, name)?.verdict.as_ref().ok_or_else(|| format!("{name} has no verdict"))?;
    same(&format!("what a set gets of {name}"), verdict.granularity, granularity)
}

fn says(report: &Report, name: &str, fact: &str, expected: impl Into<Value>) -> Result<(), Failure> {
    same(&format!("{fact} of {name}"), subject(report, name)?.fact(fact).cloned(), Some(expected.into()))
}

fn mends(report: &Report, name: &str, command: impl Display) -> Result<(), Failure> {
    let command = command.to_string();
    let found = subject(report, name)?.findings.iter().any(|finding| finding.mend.as_deref() == Some(&command));
    check(found, format!("{name} is mended by {command:?} in\n{report}"))
}

/// A directory that was asked holds what it has held, and a file in it gets what was said.
fn foretold(directory: &str) -> Result<(), Failure> {
    let count = || fs::read_dir(directory).map(Iterator::count);
    let (before, report) = (count()?, doctor::examine(Path::new(directory)));
    same("files in the directory", count()?, before)?;
    let path = format!("{directory}/file");
    let granularity = file(&path)?.granularity()?;
    gets(&report, directory, Some(granularity))?;
    gets(&doctor::examine(Path::new(&path)), &path, Some(granularity))
}

fn nvdimm(lab: &mut Lab) -> Result<(), Failure> {
    let report = machine(lab);
    check(report.is_good(), format!("nothing is wrong:\n{report}"))?;
    gets(&report, "region0", Some(Granularity::CacheLine))?;
    says(&report, "region0", "provider", "ACPI.NFIT")?;
    says(&report, "region0", "persistence domain", "memory controller")?;
    says(&report, "region0", "modules", "nmem0, nmem1")?;
    says(&report, "region0", "unsafe shutdowns", "nmem0 3, nmem1 4")?;
    says(&report, "region0", "bad blocks", "none")?;
    says(&report, "namespace0.0", "mode", "fsdax")?;
    says(&report, "namespace0.0", "alignment", Value::Bytes(2 << 20))?;
    says(&report, "namespace0.0", "disk", "/dev/pmem0")?;
    gets(&report, "/mnt0", Some(Granularity::CacheLine))?;
    says(&report, "/mnt0", "MAP_SYNC", true)?;
    foretold("/mnt0")?;
    let disk = doctor::examine(Path::new("/dev/pmem0"));
    gets(&disk, "/mnt0", Some(Granularity::CacheLine))?;
    gets(&disk, "region0", Some(Granularity::CacheLine))
}

fn no_dax(lab: &mut Lab) -> Result<(), Failure> {
    let report = machine(lab);
    check(report.is_good(), format!("nothing is wrong:\n{report}"))?;
    gets(&report, "/mnt0", Some(Granularity::Page))?;
    says(&report, "/mnt0", "MAP_SYNC", false)?;
    mends(&report, "/mnt0", "umount /mnt0 && mount -o dax=always /dev/pmem0 /mnt0")?;
    foretold("/mnt0")
}

/// Modules that will not save what is stored.
fn not_armed(lab: &mut Lab) -> Result<(), Failure> {
    let report = machine(lab);
    check(!report.is_good(), format!("something is wrong:\n{report}"))?;
    says(&report, "region0", "read only", true)?;
    mends(&report, "region0", "ndctl list -DH -r region0")?;
    mends(&report, "region0", "ndctl list -DH -d nmem0")
}

fn bad_blocks(lab: &mut Lab) -> Result<(), Failure> {
    let report = machine(lab);
    check(!report.is_good(), format!("something is wrong:\n{report}"))?;
    says(&report, "region0", "bad blocks", "2, 4608 bytes together")?;
    says(&report, "/dev/dax0.0", "bad blocks", "2, 4608 bytes together")?;
    gets(&report, "/dev/dax0.0", Some(Granularity::CacheLine))?;
    mends(&report, "region0", "ndctl clear-errors --scrub namespace0.0")
}

fn virtio(lab: &mut Lab) -> Result<(), Failure> {
    let report = machine(lab);
    gets(&report, "region0", Some(Granularity::Page))?;
    says(&report, "region0", "provider", "virtio-pmem")?;
    gets(&report, "/mnt0", Some(Granularity::Page))?;
    says(&report, "/mnt0", "MAP_SYNC", false)?;
    foretold("/mnt0")
}

/// Before and after what the doctor says is done.
fn behind_cxl(lab: &mut Lab) -> Result<(), Failure> {
    let before = machine(lab);
    says(&before, "mem0", "persistent", Value::Bytes(512 << 20))?;
    mends(&before, "mem0", "cxl create-region -m -t pmem -d decoder0.0 mem0")?;
    cxl::make_region()?;
    cxl::make_disk(&cxl::make_namespace()?)?;
    mends(&machine(lab), "namespace0.0", "mount -o dax=always /dev/pmem0 /mnt")?;
    mount_file_system(lab.machine(), 0)?;
    let after = machine(lab);
    check(subject(&after, "mem0")?.findings.is_empty(), "the memory is in a region")?;
    says(&after, "region0", "provider", "CXL")?;
    gets(&after, "region0", Some(Granularity::CacheLine))?;
    gets(&after, "/mnt0", Some(Granularity::CacheLine))?;
    foretold("/mnt0")
}

/// A device that nobody vouches for is listed, and refused where somebody asks for it.
fn soft_reserved(lab: &mut Lab) -> Result<(), Failure> {
    crate::wait::wait_for("/sys/bus/dax/devices/dax0.0")?;
    let report = machine(lab);
    gets(&report, "/dev/dax0.0", None)?;
    check(report.is_good(), format!("nothing is wrong:\n{report}"))?;
    let asked = doctor::examine(Path::new("/dev/dax0.0"));
    gets(&asked, "/dev/dax0.0", None)?;
    check(!asked.is_good(), format!("it is refused:\n{asked}"))
}
