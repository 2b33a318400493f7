//! Makes the file that is a machine's persistent memory: namespaces and file systems, without booting anything.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use lab_machine::{Device, FileSystem, Machine, Mode, SIZE};

use super::memory::Memory;
use crate::support::downloads::home;
use crate::support::processes::output_of;
use crate::support::qemu::program;

const PAGE: u64 = 4096;

/// Where the data of a namespace begin and how many pages they have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Namespace {
    pub(crate) data_offset: u64,
    pub(crate) pages: u64,
}

/// Returns the layout that the kernel's `nd_pfn_init` gives a namespace of `length_bytes` (page map on the
/// device, unless several kernels share that).
pub(crate) fn namespace(length_bytes: u64, align: u64, shared: bool) -> Namespace {
    let align = align.max(2 << 20);
    let map_bytes = if shared { 0 } else { 64 * (length_bytes / PAGE) };
    let data_offset = (8192 + map_bytes).next_multiple_of(align);
    let end = length_bytes - length_bytes % align;
    Namespace { data_offset, pages: (end - data_offset) / PAGE }
}

/// The namespace behind CXL, which the test program makes and gives this UUID. Others have none: no labels name them.
const CXL_NAMESPACE: u128 = 0x6b3a_d91c_5a1c_4a0f_9f3c_2f6f_1c9d_0e01;

/// Returns the block that tells the kernel what the namespace `parent` is (`struct nd_pfn_sb` version 1.4).
fn info_block(machine: &Machine, mode: Mode, length_bytes: u64, number: u64, parent: u128) -> Vec<u8> {
    let align = machine.align;
    let layout = namespace(length_bytes, align, machine.shared);
    let word = |value: u64| u32::try_from(value).unwrap_or(u32::MAX).to_le_bytes();
    let mut block = vec![0; 4096];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, if mode == Mode::DevDax { b"NVDIMM_DAX_INFO" } else { b"NVDIMM_PFN_INFO" });
    put(16, b"pmemset lab ns \0");
    put(31, &[u8::try_from(number).unwrap_or(0)]);
    put(32, &parent.to_be_bytes());
    put(52, &1_u16.to_le_bytes());
    put(54, &4_u16.to_le_bytes());
    put(56, &layout.data_offset.to_le_bytes());
    put(64, &layout.pages.to_le_bytes());
    // Where the page map is: in ordinary memory, or on the device.
    put(72, &word(if machine.shared { 1 } else { 2 }));
    put(80, &word(length_bytes % align.max(2 << 20)));
    put(84, &word(align));
    put(88, &word(PAGE));
    put(92, &64_u16.to_le_bytes());
    let sum = fletcher64(&block);
    block[4088..].copy_from_slice(&sum.to_le_bytes());
    block
}

fn fletcher64(bytes: &[u8]) -> u64 {
    let (mut low, mut high) = (0_u32, 0_u64);
    for word in bytes.chunks_exact(4) {
        low = low.wrapping_add(u32::from_le_bytes([word[0], word[1], word[2], word[3]]));
        high = high.wrapping_add(u64::from(low));
    }
    high << 32 | u64::from(low)
}

/// Two machines may want the same image at once.
static MAKING: Mutex<()> = Mutex::new(());

/// Makes the backing file of `machine` at `path`: a copy of an image that is made once and kept, and a control page.
///
/// # Errors
///
/// What could not be written (a full disk, most likely), or what the maker of the file system said.
pub(crate) fn make(machine: &Machine, path: &Path) -> Result<(), String> {
    let modes: String = machine.modes.iter().map(|mode| format!("-{mode:?}")).collect();
    let fs = machine.fs.map_or("none", FileSystem::name);
    let shared = if machine.shared { "-shared" } else { "" };
    let (regions, align) = (machine.regions(), machine.align);
    let image = format!("{:?}-{regions}{modes}-{align}-{fs}{shared}.image", machine.device).to_lowercase();
    let image = home().join(image);
    let making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    if !image.is_file() {
        let unfinished = image.with_extension("unfinished");
        lay_out(machine, &unfinished)?;
        fs::rename(&unfinished, &image).map_err(|error| format!("{}: {error}", image.display()))?;
    }
    drop(making);
    copy(&image, path)?;
    if machine.device != Device::Nfit {
        return Ok(());
    }
    let memory = Memory::open(path)?;
    memory.format()?;
    for (dimm, count) in (0..).zip(machine.counts) {
        memory.set_count(dimm, *count, false)?;
    }
    for bad in machine.bad {
        memory.add_bad(machine.address(bad.region, bad.offset), bad.length_bytes)?;
    }
    Ok(())
}

