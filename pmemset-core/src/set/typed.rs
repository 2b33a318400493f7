//! Values of plain types in parts: what `zerocopy` says can be made of any bytes.
#![allow(unsafe_code, reason = "reads mapped memory into a value, and hands it out")]

use core::mem::MaybeUninit;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::access::pointer;
use super::calls::called;
use super::handle::{Operations, SetRef};
use super::part::Part;
use crate::Platform;
use crate::error::PersistError;

/// # Values
///
/// Records of plain types, with the feature `zerocopy`: derive its traits for them. Types of its module `byteorder`
/// keep the order of their bytes on every processor.
///
/// ```
/// use pmemset_core::error::PersistError;
/// use pmemset_core::{Part, SetRef};
/// use zerocopy::byteorder::little_endian::{U32, U64};
/// use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};
///
/// #[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Debug, PartialEq)]
/// #[repr(C)]
/// struct Record {
///     number: U64,
///     length: U32,
///     kind: [u8; 4],
/// }
///
/// fn next<R: SetRef>(part: &Part<R>) -> Result<Record, PersistError> {
///     let mut record: Record = part.read_as(64)?;
///     record.number += 1;
///     part.write_as(64, &record)?; // durable
///     Ok(record)
/// }
/// # use pmemset_core::sim::{Hardware, Machine, Medium};
/// # use pmemset_core::{Config, Granularity, MapConfig, Set};
/// # let machine = Machine::new(Hardware::new());
/// # let source = machine.add_source(Medium::new(4096));
/// # let set: Set<'_, _, _> = Set::with_capacity(machine.platform(), Config::new(Granularity::Page), 4);
/// # let part = set.map(source, &MapConfig::new()).unwrap();
/// # next(&part).unwrap();
/// # assert_eq!(next(&part).unwrap().number, 2);
/// // SAFETY: nobody else has the source, and nothing is stored while `record` is there.
/// let record: &Record = unsafe { part.as_typed(64) }.unwrap();
/// assert_eq!(record.number, 2);
/// ```
impl<R: SetRef> Part<R> {
    /// Reads a value at offset `offset`, which need not be aligned, word by word like [`read`](Self::read).
    ///
    /// ```
    /// # use pmemset_core::sim::{Hardware, Machine, Medium};
    /// # use pmemset_core::{Config, Granularity, MapConfig, Set};
    /// # let machine = Machine::new(Hardware::new());
    /// # let source = machine.add_source(Medium::new(4096));
    /// # let set: Set<'_, _, _> = Set::with_capacity(machine.platform(), Config::new(Granularity::Page), 4);
    /// # let part = set.map(source, &MapConfig::new())?;
    /// part.write(12, &7_u32.to_ne_bytes())?;
    /// assert_eq!(part.read_as::<u32>(12)?, 7);
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// See [`PersistError`]; [`NotMapped`](PersistError::NotMapped) if it is not all in the part.
    pub fn read_as<T: FromBytes>(&self, offset: usize) -> Result<T, PersistError> {
        let mut value = MaybeUninit::<T>::uninit();
        if let Some(range) = self.piece(offset, size_of::<T>())? {
            let source = pointer(range.start()).cast_const();
            // SAFETY: the range is mapped, and stays so as long as it is pinned, and it is as long as the value.
            unsafe { self.owner().platform_of().read(value.as_mut_ptr().cast(), source, size_of::<T>()) };
        }
        // SAFETY: all its bytes were read, and any bytes are a `T`.
        Ok(unsafe { value.assume_init() })
    }

    /// Stores a value at offset `offset`, which need not be aligned, word by word like [`write`](Self::write). The
    /// value is durable when the call returns.
    ///
    /// ```
    /// # use pmemset_core::sim::{Hardware, Machine, Medium};
    /// # use pmemset_core::{Config, Granularity, MapConfig, Set};
    /// # let machine = Machine::new(Hardware::new());
    /// # let source = machine.add_source(Medium::new(4096));
    /// # let set: Set<'_, _, _> = Set::with_capacity(machine.platform(), Config::new(Granularity::Page), 4);
    /// # let part = set.map(source, &MapConfig::new())?;
    /// part.write_as(16, &[1_u64, 2, 3])?; // durable
    /// assert_eq!(part.read_as::<u64>(32)?, 3);
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// See [`PersistError`]; [`NotMapped`](PersistError::NotMapped) if it is not all in the part.
    #[inline]
    #[cfg_attr(feature = "sim", track_caller)]
    pub fn write_as<T: IntoBytes + Immutable + ?Sized>(&self, offset: usize, value: &T) -> Result<(), PersistError> {
        called!();
        self.write_flagged(offset, value.as_bytes(), crate::CopyFlags::empty())
    }

    /// Returns a reference to the value at offset `offset` in the part. The type must be [`Unaligned`], so every offset
    /// will do.
    ///
    /// # Errors
    ///
    /// See [`PersistError`]; [`NotMapped`](PersistError::NotMapped) if it is not all in the part.
    ///
    /// # Safety
    ///
    /// As for [`as_slice`](Self::as_slice).
    pub unsafe fn as_typed<T>(&self, offset: usize) -> Result<&T, PersistError>
    where
        T: FromBytes + KnownLayout + Immutable + Unaligned,
    {
        let start = self.as_ptr(offset, size_of::<T>())?;
        // SAFETY: in this part, which is pinned as long as `self` is borrowed; the caller promises that nobody stores,
        // and any bytes at any address are a `T`.
        Ok(unsafe { &*start.cast() })
    }

    /// Returns a mutable reference to the value at offset `offset` in the part. Changes are durable after
    /// [`persist`](Self::persist).
    ///
    /// ```
    /// # use pmemset_core::sim::{Hardware, Machine, Medium};
    /// # use pmemset_core::{Config, Granularity, MapConfig, Set};
    /// # let machine = Machine::new(Hardware::new());
    /// # let source = machine.add_source(Medium::new(4096));
    /// # let set: Set<'_, _, _> = Set::with_capacity(machine.platform(), Config::new(Granularity::Page), 4);
    /// # let mut part = set.map(source, &MapConfig::new())?;
    /// // SAFETY: nobody else has the source.
    /// let count: &mut [u8; 4] = unsafe { part.as_mut_typed(0) }?;
    /// count[0] = 7;
    /// part.persist(0, 4)?;
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// See [`PersistError`]; [`NotMapped`](PersistError::NotMapped) if it is not all in the part.
    ///
    /// # Safety
    ///
    /// As for [`as_mut_slice`](Self::as_mut_slice).
    pub unsafe fn as_mut_typed<T>(&mut self, offset: usize) -> Result<&mut T, PersistError>
    where
        T: FromBytes + IntoBytes + KnownLayout + Unaligned,
    {
        let start = self.as_ptr(offset, size_of::<T>())?;
        // SAFETY: as above; the caller promises that nobody else uses the bytes.
        Ok(unsafe { &mut *start.cast() })
    }
}
