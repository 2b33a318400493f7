//! Binding memory to a NUMA node (`mbind(2)`).
#![allow(unsafe_code, reason = "a system call on mapped memory")]

use linux_raw_sys::errno::{EINVAL, EIO, ENOMEM, ENOSYS};
use linux_raw_sys::mempolicy::{MPOL_BIND, MPOL_MF_MOVE, MPOL_MF_STRICT};
use pmemset_core::error::LookupError;
use pmemset_core::support::errors;
use pmemset_core::{Errno, Extent};
use syscalls::{Sysno, syscall};

use super::answers::{FactError, Memory, SegmentFacts};

errors! {
    /// Why memory was not bound to a node.
    pub enum BindError {
        /// Some of the range is not mapped.
        Lookup(error: LookupError) = error.code() => "{error}";
        /// The kernel would accept the call, but it would have no effect: DAX memory cannot be moved, and the policy of
        /// the thread that first touches a page of the page cache decides where the page is. Nothing has been done.
        NoEffect {
            /// The first address for which it is so.
            address: usize,
            /// The memory there.
            memory: Memory,
        } = Errno::OPNOTSUPP.code()
            => "binding {address:#x} to a node has no effect: {memory} does not follow a policy";
        /// It is not known whether binding would have an effect. Nothing has been done.
        Unknown {
            /// The first address for which it is so.
            address: usize,
            /// Why it is not known.
            reason: FactError,
        } = Errno::OPNOTSUPP.code()
            => "it is not known whether binding {address:#x} to a node has an effect: {reason}";
        /// Some pages that are in use already stay on other nodes. Pages that are touched for the first time from now
        /// on are on this node.
        Elsewhere = Errno::IO.code() => "some pages that are in use stay on other nodes";
        /// There is no such node, or it has no memory, or this process may not use it.
        NoSuchNode {
            /// Its number.
            number: u32,
        } = Errno::INVAL.code() => "there is no node {number} with memory that this process may use";
        /// The kernel has no NUMA support.
        Unsupported = Errno::OPNOTSUPP.code() => "this kernel has no NUMA support";
        /// The kernel's reason.
        Failed(cause: Errno) = cause.code() => "cannot bind to the node: {cause}";
    }
}

impl From<LookupError> for BindError {
    fn from(error: LookupError) -> Self {
        Self::Lookup(error)
    }
}

impl SegmentFacts {
    /// Returns whether something comes of binding the memory to a node.
    pub(super) fn may_be_bound(&self) -> Result<(), BindError> {
        let address = self.extent.start();
        match self.memory {
            Ok(Memory::Tmpfs) => Ok(()),
            Ok(memory) => Err(BindError::NoEffect { address, memory }),
            Err(reason) => Err(BindError::Unknown { address, reason }),
        }
    }
}

/// The most nodes that the kernel can be built for.
const NODES_MAX: usize = 1024;
const WORD_BITS: usize = usize::BITS as usize;

/// Binds the whole pages `pages`, all of which are mapped and stay so, and moves those that are there already.
pub(super) fn bind(pages: Extent, number: u32) -> Result<(), BindError> {
    let mut nodes = [0_usize; NODES_MAX / WORD_BITS];
    let (word, bit) = (number as usize / WORD_BITS, number % usize::BITS);
    *nodes.get_mut(word).ok_or(BindError::NoSuchNode { number })? = 1_usize.wrapping_shl(bit);
    let (start, length_bytes) = (pages.start(), pages.length_bytes());
    // The kernel takes the number of bits to be one more than it is.
    let (nodes, bits, flags) = (nodes.as_ptr(), NODES_MAX.wrapping_add(1), MPOL_MF_STRICT | MPOL_MF_MOVE);
    // SAFETY: the kernel reads so many bits; the caller has pinned the range, whose bytes stay what they are.
    let bound = unsafe { syscall!(Sysno::mbind, start, length_bytes, MPOL_BIND as u32, nodes, bits, flags) };
    let Err(cause) = bound else { return Ok(()) };
    Err(match cause.into_raw().cast_unsigned() {
        EINVAL => BindError::NoSuchNode { number },
        EIO => BindError::Elsewhere,
        ENOSYS => BindError::Unsupported,
        ENOMEM => BindError::Failed(Errno::NOMEM),
        _ => BindError::Failed(Errno::from_raw(cause.into_raw())),
    })
}
