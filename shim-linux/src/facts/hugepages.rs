//! What the system and this process say of transparent huge pages.
#![allow(unsafe_code, reason = "a system call without pointers")]

use core::ffi::CStr;

use linux_raw_sys::prctl::PR_GET_THP_DISABLE;
use pmemset_core::Errno;
use rustix::fd::AsFd;
use syscalls::{Sysno, syscall};

use crate::auxv;
use crate::nd::sysfs::{self, Attribute, NdError, Sysfs, Value};

use super::answers::Hindrance;
use super::parse::{self, Huge};

/// Returns the size of a huge page in bytes: what one entry of the second level of page tables maps, whose tables are
/// pages of 8-byte entries.
pub(super) fn size_bytes() -> usize {
    let page_bytes = auxv::page_size_bytes();
    page_bytes.saturating_mul(page_bytes / 8)
}

/// Returns what keeps this process from having huge pages at all.
pub(super) fn denied(sysfs: &Sysfs) -> Option<Hindrance> {
    let attribute = Attribute::TransparentHugePage;
    if let Err(NdError::Unreadable { cause: Errno::NOENT, .. }) =
        sysfs::open_directory(sysfs.root(), attribute, c"kernel/mm/transparent_hugepage")
        && sysfs::open_directory(sysfs.root(), attribute, c"kernel/mm").is_ok()
    {
        return Some(Hindrance::Kernel);
    }
    // SAFETY: the call takes numbers alone, and tells a setting.
    let disabled = unsafe { syscall!(Sysno::prctl, PR_GET_THP_DISABLE, 0, 0, 0, 0) };
    matches!(disabled, Ok(1..)).then_some(Hindrance::Process)
}

/// Returns what keeps a tmpfs from giving huge pages; `mount` is what it was mounted with, `None` for the kernel's own,
/// which the setting alone decides about.
pub(super) fn denied_on_tmpfs(sysfs: &Sysfs, mount: Option<Huge>) -> Option<Hindrance> {
    const SETTING: &CStr = c"kernel/mm/transparent_hugepage/shmem_enabled";
    let mut text = Value::new();
    let read = text.read(sysfs.root().as_fd(), Attribute::TransparentHugePage, SETTING);
    let setting = read.ok().and_then(|()| parse::chosen(text.text()).ok());
    match (setting, mount) {
        (Some(b"force"), _) => None,
        (Some(b"deny"), _) | (Some(b"never" | b"advise"), None) => Some(Hindrance::Setting),
        (_, Some(Huge::Never | Huge::Advise)) => Some(Hindrance::Mount),
        _ => None,
    }
}
