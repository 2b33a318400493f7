//! How a log is laid out, and what opening does with damage.

/// What opening does with a log in which acknowledged records are damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OnDamage {
    /// Refuses to open it; nothing is changed.
    #[default]
    Refuse,
    /// Keeps what is before the damage, and gives up the record that is damaged or missing, and all behind it.
    CutThere,
}

/// How a log is laid out when it is made, and what opening it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    pub(crate) segment_bytes: usize,
    pub(crate) on_damage: OnDamage,
    pub(crate) start_over: bool,
    #[cfg(test)]
    pub(crate) mistake: Option<crate::mistake::Mistake>,
}

impl Options {
    /// Returns segments of 1 MiB, and that damage is refused.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            segment_bytes: 1 << 20,
            on_damage: OnDamage::Refuse,
            start_over: false,
            #[cfg(test)]
            mistake: None,
        }
    }

    /// Grows, and gives storage back, by `segment_bytes` bytes, which are rounded up to the alignment of the source.
    ///
    /// Counts when the log is made; one that is there keeps what it has.
    #[must_use]
    pub const fn segment_bytes(mut self, segment_bytes: usize) -> Self {
        self.segment_bytes = segment_bytes;
        self
    }

    /// Does this with damage.
    #[must_use]
    pub const fn on_damage(mut self, on_damage: OnDamage) -> Self {
        self.on_damage = on_damage;
        self
    }

    /// Gives up the records of a log whose head was made zero, where opening would refuse them
    /// ([`OpenError::HeadLost`](crate::OpenError::HeadLost)): for a device that is to be used anew, whose first 8 KiB
    /// its owner has zeroed. A log whose head is there is opened as always.
    #[must_use]
    pub const fn start_over(mut self) -> Self {
        self.start_over = true;
        self
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}
