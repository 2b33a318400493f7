//! Regions of the nd bus: what they promise, their memory modules, and what is wrong with either.

use core::fmt::Write as _;
use std::borrow::ToOwned;
use std::format;
use std::string::String;
use std::vec::Vec;

use pmemset_core::Span;
use pmemset_core::error::BadBlocksError;

use crate::file::GranularityReason;
use crate::nd::region::Region;
use crate::nd::sysfs::NdError;
use crate::nd::{Doubt, PersistenceDomain};

use super::attributes::Folder;
use super::machine::Machine;
use super::report::{Kind, Subject, Value};
use super::text::Size;

/// Flags of a memory module that say that it loses stores (`drivers/acpi/nfit`, `papr_scm`).
const LOSES: [&str; 5] = ["not_armed", "save_fail", "restore_fail", "flush_fail", "map_fail"];
/// Flags that say that its health has changed.
const TELLS: [&str; 2] = ["smart_event", "smart_notify"];

/// Examines the region `number`.
pub(super) fn subject(machine: &Machine, number: u32) -> Subject {
    let mut subject = Subject::new(Kind::Region, format!("region{number}"));
    let folder = machine.sys(&format!("bus/nd/devices/region{number}"));
    subject.note("provider", folder.text("../provider"));
    subject.note("devtype", folder.text("devtype"));
    subject.note("size", folder.number("size").map(Value::Bytes));
    numa_node(&folder, &mut subject);
    let region = match machine.sysfs().map(|sysfs| sysfs.region(number)) {
        Ok(Ok(region)) => region,
        Ok(Err(error)) => {
            subject.error("the region's attributes cannot be read", format!("{error}"), None);
            return subject;
        }
        Err(cause) => {
            subject.error("the region's attributes cannot be read", format!("there is no sysfs: {cause}"), None);
            return subject;
        }
    };
    judge(&region, &mut subject);
    modules(&region, &folder, &mut subject);
    bad_blocks(&region, &folder, &mut subject);
    unused(&folder, number, &mut subject);
    subject
}

/// Says what a set gets of the region, and why not more.
fn judge(region: &Region, subject: &mut Subject) {
    subject.note("persistence domain", format!("{}", region.persistence_domain()));
    let read_only = region.read_only();
    subject.note("read only", read_only);
    let vouched = region.vouches();
    let reason = vouched.map_or_else(GranularityReason::Doubted, GranularityReason::Domain);
    let why = match vouched {
        Ok(domain) => format!("{} (files with MAP_SYNC, device DAX)", domain_text(domain)),
        Err(doubt) => format!("{doubt} (files; device DAX is refused)"),
    };
    subject.gets(Some(reason.granularity()), why);
    match vouched {
        Ok(PersistenceDomain::Unknown) => subject.hint(
            "the persistence domain is not known",
            "the platform does not say how far stores must get to survive a power cut. Cache lines are written back, \
             which is not needed where CPU caches survive",
            None,
        ),
        Ok(_) => {}
        Err(doubt) => doubted(doubt, subject),
    }
}

fn domain_text(domain: PersistenceDomain) -> String {
    match domain {
        PersistenceDomain::Unknown => "the persistence domain is not known".to_owned(),
        PersistenceDomain::CpuCache => "CPU caches survive a power cut".to_owned(),
        _ => "what has reached the memory controller survives a power cut".to_owned(),
    }
}

/// Says what makes the region's word good, where that can be had.
fn doubted(doubt: Doubt, subject: &mut Subject) {
    let name = subject.name.clone();
    let what = format!("{name} is not accepted as persistent");
    match doubt {
        Doubt::ReadOnly => subject.error(
            format!("{name} is read-only"),
            "its modules would not save stores: their state says why",
            Some(format!("ndctl list -DH -r {name}")),
        ),
        Doubt::Virtio => subject.hint(
            what,
            "stores to virtio-pmem become durable by fsync only; the host can provide an NVDIMM instead (QEMU: -device \
             nvdimm)",
            None,
        ),
        Doubt::UnknownProvider => subject.error(
            what,
            "sysfs does not name the provider of its bus, which decides whether the memory is persistent",
            None,
        ),
        Doubt::Volatile => subject.hint(what, "the firmware says that it is volatile", None),
        Doubt::NoDomain => subject.hint(
            what,
            "the platform says that nothing survives a power cut: the firmware's setup may have a setting for it",
            None,
        ),
        other => subject.hint(what, format!("{other}"), None),
    }
}

