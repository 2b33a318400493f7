//! The configuration of a set, and of one map call.

use crate::{Granularity, PartStates};

/// Where a new segment is placed relative to the part that was mapped before it.
///
/// ```
/// use pmemset_core::Coalescing;
///
/// assert_eq!(Coalescing::default(), Coalescing::None); // each segment a part of its own
/// ```
#[doc(alias = "pmemset_coalescing")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u8)]
pub enum Coalescing {
    /// Anywhere, as a part of its own.
    #[doc(alias = "PMEMSET_COALESCING_NONE")]
    #[default]
    None = 0,
    /// Directly behind the previous part and merged with it, if the addresses are free; else anywhere.
    #[doc(alias = "PMEMSET_COALESCING_OPPORTUNISTIC")]
    Opportunistic = 1,
    /// Directly behind the previous part and merged with it; else the map call fails.
    #[doc(alias = "PMEMSET_COALESCING_FULL")]
    Full = 2,
}

/// The configuration of a [`Set`](crate::Set): required granularity, observer, room ahead, acceptable shutdown states.
///
/// `O` is the observer, `()` where there is none.
///
/// ```
/// use pmemset_core::{Config, Granularity, PartStates};
///
/// let config = Config::new(Granularity::CacheLine) // no coarser than cache lines
///     .reserve_ahead(1 << 30) // parts may grow in place
///     .acceptable_states(PartStates::DEFAULT | PartStates::OK_BUT_INTERRUPTED);
/// ```
#[doc(alias("pmemset_config", "pmemset_config_delete"))]
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
    ///
    /// ```
    /// use pmemset_core::{Config, Granularity};
    ///
    /// let any = Config::new(Granularity::Page); // files on every file system
    /// let pmem = Config::new(Granularity::CacheLine); // persistent memory, mapped as such
    /// ```
    #[doc(alias("pmemset_config_new", "pmemset_config_set_required_store_granularity"))]
    #[must_use]
    pub const fn new(required: Granularity) -> Self {
        Self { required, observer: (), reserve_ahead_bytes: 0, acceptable: PartStates::DEFAULT }
    }

    /// Reports events to `observer` (`pmemset_config_set_event_callback`): an [`Observer`](crate::Observer), a
    /// reference to one, or an `Arc` of one.
    ///
    /// ```
    /// use pmemset_core::{Answer, Config, Event, Granularity, observer};
    ///
    /// # fn config<S>() -> Config<impl pmemset_core::Observer<S>> {
    /// Config::new(Granularity::Page).observer(observer::from_fn(|event: &Event<'_, S>| {
    ///     if let Event::PartRemove { part } = event {
    ///         println!("{part} is gone");
    ///     }
    ///     Answer::Proceed
    /// }))
    /// # }
    /// ```
    #[doc(alias = "pmemset_config_set_event_callback")]
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
    ///
    /// ```
    /// # use pmemset_core::sim::{Hardware, Machine, Medium};
    /// # use pmemset_core::{Config, Granularity, MapConfig, Set};
    /// # let machine = Machine::new(Hardware::new());
    /// # let source = machine.add_source(Medium::new(64 << 10));
    /// let config = Config::new(Granularity::CacheLine).reserve_ahead(1 << 20);
    /// let set: Set<'_, _, _> = Set::with_capacity(machine.platform(), config, 8);
    /// let first = set.map(source.clone(), &MapConfig::new().length(4096))?;
    /// let next = MapConfig::new().offset(4096).length(4096).after(first.extent().start());
    /// assert_eq!(set.map(source, &next)?.extent().start(), first.extent().end());
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn reserve_ahead(mut self, length_bytes: usize) -> Self {
        self.reserve_ahead_bytes = length_bytes;
        self
    }

    /// Accepts sources with a shutdown record in these states only (`pmemset_config_set_acceptable_states`).
    ///
    /// The default is [`PartStates::DEFAULT`]. After a state was accepted, counting starts again.
    ///
    /// ```
    /// use pmemset_core::{Config, Granularity, PartStates};
    ///
    /// // A process that was killed has left its stores in the cache; the machine was not.
    /// let states = PartStates::DEFAULT | PartStates::OK_BUT_INTERRUPTED;
    /// let config = Config::new(Granularity::Page).acceptable_states(states);
    /// ```
    #[doc(alias = "pmemset_config_set_acceptable_states")]
    #[must_use]
    pub const fn acceptable_states(mut self, states: PartStates) -> Self {
        self.acceptable = states;
        self
    }
}

