//! Parts as flash memory and as streams: what they do, and what is written for flash keeps its promises on them when
//! the power is cut.
#![allow(clippy::cast_possible_truncation, reason = "offsets in a small flash")]

mod compare;
#[path = "storage/counter.rs"]
mod counter;
#[path = "storage/ekv.rs"]
mod database;
#[path = "storage/sequential.rs"]
mod sequential;
#[path = "storage/traits.rs"]
mod traits;

use core::future::Future;
use core::pin::pin;
use core::task::{Context, Poll, Waker};

use compare::compared;
use pmemset_core::sim::{Explore, Explored, Failure, Hardware, Machine, Medium, SimPlatform, SimSource};
use pmemset_core::{Config, Flash, Granularity, MapConfig, Part, Set};

const PAGE_BYTES: usize = 256;

type SimSet<'s> = Set<'s, SimPlatform, SimSource>;
type SimPart<'s> = Part<&'s SimSet<'static>>;
type SimFlash<'s> = Flash<&'s SimSet<'static>, 4, PAGE_BYTES>;

fn with_part<T>(machine: &Machine, act: impl FnOnce(SimPart<'_>) -> T) -> T {
    let set = SimSet::with_capacity(machine.platform(), Config::new(Granularity::Page), 4);
    act(set.map(machine.source(0), &MapConfig::new()).unwrap())
}

fn with_flash<T>(machine: &Machine, act: impl FnOnce(SimFlash<'_>) -> T) -> T {
    with_part(machine, |part| act(Flash::new(part).unwrap()))
}

/// Explores work on a flash of `pages` pages.
fn explored(
    name: &str,
    pages: usize,
    work: impl Fn(&Machine),
    check: impl Fn(&Machine) -> Result<(), String>,
) -> Result<Explored, Failure> {
    let hardware = Hardware::new().page_bytes(PAGE_BYTES).address_space_bytes((pages + 4) * PAGE_BYTES);
    let prepared = |machine: &Machine| {
        let _ = machine.add_source(Medium::new((pages * PAGE_BYTES) as u64));
        work(machine);
    };
    compared(name, 1024, Explore::new(hardware), prepared, check)
}

/// Returns what a future comes to that never waits.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("memory does not make anybody wait"),
    }
}
