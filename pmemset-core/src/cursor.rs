//! A part as a stream of bytes with a position, for what is written for `embedded-io`.

use embedded_io::{ErrorType, Read, Seek, SeekFrom, Write};

use crate::error::CursorError;
use crate::{Part, SetRef};

/// A position in a part, at which bytes are read and written; what was written is durable when the call returns.
///
/// So [`flush`](Write::flush) does nothing. The part does not grow: at its end reads return 0 bytes, and writes fail.
/// Collect small writes: each of them is made durable by itself.
///
/// # Example
///
/// ```
/// use embedded_io::{Read, Seek, SeekFrom, Write};
/// use pmemset_core::{Cursor, Part, SetRef};
///
/// fn log<R: SetRef>(part: Part<R>, start: u32) -> Result<[u8; 5], Box<dyn std::error::Error>> {
///     let mut cursor = Cursor::new(part);
///     cursor.seek(SeekFrom::Start(16))?;
///     writeln!(cursor, "start {start}")?; // durable
///     let mut found = [0; 5];
///     cursor.seek(SeekFrom::Current(-8))?;
///     cursor.read_exact(&mut found)?;
///     Ok(found)
/// }
/// # use pmemset_core::sim::{Hardware, Machine, Medium};
/// # use pmemset_core::{Config, Granularity, MapConfig, Set};
/// # let machine = Machine::new(Hardware::new());
/// # let source = machine.add_source(Medium::new(4096));
/// # let set: Set<'static, _, _> = Set::with_capacity(machine.platform(), Config::new(Granularity::Page), 4);
/// # let set: &'static _ = Box::leak(Box::new(set));
/// # let part = set.map(source, &MapConfig::new()).unwrap();
/// # assert_eq!(&log(part, 7).unwrap(), b"start");
/// ```
#[derive(Debug)]
pub struct Cursor<R: SetRef> {
    part: Part<R>,
    position: u64,
}

impl<R: SetRef> Cursor<R> {
    /// Returns the first position in `part`.
    #[must_use]
    pub const fn new(part: Part<R>) -> Self {
        Self { part, position: 0 }
    }

    /// Returns the part.
    ///
    /// ```
    #[doc = include_str!("set/example.md")]
    /// use embedded_io::Write;
    /// use pmemset_core::Cursor;
    ///
    /// let mut cursor = Cursor::new(set.map(source, &MapConfig::new())?);
    /// cursor.write_all(b"a line\n")?;
    /// set.remove(cursor.into_part())?;
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[must_use]
    pub fn into_part(self) -> Part<R> {
        self.part
    }

    /// Returns the position in the part, and how many of `wanted_bytes` there are from it on.
    fn piece(&self, wanted_bytes: usize) -> (usize, usize) {
        let length_bytes = self.part.extent().length_bytes();
        let position = usize::try_from(self.position).unwrap_or(usize::MAX).min(length_bytes);
        (position, wanted_bytes.min(length_bytes.saturating_sub(position)))
    }

    fn advance(&mut self, by_bytes: usize) -> usize {
        self.position = self.position.saturating_add(by_bytes as u64);
        by_bytes
    }
}

impl<R: SetRef> ErrorType for Cursor<R> {
    type Error = CursorError;
}

impl<R: SetRef> Read for Cursor<R> {
    fn read(&mut self, bytes: &mut [u8]) -> Result<usize, CursorError> {
        let (position, there) = self.piece(bytes.len());
        let bytes = bytes.get_mut(..there).unwrap_or_default();
        self.part.read(position, bytes)?;
        Ok(self.advance(there))
    }
}

impl<R: SetRef> Write for Cursor<R> {
    #[cfg_attr(feature = "sim", track_caller)]
    fn write(&mut self, bytes: &[u8]) -> Result<usize, CursorError> {
        let (position, there) = self.piece(bytes.len());
        if there == 0 && !bytes.is_empty() {
            return Err(CursorError::Full);
        }
        self.part.write(position, bytes.get(..there).unwrap_or_default())?;
        Ok(self.advance(there))
    }

    fn flush(&mut self) -> Result<(), CursorError> {
        Ok(())
    }
}

impl<R: SetRef> Seek for Cursor<R> {
    fn seek(&mut self, to: SeekFrom) -> Result<u64, CursorError> {
        let position = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(offset) => (self.part.extent().length_bytes() as u64).checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = position.ok_or(CursorError::BeforeStart)?;
        Ok(self.position)
    }
}
