//! The controller: vectors, the interrupt mask, and words to the debugger (Arm v7-M manual, B1 and B3).

use core::arch::asm;
use core::ptr;

unsafe extern "C" {
    static mut bss_start: u32;
    static mut bss_end: u32;
    fn stack_top();
}

/// The stack pointer and the first fifteen exceptions.
#[repr(C)]
struct Vectors {
    stack: unsafe extern "C" fn(),
    exceptions: [Option<unsafe extern "C" fn()>; 15],
}

#[used]
#[unsafe(link_section = ".vectors")]
static VECTORS: Vectors = Vectors {
    stack: stack_top,
    exceptions: [
        Some(reset),
        Some(fault),
        Some(fault),
        Some(fault),
        Some(fault),
        Some(fault),
        None,
        None,
        None,
        None,
        Some(fault),
        Some(fault),
        None,
        Some(fault),
        Some(tick),
    ],
};

#[unsafe(no_mangle)]
unsafe extern "C" fn reset() {
    let mut word = &raw mut bss_start;
    while word < &raw mut bss_end {
        // SAFETY: nothing uses the memory yet.
        unsafe { word.write_volatile(0) };
        word = word.wrapping_add(1);
    }
    crate::main();
}

unsafe extern "C" fn fault() {
    say("a fault\n");
    exit(false);
}

unsafe extern "C" fn tick() {
    crate::tick();
}

struct Mask;
critical_section::set_impl!(Mask);

// SAFETY: one processor, on which nothing runs in between while interrupts are masked.
unsafe impl critical_section::Impl for Mask {
    unsafe fn acquire() -> u32 {
        let before: u32;
        // SAFETY: masks interrupts, and says whether they were masked before.
        unsafe { asm!("mrs {}, PRIMASK", "cpsid i", out(reg) before, options(nostack, preserves_flags)) };
        before
    }

    unsafe fn release(before: u32) {
        if before & 1 == 0 {
            // SAFETY: they were not masked when this section began.
            unsafe { asm!("cpsie i", options(nostack, preserves_flags)) };
        }
    }
}

/// Asks the debugger for a service (Arm semihosting).
fn semihosting(operation: u32, argument: u32) -> u32 {
    let result: u32;
    // SAFETY: the debugger reads what the argument names, and changes nothing of the program.
    unsafe { asm!("bkpt 0xab", inout("r0") operation => result, in("r1") argument, options(nostack)) };
    result
}

/// Has the debugger print `text`.
pub fn say(text: &str) {
    for byte in text.bytes() {
        semihosting(3, ptr::from_ref(&byte) as u32);
    }
}

/// Ends the program.
pub fn exit(good: bool) -> ! {
    semihosting(0x18, if good { 0x20026 } else { 0x20024 });
    loop {
        core::hint::spin_loop();
    }
}
