//! NUMA nodes: where pages are (`move_pages(2)`, which only asks here), and how far that is.
#![allow(unsafe_code, reason = "system calls that fill arrays of the caller's")]

use core::ptr;

use pmemset_core::{Errno, Extent};
use rustix::fd::AsFd;
use syscalls::{Sysno, syscall};

use crate::auxv;
use crate::nd::parse::Garbage;
use crate::nd::sysfs::{self, Attribute, NdError, PathText, Sysfs};

use super::answers::{FactError, Node};
use super::parse;

/// How many pages of a segment are asked about.
const SAMPLES: usize = 16;
/// `ENOSYS`.
pub(super) const NOSYS: Errno = Errno::from_raw(linux_raw_sys::errno::ENOSYS.cast_signed());

/// Returns the node that most of some pages of `extent` are on, which are in memory; touches none.
///
/// DAX memory is not in it: its node is in sysfs.
pub(super) fn of_pages(extent: Extent) -> Result<Node, FactError> {
    let page_bytes = auxv::page_size_bytes();
    let pages = extent.length_bytes().div_ceil(page_bytes);
    let step = pages.div_ceil(SAMPLES).max(1);
    let mut addresses = [extent.start(); SAMPLES];
    let mut count = 0_usize;
    let page = (0..pages).step_by(step).take(SAMPLES);
    for (place, page) in addresses.iter_mut().zip(page) {
        *place = extent.start().saturating_add(page.saturating_mul(page_bytes));
        count = count.saturating_add(1);
    }
    let nodes = ask(&addresses, count).map_err(|cause| match cause {
        // A kernel without NUMA has no such call.
        NOSYS => FactError::NoNode,
        cause => FactError::Failed(cause),
    })?;
    let found = || nodes.iter().take(count).filter_map(|node| u32::try_from(*node).ok());
    let most = found().max_by_key(|node| found().filter(|other| other == node).count());
    let number = most.ok_or(FactError::NotTouched)?;
    Ok(Node { number, distance: distance(number).ok(), has_others: found().any(|other| other != number) })
}

/// Asks on which nodes the pages at some addresses are; negative where there is none.
fn ask(addresses: &[usize; SAMPLES], count: usize) -> Result<[i32; SAMPLES], Errno> {
    // What stays so was not answered.
    let mut nodes = [-1_i32; SAMPLES];
    let (addresses, answers, none) = (addresses.as_ptr(), nodes.as_mut_ptr(), ptr::null::<i32>());
    // SAFETY: the kernel reads `count` addresses, writes as many numbers, and moves nothing where no nodes are given.
    let asked = unsafe { syscall!(Sysno::move_pages, 0, count, addresses, none, answers, 0) };
    asked.map(|_| nodes).map_err(|cause| Errno::from_raw(cause.into_raw()))
}

/// Returns the node with `number`, which sysfs says that a device is on.
pub(super) fn of_device(number: Option<u64>) -> Result<Node, FactError> {
    let number = number.and_then(|number| u32::try_from(number).ok()).ok_or(FactError::NoNode)?;
    Ok(Node { number, distance: distance(number).ok(), has_others: false })
}

/// Returns how far the node `to` is from that of the processor that this thread runs on.
fn distance(to: u32) -> Result<u32, FactError> {
    let (mut processor, mut node) = (0_u32, 0_u32);
    let places = (ptr::from_mut(&mut processor), ptr::from_mut(&mut node));
    // SAFETY: the kernel writes two numbers; the third argument is not used any more.
    let asked = unsafe { syscall!(Sysno::getcpu, places.0, places.1, 0) };
    asked.map_err(|cause| FactError::Failed(Errno::from_raw(cause.into_raw())))?;
    let sysfs = Sysfs::system().map_err(FactError::Failed)?;
    Ok(distance_between(&sysfs, node, to)?)
}

/// Returns how far the node `to` is from the node `from`.
pub(super) fn distance_between(sysfs: &Sysfs, from: u32, to: u32) -> Result<u32, NdError> {
    let attribute = Attribute::Distance;
    let mut path = PathText::new();
    let path = path.text(b"devices/system/node/node").number(from).text(b"/distance").of(attribute)?;
    let (mut distances, mut online) = (sysfs::Value::new(), sysfs::Value::new());
    distances.read(sysfs.root().as_fd(), attribute, path)?;
    online.read(sysfs.root().as_fd(), attribute, c"devices/system/node/online")?;
    parse::distance(distances.text(), online.text(), to).map_err(|Garbage| NdError::Garbage { attribute })
}
