//! The controller: its start, its exceptions, and words to the debugger.

use cortex_m_rt::{ExceptionFrame, entry, exception};
use cortex_m_semihosting::debug;
#[cfg(feature = "defmt")]
use defmt_semihosting as _;

#[entry]
fn start() -> ! {
    crate::main()
}

// SAFETY: it needs nothing of the program that faulted.
#[exception]
unsafe fn HardFault(_frame: &ExceptionFrame) -> ! {
    say("a fault\n");
    exit(false)
}

#[exception]
fn SysTick() {
    crate::tick();
}

/// Has the debugger print `text`.
#[cfg(not(feature = "defmt"))]
pub fn say(text: &str) {
    if let Ok(mut out) = cortex_m_semihosting::hio::hstdout() {
        // A debugger that is not there is told nothing.
        let _ = out.write_all(text.as_bytes());
    }
}

/// Logs `text`, one line for each of its pieces.
#[cfg(feature = "defmt")]
pub fn say(text: &str) {
    defmt::println!("{=str}", text.trim_end());
}

/// Ends the program.
pub fn exit(good: bool) -> ! {
    debug::exit(if good { debug::EXIT_SUCCESS } else { debug::EXIT_FAILURE });
    loop {
        cortex_m::asm::nop();
    }
}