/// Which bytes of a source to map, and where; by default all of them, anywhere.
///
/// ```
/// use pmemset_core::MapConfig;
///
/// let whole = MapConfig::new();
/// let second_page = MapConfig::new().offset(4096).length(4096);
/// assert_eq!((whole.length_bytes(), second_page.length_bytes()), (None, Some(4096)));
/// ```
#[doc(alias("pmemset_map_config", "pmemset_map_config_delete"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct MapConfig {
    offset: u64,
    length_bytes: Option<usize>,
    after: Option<usize>,
}

impl MapConfig {
    /// Returns the configuration that maps a source from its first byte to its last.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// let part = set.map(source, &MapConfig::new())?;
    /// assert_eq!(part.extent().length_bytes(), 64 << 10); // all that the source has
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[doc(alias = "pmemset_map_config_new")]
    #[must_use]
    pub const fn new() -> Self {
        Self { offset: 0, length_bytes: None, after: None }
    }

    /// Starts at byte `offset` of the source (`pmemset_map_config_set_offset`).
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// let part = set.map(source, &MapConfig::new().offset(4096))?; // all but the first page
    /// assert_eq!(part.extent().length_bytes(), 60 << 10);
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[doc(alias = "pmemset_map_config_set_offset")]
    #[must_use]
    pub const fn offset(mut self, offset: u64) -> Self {
        self.offset = offset;
        self
    }

    /// Maps `length_bytes` bytes (`pmemset_map_config_set_length`); 0 means the rest of the source after the offset.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// let part = set.map(source, &MapConfig::new().length(8192))?;
    /// assert_eq!(part.extent().length_bytes(), 8192);
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[doc(alias = "pmemset_map_config_set_length")]
    #[must_use]
    pub const fn length(mut self, length_bytes: usize) -> Self {
        self.length_bytes = if length_bytes == 0 { None } else { Some(length_bytes) };
        self
    }

    /// Maps directly behind the part that has `address`, as its continuation; else the map call fails.
    ///
    /// For this call it overrides [`Set::set_coalescing`](crate::Set::set_coalescing).
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// use pmemset_core::error::MapError;
    ///
    /// let part = set.map(source.clone(), &MapConfig::new().length(4096))?;
    /// let next = MapConfig::new().offset(4096).length(4096).after(part.extent().start());
    /// match set.map(source, &next) {
    ///     Ok(next) => assert_eq!(next.part_extent().length_bytes(), 8192),
    ///     Err(MapError::CannotCoalesce { .. }) => println!("something else is behind the part"),
    ///     Err(other) => return Err(other.into()),
    /// }
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn after(mut self, address: usize) -> Self {
        self.after = Some(address);
        self
    }

    /// Returns the first byte to map.
    ///
    /// ```
    /// use pmemset_core::MapConfig;
    ///
    /// assert_eq!(MapConfig::new().offset(4096).offset_bytes(), 4096);
    /// ```
    #[must_use]
    pub const fn offset_bytes(&self) -> u64 {
        self.offset
    }

    /// Returns the number of bytes to map; `None` means the rest of the source after the offset.
    #[must_use]
    pub const fn length_bytes(&self) -> Option<usize> {
        self.length_bytes
    }

    /// Returns the address given to [`after`](Self::after), if any.
    ///
    /// ```
    /// use pmemset_core::MapConfig;
    ///
    /// assert_eq!(MapConfig::new().after_address(), None); // the set chooses the place
    /// assert_eq!(MapConfig::new().after(0x1000).after_address(), Some(0x1000));
    /// ```
    #[must_use]
    pub const fn after_address(&self) -> Option<usize> {
        self.after
    }
}
