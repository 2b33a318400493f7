//! Samples, taken in turn from all contenders, so that a noisy machine disturbs all alike.

use core::time::Duration;
use std::time::Instant;

use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::Options;

/// What one sample came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// Nanoseconds for one operation.
    pub(crate) ns: f64,
    /// Whether something else had the processor meanwhile.
    pub(crate) disturbed: bool,
}

/// A clock that tells time on the wall from time on the processor.
pub(crate) struct Clock {
    wall: Instant,
    processor: Timespec,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { processor: clock_gettime(ClockId::ThreadCPUTime), wall: Instant::now() }
    }

    /// Returns the processor time of each of `operations`: what others do on the machine does not count.
    pub(crate) fn stop(&self, operations: usize) -> Sample {
        let (wall, processor) = self.elapsed();
        Sample { ns: processor * 1e9 / operations as f64, disturbed: is_disturbed(wall, processor) }
    }

    /// Returns the time on the wall of each of `operations`: waiting counts.
    pub(crate) fn stop_wall(&self, operations: usize) -> Sample {
        let (wall, processor) = self.elapsed();
        Sample { ns: wall * 1e9 / operations as f64, disturbed: is_disturbed(wall, processor) }
    }

    fn elapsed(&self) -> (f64, f64) {
        let wall = self.wall.elapsed().as_secs_f64();
        let now = clock_gettime(ClockId::ThreadCPUTime);
        let seconds = (now.tv_sec - self.processor.tv_sec) as f64;
        (wall, seconds + (now.tv_nsec - self.processor.tv_nsec) as f64 / 1e9)
    }
}

/// A twentieth of the time, and more than the clocks themselves take, was spent off the processor.
fn is_disturbed(wall: f64, processor: f64) -> bool {
    wall - processor > wall / 20.0 + 5e-6
}

/// Ends `value`, which the compiler must not see through.
pub(crate) fn keep<T>(value: T) {
    let _gone = core::hint::black_box(value);
}

/// How a contender is measured.
enum How<'a> {
    /// Called again and again.
    Calls(Box<dyn FnMut() + 'a>),
    /// Takes its samples itself.
    Timed(Box<dyn FnMut() -> Sample + 'a>),
}

/// One of the ways of doing the same thing.
pub(crate) struct Contender<'a> {
    name: &'static str,
    how: How<'a>,
}

/// Returns a contender that is called again and again.
pub(crate) fn calls<'a>(name: &'static str, run: impl FnMut() + 'a) -> Contender<'a> {
    Contender { name, how: How::Calls(Box::new(run)) }
}

/// Returns a contender that takes its samples itself.
pub(crate) fn timed<'a>(name: &'static str, run: impl FnMut() -> Sample + 'a) -> Contender<'a> {
    Contender { name, how: How::Timed(Box::new(run)) }
}

/// What is known of a contender.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    pub(crate) name: &'static str,
    /// The median, and the first and the last quarter of the samples end here; nanoseconds for one operation.
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
    pub(crate) samples: usize,
    pub(crate) disturbed: usize,
}

/// Measures all contenders: a warm-up, then one sample of each in turn, forwards and backwards.
pub(crate) fn compare(options: Options, rounds: usize, contenders: Vec<Contender<'_>>) -> Vec<Measured> {
    let mut all: Vec<(Contender<'_>, u32, Vec<Sample>)> = contenders
        .into_iter()
        .map(|mut one| (warm_up(options, &mut one), one))
        .map(|(n, one)| (one, n, vec![]))
        .collect();
    for round in 0..rounds {
        let count = all.len();
        for index in (0..count).map(|index| (index + round) % count) {
            let (one, calls, samples) = &mut all[if round % 2 == 0 { index } else { count - 1 - index }];
            samples.push(sample(one, *calls));
        }
    }
    all.into_iter().map(|(one, _, samples)| summary(one.name, &samples)).collect()
}

fn sample(contender: &mut Contender<'_>, count: u32) -> Sample {
    match &mut contender.how {
        How::Timed(run) => run(),
        How::Calls(run) => {
            let clock = Clock::start();
            for _ in 0..count {
                run();
            }
            clock.stop(count as usize)
        }
    }
}

/// Returns how many calls make a sample.
fn warm_up(options: Options, contender: &mut Contender<'_>) -> u32 {
    let How::Calls(run) = &mut contender.how else {
        sample(contender, 1);
        return 1;
    };
    let length = Duration::from_micros(if options.quick { 200 } else { 1000 });
    let mut calls = 1_u32;
    loop {
        let start = Instant::now();
        for _ in 0..calls {
            run();
        }
        if start.elapsed() >= length || calls >= 1 << 24 {
            return calls;
        }
        calls *= 2;
    }
}

fn summary(name: &'static str, samples: &[Sample]) -> Measured {
    let mut sorted: Vec<f64> = samples.iter().map(|sample| sample.ns).collect();
    sorted.sort_by(f64::total_cmp);
    let at = |numerator: usize| {
        sorted.get((sorted.len().saturating_sub(1) * numerator + 2) / 4).copied().unwrap_or(f64::NAN)
    };
    let disturbed = samples.iter().filter(|sample| sample.disturbed).count();
    Measured { name, median: at(2), low: at(1), high: at(3), samples: samples.len(), disturbed }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_quarters() {
        let samples: Vec<Sample> = [5.0, 1.0, 3.0, 2.0, 4.0].map(|ns| Sample { ns, disturbed: ns > 4.0 }).to_vec();
        let found = summary("x", &samples);
        assert_eq!((found.median, found.low, found.high, found.samples, found.disturbed), (3.0, 2.0, 4.0, 5, 1));
        assert!(summary("x", &[]).median.is_nan());
    }

    #[test]
    fn every_contender_is_sampled_as_often() {
        let (first, second) = (core::cell::Cell::new(0), core::cell::Cell::new(0));
        let count = |cell: &core::cell::Cell<u32>| {
            cell.set(cell.get() + 1);
            Sample { ns: 1.0, disturbed: false }
        };
        let contenders = vec![timed("a", || count(&first)), timed("b", || count(&second))];
        let found = compare(Options { quick: true, json: false }, 7, contenders);
        assert_eq!((first.get(), second.get()), (8, 8), "one is the warm-up");
        assert_eq!(found.iter().map(|one| one.samples).collect::<Vec<_>>(), [7, 7]);
    }
}
