//! Mounts the file systems of a machine's regions.

use lab_machine::{Device, Machine, Mode};
use rustix::mount::{MountFlags, mount};

use crate::lab::Failure;
use crate::wait::wait_for;

/// Mounts the file systems of the regions in order, at `/mnt0` and `/mnt1`.
pub(crate) fn mount_file_systems(machine: &Machine) -> Result<(), Failure> {
    // What is behind CXL is made into a disk by the scenario.
    if matches!(machine.device, Device::None | Device::Cxl) {
        return Ok(());
    }
    for (index, _) in machine.modes.iter().enumerate().filter(|(_, mode)| **mode == Mode::FsDax) {
        mount_file_system(machine, index)?;
    }
    Ok(())
}

/// Mounts the file system of region `index`, if the machine has file systems.
pub(crate) fn mount_file_system(machine: &Machine, index: usize) -> Result<(), Failure> {
    let Some(fs) = machine.fs else { return Ok(()) };
    let options = std::ffi::CString::new(machine.options)?;
    let flags = if machine.armed { MountFlags::NOATIME } else { MountFlags::RDONLY };
    let device = format!("/dev/pmem{index}");
    wait_for(&device)?;
    mount(&device, format!("/mnt{index}"), fs.name(), flags, Some(options.as_c_str()))
        .map_err(|error| format!("mounting {device}: {error}"))?;
    Ok(())
}
