//! A source that is checked before it is mapped: its shutdown state, its bad blocks, or both.
#![allow(unsafe_code, reason = "an adaptor of sources implements an unsafe trait")]

use crate::health::{BadBlockPolicy, LiveRecord, LiveRecordRef, ShutdownRecord};
use crate::lock::RawLock;
use crate::{Health, Source, forward_health, forward_source};

/// A source with checks. Each check is off, and costs nothing, until it is switched on here. A check that is switched
/// on in the source inside stays on.
///
/// `L` is a lock of the platform, such as its [`Platform::Lock`](crate::Platform::Lock). Make one `Checked` for each
/// device or file and share it: two of them do not count each other's mappings.
///
/// ```
/// use pmemset_core::{BadBlockPolicy, Checked, ShutdownRecord, Source};
/// # use pmemset_core::lock::RawLock;
/// # fn attach<S: Source, L: RawLock + Send + Sync>(file: S, kept: [u8; 536]) -> Checked<S, L> {
/// Checked::new(file).shutdown_record(ShutdownRecord::from_bytes(&kept)).bad_block_detection(BadBlockPolicy::IfKnown)
/// # }
/// ```
#[derive(Debug)]
pub struct Checked<S, L: RawLock> {
    source: S,
    shutdown: Option<LiveRecord<L>>,
    policy: BadBlockPolicy,
}

impl<S: Source, L: RawLock> Checked<S, L> {
    /// Returns `source` without any check.
    ///
    /// ```
    #[doc = include_str!("../sim/example.md")]
    /// use pmemset_core::lock::SpinRwLock;
    /// use pmemset_core::{Checked, Health};
    ///
    /// let unchecked = Checked::<_, SpinRwLock>::new(source);
    /// assert!(unchecked.health().is_some_and(|health| health.shutdown().is_none()));
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn new(source: S) -> Self {
        Self { source, shutdown: None, policy: BadBlockPolicy::Off }
    }

    /// Judges the shutdown state at each mapping by `record`, which is from an earlier run or new
    /// (`pmemset_source_set_sds`).
    ///
    /// Sets count their mappings in the record, and report each change to the observer with
    /// [`SdsUpdate`](crate::Event::SdsUpdate). `None` switches the check off.
    ///
    /// ```
    /// # use pmemset_core::{Config, Granularity, MapConfig, Set};
    /// # use pmemset_core::sim::{Hardware, Machine, Medium};
    /// # use pmemset_core::lock::SpinRwLock;
    /// # let machine = Machine::new(Hardware::new());
    /// # let source = machine.add_source(Medium::new(4096).device(b"module", 0));
    /// use pmemset_core::{Checked, PartState, ShutdownRecord};
    ///
    /// let pool = &Checked::<_, SpinRwLock>::new(source).shutdown_record(ShutdownRecord::new());
    /// let set: Set<'_, _, _> = Set::with_capacity(machine.platform(), Config::new(Granularity::Page), 4);
    /// let part = set.map(pool, &MapConfig::new()).unwrap();
    /// assert_eq!(part.shutdown_verdict().unwrap().state, PartState::Ok);
    /// ```
    #[doc(alias = "pmemset_source_set_sds")]
    #[must_use]
    pub fn shutdown_record(mut self, record: impl Into<Option<ShutdownRecord>>) -> Self {
        self.shutdown = record.into().map(LiveRecord::new);
        self
    }

    /// Looks for bad blocks at each mapping (`pmemset_source_set_badblock_detection`).
    ///
    /// ```
    /// # use pmemset_core::{Config, Granularity, MapConfig, Set};
    /// # use pmemset_core::sim::{Hardware, Machine, Medium};
    /// # use pmemset_core::lock::SpinRwLock;
    /// # let machine = Machine::new(Hardware::new());
    /// # let source = machine.add_source(Medium::new(4096).device(b"module", 0));
    /// use pmemset_core::{BadBlockPolicy, Checked, Span, error::MapError};
    ///
    /// source.damage(Span::new(512, 256).unwrap());
    /// let pool = &Checked::<_, SpinRwLock>::new(source).bad_block_detection(BadBlockPolicy::Required);
    /// let set: Set<'_, _, _> = Set::with_capacity(machine.platform(), Config::new(Granularity::Page), 4);
    /// assert!(matches!(set.map(pool, &MapConfig::new()), Err(MapError::BadBlock { .. })));
    /// ```
    #[doc(alias = "pmemset_source_set_badblock_detection")]
    #[must_use]
    pub fn bad_block_detection(mut self, policy: BadBlockPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// Returns the source itself.
    ///
    /// ```
    #[doc = include_str!("../sim/example.md")]
    /// use pmemset_core::lock::SpinRwLock;
    /// use pmemset_core::Checked;
    ///
    /// let checked = Checked::<_, SpinRwLock>::new(source.clone());
    /// assert_eq!(checked.source(), &source);
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn source(&self) -> &S {
        &self.source
    }

    /// Returns the source itself, without its checks.
    #[must_use]
    pub fn into_inner(self) -> S {
        self.source
    }
}

// SAFETY: every call goes to the source inside, which keeps the promises.
unsafe impl<S: Source, L: RawLock + Send + Sync> Source for Checked<S, L> {
    type Space = S::Space;

    forward_source!(self { Self { source, .. } => source } except health);

    #[inline]
    fn health(&self) -> Option<&dyn Health> {
        Some(self)
    }
}

/// What was switched on here; everything else is asked of the source inside.
impl<S: Source, L: RawLock + Send + Sync> Health for Checked<S, L> {
    forward_health!(self => self.source.health());

    fn shutdown(&self) -> Option<LiveRecordRef<'_>> {
        match &self.shutdown {
            Some(cell) => Some(cell.handle()),
            None => self.source.health().and_then(Health::shutdown),
        }
    }

    fn bad_block_policy(&self) -> BadBlockPolicy {
        self.source.health().map_or(self.policy, |health| self.policy.max(health.bad_block_policy()))
    }
}
