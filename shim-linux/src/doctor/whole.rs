//! What is asked of a whole machine, and in which order.

use super::machine::Machine;
use super::report::Report;
use super::{cxl, limits, mounts, namespaces};

/// Examines all of `machine`, with what `devices` appends behind the regions.
pub fn examine_all_with(machine: &Machine, devices: impl FnOnce(&Machine, &mut Report)) -> Report {
    let mut report = Report::default();
    limits::add(machine, &mut report);
    for number in machine.region_numbers() {
        namespaces::add_region(machine, number, &mut report);
    }
    cxl::subjects(machine).into_iter().for_each(|memory| report.push(memory));
    devices(machine, &mut report);
    mounts::subjects(machine).into_iter().for_each(|mount| report.push(mount));
    limits::judge_all(machine, &mut report);
    report
}
