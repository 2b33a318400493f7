#![cfg_attr(not(test), no_std)]
#![deny(unsafe_code)]
//! What a kernel, a unikernel or firmware needs for sets of its own, without an allocator: where persistent memory is,
//! how it is mapped and flushed, and where shutdown records are kept.
//!
//! A kernel fills one trait, [`Kernel`]. It gets:
//!
//! - [`Kernel::nfit`]: the NVDIMM firmware table, found through [`acpi`] and read by [`nfit`];
//! - [`Nvdimm`]: a range of that table as a source; [`ledger`]: shutdown records in a part, and a count of bad power
//!   cuts;
//! - [`VirtioPmem`]: a virtio-pmem disk as a source, found by [`pci`];
//! - [`Addresses`]: a platform over a window of addresses that nothing else uses;
//! - `paging`, a feature: page tables of x86-64, where tables are mapped one to one.
//!
//! Nothing that a table or a device says is believed before it is checked: lengths, overlaps, addresses in the kernel's
//! own memory, registers outside their structure. A device that does not answer is an error, not a loop.
//!
//! # Example
//!
//! A kernel whose memory is all mapped one to one, and that gives 512 GiB of addresses to parts:
//!
//! ```
//! use bare::{Addresses, Kernel, Nvdimm};
//! use pmemset_core::{Config, Errno, Extent, Granularity, MapConfig, Set, Slab, Source, Span};
//!
//! struct Mine;
//!
//! // SAFETY: (what the kernel's own page tables do)
//! unsafe impl Kernel for Mine {
//!     fn bytes(&self, physical: u64, length_bytes: usize) -> Option<&[u8]> {
//!         // The firmware's tables, which are mapped.
//! #       let _ = (physical, length_bytes);
//!         None
//!     }
//!     fn acpi_root(&self) -> Option<u64> {
//!         None // What the boot loader has told.
//!     }
//!     fn is_in_use(&self, range: Span) -> bool {
//!         range.start() < 1 << 32 // The memory that this kernel manages.
//!     }
//!     unsafe fn map(&self, window: Extent, physical: u64) -> Result<(), Errno> {
//! #       let _ = (window, physical);
//!         Err(Errno::NOMEM) // Page tables: write back, 2 MiB pages where both sides allow for them.
//!     }
//!     unsafe fn unmap(&self, window: Extent) -> Result<(), Errno> {
//! #       let _ = window;
//!         Ok(()) // Page tables, and forgetting translations on every processor.
//!     }
//!     fn map_registers(&self, physical: u64, length_bytes: usize) -> Result<usize, Errno> {
//! #       let _ = (physical, length_bytes);
//!         Err(Errno::NOMEM) // Page tables: not cached.
//!     }
//! }
//!
//! static MINE: Mine = Mine;
//! let machine: Addresses<16> = Addresses::new(Extent::new(1 << 39, 1 << 39).unwrap());
//! let mut slab = Slab::<&Nvdimm<&Mine>, 8>::new();
//! let set = Set::new(&machine, Config::new(Granularity::CacheLine), &mut slab);
//! if let Some(Ok(table)) = MINE.nfit() {
//!     for range in &table.ranges {
//!         let dimm = Nvdimm::new(&MINE, &table, *range, None).unwrap();
//! #       let dimm: &'static Nvdimm<&Mine> = Box::leak(Box::new(dimm));
//!         set.map(dimm, &MapConfig::new()).unwrap();
//!     }
//! }
//! ```

#[cfg(any(test, feature = "_fake"))]
extern crate std;

pub mod acpi;
mod addresses;
pub mod flush_queue;
mod kernel;
pub mod ledger;
mod memory;
pub mod nfit;
mod nvdimm;
#[cfg(all(feature = "paging", target_arch = "x86_64"))]
pub mod paging;
pub mod pci;
pub mod space;
mod virtio;

pub use addresses::{Addresses, KernelSpace, LARGE_BYTES, PAGE_BYTES};
pub use kernel::Kernel;
pub use nvdimm::{Device, Nvdimm};
pub use virtio::VirtioPmem;

#[cfg(any(test, feature = "_fake"))]
#[doc(hidden)]
pub mod fake;
