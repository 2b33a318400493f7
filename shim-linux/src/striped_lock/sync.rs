//! What the lock is made of: a file of its own, so that a model can put others in their place.
#![allow(unsafe_code, reason = "the thread pointer is a register")]

pub(super) use core::hint::spin_loop;
pub(super) use core::sync::atomic::{AtomicU32, Ordering};

use rustix::thread::futex;

use crate::auxv;

/// How often a thread looks again before it sleeps.
pub(super) const SPINS: u32 = 100;

/// Sleeps until somebody wakes this word, unless it is not `value` any more.
#[cold]
pub(super) fn sleep(word: &AtomicU32, value: u32) {
    // Whatever the answer, the caller looks again.
    let _ = futex::wait(word, futex::Flags::PRIVATE, value, None);
}

/// Wakes all who sleep on this word.
#[cold]
pub(super) fn wake(word: &AtomicU32) {
    let _ = futex::wake(word, futex::Flags::PRIVATE, i32::MAX.unsigned_abs());
}

/// Returns a number that differs between threads and never changes within one; it is never used as an address.
///
/// 0 for all where user space may not read the register: `FSGSBASE` needs Linux 5.9 and says so in `AT_HWCAP2`.
#[inline]
pub(super) fn thread_pointer() -> usize {
    #[cfg(target_arch = "x86_64")]
    {
        const HWCAP2_FSGSBASE: usize = 1 << 1;
        let value: usize;
        if auxv::hwcap2() & HWCAP2_FSGSBASE != 0 {
            // SAFETY: the kernel says that user space may use the instruction; it only reads a register.
            unsafe { core::arch::asm!("rdfsbase {}", out(reg) value, options(nomem, nostack, preserves_flags)) };
        } else {
            value = 0;
        }
        value
    }
    #[cfg(target_arch = "aarch64")]
    {
        let value: usize;
        // SAFETY: user space may always read the register.
        unsafe { core::arch::asm!("mrs {}, tpidr_el0", out(reg) value, options(nomem, nostack, preserves_flags)) };
        value
    }
    #[cfg(target_arch = "riscv64")]
    {
        let value: usize;
        // SAFETY: reads a general register that the ABI reserves for this.
        unsafe { core::arch::asm!("mv {}, tp", out(reg) value, options(nomem, nostack, preserves_flags)) };
        value
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")))]
    0
}