/// Says which modules the region has, and how they are.
fn modules(region: &Region, folder: &Folder, subject: &mut Subject) {
    let modules = match region.modules() {
        Ok(modules) => modules,
        Err(error) => {
            subject.note("modules", Value::Unknown(format!("{error}")));
            return;
        }
    };
    let names: Vec<String> = modules.numbers().iter().map(|number| format!("nmem{number}")).collect();
    if names.is_empty() {
        subject.note("modules", "none");
        return;
    }
    subject.note("modules", names.join(", "));
    let (mut counts, mut unknown) = (String::new(), Vec::new());
    for (number, name) in modules.numbers().iter().zip(&names) {
        let between = if counts.is_empty() { "" } else { ", " };
        let _ = match region.dirty_shutdowns(*number) {
            Ok(Some(count)) => write!(counts, "{between}{name} {count}"),
            Ok(None) | Err(_) => {
                unknown.push(name.as_str());
                write!(counts, "{between}{name} not known")
            }
        };
        sick(folder, name, subject);
    }
    subject.note("unsafe shutdowns", counts);
    if !unknown.is_empty() {
        subject.hint(
            format!("unsafe shutdowns are not counted by {}", unknown.join(", ")),
            "without that count a shutdown record cannot show whether a power cut has lost stores, so a set refuses a \
             source with a record",
            None,
        );
    }
}

/// Says what a module's flags mean for its health.
fn sick(folder: &Folder, name: &str, subject: &mut Subject) {
    let flags = ["nfit", "papr"].iter().find_map(|family| folder.text(&format!("../{name}/{family}/flags")).ok());
    let flags = flags.unwrap_or_default();
    let set =
        |known: &[&str]| flags.split_whitespace().filter(|flag| known.contains(flag)).collect::<Vec<_>>().join(", ");
    let (loses, tells) = (set(&LOSES), set(&TELLS));
    let more = Some(format!("ndctl list -DH -d {name}"));
    if !loses.is_empty() {
        subject.error(
            format!("{name} reports: {loses}"),
            "stores to the region may not survive the next power cut, or may not have survived the last one",
            more,
        );
    } else if !tells.is_empty() {
        subject.hint(format!("{name} reports: {tells}"), "its health has changed: the command shows how", more);
    }
}

fn bad_blocks(region: &Region, folder: &Folder, subject: &mut Subject) {
    let (mut count, mut bytes) = (0_u64, 0_u64);
    let asked = region.bad_blocks(|block: Span| {
        count = count.saturating_add(1);
        bytes = bytes.saturating_add(block.length_bytes());
    });
    subject.note("bad blocks", listed(&asked, count, bytes));
    if count > 0 {
        subject.error(
            format!("{} of {} are bad", Size(bytes), subject.name),
            "reading them raises SIGBUS. Overwriting whole pages clears them: Health::clear_bad_block does that in a \
             file or a device, the command in a whole namespace. What was in them is lost",
            namespaces(folder).first().map(|namespace| format!("ndctl clear-errors --scrub {}", namespace.name())),
        );
    }
}

/// Returns the namespaces of the region; those without bytes are seeds, which the kernel makes the next ones of.
pub(super) fn namespaces(region: &Folder) -> Vec<Folder> {
    region.numbered("namespace").into_iter().filter(|folder| folder.number("size") != Ok(0)).collect()
}

/// Says how many bad blocks there are, or why that is not known.
pub(super) fn listed(asked: &Result<(), NdError>, count: u64, bytes: u64) -> Value {
    match asked {
        Ok(()) if count == 0 => "none".into(),
        Ok(()) => format!("{count}, {} together", Size(bytes)).into(),
        Err(NdError::TooLong { .. }) => format!("{count} at least, {} together", Size(bytes)).into(),
        Err(error) => Value::Unknown(format!("{}", BadBlocksError::from(*error))),
    }
}

/// Says how much of the region is in no namespace.
fn unused(folder: &Folder, number: u32, subject: &mut Subject) {
    let Ok(available) = folder.number("available_size") else { return };
    subject.note("in no namespace", Value::Bytes(available));
    if available > 0 {
        subject.hint(
            format!("{} of region{number} are in no namespace", Size(available)),
            "they are unused until a namespace is made of them: a disk for files that are mapped directly, or with -m \
             devdax a device",
            Some(format!("ndctl create-namespace -r region{number} -m fsdax")),
        );
    }
}

/// Says which processors are near.
pub(super) fn numa_node(folder: &Folder, subject: &mut Subject) {
    let node = folder.numa_node();
    subject.note("NUMA node", node.map(|node| node.map_or_else(|| "none".into(), Value::Count)));
}
