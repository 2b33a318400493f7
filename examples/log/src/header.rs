//! A header for a part: whose bytes these are, in which layout and version. For anything that is kept in persistent
//! memory.
//!
//! A header is 64 bytes. [`Header::open`] finds it, makes it where there is none yet, makes it anew where a power cut
//! has torn it while it was made, and refuses what is another's or of another version.

use core::fmt;

use pmemset_core::error::PersistError;
use pmemset_core::{Part, SetRef};

use crate::format::{join, small_checksum};

/// Length of a header in bytes: a line.
pub const HEADER_BYTES: usize = 64;

const SUMMED_BYTES: usize = 56;

/// What a part holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What kind of thing: 8 characters of the program's own choice, not all 0.
    pub magic: [u8; 8],
    /// The version of its format. Another one is refused.
    pub version: u64,
    /// What decides the layout within a version, such as lengths. Told, and up to the program.
    pub layout: [u64; 5],
}

/// What [`Header::open`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    /// The header was there; this is its layout.
    Found([u64; 5]),
    /// There was none, or one that a power cut has torn while it was made: it is there now, durably. What comes behind
    /// it has not been used yet.
    Made,
}

/// Why a part was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeaderError {
    /// The part holds something else, or a header that is damaged.
    NotOurs,
    /// The header is one of another version.
    Version {
        /// The version that was found.
        found: u64,
    },
    /// The part is too short, cannot be read, or the header could not be made durable.
    Failed(PersistError),
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOurs => f.write_str("it holds something else, or its header is damaged"),
            Self::Version { found } => write!(f, "it is of version {found}"),
            Self::Failed(cause) => cause.fmt(f),
        }
    }
}

impl core::error::Error for HeaderError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Failed(cause) => Some(cause),
            _ => None,
        }
    }
}

impl From<PersistError> for HeaderError {
    fn from(cause: PersistError) -> Self {
        Self::Failed(cause)
    }
}

impl Header {
    /// Returns the header's bytes: magic, version, layout, checksum.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; HEADER_BYTES] {
        let [a, b, c, d, e] = self.layout.map(u64::to_le_bytes);
        let summed: [u8; SUMMED_BYTES] = join(&[&self.magic, &self.version.to_le_bytes(), &a, &b, &c, &d, &e]);
        let sum = u64::from(small_checksum(&[&summed]));
        join(&[&summed, &sum.to_le_bytes()])
    }

    /// Returns the header that `bytes` are; `None` where they are none.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        let (summed, sum) = bytes.split_last_chunk()?;
        if u64::from_le_bytes(*sum) != u64::from(small_checksum(&[summed])) {
            return None;
        }
        let (magic, rest) = summed.split_first_chunk()?;
        let mut words = rest.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word));
        let version = words.next()?;
        let mut layout = [0; 5];
        layout.iter_mut().zip(words).for_each(|(place, word)| *place = word);
        Some(Self { magic: *magic, version, layout })
    }

    /// Finds the header at `offset` of `part`, or makes it.
    ///
    /// Where there are only zeros, or what a power cut leaves of this very header, it is made: durably, and last of all
    /// that [`open_with`](Self::open_with) wants done.
    ///
    /// # Errors
    ///
    /// See [`HeaderError`]; nothing has changed but in case of `Failed`.
    pub fn open<R: SetRef>(&self, part: &Part<R>, offset: usize) -> Result<Opened, HeaderError> {
        self.open_with(part, offset, || Ok(()))
    }

    /// As [`open`](Self::open); where a header is to be made, `prepare` is called before: what it makes durable is
    /// there if the header is.
    ///
    /// # Errors
    ///
    /// The same, or what `prepare` says.
    pub fn open_with<R: SetRef, E: From<HeaderError>>(
        &self,
        part: &Part<R>,
        offset: usize,
        prepare: impl FnOnce() -> Result<(), E>,
    ) -> Result<Opened, E> {
        let mut found = [0; HEADER_BYTES];
        part.read(offset, &mut found).map_err(HeaderError::Failed)?;
        if let Some(header) = Self::from_bytes(&found) {
            if header.magic != self.magic {
                return Err(HeaderError::NotOurs.into());
            }
            if header.version != self.version {
                return Err(HeaderError::Version { found: header.version }.into());
            }
            return Ok(Opened::Found(header.layout));
        }
        let bytes = self.to_bytes();
        if !is_torn(&found, &bytes) {
            return Err(HeaderError::NotOurs.into());
        }
        prepare()?;
        part.write(offset, &bytes).map_err(HeaderError::Failed)?;
        Ok(Opened::Made)
    }
}

/// Returns whether `found` is what a power cut can leave of storing `bytes` where there were zeros: nothing tears a
/// unit of 8 bytes.
pub(crate) fn is_torn(found: &[u8; HEADER_BYTES], bytes: &[u8; HEADER_BYTES]) -> bool {
    let (found, bytes) = (found.as_chunks::<8>().0, bytes.as_chunks::<8>().0);
    found.iter().zip(bytes).all(|(found, whole)| found == whole || *found == [0; 8])
}
