//! Runs fuzzers, which are functions of a seeded generator, for some time, and says the seed that fails.

use core::panic::AssertUnwindSafe;
use core::sync::atomic::{AtomicU64, Ordering};
use std::io::Read;
use std::panic::catch_unwind;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use pmemset_core::support::Random;

/// A fuzzer's name, and what it does with a generator; it fails by panicking.
pub type Fuzzer = (&'static str, fn(&mut Random));

/// The seed that is being tried.
static SEED: AtomicU64 = AtomicU64::new(0);

/// Runs the fuzzer that the arguments name: `NAME [--seed S] [--seconds N] [--watched]`. A seed alone is tried once.
///
/// With `--watched`, standard input belongs to who started this: when it ends, so does the fuzzer, and says where it
/// was.
pub fn main(fuzzers: &[Fuzzer]) -> ExitCode {
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
    SEED.store(first, Ordering::Relaxed);
    let (begin, mut seed) = (Instant::now(), first);
    let short = name.to_string();
    std::thread::spawn(move || tell(&short, first, begin));
    if arguments.iter().any(|argument| argument == "--watched") {
        let short = name.to_string();
        std::thread::spawn(move || end_with_input(&short, first));
    }
    loop {
        if catch_unwind(AssertUnwindSafe(|| fuzz(&mut Random::new(seed)))).is_err() {
            println!("{name}: seed {seed} fails; again: cargo xtask fuzz {name} --seed {seed}");
            return ExitCode::FAILURE;
        }
        seed = seed.wrapping_add(1);
        SEED.store(seed, Ordering::Relaxed);
        if begin.elapsed() >= limit {
            break;
        }
    }
    println!("{name}: {} seeds from {first} on, {:.1} s", seed.wrapping_sub(first), begin.elapsed().as_secs_f64());
    ExitCode::SUCCESS
}

/// Says every few seconds how far it is.
fn tell(name: &str, first: u64, begin: Instant) {
    loop {
        std::thread::sleep(Duration::from_secs(5));
        let seed = SEED.load(Ordering::Relaxed);
        eprintln!("        {name}: seed {seed}, {} tried in {} s", seed.wrapping_sub(first), begin.elapsed().as_secs());
    }
}

/// Ends the program where standard input does, and says the seed that was reached.
fn end_with_input(name: &str, first: u64) {
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    let seed = SEED.load(Ordering::Relaxed);
    eprintln!(
        "{name}: interrupted at seed {seed}, {} tried; on: cargo xtask fuzz {name} --seed {seed} --seconds 60",
        seed.wrapping_sub(first)
    );
    std::process::exit(130);
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_secs().wrapping_mul(1_000_000)
}
