//! Mapped devices, made as `dmsetup(8)` makes them.

use std::fs::{self, File};

use rustix::ioctl::{Updater, ioctl, opcode};

use crate::lab::Failure;
use crate::wait::wait_for;

/// Some sectors of a mapped device: the first, how many, what kind of target, and its parameters.
pub(crate) type Target<'k> = (u64, u64, &'k str, String);

const CREATE: u8 = 3;
const SUSPEND: u8 = 6;
const LOAD: u8 = 9;

/// Suspends, where the request would resume.
const SUSPENDED: u32 = 1 << 1;
/// Leaves the file system on the device alone, which would be written back otherwise.
const SKIP_FREEZE: u32 = 1 << 10;

/// Makes the mapped device `name`, which is `/dev/dm-MINOR`, and returns its number.
pub(crate) fn make(name: &str, minor: u32, targets: &[Target<'_>]) -> Result<String, Failure> {
    call::<CREATE>(name, 0, &[])?;
    load(name, targets)?;
    call::<SUSPEND>(name, 0, &[])?;
    wait_for(&format!("/dev/dm-{minor}"))?;
    number(&format!("dm-{minor}"))
}

/// Gives `name` another table, which does not count before it is resumed.
pub(crate) fn load(name: &str, targets: &[Target<'_>]) -> Result<(), Failure> {
    call::<LOAD>(name, 0, targets)
}

/// Puts another table in place while the device is in use. Nothing is written back on account of it.
pub(crate) fn replace(name: &str, targets: &[Target<'_>]) -> Result<(), Failure> {
    load(name, targets)?;
    call::<SUSPEND>(name, SUSPENDED | SKIP_FREEZE, &[])?;
    call::<SUSPEND>(name, 0, &[])
}

/// Returns the number of a block device, as the kernel writes it.
pub(crate) fn number(block_device: &str) -> Result<String, Failure> {
    Ok(fs::read_to_string(format!("/sys/class/block/{block_device}/dev"))?.trim().to_owned())
}

/// Calls `/dev/mapper/control` for the mapped device `name` (`linux/dm-ioctl.h`).
fn call<const NUMBER: u8>(name: &str, flags: u32, targets: &[Target<'_>]) -> Result<(), Failure> {
    const HEADER: usize = 312;
    let mut bytes = vec![0_u8; HEADER];
    for (start, count, kind, parameters) in targets {
        let at = bytes.len();
        bytes.extend([*start, *count].iter().flat_map(|number| number.to_ne_bytes()));
        bytes.resize(at + 40, 0);
        bytes[at + 24..at + 24 + kind.len()].copy_from_slice(kind.as_bytes());
        bytes.extend(parameters.as_bytes());
        bytes.push(0);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        let next = u32::try_from(bytes.len() - at)?;
        bytes[at + 20..at + 24].copy_from_slice(&next.to_ne_bytes());
    }
    let words = [4, 0, 0, 2048, u32::try_from(HEADER)?, u32::try_from(targets.len())?, 0, flags];
    for (slot, word) in bytes.chunks_mut(4).zip(words) {
        slot.copy_from_slice(&word.to_ne_bytes());
    }
    bytes[48..48 + name.len()].copy_from_slice(name.as_bytes());
    bytes.resize(2048, 0);
    let mut request = [0_u8; 2048];
    request.copy_from_slice(&bytes);
    let control = File::options().read(true).write(true).open("/dev/mapper/control")?;
    let called = match NUMBER {
        CREATE => send::<{ opcode::read_write::<[u64; 39]>(0xfd, CREATE) }>(&control, &mut request),
        SUSPEND => send::<{ opcode::read_write::<[u64; 39]>(0xfd, SUSPEND) }>(&control, &mut request),
        _ => send::<{ opcode::read_write::<[u64; 39]>(0xfd, LOAD) }>(&control, &mut request),
    };
    called.map_err(|cause| format!("request {NUMBER} of the device mapper, {name} {targets:?}: {cause}").into())
}

fn send<const CODE: u32>(control: &File, request: &mut [u8; 2048]) -> rustix::io::Result<()> {
    // SAFETY: the number is one of the device mapper's, and the request says how long it is.
    let call = unsafe { Updater::<CODE, [u8; 2048]>::new(request) };
    // SAFETY: these calls write to the request alone.
    unsafe { ioctl(control, call) }
}
