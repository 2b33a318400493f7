//! A part as flash memory, for what is written for `embedded-storage`.

use embedded_storage::nor_flash::{
    ErrorType, MultiwriteNorFlash, NorFlash, ReadNorFlash, check_erase, check_read, check_write,
};
use embedded_storage::{ReadStorage, Storage};
#[cfg(feature = "embedded-storage-async")]
use embedded_storage_async::nor_flash as waiting;

use crate::error::FlashError;
use crate::{CopyFlags, Part, SetRef};

/// How many bytes are looked at at once by a write that may only clear bits.
const PIECE_BYTES: usize = 64;
/// What an erased byte is.
const ERASED: u8 = 0xff;

/// A part as the flash memory of `embedded-storage`: what was written or erased is durable when the call returns.
///
/// - As [`NorFlash`] it is written in words of `WORD_BYTES` and erased, filled with 0xff, in pages of `ERASE_BYTES`.
///   Words may be written again ([`MultiwriteNorFlash`]); that clears bits and sets none, as in flash.
/// - As [`Storage`] it stores any bytes at any offset, without erasing.
/// - With the feature `embedded-storage-async` it implements the traits of that crate too; its calls never wait.
///
/// After a power cut during a write, some words are old and others are new. Words that are no longer than the
/// processor's do not tear. Erasing a page clears its first word before the others, so a program that marks its pages
/// there, as is usual, never takes a half-erased page for a whole one. (A medium that is synchronised page by page must
/// keep the bytes beside the written ones by itself.)
///
/// Offsets have 32 bits: of a longer part, only the first 4 GiB are used. Bytes behind the last whole page are not
/// used.
///
/// # Example
///
/// ```
/// use embedded_storage::nor_flash::NorFlash;
/// use embedded_storage::{ReadStorage, Storage};
/// use pmemset_core::error::FlashError;
/// use pmemset_core::{Flash, Part, SetRef};
///
/// /// Keeps a number, in a part that may be all anything.
/// fn keep<R: SetRef>(part: Part<R>, number: u32) -> Result<[u8; 4], FlashError> {
///     let mut flash: Flash<R> = Flash::new(part)?;
///     NorFlash::erase(&mut flash, 0, 4096)?;
///     NorFlash::write(&mut flash, 8, &number.to_le_bytes())?; // durable
///     Storage::write(&mut flash, 13, b"in the middle of a word")?;
///     let mut found = [0; 4];
///     ReadStorage::read(&mut flash, 8, &mut found)?;
///     Ok(found)
/// }
/// # use pmemset_core::sim::{Hardware, Machine, Medium};
/// # use pmemset_core::{Config, Granularity, MapConfig, Set};
/// # let machine = Machine::new(Hardware::new());
/// # let source = machine.add_source(Medium::new(8192));
/// # let set: Set<'_, _, _> = Set::with_capacity(machine.platform(), Config::new(Granularity::Page), 4);
/// # let part = set.map(source, &MapConfig::new()).unwrap();
/// # assert_eq!(keep(part, 7), Ok([7, 0, 0, 0]));
/// ```
#[derive(Debug)]
pub struct Flash<R: SetRef, const WORD_BYTES: usize = 4, const ERASE_BYTES: usize = 4096> {
    part: Part<R>,
}

impl<R: SetRef, const WORD_BYTES: usize, const ERASE_BYTES: usize> Flash<R, WORD_BYTES, ERASE_BYTES> {
    /// How much of a part can be used at most: whole pages, and every end has 32 bits.
    const CAPACITY_MAX: u64 = {
        assert!(WORD_BYTES.is_power_of_two() && ERASE_BYTES > 0, "words are powers of two, and pages not empty");
        assert!(ERASE_BYTES.is_multiple_of(WORD_BYTES), "a page is a number of words");
        u32::MAX as u64 / ERASE_BYTES as u64 * ERASE_BYTES as u64
    };

    /// Returns `part` as flash memory.
    ///
    /// ```
    #[doc = include_str!("set/example.md")]
    /// use embedded_storage::nor_flash::ReadNorFlash;
    /// use pmemset_core::Flash;
    ///
    /// let flash: Flash<_, 8, 4096> = Flash::new(set.map(source, &MapConfig::new())?)?; // words of 8 bytes
    /// assert_eq!(flash.capacity(), 64 << 10);
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// - [`FlashError::NotAligned`]: the handle is one to a range that does not begin on a word.
    pub fn new(part: Part<R>) -> Result<Self, FlashError> {
        if part.extent().start().is_multiple_of(WORD_BYTES) { Ok(Self { part }) } else { Err(FlashError::NotAligned) }
    }

    /// Returns the part.
    #[must_use]
    pub fn into_part(self) -> Part<R> {
        self.part
    }

    fn length_bytes(&self) -> usize {
        let length_bytes = self.part.extent().length_bytes();
        let most = usize::try_from(Self::CAPACITY_MAX).unwrap_or(usize::MAX);
        let over = length_bytes.checked_rem(ERASE_BYTES).unwrap_or(0);
        length_bytes.saturating_sub(over).min(most)
    }

