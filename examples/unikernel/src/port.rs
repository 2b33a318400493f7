//! Ports: two serial lines, QEMU's exit device, and the processor's time stamp.

use core::arch::asm;
use core::fmt;

/// Writes a byte to a port.
///
/// # Safety
///
/// The device behind `port` must take it.
pub unsafe fn write8(port: u16, value: u8) {
    // SAFETY: the caller answers for the device.
    unsafe { asm!("out dx, al", in("dx") port, in("al") value, options(nomem, nostack, preserves_flags)) }
}

/// Reads a byte from a port.
///
/// # Safety
///
/// The device behind `port` must bear it.
pub unsafe fn read8(port: u16) -> u8 {
    let value;
    // SAFETY: the caller answers for the device.
    unsafe { asm!("in al, dx", in("dx") port, out("al") value, options(nomem, nostack, preserves_flags)) }
    value
}

/// A 16550 serial line.
#[derive(Debug, Clone, Copy)]
pub struct Serial(u16);

/// The first serial line: text for people and for the test bench.
pub const TEXT: Serial = Serial(0x3f8);
/// The second serial line: defmt's frames.
pub const LOG: Serial = Serial(0x2f8);

impl Serial {
    /// Sends one byte, waiting for room.
    pub fn send(self, byte: u8) {
        // SAFETY: reading the line status has no side effect that matters.
        while unsafe { read8(self.0 + 5) } & 0x20 == 0 {
            core::hint::spin_loop();
        }
        // SAFETY: the transmitter has room.
        unsafe { write8(self.0, byte) }
    }
}

impl fmt::Write for Serial {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.bytes().for_each(|byte| self.send(byte));
        Ok(())
    }
}

/// Prints a line on the first serial line.
#[macro_export]
macro_rules! say {
    ($($argument:tt)*) => {{
        use core::fmt::Write as _;
        let mut line = $crate::port::TEXT;
        let _ = writeln!(line, $($argument)*);
    }};
}

/// How the kernel ends; QEMU's exit status is twice the number plus one.
#[derive(Debug, Clone, Copy)]
#[repr(u8)]
pub enum Exit {
    /// Everything was as it should be (33).
    Good = 0x10,
    /// Something was refused or failed, and was said on the serial line (35).
    Bad = 0x11,
    /// A panic (37).
    Panic = 0x12,
}

/// Ends the virtual machine.
pub fn exit(how: Exit) -> ! {
    // SAFETY: QEMU's exit device is what listens there.
    unsafe { write8(0xf4, how as u8) };
    loop {
        // SAFETY: waits; nothing else is left to do.
        unsafe { asm!("cli", "hlt", options(nomem, nostack)) };
    }
}

/// Returns the processor's time stamp counter.
#[must_use]
pub fn ticks() -> u64 {
    // SAFETY: every 64-bit processor has the counter.
    unsafe { core::arch::x86_64::_rdtsc() }
}
