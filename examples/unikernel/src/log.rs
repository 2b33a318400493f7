//! defmt's frames go to the second serial line.

use core::sync::atomic::{AtomicBool, Ordering};

use crate::port;

#[defmt::global_logger]
struct Logger;

static BUSY: AtomicBool = AtomicBool::new(false);

struct Encoder(core::cell::UnsafeCell<defmt::Encoder>);

// SAFETY: used only between `acquire` and `release`, of which one is under way at a time.
unsafe impl Sync for Encoder {}

static ENCODER: Encoder = Encoder(core::cell::UnsafeCell::new(defmt::Encoder::new()));

fn send(bytes: &[u8]) {
    bytes.iter().for_each(|byte| port::LOG.send(*byte));
}

// SAFETY: one processor and no interrupts: whoever acquired the logger runs on until it is released.
unsafe impl defmt::Logger for Logger {
    fn acquire() {
        if BUSY.swap(true, Ordering::Acquire) {
            port::exit(port::Exit::Panic);
        }
        // SAFETY: the logger is acquired.
        let encoder = unsafe { &mut *ENCODER.0.get() };
        encoder.start_frame(send);
    }

    unsafe fn flush() {}

    unsafe fn release() {
        // SAFETY: the logger is acquired.
        let encoder = unsafe { &mut *ENCODER.0.get() };
        encoder.end_frame(send);
        BUSY.store(false, Ordering::Release);
    }

    unsafe fn write(bytes: &[u8]) {
        // SAFETY: the logger is acquired.
        let encoder = unsafe { &mut *ENCODER.0.get() };
        encoder.write(bytes, send);
    }
}

defmt::timestamp!("{=u64}", port::ticks());
