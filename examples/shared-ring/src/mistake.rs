//! What tests break on purpose, to see that they notice; nothing of it is left in other builds.

/// A mistake that one of the sides may make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mistake {
    /// Records are not published.
    RecordNotPublished,
    /// Records are published one line short.
    LastLineNotPublished,
    /// The count of records is stored, and not published.
    ProducedNotPublished,
    /// The count is there before the records.
    ProducedFirst,
    /// The producer goes on as if there were always room.
    RoomUnchecked,
    /// The producer does not refresh what was consumed.
    ConsumedNotRefreshed,
    /// The consumer does not refresh what was produced.
    ProducedNotRefreshed,
    /// The consumer does not refresh records.
    RecordNotRefreshed,
    /// The consumer refreshes a record before it knows that it is there.
    RecordRefreshedEarly,
    /// Records count as consumed before they have been read.
    ConsumedEarly,
    /// The count of what was consumed is not published.
    ConsumedNotPublished,
    /// A producer that starts again begins with record 0.
    ForgetsProduced,
    /// A consumer that starts again begins with record 0.
    ForgetsConsumed,
    /// The counters are in one line.
    OneLine,
}

/// Whether a side makes a mistake.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mistakes(#[cfg(test)] pub(crate) Option<Mistake>);

impl Mistakes {
    /// Returns whether it is this one.
    #[cfg(test)]
    pub(crate) fn are(self, mistake: Mistake) -> bool {
        self.0 == Some(mistake)
    }

    /// Returns whether it is this one: no.
    #[cfg(not(test))]
    #[allow(clippy::unused_self, reason = "tests have something to ask")]
    pub(crate) const fn are(self, _: Mistake) -> bool {
        false
    }
}
