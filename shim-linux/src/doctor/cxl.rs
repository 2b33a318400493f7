//! CXL memory devices whose persistent capacity nobody has made a region of.

use std::format;
use std::vec::Vec;

use super::machine::Machine;
use super::report::{Kind, Subject, Value};
use super::text::Size;

/// Examines the CXL memory devices.
pub(super) fn subjects(machine: &Machine) -> Vec<Subject> {
    let has_region = machine.region_numbers().into_iter().any(|number| {
        machine.sys(&format!("bus/nd/devices/region{number}")).text("../provider").as_deref() == Ok("CXL")
    });
    let mut subjects = Vec::new();
    for folder in machine.sys("bus/cxl/devices").numbered("mem") {
        let name = folder.name();
        let mut subject = Subject::new(Kind::CxlMemory, name.as_str());
        let persistent = folder.number("pmem/size");
        subject.note("persistent", persistent.clone().map(Value::Bytes));
        subject.note("volatile", folder.number("ram/size").map(Value::Bytes));
        super::regions::numa_node(&folder, &mut subject);
        if let Ok(bytes) = persistent
            && bytes > 0
            && !has_region
        {
            subject.hint(
                format!("{} of {name} are in no region", Size(bytes)),
                "persistent memory behind CXL can be used once it is in a region, and the region in a namespace (ndctl \
                 create-namespace)",
                Some(format!("cxl create-region -m -t pmem -d decoder0.0 {name}")),
            );
        }
        subjects.push(subject);
    }
    subjects
}
