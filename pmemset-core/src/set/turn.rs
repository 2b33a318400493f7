//! Whose turn it is to map or remove, and how everybody else gets on with the books meanwhile.

use lock_api::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::Set;
use super::books::Books;
use super::event::Observer;
use crate::lock::CallLock;
use crate::{Platform, Source};

type Lock<P, T> = RwLock<CallLock<<P as Platform>::Lock>, T>;
type Reading<'t, P, T> = RwLockReadGuard<'t, CallLock<<P as Platform>::Lock>, T>;
type Writing<'t, P, T> = RwLockWriteGuard<'t, CallLock<<P as Platform>::Lock>, T>;

/// The right to map and to remove, which one caller has at a time: until it is dropped nobody else inserts a segment
/// into the books, or takes one out.
///
/// [`in_turn!`] chooses at compile time which of the two kinds a platform has.
pub(super) trait Turn<'m, P: Platform, S: 'm> {
    /// Whether [`unlock`](Self::unlock) lets others look up: then a removal has to close what it is going to unmap.
    const UNLOCKS: bool;

    /// Locks the books for reading, if they are not locked.
    fn read(&mut self) -> &Books<'m, P, S>;

    /// Locks the books for changes, if they are not locked so.
    fn write(&mut self) -> &mut Books<'m, P, S>;

    /// Unlocks the books, before the platform or a source is called. What has been found in them stays where it is.
    fn unlock(&mut self);
}

/// A turn that has a lock of its own, and the books locked only while it reads or changes them.
pub(super) struct Alone<'s, 'm, P: Platform, S> {
    books: &'s Lock<P, Books<'m, P, S>>,
    // The books are unlocked before the turn ends.
    reading: Option<Reading<'s, P, Books<'m, P, S>>>,
    writing: Option<Writing<'s, P, Books<'m, P, S>>>,
    _turn: Writing<'s, P, ()>,
}

impl<'m, P: Platform, S> Turn<'m, P, S> for Alone<'_, 'm, P, S> {
    const UNLOCKS: bool = true;

    #[inline]
    fn read(&mut self) -> &Books<'m, P, S> {
        match &self.writing {
            Some(books) => books,
            None => self.reading.get_or_insert_with(|| self.books.read()),
        }
    }

    #[inline]
    fn write(&mut self) -> &mut Books<'m, P, S> {
        self.reading = None;
        self.writing.get_or_insert_with(|| self.books.write())
    }

    #[inline]
    fn unlock(&mut self) {
        (self.reading, self.writing) = (None, None);
    }
}

/// A turn that is the lock of the books itself, which stay locked.
pub(super) struct Locked<'s, 'm, P: Platform, S>(Writing<'s, P, Books<'m, P, S>>);

impl<'m, P: Platform, S> Turn<'m, P, S> for Locked<'_, 'm, P, S> {
    const UNLOCKS: bool = false;

    #[inline]
    fn read(&mut self) -> &Books<'m, P, S> {
        &self.0
    }

    #[inline]
    fn write(&mut self) -> &mut Books<'m, P, S> {
        &mut self.0
    }

    #[inline]
    fn unlock(&mut self) {}
}

/// Waits until it is the caller's turn, and evaluates an expression with that turn, of the kind that the platform `P`
/// has; the other kind is not even built.
macro_rules! in_turn {
    ($set:expr, $turn:ident => $act:expr) => {
        if P::UNLOCKED_CALLS {
            let $turn = $set.alone();
            $act
        } else {
            let $turn = $set.locked();
            $act
        }
    };
}

pub(super) use in_turn;

impl<'m, P: Platform, S: Source<Space = P::Space> + Clone, O: Observer<S>> Set<'m, P, S, O> {
    /// For [`in_turn!`] alone.
    #[inline]
    pub(super) fn alone(&self) -> Alone<'_, 'm, P, S> {
        Alone { _turn: self.turn.write(), reading: None, writing: None, books: &self.books }
    }

    /// For [`in_turn!`] alone.
    #[inline]
    pub(super) fn locked(&self) -> Locked<'_, 'm, P, S> {
        Locked(self.books.write())
    }
}
