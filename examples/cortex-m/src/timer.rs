//! The system timer.

use cortex_m::Peripherals;
use cortex_m::peripheral::SYST;
use cortex_m::peripheral::syst::SystClkSource;

/// Starts the system timer: an interrupt every `cycles` cycles. Returns it, for somebody to stop.
pub fn start(cycles: u32) -> Option<SYST> {
    let mut timer = Peripherals::take()?.SYST;
    timer.set_clock_source(SystClkSource::Core);
    timer.set_reload(cycles);
    timer.clear_current();
    timer.enable_counter();
    timer.enable_interrupt();
    Some(timer)
}

/// Stops the system timer.
pub fn stop(mut timer: SYST) {
    timer.disable_interrupt();
    timer.disable_counter();
}
