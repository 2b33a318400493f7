//! The duties of platforms and sources, each as a function that checks it. One file that calls them tests a port.
//!
//! [`platform`] and [`source()`] check every duty and report each by name. You can also call the functions for single
//! duties. They need no operating system and no allocator, so they run in any port.
//!
//! A program cannot check that stores survive a power cut, nor that placeholders are inaccessible. Whether a
//! synchronisation reaches the medium is checked through a second mapping of the same bytes. If a source has no second
//! mapping, or its mappings share their memory, that duty is [skipped](Outcome::Skipped), with the reason. So are the
//! duties of calls that a source does not implement.
//!
//! # Example
//! ```
//! use pmemset_core::contract;
//! use pmemset_core::sim::{Hardware, Machine, Medium};
//!
//! let machine = Machine::new(Hardware::new());
//! let source = machine.add_source(Medium::new(1 << 16).growing_to(1 << 20));
//! let mut kept = 0;
//! let mut report = |duty: &str, finding: contract::Finding| match finding {
//!     Ok(contract::Outcome::Kept) => kept += 1,
//!     Ok(contract::Outcome::Skipped(reason)) => println!("{duty}: not checked, because {reason}"),
//!     Err(breach) => panic!("{duty}: {breach}"),
//! };
//! contract::platform(&machine.platform(), &mut report);
//! contract::source(&machine.platform(), &source, &mut report);
//! assert!(kept > 30);
//! ```
#![allow(clippy::missing_errors_doc, reason = "every function returns the first breach of the duty that it names")]

mod bed;
mod on_adapter;
mod on_durability;
mod on_health;
mod on_platform;
mod on_sharing;
mod on_source;

use core::fmt;

pub use self::on_adapter::*;
pub use self::on_durability::*;
pub use self::on_health::*;
pub use self::on_platform::*;
pub use self::on_sharing::*;
pub use self::on_source::*;
use crate::error::ReserveError;
use crate::{Errno, Extent, Platform, Source};

/// How a port breaks a duty.
///
/// ```
/// use pmemset_core::{Errno, contract::Breach};
///
/// let mut breach = Breach::of("the mapping is made");
/// breach.errno = Some(Errno::INVAL);
/// assert!(breach.to_string().starts_with("expected: the mapping is made; "));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct Breach {
    /// What was expected.
    pub expected: &'static str,
    /// The number in question: an address, a length or an offset.
    pub number: Option<u64>,
    /// The addresses in question.
    pub extent: Option<Extent>,
    /// The error that the port returned.
    pub errno: Option<Errno>,
}

impl Breach {
    /// Returns the breach of an expectation.
    #[must_use]
    pub const fn of(expected: &'static str) -> Self {
        Self { expected, number: None, extent: None, errno: None }
    }

    const fn number(mut self, number: u64) -> Self {
        self.number = Some(number);
        self
    }

    const fn at(mut self, extent: Extent) -> Self {
        self.extent = Some(extent);
        self
    }

    /// Adds why address space was not given.
    fn refused(self, error: ReserveError) -> Self {
        self.because(error.into())
    }

    const fn because(mut self, errno: Errno) -> Self {
        self.errno = Some(errno);
        self
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected: {}", self.expected)?;
        if let Some(number) = self.number {
            write!(f, "; {number:#x}")?;
        }
        if let Some(extent) = self.extent {
            write!(f, "; at {extent}")?;
        }
        match self.errno {
            Some(errno) => write!(f, "; {errno}"),
            None => Ok(()),
        }
    }
}

impl core::error::Error for Breach {}

