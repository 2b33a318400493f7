//! Namespaces of a region: what mode they are in, the disks that they are, and what files on these disks lack.

use core::fmt::Write as _;
use std::borrow::ToOwned;
use std::format;
use std::string::String;
use std::vec::Vec;

use pmemset_core::Span;
use rustix::fd::AsFd as _;

use crate::nd::bad_blocks;
use crate::nd::parse;
use crate::nd::region::Device;

use super::attributes::Folder;
use super::machine::Machine;
use super::mounts;
use super::regions::{self, listed, namespaces};
use super::report::{Kind, Report, Subject, Value};
use super::text::Size;

/// What page tables of x86-64, aarch64 and riscv64 map in one entry above a page.
const HUGE_BYTES: u64 = 2 << 20;
/// The unit of `start` and `size` of block devices in bytes.
const SECTOR_BYTES: u64 = parse::SECTOR_BYTES;

/// Appends the region `number`, and the namespaces on it.
pub fn add_region(machine: &Machine, number: u32, report: &mut Report) {
    report.push(regions::subject(machine, number));
    let region = machine.sys(&format!("bus/nd/devices/region{number}"));
    namespaces(&region).iter().for_each(|folder| report.push(subject(machine, &region, folder)));
}

fn subject(machine: &Machine, region: &Folder, folder: &Folder) -> Subject {
    let name = folder.name();
    let mut subject = Subject::new(Kind::Namespace, name.as_str());
    let holder = folder.text("holder").ok().filter(|name| !name.is_empty() && !name.contains('/'));
    let holder = holder.map(|name| region.below(&name)).filter(Folder::exists);
    let owner = holder.as_ref().unwrap_or(folder);
    let mode = mode(folder, holder.as_ref());
    subject.note("mode", mode.clone());
    subject.note("size", folder.number("size").map(Value::Bytes));
    let alignment = holder.as_ref().filter(|_| mode.as_deref() != Ok("sector")).map(|holder| holder.number("align"));
    if let Some(alignment) = alignment.clone() {
        subject.note("alignment", alignment.map(Value::Bytes));
    }
    let mode = mode.unwrap_or_default();
    not_direct(&name, &mode, &mut subject);
    if let Some(Ok(alignment)) = alignment
        && alignment < HUGE_BYTES
    {
        subject.hint(
            format!("{name} is aligned to {}", Size(alignment)),
            "pages of 2 MiB need that alignment; smaller pages take more page faults and page-table entries. The \
             command destroys what is in the namespace",
            Some(format!("ndctl create-namespace -f -e {name} -m {mode} -a 2M")),
        );
    }
    if mode != "devdax" {
        let takes_stores = region.text("read_only").as_deref() != Ok("1");
        disk(machine, owner, &name, &mode, takes_stores, &mut subject);
    }
    subject
}

/// Returns the mode in ndctl's words.
fn mode(folder: &Folder, holder: Option<&Folder>) -> Result<String, String> {
    let held = holder.map(Folder::name).unwrap_or_default();
    let known = match folder.text("mode") {
        Ok(mode) => match mode.as_str() {
            "memory" => "fsdax",
            "dax" => "devdax",
            "safe" => "sector",
            "raw" => "raw",
            _ => return Err(format!("the kernel calls it {mode:?}")),
        },
        // Kernels before 4.10 do not say.
        Err(_) if held.starts_with("pfn") => "fsdax",
        Err(_) if held.starts_with("dax") => "devdax",
        Err(_) if held.starts_with("btt") => "sector",
        Err(reason) => return Err(reason),
    };
    Ok(known.to_owned())
}

/// Says that files on the namespace cannot be mapped directly, where its mode is in the way.
fn not_direct(name: &str, mode: &str, subject: &mut Subject) {
    let why = match mode {
        "raw" => "the kernel has no page structures for it (mode raw), so file systems refuse MAP_SYNC",
        "sector" => "sectors are written whole, through a table (mode sector, BTT), so file systems refuse MAP_SYNC",
        _ => return,
    };
    subject.hint(
        format!("files on {name} cannot be mapped directly"),
        format!("{why}: page granularity. The command destroys what is in the namespace"),
        Some(format!("ndctl create-namespace -f -e {name} -m fsdax")),
    );
}

