//! What a mount of tmpfs says of huge pages.

use super::answers::FactError;
use super::parse::{Huge, MountLines};
use super::vma::Bytes;

/// Returns what the file system `device` was mounted with; `None` for one that is mounted nowhere, as the kernel's own
/// for `memfd_create(2)`.
pub(super) fn huge(device: (u32, u32)) -> Result<Option<Huge>, FactError> {
    let mut bytes = Bytes::open(c"/proc/self/mountinfo")?;
    let mut lines = MountLines::default();
    while let Some(byte) = bytes.next()? {
        if let Some(mount) = lines.next(byte).filter(|mount| mount.device == device) {
            return Ok(Some(mount.huge));
        }
    }
    Ok(None)
}
