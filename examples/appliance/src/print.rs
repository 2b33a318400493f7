//! Lines on standard output.

use core::fmt;

/// Bytes of a line that are put together before they are written.
const LINE_BYTES: usize = 256;

/// A line under construction; what does not fit is written before.
#[derive(Debug)]
pub struct Line {
    bytes: [u8; LINE_BYTES],
    length: usize,
}

impl Line {
    /// Returns an empty line.
    pub const fn new() -> Self {
        Self { bytes: [0; LINE_BYTES], length: 0 }
    }

    /// Writes what has come together; what standard output does not take is lost.
    pub fn flush(&mut self) {
        let mut rest = self.bytes.get(..self.length).unwrap_or_default();
        // SAFETY: nobody closes standard output.
        let output = unsafe { rustix::stdio::stdout() };
        while let Ok(written) = rustix::io::retry_on_intr(|| rustix::io::write(output, rest)) {
            match rest.get(written..) {
                Some(left) if written > 0 && !left.is_empty() => rest = left,
                _ => break,
            }
        }
        self.length = 0;
    }
}

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if self.length == LINE_BYTES {
                self.flush();
            }
            if let Some(place) = self.bytes.get_mut(self.length) {
                *place = byte;
                self.length = self.length.saturating_add(1);
            }
        }
        Ok(())
    }
}

/// Prints a line with one system call.
#[macro_export]
macro_rules! say {
    ($($argument:tt)*) => {{
        use core::fmt::Write as _;
        let mut line = $crate::print::Line::new();
        let _ = writeln!(line, $($argument)*);
        line.flush();
    }};
}
