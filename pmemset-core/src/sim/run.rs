//! Doing the work, and asking the check, on one machine.

use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::cut::Cut;
use super::fault::Call;
use super::machine::Machine;

/// Returns the cuts of `work` on `machine`, the last one at its end.
pub(super) fn recorded(machine: &Machine, work: impl FnOnce(&Machine)) -> Vec<Cut> {
    machine.lock().cuts = Some(Vec::new());
    work(machine);
    drop(machine.step(Call::End));
    machine.lock().cuts.take().unwrap_or_default()
}

pub(super) fn verdict<C: Fn(&Machine) -> Result<(), String>>(check: &C, machine: &Machine) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(|| check(machine))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        Err(format!("the check panicked: {}", text.unwrap_or("no message")))
    })
}

/// The cuts of one run, shared with those who look back at them.
pub(super) type Cuts = Rc<[Cut]>;
