//! The configuration of a set, and of one map call.

use crate::{Granularity, PartStates};

/// Where a new segment goes, seen from the part that was mapped before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u8)]
pub enum Coalescing {
    /// Anywhere; it becomes a part of its own.
    #[default]
    None = 0,
    /// Directly behind the previous part and merged with it, if that can be had; else anywhere.
    Opportunistic = 1,
    /// Directly behind the previous part and merged with it, or not at all.
    Full = 2,
}

/// The configuration of a [`Set`](crate::Set): required granularity, observer, room ahead, acceptable shutdown states.
///
/// `O` is the observer, `()` where there is none.
#[derive(Clone, Copy, Debug)]
pub struct Config<O = ()> {
    pub(crate) required: Granularity,
    pub(crate) observer: O,
    pub(crate) reserve_ahead_bytes: usize,
    pub(crate) acceptable: PartStates,
}

impl Config {
    /// Returns the configuration of a set that accepts sources of `required` granularity or finer
    /// (`pmemset_config_set_required_store_granularity`).
    #[must_use]
    pub const fn new(required: Granularity) -> Self {
        Self { required, observer: (), reserve_ahead_bytes: 0, acceptable: PartStates::DEFAULT }
    }

    /// Tells `observer` what happens (`pmemset_config_set_event_callback`): an [`Observer`](crate::Observer), a
    /// reference to one, or an `Arc` of one.
    #[must_use]
    pub const fn observer<O>(self, observer: O) -> Config<O> {
        let Self { required, observer: (), reserve_ahead_bytes, acceptable } = self;
        Config { required, observer, reserve_ahead_bytes, acceptable }
    }
}

impl<O> Config<O> {
    /// Reserves at least `length_bytes` bytes for each new part: room for coalescing in place.
    ///
    /// Costs address space only. Without it, coalescing ends where other mappings of the process begin. Has no effect
    /// in a [`Reservation`](crate::Reservation), which has the addresses already.
    #[must_use]
    pub const fn reserve_ahead(mut self, length_bytes: usize) -> Self {
        self.reserve_ahead_bytes = length_bytes;
        self
    }

    /// Accepts sources with a shutdown record in these states only (`pmemset_config_set_acceptable_states`).
    ///
    /// Unless told otherwise, [`PartStates::DEFAULT`]. Counting starts again from a state that was accepted.
    #[must_use]
    pub const fn acceptable_states(mut self, states: PartStates) -> Self {
        self.acceptable = states;
        self
    }
}

/// What to map of a source, and where: everything, and anywhere, unless told otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct MapConfig {
    offset: u64,
    length_bytes: Option<usize>,
    after: Option<usize>,
}

impl MapConfig {
    /// Returns the configuration that maps a source from its first byte to its last.
    #[must_use]
    pub const fn new() -> Self {
        Self { offset: 0, length_bytes: None, after: None }
    }

    /// Starts at byte `offset` of the source (`pmemset_map_config_set_offset`).
    #[must_use]
    pub const fn offset(mut self, offset: u64) -> Self {
        self.offset = offset;
        self
    }

    /// Maps `length_bytes` bytes (`pmemset_map_config_set_length`); 0 means the rest of the source after the offset.
    #[must_use]
    pub const fn length(mut self, length_bytes: usize) -> Self {
        self.length_bytes = if length_bytes == 0 { None } else { Some(length_bytes) };
        self
    }

    /// Maps directly behind the part that has `address`, as its continuation, or not at all.
    ///
    /// For this call it takes the place of what [`Set::set_coalescing`](crate::Set::set_coalescing) says.
    #[must_use]
    pub const fn after(mut self, address: usize) -> Self {
        self.after = Some(address);
        self
    }

    /// Returns the first byte to map.
    #[must_use]
    pub const fn offset_bytes(&self) -> u64 {
        self.offset
    }

    /// Returns the number of bytes to map; `None` means the rest of the source after the offset.
    #[must_use]
    pub const fn length_bytes(&self) -> Option<usize> {
        self.length_bytes
    }

    /// Returns an address of the part to continue, if that was asked for.
    #[must_use]
    pub const fn after_address(&self) -> Option<usize> {
        self.after
    }
}
