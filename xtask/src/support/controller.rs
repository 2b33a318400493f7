//! Runs a Cortex-M program from flash with RAM that holds anything, as a chip starts.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::vm::Vm;

pub(crate) const TARGET: &str = "thumbv7m-none-eabi";
/// Where RAM begins, and its length; what plays the ferroelectric memory lies behind it.
const RAM: (u32, usize) = (0x2000_0000, 128 << 10);

/// Runs a program, and returns what it said.
pub(crate) fn boot(program: &Path) -> Result<Vec<String>, String> {
    let (status, lines) = Vm::start(&mut chip(program)?)?.finish()?;
    if status == Some(0) { Ok(lines) } else { Err(format!("{status:?}:\n{}", lines.join("\n"))) }
}

/// Returns [`machine`], ended when it does not end by itself.
pub(crate) fn chip(program: &Path) -> Result<Command, String> {
    let machine = machine(program)?;
    let mut timeout = Command::new("timeout");
    timeout.arg("300").arg(machine.get_program()).args(machine.get_args());
    Ok(timeout)
}

/// Returns the command that starts a program from an image of flash, with RAM full of what is no zero: QEMU would put
/// the program's variables in place otherwise, and take RAM that nobody has cleared for cleared.
pub(crate) fn machine(program: &Path) -> Result<Command, String> {
    let (image, ram) = (program.with_extension("flash"), program.with_extension("ram"));
    let elf = fs::read(program).map_err(|error| format!("{}: {error}", program.display()))?;
    let write = |path: &PathBuf, bytes: &[u8]| fs::write(path, bytes).map_err(|error| error.to_string());
    write(&image, &flash(&elf).ok_or("the program is no image of flash")?)?;
    write(&ram, &[0xaa; RAM.1])?;
    let mut qemu = Command::new("qemu-system-arm");
    qemu.args(["-M", "mps2-an385", "-cpu", "cortex-m3", "-display", "none"]);
    qemu.args(["-monitor", "none", "-serial", "none", "-semihosting-config", "enable=on,target=native"]);
    qemu.args(["-device", &format!("loader,file={},addr={:#x},force-raw=on", ram.display(), RAM.0), "-kernel"]);
    qemu.arg(image);
    Ok(qemu)
}

/// Returns what a programmer would write to flash: the bytes of the file's segments at their load addresses.
fn flash(elf: &[u8]) -> Option<Vec<u8>> {
    const LOAD: usize = 1;
    const LARGEST: usize = 4 << 20;
    let word = |at: usize| Some(u32::from_le_bytes(elf.get(at..at.checked_add(4)?)?.try_into().ok()?) as usize);
    let half = |at: usize| Some(usize::from(u16::from_le_bytes(elf.get(at..at.checked_add(2)?)?.try_into().ok()?)));
    if elf.get(..6)? != b"\x7fELF\x01\x01" {
        return None;
    }
    let (headers, header_bytes, count) = (word(28)?, half(42)?, half(44)?);
    let mut image = Vec::new();
    for index in 0..count {
        let header = headers + index * header_bytes;
        let (offset, address, length) = (word(header + 4)?, word(header + 12)?, word(header + 16)?);
        if word(header)? != LOAD || length == 0 {
            continue;
        }
        let end = address.checked_add(length).filter(|end| *end <= LARGEST)?;
        image.resize(image.len().max(end), 0xff);
        image[address..end].copy_from_slice(elf.get(offset..offset.checked_add(length)?)?);
    }
    Some(image)
}

#[cfg(test)]
mod tests {
    use super::flash;

    #[test]
    fn segments_lie_at_their_load_addresses() {
        let mut elf = vec![0_u8; 256];
        elf[..6].copy_from_slice(b"\x7fELF\x01\x01");
        elf[28] = 64;
        elf[42] = 32;
        elf[44] = 2;
        let mut header = |at: usize, offset: u8, address: u8, length: u8| {
            elf[at] = 1;
            elf[at + 4] = offset;
            elf[at + 11] = 0x20;
            elf[at + 12] = address;
            elf[at + 16] = length;
        };
        header(64, 200, 0, 2);
        header(96, 202, 4, 1);
        elf[200..203].copy_from_slice(&[1, 2, 3]);
        assert_eq!(flash(&elf), Some(vec![1, 2, 0xff, 0xff, 3]));
        elf[96 + 15] = 0x20;
        assert_eq!(flash(&elf), None, "variables whose values are in RAM alone");
        assert_eq!(flash(b"no program"), None);
    }
}
