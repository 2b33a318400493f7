//! Lines on standard output.

/// Bytes of a line; what does not fit is left out.
const LINE_BYTES: usize = 96;

/// A line under construction. `core::fmt` would cost more than the rest of this program's own code.
#[derive(Debug)]
pub struct Line {
    bytes: [u8; LINE_BYTES],
    length: usize,
}

impl Line {
    /// Returns a line that begins with `text`.
    pub fn new(text: &str) -> Self {
        let mut line = Self { bytes: [0; LINE_BYTES], length: 0 };
        line.text(text);
        line
    }

    /// Appends `text`.
    pub fn text(&mut self, text: &str) -> &mut Self {
        text.bytes().for_each(|byte| self.push(byte));
        self
    }

    /// Appends `number` in decimal.
    pub fn number(&mut self, number: u64) -> &mut Self {
        if number >= 10 {
            self.number(number / 10);
        }
        self.push(b'0'.wrapping_add((number % 10) as u8));
        self
    }

    /// Writes the line with one system call; what standard output does not take is lost.
    pub fn print(&mut self) {
        self.length = self.length.min(LINE_BYTES.saturating_sub(1));
        self.push(b'\n');
        let mut rest = self.bytes.get(..self.length).unwrap_or_default();
        // SAFETY: nobody closes standard output.
        let output = unsafe { rustix::stdio::stdout() };
        while let Ok(written) = rustix::io::retry_on_intr(|| rustix::io::write(output, rest)) {
            match rest.get(written..) {
                Some(left) if written > 0 && !left.is_empty() => rest = left,
                _ => break,
            }
        }
    }

    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.length) {
            *place = byte;
            self.length = self.length.wrapping_add(1);
        }
    }
}

#[cfg(debug_assertions)]
impl core::fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        text.bytes().for_each(|byte| self.push(byte));
        Ok(())
    }
}
