//! Whether other hosts share the memory of a source, and an adapter that declares it.
#![allow(unsafe_code, reason = "an adaptor of sources implements an unsafe trait")]

use core::fmt;

use crate::{Source, forward_source};

/// Whether only this host loads and stores the memory of a source, or other hosts too, such as hosts on one CXL memory
/// device.
///
/// ```
#[doc = include_str!("../sim/example.md")]
/// use pmemset_core::Sharing;
///
/// assert_eq!(source.sharing(), Sharing::Private); // the default
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Sharing {
    /// This host alone. This is the default.
    Private,
    /// Other hosts too, and hardware keeps the caches of all of them coherent (CXL 3.0, back-invalidation): barriers
    /// are enough.
    Coherent,
    /// Other hosts too, and their caches are not coherent.
    Incoherent,
}

impl fmt::Display for Sharing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Private => "private",
            Self::Coherent => "shared, coherent",
            Self::Incoherent => "shared, not coherent",
        })
    }
}

/// A source whose memory other hosts share, as its user declares.
///
/// No operating system reports this; it is known to the person who has set up the fabric. Everything else is as the
/// source inside says. The mapping must be the memory itself, as that of a device DAX or of a file on fs-dax. Other
/// hosts do not see stores to a file that is mapped from a page cache.
///
/// ```
/// # use pmemset_core::sim::{Hardware, Machine, Medium};
/// # use pmemset_core::{Config, Granularity, MapConfig, Set};
/// # let machine = Machine::new(Hardware::new());
/// # let device = machine.add_source(Medium::new(4096));
/// use pmemset_core::{CopyFlags, Shared, Sharing};
///
/// let memory = Shared::new(device, Sharing::Incoherent);
/// let set: Set<'_, _, _> = Set::with_capacity(machine.platform(), Config::new(Granularity::CacheLine), 4);
/// let part = set.map(&memory, &MapConfig::new())?.into_shared()?;
/// part.write_with(0, b"for the other host", CopyFlags::NOFLUSH)?;
/// part.publish(0, 18)?;
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Shared<S> {
    source: S,
    sharing: Sharing,
}

impl<S: Source> Shared<S> {
    /// Returns `source`, declared to be shared as `sharing` says.
    ///
    /// ```
    #[doc = include_str!("../sim/example.md")]
    /// use pmemset_core::{Shared, Sharing};
    ///
    /// assert_eq!(Shared::new(source, Sharing::Coherent).sharing(), Sharing::Coherent);
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn new(source: S, sharing: Sharing) -> Self {
        Self { source, sharing }
    }

    /// Returns the source itself.
    #[must_use]
    pub const fn source(&self) -> &S {
        &self.source
    }

    /// Returns the source itself, of which nobody says any more that it is shared.
    #[must_use]
    pub fn into_inner(self) -> S {
        self.source
    }
}

// SAFETY: every call goes to the source inside, which keeps the promises.
unsafe impl<S: Source> Source for Shared<S> {
    type Space = S::Space;

    forward_source!(self { Self { source, .. } => source } except sharing);

    fn sharing(&self) -> Sharing {
        self.sharing
    }
}
