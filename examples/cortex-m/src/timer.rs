//! The system timer (Arm v7-M manual, B3.3).

use core::ptr;

/// Starts the system timer: an interrupt every `cycles` cycles.
pub fn start(cycles: u32) {
    for (register, value) in [(0xe000_e014_usize, cycles), (0xe000_e018, 0), (0xe000_e010, 7)] {
        // SAFETY: the registers of the system timer are there on every such processor.
        unsafe { ptr::write_volatile(register as *mut u32, value) };
    }
}

/// Stops the system timer.
pub fn stop() {
    // SAFETY: as above.
    unsafe { ptr::write_volatile(0xe000_e010_usize as *mut u32, 0) };
}
