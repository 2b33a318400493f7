//! Cutting the power at every step of some work, and checking every state that this can leave.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::base::Base;
use super::cut::Cut;
use super::hardware::Hardware;
use super::machine::Machine;
use super::oracle::{Answers, Oracle};
use super::replay::SimReplay;
use super::report::{Explored, Failure, Progress};
use super::run::{recorded, verdict};
use super::walk::{Limits, Walk};

/// The exploration of power cuts, and its settings.
///
/// ```
/// # use pmemset_core::sim::{Explore, Hardware, Machine, Medium};
/// # use pmemset_core::{Config, Granularity, MapConfig, Set};
/// # fn work(machine: &Machine) {
/// #     let source = machine.add_source(Medium::new(4096));
/// #     let set: Set<'_, _, _> = Set::with_capacity(machine.platform(), Config::new(Granularity::CacheLine), 1);
/// #     let part = set.map(source, &MapConfig::new()).unwrap();
/// #     machine.settle();
/// #     part.write(0, &42_u64.to_le_bytes()).unwrap();
/// # }
/// fn check(machine: &Machine) -> Result<(), String> {
///     match machine.source(0).words(0, 1)[..] {
///         [0 | 42] => Ok(()), // a word never tears
///         ref other => Err(format!("{other:?}")),
///     }
/// }
///
/// Explore::new(Hardware::new()).run(work, check).unwrap().assert_complete();
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Explore {
    pub(super) limits: Limits,
    pub(super) seed: u64,
    pub(super) schedules: u64,
}

impl Explore {
    /// Returns the exploration of a machine made of `hardware`: up to 1,048,576 runs of the check, no cuts of the check
    /// itself, one schedule of threads.
    #[must_use]
    pub const fn new(hardware: Hardware) -> Self {
        Self { limits: Limits { hardware, runs_max: 1 << 20, depth: 0, progress: None }, seed: 0, schedules: 1 }
    }

    /// Sets the seed for schedules of threads, and for the samples of [`eagerly`](Self::eagerly).
    #[must_use]
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Does the work `schedules` times, each with another interleaving of its [threads](Machine::threads).
    #[must_use]
    pub const fn schedules(mut self, schedules: u64) -> Self {
        self.schedules = schedules;
        self
    }

    /// Runs the check at most `runs_max` times. [`Explored::bounded`] counts what was left out.
    ///
    /// ```
    /// # use pmemset_core::sim::{Explore, Hardware, Machine, Medium};
    /// # use pmemset_core::{Config, Granularity, MapConfig, Set};
    /// # fn work(machine: &Machine) {
    /// #     let source = machine.add_source(Medium::new(4096));
    /// #     let set: Set<'_, _, _> = Set::with_capacity(machine.platform(), Config::new(Granularity::CacheLine), 1);
    /// #     let part = set.map(source, &MapConfig::new()).unwrap();
    /// #     machine.settle();
    /// #     part.write(0, &42_u64.to_le_bytes()).unwrap();
    /// # }
    /// fn check(machine: &Machine) -> Result<(), String> {
    ///     match machine.source(0).words(0, 1)[..] {
    ///         [0 | 42] => Ok(()), // a word never tears
    ///         ref other => Err(format!("{other:?}")),
    ///     }
    /// }
    ///
    /// let explored = Explore::new(Hardware::new()).runs_max(1).run(work, check).unwrap();
    /// assert!(explored.bounded > 0 && !explored.is_complete());
    /// ```
    #[must_use]
    pub const fn runs_max(mut self, runs_max: usize) -> Self {
        self.limits.runs_max = runs_max;
        self
    }

    /// Also cuts the power while the check runs, up to `depth` times in a row. For checks that repair what they find.
    ///
    /// ```
    /// # use pmemset_core::sim::{Explore, Hardware, Machine, Medium};
    /// # use pmemset_core::{Config, Granularity, MapConfig, Set};
    /// # fn work(machine: &Machine) {
    /// #     let source = machine.add_source(Medium::new(4096));
    /// #     let set: Set<'_, _, _> = Set::with_capacity(machine.platform(), Config::new(Granularity::CacheLine), 1);
    /// #     let part = set.map(source, &MapConfig::new()).unwrap();
    /// #     machine.settle();
    /// #     part.write(0, &42_u64.to_le_bytes()).unwrap();
    /// # }
    /// fn check(machine: &Machine) -> Result<(), String> {
    ///     match machine.source(0).words(0, 1)[..] {
    ///         [0 | 42] => Ok(()), // a word never tears
    ///         ref other => Err(format!("{other:?}")),
    ///     }
    /// }
    ///
    /// Explore::new(Hardware::new()).depth(1).run(work, check).unwrap();
    /// ```
    #[must_use]
    pub const fn depth(mut self, depth: usize) -> Self {
        self.limits.depth = depth;
        self
    }

    /// Calls `progress` at every cut point of the work, and every 1,024 runs of the check.
    #[must_use]
    pub const fn progress(mut self, progress: fn(Progress)) -> Self {
        self.limits.progress = Some(progress);
        self
    }

