//! What the processor predicts about returns after a system call.
#![allow(unsafe_code, reason = "needs instructions that the language has not got")]

use core::arch::x86_64::CpuidResult;
use core::sync::atomic::{AtomicU8, Ordering};

const UNKNOWN: u8 = 0;
const SOUND: u8 = 1;
const DEFECTIVE: u8 = 2;

static PROCESSOR: AtomicU8 = AtomicU8::new(UNKNOWN);

/// Gives the processor harmless predictions for the next returns, if it needs them; call it right after a system call.
///
/// A processor predicts where a return goes by a buffer that calls fill. On AMD's Zen 1 to 4 that buffer can be
/// poisoned (Speculative Return Stack Overflow), and the kernel's guard leaves predictions behind that are the
/// kernel's: following one of them costs 0.3 µs, and the next system call 0.1 µs more, where an ordinary wrong guess
/// costs nanoseconds (a virtual EPYC, family 25, with "Safe RET"). Other processors have one load and one jump of it.
///
/// See `Documentation/admin-guide/hw-vuln/srso.rst` of the kernel, and its `FILL_RETURN_BUFFER`.
#[inline]
pub(crate) fn fill() {
    match PROCESSOR.load(Ordering::Relaxed) {
        SOUND => {}
        DEFECTIVE => refill(),
        _ => ask(),
    }
}

#[cold]
#[inline(never)]
fn ask() {
    let defective = is_defective(cpuid(0).ebx, cpuid(1).eax, cpuid(0x8000_0021).eax);
    PROCESSOR.store(if defective { DEFECTIVE } else { SOUND }, Ordering::Relaxed);
}

/// A prediction that leads to `int3` ends at once. Sixteen last until the next system call, or until the program is
/// back where it called the set: a single return that follows one of the kernel's costs as much as many do.
///
/// Does nothing where the thread has a shadow stack, which must match the stack.
#[inline]
fn refill() {
    // SAFETY: moves the stack pointer down by two words and back up again; without `nostack` the compiler keeps
    // nothing below it. `rdsspq` is a no-operation where there are no shadow stacks.
    unsafe {
        core::arch::asm!(
            "xor {shadow:e}, {shadow:e}",
            "rdsspq {shadow}",
            "test {shadow}, {shadow}",
            "jnz 5f",
            "mov {pairs:e}, 8",
            "2: call 3f",
            "int3",
            "3: call 4f",
            "int3",
            "4: add rsp, 16",
            "dec {pairs:e}",
            "jnz 2b",
            "5:",
            shadow = out(reg) _,
            pairs = out(reg) _,
        );
    }
}

fn cpuid(leaf: u32) -> CpuidResult {
    #[allow(unused_unsafe, reason = "safe since Rust 1.93")]
    // SAFETY: every x86-64 processor has CPUID.
    unsafe {
        core::arch::x86_64::__cpuid(leaf)
    }
}

/// Returns whether the processor is one of those, by the beginning of its maker's name, its family (in `version`), and
/// what it says of itself (`SRSO_NO`), as the kernel does. These makers' processors answer 0 of a leaf that they do not
/// have.
const fn is_defective(maker: u32, version: u32, features: u32) -> bool {
    const AMD: u32 = u32::from_le_bytes(*b"Auth");
    const HYGON: u32 = u32::from_le_bytes(*b"Hygo");
    const SRSO_NO: u32 = 1 << 29;
    // The family of all of these is written as 15 and the rest.
    let listed = matches!((maker, (version >> 20) & 0xff), (AMD, 8 | 10) | (HYGON, 9));
    listed && features & SRSO_NO == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_processors_with_the_defect_are_helped() {
        let cases = [
            (b"Auth", 0x00a1_1f11, 0, true),        // AMD's family 25: Zen 4
            (b"Auth", 0x00a1_1f11, 1 << 29, false), // says that it has it not
            (b"Auth", 0x0080_0f12, 0, true),        // 23: Zen 1
            (b"Auth", 0x00b0_0f21, 0, false),       // 26: Zen 5
            (b"Auth", 0x0060_0f12, 0, false),       // 21: before Zen
            (b"Hygo", 0x0090_0f01, 0, true),        // Hygon's 24
            (b"Genu", 0x000a_06d1, 0, false),       // Intel
        ];
        for (maker, version, features, expected) in cases {
            assert_eq!(is_defective(u32::from_le_bytes(*maker), version, features), expected, "{version:#x}");
        }
    }

    #[test]
    fn the_processor_is_asked_once() {
        fill();
        let found = PROCESSOR.load(Ordering::Relaxed);
        assert_ne!(found, UNKNOWN);
        fill();
        assert_eq!(PROCESSOR.load(Ordering::Relaxed), found);
    }
}
