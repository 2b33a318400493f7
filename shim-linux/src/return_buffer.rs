//! What the processor predicts about returns after a system call.
#![allow(unsafe_code, reason = "needs instructions that the language has not got")]

/// Gives the processor harmless predictions for the next four returns; call it right after a system call.
///
/// A processor predicts where a return goes by a buffer that calls fill. After a system call it can hold predictions
/// that are the kernel's, and following them costs far more than an ordinary wrong guess: on a virtual EPYC 7003 the
/// first return after `mmap(2)` took 450 ns, an indirect jump to the same place nothing. The likely cause is the kernel's
/// guard against Speculative Return Stack Overflow (AMD, Zen 1 to 4), which was on; other processors were not at hand. A
/// prediction that leads to `int3` ends at once. Four are enough for the source, the set, and a caller or two.
///
/// Does nothing on other processors, and nothing where the thread has a shadow stack, which must match the stack.
///
/// See `Documentation/admin-guide/hw-vuln/srso.rst` of the kernel, and its `FILL_RETURN_BUFFER`.
#[inline]
pub(crate) fn fill() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: moves the stack pointer down by four words and back up again; without `nostack` the compiler keeps nothing
    // below it. `rdsspq` is a no-operation where there are no shadow stacks.
    unsafe {
        core::arch::asm!(
            "xor {shadow:e}, {shadow:e}",
            "rdsspq {shadow}",
            "test {shadow}, {shadow}",
            "jnz 7f",
            "call 3f",
            "int3",
            "3: call 4f",
            "int3",
            "4: call 5f",
            "int3",
            "5: call 6f",
            "int3",
            "6: add rsp, 32",
            "7:",
            shadow = out(reg) _,
        );
    }
}