/// Examines the disk that a namespace is.
fn disk(machine: &Machine, owner: &Folder, namespace: &str, mode: &str, takes_stores: bool, subject: &mut Subject) {
    let below = owner.below("block");
    let Some(name) = below.names().into_iter().next() else {
        subject.error(
            format!("{namespace} has no disk"),
            "no driver is bound to it, so it cannot be used",
            Some(format!("ndctl enable-namespace {namespace}")),
        );
        return;
    };
    let disk = below.below(&name);
    subject.note("disk", format!("/dev/{name}"));
    if mode == "fsdax" && disk.text("queue/dax").as_deref() == Ok("0") {
        subject.hint(
            format!("the driver of /dev/{name} does not map files directly"),
            "its attribute queue/dax is 0",
            None,
        );
    }
    if disk.text("ro").as_deref() == Ok("1") {
        subject.error(
            format!("/dev/{name} is read-only"),
            "a set opens files for reading and writing",
            takes_stores.then(|| format!("blockdev --setrw /dev/{name}")),
        );
    }
    damage(machine, &disk, subject);
    let partitions = partitions(&disk, &name, mode, subject);
    if mode == "fsdax" && !in_use(machine, &disk, &partitions) {
        subject.hint(
            format!("/dev/{name} is not in use"),
            "make a file system (mkfs.ext4, mkfs.xfs) and mount it with dax=always: its files get the region's \
             granularity",
            Some(format!("mount -o dax=always /dev/{name} /mnt")),
        );
    }
}

/// Says which blocks of the disk are bad.
fn damage(machine: &Machine, disk: &Folder, subject: &mut Subject) {
    let number = disk.text("dev").ok().and_then(|text| parse::device_number(text.as_bytes()).ok());
    let (Some((major, minor)), Ok(sysfs)) = (number, machine.sysfs()) else { return };
    let Ok(device) = sysfs.device(Device::Block(rustix::fs::makedev(major, minor))) else { return };
    let Some(region) = device.region else { return };
    let (mut count, mut bytes) = (0_u64, 0_u64);
    let asked = region.lists_bad_blocks().and_then(|()| {
        bad_blocks::read(device.dir.as_fd(), &mut |block: Span| {
            count = count.saturating_add(1);
            bytes = bytes.saturating_add(block.length_bytes());
        })
    });
    subject.note("bad blocks", listed(&asked, count, bytes));
}

/// Lists the partitions of a disk, and says which of them begin where no huge page can.
fn partitions(disk: &Folder, name: &str, mode: &str, subject: &mut Subject) -> Vec<Folder> {
    // Of `pmem0` they are `pmem0p1`, of `pmem0s` `pmem0s1`.
    let separator = if name.ends_with(|last: char| last.is_ascii_digit()) { "p" } else { "" };
    let found = disk.numbered(&format!("{name}{separator}"));
    let mut list = String::new();
    for partition in &found {
        let bytes = |attribute: &str| Some(partition.number(attribute).ok()?.saturating_mul(SECTOR_BYTES));
        let (Some(start), Some(length)) = (bytes("start"), bytes("size")) else { continue };
        let between = if list.is_empty() { "" } else { ", " };
        let _ = write!(list, "{between}{}: {} at {}", partition.name(), Size(length), Size(start));
        if mode == "fsdax" && start.checked_rem(HUGE_BYTES) != Some(0) {
            subject.hint(
                format!("{} begins {} into its disk", partition.name(), Size(start)),
                "that is no multiple of 2 MiB, so files on it are mapped in pages of 4 KiB only",
                None,
            );
        }
    }
    if !list.is_empty() {
        subject.note("partitions", list);
    }
    found
}

/// Returns whether a file system on the disk or one of its partitions is mounted, or another device is made of it.
fn in_use(machine: &Machine, disk: &Folder, partitions: &[Folder]) -> bool {
    let mounted: Vec<(u32, u32)> = mounts::all(machine).unwrap_or_default().iter().map(|mount| mount.device).collect();
    core::iter::once(disk).chain(partitions).any(|device| {
        let number = device.text("dev").ok().and_then(|text| parse::device_number(text.as_bytes()).ok());
        number.is_some_and(|number| mounted.contains(&number)) || !device.below("holders").names().is_empty()
    })
}
