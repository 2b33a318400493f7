//! What the kernel really did with the mappings of a set: sizes of pages, nodes, regions, and why pages are small.
//!
//! Everything is asked of `/proc/self` and sysfs; no mapped byte is touched to find it out.

mod answers;
mod bind;
mod descriptor;
mod hindrance;
mod hugepages;
mod kernel;
mod linux_set;
mod mounts;
mod nodes;
mod pages;
pub(crate) mod parse;
mod populate;
#[cfg(test)]
mod tests;
mod vma;

pub use answers::{FactError, Hindrance, Memory, Node, Pages, SegmentFacts};
pub use bind::BindError;
pub use linux_set::{Facts, LinuxSet};
pub use populate::PopulateError;