/// The result of checking a duty that is not broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[must_use]
pub enum Outcome {
    /// The port keeps it, as far as a program can check.
    Kept,
    /// It could not be checked, for this reason.
    Skipped(&'static str),
}

/// The result of checking a duty: kept, skipped, or broken.
pub type Finding = Result<Outcome, Breach>;

const KEPT: Finding = Ok(Outcome::Kept);

const fn skipped(reason: &'static str) -> Finding {
    Ok(Outcome::Skipped(reason))
}

fn ensure(holds: bool, breach: Breach) -> Result<(), Breach> {
    if holds { Ok(()) } else { Err(breach) }
}

macro_rules! duties {
    ($report:ident: $($duty:ident($($argument:expr),*);)*) => {
        $($report(stringify!($duty), $duty($($argument),*));)*
    };
}

/// Checks every duty of `platform`, and calls `report` with its name and the result.
///
/// Nothing else may change the address space meanwhile. Leaves it as it was, unless a duty is broken.
///
/// ```
#[doc = include_str!("../sim/machine.md")]
/// use pmemset_core::contract;
///
/// contract::platform(&platform, &mut |duty, finding| assert!(finding.is_ok(), "{duty}: {finding:?}"));
/// # let _ = source;
/// ```
pub fn platform<P: Platform>(platform: &P, report: &mut dyn FnMut(&'static str, Finding)) {
    duties! { report:
        page_size_is_a_power_of_two_and_stays(platform);
        cache_line_fits_the_page(platform);
        suggested_alignment_is_whole_pages(platform);
        lock_excludes(platform);
        reservation_has_the_length_and_alignment_asked_for(platform);
        reservations_lie_apart(platform);
        released_space_can_be_reserved_again(platform);
        reservation_is_refused_where_one_is(platform);
        tail_can_be_released_and_extended(platform);
        any_piece_can_be_released(platform);
        impossible_reservation_is_refused(platform);
        copy_moves_every_byte(platform);
        read_copies_every_byte(platform);
        fill_sets_every_byte(platform);
    }
}

/// Checks every duty of `source` on `platform`, and calls `report` with its name and the result.
///
/// The source has at least 4 units of its alignment (or the page size, if that is larger); their bytes are overwritten.
/// Nobody else maps it, changes its length or the address space meanwhile. Leaves nothing mapped, unless a duty is
/// broken, and a source that grows one unit longer.
///
/// ```
#[doc = include_str!("../sim/machine.md")]
/// use pmemset_core::contract;
///
/// contract::source(&platform, &source, &mut |duty, finding| assert!(finding.is_ok(), "{duty}: {finding:?}"));
/// ```
pub fn source<P: Platform, S: Source<Space = P::Space> + ?Sized>(
    platform: &P,
    source: &S,
    report: &mut dyn FnMut(&'static str, Finding),
) {
    duties! { report:
        alignment_is_a_power_of_two_and_stays(source);
        granularity_stays(source);
        granularity_suits_the_processor(platform, source);
        write_granule_can_be_stored(platform, source);
        sharing_stays(source);
        fixed_address_is_aligned(platform, source);
        space_is_the_platforms_and_stays(platform, source);
        length_is_enough_and_stays(platform, source);
        prepare_leaves_what_is_there(platform, source);
        prepare_grows_exactly_or_refuses(platform, source);
        impossible_growth_is_refused(platform, source);
        unmapping_puts_the_placeholder_back(platform, source);
        bytes_stay_from_mapping_to_mapping(platform, source);
        offset_selects_the_bytes(platform, source);
        mapping_leaves_its_neighbours(platform, source);
        mappings_go_with_their_addresses(platform, source);
        unmapping_changes_no_other_bytes(platform, source);
        mapping_past_the_end_fails_and_keeps_the_placeholder(platform, source);
        growth_in_use_is_not_undone(platform, source);
        storage_is_given_back_or_kept(platform, source);
        write_back_takes_any_range(platform, source);
        write_back_invalidate_takes_any_range(platform, source);
        write_back_reaches_the_medium(platform, source);
        sync_takes_any_page(platform, source);
        sync_changes_no_other_bytes(platform, source);
        sync_reaches_the_medium(platform, source);
        failed_write_back_stays(source);
        deep_flush_takes_any_range(platform, source);
        deep_flush_changes_no_other_bytes(platform, source);
        device_stays(source);
        bad_blocks_are_in_order(platform, source);
        mcsafe_copies_stay_inside(platform, source);
        mcsafe_copies_go_where_they_are_told(platform, source);
    }
}

/// Checks every duty of `outer`, a source that is made of `inner`, and calls `report` with its name and the result.
///
/// A method that an adapter forgets to forward switches a check off, because a set asks only the source that it is
/// given. So give `inner` as many answers as you can, and switch its checks on ([`Checked`](crate::Checked)). Nothing
/// is stored.
///
/// ```
#[doc = include_str!("../sim/machine.md")]
/// use pmemset_core::lock::SpinRwLock;
/// use pmemset_core::{BadBlockPolicy, Checked, Shared, Sharing, contract};
///
/// let inner = Checked::<_, SpinRwLock>::new(source).bad_block_detection(BadBlockPolicy::Required);
/// let outer = Shared::new(&inner, Sharing::Private); // an adapter of your own, in a port
/// contract::adapter(&inner, &outer, &mut |duty, finding| assert!(finding.is_ok(), "{duty}: {finding:?}"));
/// # let _ = platform;
/// ```
pub fn adapter<I, O>(inner: &I, outer: &O, report: &mut dyn FnMut(&'static str, Finding))
where
    I: Source + ?Sized,
    O: Source<Space = I::Space> + ?Sized,
{
    duties! { report:
        adapter_is_in_the_same_space(inner, outer);
        adapter_promises_no_more(inner, outer);
        adapter_shares_no_more(inner, outer);
        adapter_shares_the_failed_write_back(inner, outer);
        adapter_switches_no_check_off(inner, outer);
        adapter_knows_its_medium(inner, outer);
    }
}

/// Checks every duty of two hosts that share memory, each a platform and a source of its own, and gives `report` its
/// name and what was found.
///
/// Both sources are the same bytes, and say that they are [shared](crate::Sharing). Else as for [`source()`].
pub fn hosts<P, Q, S, T>(one: (&P, &S), other: (&Q, &T), report: &mut dyn FnMut(&'static str, Finding))
where
    P: Platform,
    Q: Platform,
    S: Source<Space = P::Space> + ?Sized,
    T: Source<Space = Q::Space> + ?Sized,
{
    duties! { report:
        hosts_agree_on_sharing(one, other);
        published_bytes_reach_the_other_host(one, other);
        refreshing_keeps_what_was_stored_here(one, other);
        publishing_writes_no_other_lines(one, other);
    }
}