/// Copies a file and leaves its holes holes.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<(), String> {
    let arguments = [Path::new("--sparse=always"), Path::new("--reflink=auto"), from, to];
    output_of("cp", &arguments).map(drop)
}

fn lay_out(machine: &Machine, path: &Path) -> Result<(), String> {
    let say = |error: std::io::Error| format!("{}: {error}", path.display());
    let _ = fs::remove_file(path);
    let file = File::options().read(true).write(true).create_new(true).open(path).map_err(say)?;
    file.set_len(SIZE).map_err(say)?;
    let length_bytes = if machine.device == Device::Nfit { machine.region_bytes() } else { SIZE };
    let prepared = matches!(machine.device, Device::Nfit | Device::Qemu | Device::Cxl);
    let parent = if machine.device == Device::Cxl { CXL_NAMESPACE } else { 0 };
    for region in 0..machine.regions() {
        let start = region * length_bytes;
        let mode = machine.modes.get(usize::try_from(region).unwrap_or(0)).or(machine.modes.last());
        let mode = *mode.unwrap_or(&Mode::Raw);
        let mut data = Namespace { data_offset: 0, pages: length_bytes / PAGE };
        // What virtio-pmem and legacy memory hold is a disk; only as a character device they need a block that says so.
        if (prepared && mode != Mode::Raw) || mode == Mode::DevDax {
            let block = info_block(machine, mode, length_bytes, region, parent);
            file.write_all_at(&block, start + 4096).map_err(say)?;
            data = namespace(length_bytes, machine.align, machine.shared);
        }
        if let Some(fs) = machine.fs
            && (prepared || matches!(machine.device, Device::Virtio | Device::Legacy))
            && mode != Mode::DevDax
        {
            let unfinished = path.with_extension("fs");
            File::create(&unfinished).and_then(|file| file.set_len(data.pages * PAGE)).map_err(say)?;
            make_file_system(fs, &unfinished)?;
            copy_into(&unfinished, &file, start + data.data_offset).map_err(say)?;
            fs::remove_file(&unfinished).map_err(say)?;
        }
    }
    Ok(())
}

/// Copies what is not zero in the file at `path` to `offset` of `target`.
fn copy_into(path: &Path, target: &File, offset: u64) -> std::io::Result<()> {
    let mut file = File::open(path)?;
    let mut chunk = vec![0; 64 << 10];
    let mut at = 0;
    loop {
        let length = file.read(&mut chunk)?;
        if length == 0 {
            return Ok(());
        }
        if chunk[..length].iter().any(|byte| *byte != 0) {
            target.write_all_at(&chunk[..length], offset + at)?;
        }
        at += length as u64;
    }
}

fn make_file_system(kind: FileSystem, path: &Path) -> Result<(), String> {
    let (name, options): (_, &[&str]) = match kind {
        FileSystem::Ext4 => ("mkfs.ext4", &["-q", "-F", "-b", "4096", "-E", "lazy_itable_init=0,lazy_journal_init=0"]),
        FileSystem::Xfs => ("mkfs.xfs", &["-q", "-f", "-m", "reflink=0"]),
    };
    let program = program(name).ok_or_else(|| format!("no {name} on this machine"))?;
    let mut arguments: Vec<&Path> = options.iter().map(Path::new).collect();
    arguments.push(path);
    output_of(&program.to_string_lossy(), &arguments).map(drop)
}

#[cfg(test)]
mod tests {
    use super::{Namespace, fletcher64, info_block, namespace};
    use lab_machine::{Machine, Mode};

    #[test]
    fn the_info_block_sums_up() {
        let mut block = info_block(&Machine::NFIT, Mode::FsDax, 496 << 20, 0, 0);
        let sum = block.split_off(4088);
        block.extend([0; 8]);
        assert_eq!(sum, fletcher64(&block).to_le_bytes());
    }

    #[test]
    fn data_begin_on_the_alignment_behind_the_page_map() {
        let layout = namespace(496 << 20, 2 << 20, false);
        assert_eq!(layout.data_offset % (2 << 20), 0);
        assert!(layout.data_offset >= 8192 + 64 * layout.pages);
        assert_eq!(layout.data_offset + layout.pages * 4096, 496 << 20);
        assert_eq!(namespace(3 << 30, 1 << 30, false).data_offset, 1 << 30);
        assert_eq!(namespace(496 << 20, 2 << 20, true), Namespace { data_offset: 2 << 20, pages: 494 << 8 });
    }
}
