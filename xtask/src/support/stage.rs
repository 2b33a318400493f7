//! Stages of a run: independent of each other, so some run side by side, and what one says is printed when it has ended.

use std::sync::mpsc::channel;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::support::progress;
use crate::support::tally::{Tally, keeping};

/// Stages at a time, besides one for each processor: some wait for a lock of cargo's, for a machine to boot, for a kill.
const MORE_LANES: usize = 1;

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

/// Runs the stages, the first ones first, and returns whether all is well; the last line is `N passed, N failed, N skipped`.
pub(crate) fn run(stages: Vec<Stage>) -> bool {
    let begin = Instant::now();
    let total = side_by_side(stages);
    println!("\nall stages: {:.0} s\n\n{total}", begin.elapsed().as_secs_f64());
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

fn close(name: &str, tally: &Tally, begin: Instant) {
    println!("{name}: {} in {:.0} s", tally.summary(), begin.elapsed().as_secs_f64());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_stages_count() {
        let stage = |passed, failed| Stage::new("stage", move || Tally { passed, failed, skipped: 1 });
        let total = side_by_side((1..=5).map(|count| stage(count, 0)).collect());
        assert_eq!((total.passed, total.failed, total.skipped), (15, 0, 5));
        assert!(!run(vec![stage(1, 1), stage(1, 0)]));
        assert!(run(vec![stage(1, 0), stage(1, 0)]));
    }
}
