//! Several hosts over one memory, each with caches of its own.

mod caches;
mod program;
mod report;
mod search;
#[cfg(test)]
mod tests;

use alloc::string::String;
use alloc::vec::Vec;

pub use self::program::Host;
use self::program::{Program, Programs};
pub use self::report::{HostsExplored, HostsFailure};
use self::search::Search;
use super::hardware::Hardware;
use super::machine::Machine;
use crate::Sharing;

/// The exploration of hosts that share media without coherence, and its settings.
///
/// Each host is a program that gets its [`Host`]. It maps the shared sources, stores, publishes, refreshes and reads,
/// and reports a failure by an error or a panic. A host that loses its power starts its program again.
///
/// # Model
///
/// - A store is in the caches of its host. Units of 8 bytes reach memory by themselves at any time and in any order, or
///   never; what was written back, or streamed, is there after the host's next fence.
/// - A host that loads finds what memory has, or has had since the host last dropped the line (or since it started,
///   which is as if all lines had been fetched then): never an older value than it has found before.
/// - When a host is cut, its caches are lost: of what it had not published, memory has any one of the stores, once and
///   for all. At [byte](crate::Granularity::Byte) granularity the caches are saved.
/// - A host may store to a line only if it has seen the newest store to each of its units: else what another one has
///   stored may be undone, when lines are written back whole. This is reported at once.
/// - Single loads and stores of parts are explored. A pointer into a part is refused: what it shows may change between
///   two loads.
///
/// Within these rules nothing is sampled: every order of the steps, as far as it makes a difference, every value of
/// every load, and every moment of a cut. What memory has is decided when somebody loads it. A program has to do the
/// same when it loads the same, and has to end: it polls so many times and no more.
///
/// ```
/// use pmemset_core::sim::{Hardware, Host, Hosts, Medium};
/// use pmemset_core::{Config, CopyFlags, Granularity, MapConfig, Set, Sharing};
///
/// const LATER: CopyFlags = CopyFlags::NOFLUSH;
///
/// /// Stores a record, and says in another line that it is there.
/// fn writer(host: &Host, publishes: bool) -> Result<(), String> {
///     let set: Set<'_, _, _> = Set::with_capacity(host.platform(), Config::new(Granularity::Page), 1);
///     let part = set.map(host.source(0), &MapConfig::new()).unwrap().into_shared().unwrap();
///     part.write_with(64, &42_u64.to_le_bytes(), LATER).unwrap();
///     if publishes {
///         part.publish(64, 8).unwrap();
///     }
///     part.write_with(0, &1_u64.to_le_bytes(), LATER).unwrap();
///     part.publish(0, 8).unwrap();
///     Ok(())
/// }
///
/// fn reader(host: &Host, refreshes: bool) -> Result<(), String> {
///     let set: Set<'_, _, _> = Set::with_capacity(host.platform(), Config::new(Granularity::Page), 1);
///     let part = set.map(host.source(0), &MapConfig::new()).unwrap().into_shared().unwrap();
///     let word = |offset| {
///         let mut bytes = [0; 8];
///         part.read(offset, &mut bytes).unwrap();
///         u64::from_le_bytes(bytes)
///     };
///     part.refresh(0, 8).unwrap();
///     if word(0) == 1 {
///         if refreshes {
///             part.refresh(64, 8).unwrap();
///         }
///         if word(64) != 42 {
///             return Err("the record is not there".into());
///         }
///     }
///     Ok(())
/// }
///
/// let hosts = Hosts::new(Hardware::new().address_space_bytes(64 << 10));
/// let explore = |publishes, refreshes| {
///     hosts.run(
///         |machine| drop(machine.add_source(Medium::new(4096).sharing(Sharing::Incoherent))),
///         &[&|host: &Host| writer(host, publishes), &|host: &Host| reader(host, refreshes)],
///         |_| Ok(()),
///     )
/// };
/// explore(true, true).unwrap().assert_complete();
/// assert_eq!(explore(false, true).unwrap_err().message, "the record is not there");
/// assert_eq!(explore(true, false).unwrap_err().message, "the record is not there");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Hosts {
    hardware: Hardware,
    cuts: usize,
    states_max: usize,
}

impl Hosts {
    /// Returns the exploration of hosts made of `hardware`, whose power is never cut, of up to 4,194,304 states.
    #[must_use]
    pub const fn new(hardware: Hardware) -> Self {
        Self { hardware, cuts: 0, states_max: 1 << 22 }
    }

    /// Cuts the power of hosts up to `cuts` times: of any of them, at any step, also of all at the same moment.
    #[must_use]
    pub const fn cuts(mut self, cuts: usize) -> Self {
        self.cuts = cuts;
        self
    }

    /// Explores at most `states_max` states. [`HostsExplored::bounded`] counts what was left out.
    #[must_use]
    pub const fn states_max(mut self, states_max: usize) -> Self {
        self.states_max = states_max;
        self
    }

    /// Runs `prepare`, which adds the sources and stores their first content; then the `hosts`; and, when all have
    /// ended, `check`, as a host that starts then.
    ///
    /// # Errors
    ///
    /// The first failure of a program or the check.
    ///
    /// # Panics
    ///
    /// If a source is not [shared without coherence](Sharing::Incoherent).
    pub fn run(
        &self,
        prepare: impl FnOnce(&Machine),
        hosts: &[Program<'_>],
        check: impl Fn(&Host) -> Result<(), String>,
    ) -> Result<HostsExplored, HostsFailure> {
        let mut search = self.search(prepare, hosts, &check, false);
        search.run(self.hardware.line_bytes, self.cuts)?;
        Ok(search.found)
    }

    fn search<'p>(
        &self,
        prepare: impl FnOnce(&Machine),
        hosts: &[Program<'p>],
        check: Program<'p>,
        everywhere: bool,
    ) -> Search<'p> {
        let machine = Machine::new(self.hardware);
        prepare(&machine);
        machine.settle();
        let state = machine.lock();
        let media: Vec<_> = state.sources.iter().map(|source| (source.medium, source.image.now.clone())).collect();
        drop(state);
        let shared = media.iter().all(|(medium, _)| medium.sharing == Sharing::Incoherent);
        assert!(shared, "hosts share media that are not coherent: Medium::sharing(Sharing::Incoherent)");
        let programs = hosts.iter().copied().chain([check]).collect();
        Search::new(Programs::new(self.hardware, media, programs), hosts.len(), self.states_max, everywhere)
    }
}
