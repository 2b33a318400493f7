//! Runs fuzzers, which are functions of a seeded generator, for some time, and says the seed that fails.

use core::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use pmemset_core::sim::Random;

/// A fuzzer's name, and what it does with a generator; it fails by panicking.
pub(crate) type Fuzzer = (&'static str, fn(&mut Random));

/// Runs the fuzzer that the arguments name: `NAME [--seed S] [--seconds N]`. A seed alone is tried once.
pub(crate) fn main(fuzzers: &[Fuzzer]) -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let value = |option: &str| {
        let at = arguments.iter().position(|argument| argument == option)?;
        arguments.get(at + 1)?.parse::<u64>().ok()
    };
    let Some((name, fuzz)) = fuzzers.iter().find(|(name, _)| arguments.first().is_some_and(|first| first == name))
    else {
        let names: Vec<&str> = fuzzers.iter().map(|(name, _)| *name).collect();
        eprintln!("fuzzers: {}", names.join(", "));
        return ExitCode::from(2);
    };
    let (seed, seconds) = (value("--seed"), value("--seconds"));
    let first = seed.unwrap_or_else(now);
    let limit = match (seed, seconds) {
        (Some(_), None) => Duration::ZERO,
        (_, seconds) => Duration::from_secs(seconds.unwrap_or(10)),
    };
    let (begin, mut seed) = (Instant::now(), first);
    loop {
        if catch_unwind(AssertUnwindSafe(|| fuzz(&mut Random::new(seed)))).is_err() {
            println!("{name}: seed {seed} fails; again: cargo xtask fuzz {name} --seed {seed}");
            return ExitCode::FAILURE;
        }
        seed = seed.wrapping_add(1);
        if begin.elapsed() >= limit {
            break;
        }
    }
    println!("{name}: {} seeds from {first} on, {:.1} s", seed.wrapping_sub(first), begin.elapsed().as_secs_f64());
    ExitCode::SUCCESS
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_secs().wrapping_mul(1_000_000)
}
