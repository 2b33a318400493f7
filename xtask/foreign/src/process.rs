//! A process without libraries, on aarch64 and riscv64 Linux: where it starts, what it says, how it ends.

use core::arch::{asm, global_asm};

#[cfg(target_arch = "aarch64")]
global_asm!(".globl _start", "_start: ldr x0, [sp]", "mov x29, xzr", "mov x30, xzr", "bl start");
#[cfg(target_arch = "riscv64")]
global_asm!(".globl _start", "_start: ld a0, 0(sp)", "mv s0, zero", "mv ra, zero", "call start");

#[unsafe(no_mangle)]
extern "C" fn start(arguments: usize) -> ! {
    let good = crate::run(arguments);
    say(if good { "good\n" } else { "bad\n" });
    exit(good)
}

const WRITE: usize = 64;
const EXIT_GROUP: usize = 94;

fn system_call(number: usize, arguments: [usize; 3]) {
    let [first, second, third] = arguments;
    #[cfg(target_arch = "aarch64")]
    // SAFETY: the system reads what `write` names, and changes nothing of the program.
    unsafe {
        asm!("svc 0", in("x8") number, inlateout("x0") first => _, in("x1") second, in("x2") third, options(nostack));
    }
    #[cfg(target_arch = "riscv64")]
    // SAFETY: as above.
    unsafe {
        asm!("ecall", in("a7") number, inlateout("a0") first => _, in("a1") second, in("a2") third, options(nostack));
    }
}

/// Prints `text`.
pub fn say(text: &str) {
    system_call(WRITE, [1, text.as_ptr().expose_provenance(), text.len()]);
}

/// Ends the process.
pub fn exit(good: bool) -> ! {
    system_call(EXIT_GROUP, [usize::from(!good), 0, 0]);
    loop {
        core::hint::spin_loop();
    }
}
