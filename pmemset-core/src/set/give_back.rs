//! Storage of what is not mapped goes back to the medium.

use super::Set;
use super::event::Observer;
use crate::error::GiveBackError;
use crate::{Platform, Source, Span};

impl<P: Platform, S: Source<Space = P::Space> + Clone, O: Observer<S>> Set<'_, P, S, O> {
    /// Gives back the storage of the bytes `range` of `source`, none of which is mapped in the set (a hole that is
    /// punched into a file, say): they are 0 from then on, durably when this returns. The length of the source stays,
    /// and what is mapped again later gets storage again.
    ///
    /// [`Source::give_back`] does it; here bytes that are mapped are refused, by whatever handle or adapter of the same
    /// source. Other sets are not seen, nor other sources of the same medium, such as a file that was opened twice.
    ///
    /// ```
    /// # use pmemset_core::sim::{Hardware, Machine, Medium};
    /// # use pmemset_core::{Config, Granularity, MapConfig, Set};
    /// # let machine = Machine::new(Hardware::new());
    /// # let source = machine.add_source(Medium::new(8192).growing_to(8192));
    /// use pmemset_core::{Span, error::GiveBackError};
    ///
    /// let set: Set<'_, _, _> = Set::with_capacity(machine.platform(), Config::new(Granularity::Page), 4);
    /// let old = set.map(source.clone(), &MapConfig::new().length(4096))?;
    /// let (segment, bytes) = (old.extent(), Span::new(0, 4096).ok_or("empty")?);
    /// assert_eq!(set.give_back(&source, bytes), Err(GiveBackError::Mapped { segment }));
    /// set.remove(old)?;
    /// set.give_back(&source, bytes)?;
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Cost
    ///
    /// Looks at every segment of the set. Mapping and removing wait until the source has done it, and, unless
    /// [calls are unlocked](Platform::UNLOCKED_CALLS), whoever comes behind them.
    ///
    /// # Errors
    ///
    /// See [`GiveBackError`].
    pub fn give_back(&self, source: &S, range: Span) -> Result<(), GiveBackError> {
        let alignment_bytes = source.alignment_bytes().max(self.platform.page_size_bytes());
        if !range.is_aligned(alignment_bytes as u64) {
            return Err(GiveBackError::Unaligned { range, alignment_bytes });
        }
        // Every handle and every adapter of one source has the same.
        let identity = source.failed_write_back();
        // Nobody maps until it is done.
        let _turn = P::UNLOCKED_CALLS.then(|| self.turn.read());
        let books = self.books.read();
        if let Some(segment) = books.mapping_of(range, |other| core::ptr::eq(other.failed_write_back(), identity)) {
            return Err(GiveBackError::Mapped { segment });
        }
        if P::UNLOCKED_CALLS {
            drop(books);
        }
        source.give_back(range).map_err(GiveBackError::Failed)
    }
}
