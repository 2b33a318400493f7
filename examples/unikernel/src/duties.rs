//! The contract suite, run where the port runs: `contract` on the command line asks for it.

use core::fmt;

use bare::KernelSpace;
use pmemset_core::contract::{self, Finding, Outcome};
use pmemset_core::error::{MapFailure, ReserveError};
use pmemset_core::{Errno, Extent, Platform, Source, forward_platform, forward_source};

use crate::journal::Handle;
use crate::platform::Machine;
use crate::say;

/// Some duty is broken.
#[derive(Debug, Clone, Copy)]
pub struct Broken;

/// Checks every duty of the platform and of each source, whose bytes are overwritten, and says each.
///
/// With `flawed`, a platform and sources that break some: a suite that passes them is worth nothing.
pub fn check(machine: &Machine, sources: impl Iterator<Item = Handle>, flawed: bool) -> Result<(), Broken> {
    let mut good = true;
    if flawed {
        contract::platform(&Flawed(machine), &mut report("machine", &mut good));
    } else {
        contract::platform(machine, &mut report("machine", &mut good));
    }
    for (index, source) in sources.enumerate() {
        let name = format_args!("source {index}");
        if flawed {
            contract::source(machine, &Flawed(source), &mut report(name, &mut good));
        } else {
            contract::source(machine, source, &mut report(name, &mut good));
        }
    }
    if good { Ok(()) } else { Err(Broken) }
}

/// Says the outcome of each duty.
fn report(whose: impl fmt::Display, good: &mut bool) -> impl FnMut(&'static str, Finding) {
    move |duty, finding| match finding {
        Ok(Outcome::Kept) => say!("duty kept {whose} {duty}"),
        Ok(Outcome::Skipped(reason)) => say!("duty skipped {whose} {duty}: {reason}"),
        Err(breach) => {
            say!("duty broken {whose} {duty}: {breach}");
            *good = false;
        }
    }
}

/// A platform that gives addresses away twice; a source that maps its first bytes whatever it is asked for.
struct Flawed<T>(T);

// SAFETY: it is not; nothing but the suite uses it, which looks at what it was given and stores nothing there.
unsafe impl Platform for Flawed<&Machine> {
    type Lock = <Machine as Platform>::Lock;
    type Space = KernelSpace;

    forward_platform!(self { Self(machine) => machine } except reserve_at);

    fn reserve_at(&self, window: Extent) -> Result<(), ReserveError> {
        self.0.reserve_at(window).or(Ok(()))
    }
}

// SAFETY: the window's memory is the source's, if not the bytes that were asked for.
unsafe impl Source for Flawed<Handle> {
    type Space = KernelSpace;

    forward_source!(self { Self(source) => source } except map, unmap);

    unsafe fn map(&self, window: Extent, _offset: u64) -> Result<(), MapFailure> {
        // SAFETY: the caller's promise is passed on; the first bytes are there as well as others.
        unsafe { self.0.map(window, 0) }
    }

    unsafe fn unmap(&self, window: Extent, _offset: u64) -> Result<(), Errno> {
        // SAFETY: mapped from the first byte on.
        unsafe { self.0.unmap(window, 0) }
    }
}