    fn load(&self, offset: u32, bytes: &mut [u8]) -> Result<(), FlashError> {
        check_read(self, offset, bytes.len())?;
        Ok(self.part.read(place(offset)?, bytes)?)
    }

    /// Erases pages, the first word of each before all others.
    #[cfg_attr(feature = "sim", track_caller)]
    fn fill(&self, from: u32, to: u32) -> Result<(), FlashError> {
        check_erase(self, from, to)?;
        let (from, to) = (place(from)?, place(to)?);
        let length_bytes = to.saturating_sub(from);
        for page in (from..to).step_by(ERASE_BYTES) {
            self.part.fill(page, ERASED, WORD_BYTES, CopyFlags::NOFLUSH)?;
        }
        self.part.persist(from, length_bytes)?;
        Ok(self.part.fill(from, ERASED, length_bytes, CopyFlags::empty())?)
    }

    /// Clears the bits that `bytes` has not.
    #[cfg_attr(feature = "sim", track_caller)]
    fn clear(&self, offset: u32, bytes: &[u8]) -> Result<(), FlashError> {
        check_write(self, offset, bytes.len())?;
        let start = place(offset)?;
        let mut at = start;
        for piece in bytes.chunks(PIECE_BYTES) {
            let mut stored = [0; PIECE_BYTES];
            let stored = stored.get_mut(..piece.len()).ok_or(FlashError::OutOfBounds)?;
            self.part.read(at, stored)?;
            stored.iter_mut().zip(piece).for_each(|(stored, byte)| *stored &= byte);
            self.part.write_with(at, stored, CopyFlags::NOFLUSH)?;
            at = at.saturating_add(piece.len());
        }
        Ok(self.part.persist(start, bytes.len())?)
    }
}

fn place(offset: u32) -> Result<usize, FlashError> {
    usize::try_from(offset).map_err(|_| FlashError::OutOfBounds)
}

impl<R: SetRef, const WORD_BYTES: usize, const ERASE_BYTES: usize> ReadStorage for Flash<R, WORD_BYTES, ERASE_BYTES> {
    type Error = FlashError;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), FlashError> {
        self.load(offset, bytes)
    }

    fn capacity(&self) -> usize {
        self.length_bytes()
    }
}

impl<R: SetRef, const WORD_BYTES: usize, const ERASE_BYTES: usize> Storage for Flash<R, WORD_BYTES, ERASE_BYTES> {
    #[cfg_attr(feature = "sim", track_caller)]
    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), FlashError> {
        // Any bytes can be read, so any can be written.
        check_read(self, offset, bytes.len())?;
        Ok(self.part.write(place(offset)?, bytes)?)
    }
}

impl<R: SetRef, const WORD_BYTES: usize, const ERASE_BYTES: usize> ErrorType for Flash<R, WORD_BYTES, ERASE_BYTES> {
    type Error = FlashError;
}

impl<R: SetRef, const WORD_BYTES: usize, const ERASE_BYTES: usize> ReadNorFlash for Flash<R, WORD_BYTES, ERASE_BYTES> {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), FlashError> {
        self.load(offset, bytes)
    }

    fn capacity(&self) -> usize {
        self.length_bytes()
    }
}

impl<R: SetRef, const WORD_BYTES: usize, const ERASE_BYTES: usize> NorFlash for Flash<R, WORD_BYTES, ERASE_BYTES> {
    const WRITE_SIZE: usize = WORD_BYTES;
    const ERASE_SIZE: usize = ERASE_BYTES;

    #[cfg_attr(feature = "sim", track_caller)]
    fn erase(&mut self, from: u32, to: u32) -> Result<(), FlashError> {
        self.fill(from, to)
    }

    #[cfg_attr(feature = "sim", track_caller)]
    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), FlashError> {
        self.clear(offset, bytes)
    }
}

impl<R: SetRef, const W: usize, const E: usize> MultiwriteNorFlash for Flash<R, W, E> {}

#[cfg(feature = "embedded-storage-async")]
impl<R: SetRef, const W: usize, const E: usize> waiting::ReadNorFlash for Flash<R, W, E> {
    const READ_SIZE: usize = 1;

    async fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), FlashError> {
        self.load(offset, bytes)
    }

    fn capacity(&self) -> usize {
        self.length_bytes()
    }
}

#[cfg(feature = "embedded-storage-async")]
impl<R: SetRef, const W: usize, const E: usize> waiting::NorFlash for Flash<R, W, E> {
    const WRITE_SIZE: usize = W;
    const ERASE_SIZE: usize = E;

    async fn erase(&mut self, from: u32, to: u32) -> Result<(), FlashError> {
        self.fill(from, to)
    }

    async fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), FlashError> {
        self.clear(offset, bytes)
    }
}

#[cfg(feature = "embedded-storage-async")]
impl<R: SetRef, const W: usize, const E: usize> waiting::MultiwriteNorFlash for Flash<R, W, E> {}
