//! What a set, and one map call, may be told.

use core::fmt;

use crate::error::MapError;
use crate::event::Observer;
use crate::reservation::Window;
use crate::{Granularity, PartStates, Platform, Source};

/// Where a new segment goes, seen from the part that was mapped before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
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

/// What a set is told when it is made.
pub struct Config<'a, P: Platform, S: Source<Space = P::Space> + Clone, const N: usize> {
    pub(crate) required: Granularity,
    pub(crate) observer: Option<&'a dyn Observer<P, S, N>>,
    pub(crate) reservation: Option<&'a dyn Window<Space = P::Space>>,
    pub(crate) reserve_ahead_bytes: usize,
    pub(crate) acceptable: PartStates,
}

impl<'a, P: Platform, S: Source<Space = P::Space> + Clone, const N: usize> Config<'a, P, S, N> {
    /// Returns the configuration of a set that accepts sources of `required` granularity or finer
    /// (`pmemset_config_set_required_store_granularity`).
    #[must_use]
    pub const fn new(required: Granularity) -> Self {
        let acceptable = PartStates::DEFAULT;
        Self { required, observer: None, reservation: None, reserve_ahead_bytes: 0, acceptable }
    }

    /// Tells `observer` what happens (`pmemset_config_set_event_callback`).
    #[must_use]
    pub const fn observer(mut self, observer: &'a dyn Observer<P, S, N>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// Keeps all parts inside `reservation`, which is never resized (`pmemset_config_set_reservation`).
    ///
    /// Several sets may share it. It has to be of the same address space as the set's platform: another kind does not
    /// compile, and another one of the same kind is refused when something is mapped.
    #[must_use]
    pub const fn reservation(mut self, reservation: &'a dyn Window<Space = P::Space>) -> Self {
        self.reservation = Some(reservation);
        self
    }

    /// Reserves at least `length_bytes` bytes for each new part: room for coalescing in place.
    ///
    /// Costs address space only. Without it, coalescing ends where other mappings of the process begin.
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

impl<P: Platform, S: Source<Space = P::Space> + Clone, const N: usize> fmt::Debug for Config<'_, P, S, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("required", &self.required)
            .field("observer", &self.observer.is_some())
            .field("reservation", &self.reservation.map(Window::extent))
            .field("reserve_ahead_bytes", &self.reserve_ahead_bytes)
            .field("acceptable", &self.acceptable)
            .finish()
    }
}

/// What to map of a source: everything, unless told otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct MapConfig {
    offset: u64,
    length_bytes: Option<usize>,
}

impl MapConfig {
    /// Returns the configuration that maps a source from its first byte to its last.
    #[must_use]
    pub const fn new() -> Self {
        Self { offset: 0, length_bytes: None }
    }

    /// Starts at byte `offset` of the source (`pmemset_map_config_set_offset`).
    ///
    /// # Errors
    ///
    /// - [`MapError::OffsetOutOfRange`]: `offset` is past `i64::MAX`.
    pub const fn offset(mut self, offset: u64) -> Result<Self, MapError> {
        if offset > i64::MAX as u64 {
            return Err(MapError::OffsetOutOfRange { offset });
        }
        self.offset = offset;
        Ok(self)
    }

    /// Maps `length_bytes` bytes (`pmemset_map_config_set_length`); 0 means the rest of the source after the offset.
    #[must_use]
    pub const fn length(mut self, length_bytes: usize) -> Self {
        self.length_bytes = if length_bytes == 0 { None } else { Some(length_bytes) };
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
}