    /// Runs `work` once. Then, for every step of the work, it cuts the power there and runs `check` on a restarted
    /// machine, once for each content that the bytes which `check` reads can have. Bytes that it does not read are not
    /// varied.
    ///
    /// The work adds its sources, may prepare them and call [`Machine::settle`], and then does what is to be explored.
    /// The check finds the sources under the same numbers. It fails by returning an error, or by panicking. It reads
    /// through sets and parts, their pointers and slices, or through [`SimSource`](super::SimSource), and must not
    /// depend on anything else: not on time, addresses, or the order of a hash table.
    ///
    /// ```
    /// # use pmemset_core::sim::{Explore, Hardware, Machine, Medium};
    /// # use pmemset_core::{Config, Granularity, MapConfig, Set};
    /// # fn work(machine: &Machine) {
    /// #     let source = machine.add_source(Medium::new(4096));
    /// #     let set: Set<'_, _, _> = Set::with_capacity(machine.platform(), Config::new(Granularity::CacheLine), 1);
    /// #     let part = set.map(source, &MapConfig::new()).unwrap();
    /// #     machine.settle();
    /// #     part.write(0, &42_u64.to_le_bytes()).unwrap();
    /// # }
    /// fn check(machine: &Machine) -> Result<(), String> {
    ///     match machine.source(0).words(0, 1)[..] {
    ///         [0 | 42] => Ok(()), // a word never tears
    ///         ref other => Err(format!("{other:?}")),
    ///     }
    /// }
    ///
    /// let explored = Explore::new(Hardware::new()).run(work, check).unwrap();
    /// println!("{explored}"); // cut points, runs of the check, and what was noticed
    /// ```
    ///
    /// # Errors
    ///
    /// The first state that the check did not accept, with as few lost stores as possible.
    pub fn run<W, C>(&self, work: W, check: C) -> Result<Explored, Failure>
    where
        W: Fn(&Machine),
        C: Fn(&Machine) -> Result<(), String>,
    {
        let mut walk = Walk::new(self.limits, &check);
        for schedule in 0..self.schedules {
            let machine = self.machine(schedule);
            let cuts = recorded(&machine, &work);
            walk.work(schedule, cuts.into())?;
            walk.found.add_hints(core::mem::take(&mut machine.lock().hints));
        }
        Ok(walk.found)
    }

    /// Runs `work` once, and runs `check` on the state that `replay` names.
    ///
    /// ```
    /// # use pmemset_core::sim::{Explore, Hardware, Machine, Medium};
    /// # use pmemset_core::{Config, Granularity, MapConfig, Set};
    /// # fn work(machine: &Machine) {
    /// #     let source = machine.add_source(Medium::new(4096));
    /// #     let set: Set<'_, _, _> = Set::with_capacity(machine.platform(), Config::new(Granularity::CacheLine), 1);
    /// #     let part = set.map(source, &MapConfig::new()).unwrap();
    /// #     machine.settle();
    /// #     part.write(0, &42_u64.to_le_bytes()).unwrap();
    /// # }
    /// fn check(machine: &Machine) -> Result<(), String> {
    ///     match machine.source(0).words(0, 1)[..] {
    ///         [42] => Ok(()), // a word never tears
    ///         ref other => Err(format!("{other:?}")),
    ///     }
    /// }
    ///
    /// let failure = Explore::new(Hardware::new()).run(work, check).unwrap_err();
    /// let replay = failure.replay.to_string().parse().unwrap(); // as it was printed
    /// assert_eq!(Explore::new(Hardware::new()).replay(&replay, work, check).unwrap_err(), failure.message);
    /// ```
    ///
    /// # Errors
    ///
    /// The check's error, or that the replay belongs to other work.
    pub fn replay<W, C>(&self, replay: &SimReplay, work: W, check: C) -> Result<(), String>
    where
        W: Fn(&Machine),
        C: Fn(&Machine) -> Result<(), String>,
    {
        let mut cuts = self.record(replay.schedule, work);
        for (depth, choice) in replay.path.iter().enumerate() {
            let other = || format!("the replay is of other work: it has no cut {}", choice.point);
            let cut = cuts.get(choice.point).ok_or_else(other)?;
            let machine = Base::of(cut).restart(self.limits.hardware, cut);
            let answers = Answers { choices: choice.values.clone(), ..Answers::default() };
            machine.lock().oracle = Some(Oracle::new(answers, depth == self.limits.depth));
            if depth + 1 == replay.path.len() {
                return verdict(&check, &machine);
            }
            cuts = recorded(&machine, |machine| drop(verdict(&check, machine)));
        }
        Err("the replay is empty".to_string())
    }

    fn machine(&self, schedule: u64) -> Machine {
        let machine = Machine::new(self.limits.hardware);
        machine.lock().schedule = self.seed.wrapping_add(schedule);
        machine
    }

    pub(super) fn record(&self, schedule: u64, work: impl FnOnce(&Machine)) -> Vec<Cut> {
        recorded(&self.machine(schedule), work)
    }
}
