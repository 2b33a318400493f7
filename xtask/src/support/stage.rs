//! Stages of a run: independent of each other, so some run side by side, and what one says is printed when it has
//! ended.

use std::sync::mpsc::channel;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::support::progress;
use crate::support::tally::{Tally, keeping};

/// Stages at a time, besides one for each processor: some wait for a lock of cargo's, for a machine to boot, for a
/// kill.
const MORE_LANES: usize = 1;

/// What Linux tells processor time in, on every machine.
const TICKS_PER_SECOND: u64 = 100;

type Work = Box<dyn FnOnce() -> Tally + Send>;

/// A stage: its name, and what it does.
pub(crate) struct Stage {
    name: &'static str,
    work: Work,
}

impl Stage {
    pub(crate) fn new(name: &'static str, work: impl FnOnce() -> Tally + Send + 'static) -> Self {
        Self { name, work: Box::new(work) }
    }

    pub(crate) const fn name(&self) -> &'static str {
        self.name
    }
}

/// Runs the stages, the first ones first, and returns whether all is well; the last line is `N passed, N failed, N
/// skipped`.
pub(crate) fn run(stages: Vec<Stage>) -> bool {
    let begin = Instant::now();
    let total = side_by_side(stages);
    // Other programs on the machine make the first number greater, and hardly the second.
    let processors = processor_seconds().map_or_else(String::new, |seconds| format!(", {seconds} s of processors"));
    println!("\nall stages: {:.0} s{processors}\n\n{total}", begin.elapsed().as_secs_f64());
    total.good()
}

fn side_by_side(stages: Vec<Stage>) -> Tally {
    let mut total = Tally::default();
    let waiting = Mutex::new(stages.into_iter());
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
    let (sender, results) = channel();
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) + MORE_LANES {
            let (sender, next) = (sender.clone(), &next);
            scope.spawn(move || {
                while let Some(Stage { name, work, .. }) = next() {
                    let begin = Instant::now();
                    let (tally, said) = keeping(|| progress::during(name, work));
                    let _ = sender.send((name, tally, said, begin));
                }
            });
        }
        drop(sender);
        for (name, tally, said, begin) in results {
            print!("\n== {name}\n{said}");
            close(name, &tally, begin);
            total.add(&tally);
        }
    });
    total
}

/// Returns the processor time of this program and of all that it has started and that have ended, if the system tells.
fn processor_seconds() -> Option<u64> {
    processor_ticks(&std::fs::read_to_string("/proc/self/stat").ok()?).map(|ticks| ticks / TICKS_PER_SECOND)
}

/// Reads `/proc/PID/stat`: its own ticks in user and system mode, and those of its children (14 to 17 in proc(5)).
fn processor_ticks(stat: &str) -> Option<u64> {
    // The second word is the program's name, which may be of any letters; the third follows on the last parenthesis.
    let words = stat.rsplit_once(')')?.1.split_whitespace().skip(11).take(4);
    words.map(str::parse::<u64>).sum::<Result<u64, _>>().ok()
}

fn close(name: &str, tally: &Tally, begin: Instant) {
    println!("{name}: {} in {:.0} s", tally.summary(), begin.elapsed().as_secs_f64());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_that_of_the_program_and_its_children() {
        let stat = "7 (x) y) S 1 7 7 0 -1 4194560 100 200 0 0 10 20 3000 400 20 0 1 0 12345 1000 50";
        assert_eq!(processor_ticks(stat), Some(3430));
        assert_eq!(processor_ticks("7 (x) S 1"), Some(0));
        assert_eq!(processor_ticks("nothing"), None);
        assert_eq!(processor_seconds().is_some(), cfg!(target_os = "linux"));
    }

    #[test]
    fn all_stages_count() {
        let stage = |passed, failed| Stage::new("stage", move || Tally { passed, failed, skipped: 1 });
        let total = side_by_side((1..=5).map(|count| stage(count, 0)).collect());
        assert_eq!((total.passed, total.failed, total.skipped), (15, 0, 5));
        assert!(!run(vec![stage(1, 1), stage(1, 0)]));
        assert!(run(vec![stage(1, 0), stage(1, 0)]));
    }
}
