//! The end of a set: closed, which reports failures, or dropped, which does not.

use super::Set;
use super::books::{Cursor, Retired};
use super::event::Observer;
use super::notices::Notices;
use super::turn::{Turn, in_turn};
use crate::error::RemoveError;
use crate::{Extent, Platform, Source};

impl<P: Platform, S: Source<Space = P::Space> + Clone, O: Observer<S>> Set<'_, P, S, O> {
    /// Removes all parts as [`remove_range`](Self::remove_range) does, and returns whether that has succeeded. Dropping
    /// a set reports nothing.
    ///
    /// Does not compile while there is a handle that borrows the set.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// set.map(source, &MapConfig::new())?.write(0, b"the last words")?;
    /// set.close()?; // deep-flushed, then unmapped
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// See [`RemoveError`]. The set is dropped then, which unmaps the remaining segments without a flush.
    #[doc(alias = "pmemset_delete")]
    pub fn close(self) -> Result<(), RemoveError> {
        self.remove_range(0, usize::MAX)
    }
}

impl<P: Platform, S: Source<Space = P::Space> + Clone, O: Observer<S>> Drop for Set<'_, P, S, O> {
    fn drop(&mut self) {
        let mut rest = Extent::between(0, usize::MAX);
        while let Some(range) = rest {
            let result = in_turn!(self, turn => self.drop_range(turn, range));
            rest = match result {
                // It stays mapped, and its address space is not given back either; what lies above it goes.
                Err(RemoveError::Unmap { segment, .. }) => range.starting_at(segment.end()),
                _ => None,
            };
        }
    }
}

impl<'m, P: Platform, S: Source<Space = P::Space> + Clone, O: Observer<S>> Set<'m, P, S, O> {
    fn drop_range(&self, mut turn: impl Turn<'m, P, S>, range: Extent) -> Result<(), RemoveError> {
        let mut retired = Retired::new();
        let result = self.unmap_range(&mut turn, range, &mut Cursor::new(), &mut retired);
        drop(Notices::new(self, turn, retired));
        result
    }
}
