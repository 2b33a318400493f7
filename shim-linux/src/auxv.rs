//! What the kernel gives every program at its start, and what the processor says of itself: asked once.
#![allow(unsafe_code, reason = "a value that is written once and read without a lock")]

use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicBool, Ordering};

use linux_raw_sys::auxvec;
use pmemset_core::arch::Cpu;
use rustix::fs::{CWD, Mode, OFlags};
use rustix_futex_sync::RawMutex;
use rustix_futex_sync::lock_api::RawMutex as _;

use crate::fd::Fd;

const AT_NULL: usize = auxvec::AT_NULL as usize;
const AT_PAGESZ: usize = auxvec::AT_PAGESZ as usize;
const AT_HWCAP: usize = auxvec::AT_HWCAP as usize;
const AT_HWCAP2: usize = auxvec::AT_HWCAP2 as usize;

/// Whether the processor leaves Linux no choice: pages of x86-64 have 4 KiB.
const ONE_PAGE_SIZE: bool = cfg!(target_arch = "x86_64");

/// What the kernel says in the auxiliary vector.
struct Vector {
    page_size_bytes: usize,
    hwcap: usize,
    hwcap2: usize,
}

/// A value that the first caller makes. Own code because those of the lock crates can panic.
struct Once<T> {
    made: AtomicBool,
    making: RawMutex,
    value: UnsafeCell<MaybeUninit<T>>,
}

// SAFETY: the cell is written under the mutex before `made` is set, and only read after.
unsafe impl<T: Send + Sync> Sync for Once<T> {}

static VECTOR: Once<Vector> = Once::new();
static CPU: Once<Cpu> = Once::new();

impl<T> Once<T> {
    const fn new() -> Self {
        Self { made: AtomicBool::new(false), making: RawMutex::INIT, value: UnsafeCell::new(MaybeUninit::uninit()) }
    }

    /// Returns the value, which `ask` makes if it is the first time.
    #[inline]
    fn get(&'static self, ask: fn() -> T) -> &'static T {
        if !self.made.load(Ordering::Acquire) {
            self.make(ask);
        }
        // SAFETY: nobody writes the cell once `made` is set.
        let value = unsafe { &*self.value.get() };
        // SAFETY: `made` was seen set, or this thread has been through `make`: the value is there.
        unsafe { value.assume_init_ref() }
    }

    #[cold]
    fn make(&self, ask: fn() -> T) {
        self.making.lock();
        if !self.made.load(Ordering::Acquire) {
            let value = ask();
            // SAFETY: only the holder of the mutex gets here, and nobody reads before `made` is set.
            let cell = unsafe { &mut *self.value.get() };
            cell.write(value);
            self.made.store(true, Ordering::Release);
        }
        // SAFETY: locked above.
        unsafe { self.making.unlock() };
    }
}

impl Vector {
    /// Reads the auxiliary vector from procfs, because `rustix::param` panics where there is none.
    fn ask() -> Self {
        let mut vector = Self { page_size_bytes: 0, hwcap: 0, hwcap2: 0 };
        let _ = each_entry(|key, value| match key {
            AT_PAGESZ => vector.page_size_bytes = value,
            AT_HWCAP => vector.hwcap = value,
            AT_HWCAP2 => vector.hwcap2 = value,
            _ => {}
        });
        if !ONE_PAGE_SIZE && !vector.page_size_bytes.is_power_of_two() {
            vector.page_size_bytes = smallest_unmap_bytes();
        }
        vector
    }
}

/// Returns how this processor writes back cache lines.
fn detect() -> Cpu {
    #[cfg(target_arch = "x86_64")]
    return Cpu::detect();
    #[cfg(target_arch = "aarch64")]
    return Cpu::from_hwcap(VECTOR.get(Vector::ask).hwcap as u64);
    // riscv64: the size of a block is in `riscv_hwprobe(2)` only, and persistent memory there is not known.
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    Cpu::NONE
}

/// Calls `take` with each entry of `/proc/self/auxv` (`getauxval(3)`).
fn each_entry(mut take: impl FnMut(usize, usize)) -> rustix::io::Result<()> {
    const WORD: usize = size_of::<usize>();
    let file = Fd::open(CWD, c"/proc/self/auxv", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    // The kernel has some 25 of them.
    let mut entries = [[[0_u8; WORD]; 2]; 64];
    let read = rustix::io::retry_on_intr(|| rustix::io::read(&file, entries.as_flattened_mut().as_flattened_mut()))?;
    for [key, value] in entries.iter().take(read / (2 * WORD)).map(|entry| entry.map(usize::from_ne_bytes)) {
        if key == AT_NULL {
            break;
        }
        take(key, value);
    }
    Ok(())
}

/// Finds the page size without procfs: a piece of a placeholder can be unmapped only on page boundaries.
fn smallest_unmap_bytes() -> usize {
    const LARGEST: usize = 65_536;
    let flags = rustix::mm::MapFlags::PRIVATE | rustix::mm::MapFlags::NORESERVE;
    // SAFETY: the kernel places the mapping where nothing is.
    let start = unsafe {
        rustix::mm::mmap_anonymous(core::ptr::null_mut(), 2 * LARGEST, rustix::mm::ProtFlags::empty(), flags)
    };
    let Ok(start) = start else { return LARGEST };
    let mut size = 4096_usize;
    while size < LARGEST {
        let kept = (2 * LARGEST).wrapping_sub(size);
        // SAFETY: the piece is the end of the placeholder made above, which nobody else knows of.
        if unsafe { rustix::mm::munmap(start.wrapping_byte_add(kept), size) }.is_ok() {
            break;
        }
        size = size.wrapping_mul(2);
    }
    let kept = if size < LARGEST { (2 * LARGEST).wrapping_sub(size) } else { 2 * LARGEST };
    // SAFETY: what is left of the placeholder.
    let _ = unsafe { rustix::mm::munmap(start, kept) };
    size
}

/// Returns the page size in bytes.
#[inline]
pub(crate) fn page_size_bytes() -> usize {
    if ONE_PAGE_SIZE { 4096 } else { VECTOR.get(Vector::ask).page_size_bytes }
}

/// Returns the processor's way of writing back cache lines.
#[inline]
pub(crate) fn cpu() -> &'static Cpu {
    CPU.get(detect)
}

/// Returns the kernel's second word of processor features; 0 where it does not say.
#[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "only x86-64 asks"))]
pub(crate) fn hwcap2() -> usize {
    VECTOR.get(Vector::ask).hwcap2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn procfs_and_the_kernel_agree_on_the_page_size() {
        assert_eq!(page_size_bytes(), rustix::param::page_size());
        assert_eq!(smallest_unmap_bytes(), rustix::param::page_size());
        assert_eq!(hwcap2(), rustix::param::linux_hwcap().1);
    }
}
