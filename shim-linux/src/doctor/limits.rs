//! The machine itself: what the kernel allows this process, and what a set needs of it.

use std::borrow::ToOwned;
use std::format;
use std::string::String;

use super::machine::Machine;
use super::report::{Kind, Report, Subject, Value};

/// Linux's own value: nearly as many mappings as the largest set has segments.
const MAPPINGS: u64 = 65_530;
/// `/proc/self/limits` has some 1,300 bytes.
const LIMITS_MAX_BYTES: usize = 16 << 10;

/// Appends the machine itself: its limits for this process.
pub fn add(machine: &Machine, report: &mut Report) {
    report.push(subject(machine));
}

fn subject(machine: &Machine) -> Subject {
    let mut subject = Subject::new(Kind::Machine, "this machine");
    let proc = machine.proc();
    subject.note("kernel", proc.text("sys/kernel/osrelease"));
    subject.note("page", Value::Bytes(machine.kernel().page_bytes() as u64));
    let cpu = machine.kernel().cpu();
    subject.note("lines written back by", cpu.method().name());
    if !cpu.can_write_back() {
        subject.hint(
            "this processor cannot write back cache lines",
            "files get page granularity unless CPU caches survive a power cut, and device DAX is refused",
            None,
        );
    }
    subject.note("NUMA nodes", machine.sys("devices/system/node").text("online"));
    mappings(machine, &mut subject);
    subject.note("vm.overcommit_memory", proc.number("sys/vm/overcommit_memory").map(overcommit));
    let limits = proc.text_of("self/limits", LIMITS_MAX_BYTES);
    let of = |name: &str| limits.clone().and_then(|text| limit(&text, name));
    subject.note("RLIMIT_MEMLOCK", of("Max locked memory").map(bytes));
    let (file, addresses) = (of("Max file size"), of("Max address space"));
    if let Ok(Some(limit)) = file {
        subject.hint(
            format!("this process cannot make files longer than {limit} bytes (RLIMIT_FSIZE)"),
            "a set cannot grow a file beyond that",
            Some("ulimit -f unlimited".to_owned()),
        );
    }
    if let Ok(Some(limit)) = addresses {
        subject.hint(
            format!("the address space of this process is limited to {limit} bytes (RLIMIT_AS)"),
            "parts and reservations use address space, whether it is touched or not",
            Some("ulimit -v unlimited".to_owned()),
        );
    }
    subject.note("RLIMIT_FSIZE", file.map(bytes));
    subject.note("RLIMIT_AS", addresses.map(bytes));
    if let Err(cause) = machine.sysfs() {
        subject.error(
            format!("there is no sysfs: {cause}"),
            "without it no memory is known to be persistent: files get page granularity, device DAX is refused",
            Some("mount -t sysfs sysfs /sys".to_owned()),
        );
    }
    subject
}

fn mappings(machine: &Machine, subject: &mut Subject) {
    let allowed = machine.proc().number("sys/vm/max_map_count");
    if let Ok(count) = allowed
        && count < MAPPINGS
    {
        subject.hint(
            format!("the kernel allows this process {count} mappings only"),
            "each separate part needs a mapping, and so does each hole in a reservation; a set can have 65,536 \
             segments",
            Some("sysctl -w vm.max_map_count=262144".to_owned()),
        );
    }
    subject.note("vm.max_map_count", allowed.map(Value::Count));
}

/// Says what the kernel does with memory that is asked for and not there.
fn overcommit(mode: u64) -> String {
    match mode {
        0 => "0: by a heuristic; the address space that a set reserves does not count".to_owned(),
        1 => "1: always".to_owned(),
        2 => "2: up to a limit; the address space that a set reserves does not count".to_owned(),
        other => format!("{other}"),
    }
}

fn bytes(limit: Option<u64>) -> Value {
    limit.map_or_else(|| "unlimited".into(), Value::Bytes)
}

/// Finds the soft limit `name` in the text of `/proc/self/limits`; `None`: there is none.
fn limit(text: &str, name: &str) -> Result<Option<u64>, String> {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let word = line.and_then(|rest| rest.split_whitespace().next()).ok_or_else(|| format!("no line {name:?}"))?;
    if word == "unlimited" {
        return Ok(None);
    }
    word.parse().map(Some).map_err(|_| format!("{name} is no number"))
}

/// Says that there is no persistent memory, where there is none in `report`.
pub(super) fn judge_all(machine: &Machine, report: &mut Report) {
    let found = |subject: &Subject| subject.kind != Kind::Machine;
    if machine.sysfs().is_err() || report.subjects.iter().any(found) {
        return;
    }
    if let Some(this) = report.subjects.first_mut() {
        this.hint(
            "there is no persistent memory",
            "no nd bus has a region, and there is no DAX device: files get page granularity. For tests, the kernel \
             parameter memmap=4G!4G makes 4 GiB of ordinary memory, at 4 GiB, look like it",
            None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_the_soft_one() {
        let text = "Limit                     Soft Limit           Hard Limit           Units     \n\
                    Max file size             4096                 unlimited            bytes     \n\
                    Max locked memory         unlimited            unlimited            bytes     \n\
                    Max address space         many                 unlimited            bytes     \n";
        assert_eq!(limit(text, "Max file size"), Ok(Some(4096)));
        assert_eq!(limit(text, "Max locked memory"), Ok(None));
        assert!(limit(text, "Max address space").is_err() && limit(text, "Max stack size").is_err());
    }
}
