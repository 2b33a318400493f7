//! Runs test programs and counts what they report.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use crate::support::processes::cargo;
use crate::support::progress;
use crate::support::tally::{Tally, say};

/// Core features that can be tested on the host; `defmt` needs a logger of the target's own.
pub(crate) const FEATURES: &str = "pmemset-core/sim,pmemset-core/spin-lock,pmemset-core/critical-section,\
    pmemset-core/embedded-io,pmemset-core/embedded-storage-async,pmemset-core/zerocopy,pmemset-linux/vm-memory";

/// Runs `cargo` with `arguments` and counts what its test programs report.
///
/// A test that cannot run here prints a line `SKIPPED reason` and returns; it is counted as skipped, not as passed.
pub(crate) fn counted(arguments: &[&str]) -> Tally {
    counted_by(cargo().args(arguments))
}

/// Does the same with a `cargo` of the caller's.
pub(crate) fn counted_by(cargo: &mut Command) -> Tally {
    let mut tally = Tally::default();
    let child = cargo.stdout(Stdio::piped()).spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => {
            tally.check("cargo", Err(error.to_string()));
            return tally;
        }
    };
    let mut shown = false;
    let success = progress::during(&progress::short(cargo), || {
        if let Some(output) = child.stdout.take() {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                count(&line, &mut tally);
                shown = show(&line, shown);
            }
        }
        child.wait().is_ok_and(|status| status.success())
    });
    if !success && tally.failed == 0 {
        tally.check(&format!("{cargo:?}"), Err("did not run to its end".into()));
    }
    tally
}

fn count(line: &str, tally: &mut Tally) {
    if line.starts_with("SKIPPED ") {
        tally.skipped += 1;
        tally.passed = tally.passed.saturating_sub(1);
        return;
    }
    let Some(result) = line.strip_prefix("test result: ") else { return };
    let number = |word: &str| -> usize {
        let before = result.split(word).next().unwrap_or_default();
        before.rsplit([' ', ';', '.']).find(|piece| !piece.is_empty()).and_then(|n| n.parse().ok()).unwrap_or(0)
    };
    tally.passed += number(" passed");
    tally.failed += number(" failed");
    tally.skipped += number(" ignored");
}

/// Prints what a person needs of a test program's output: skips, results and everything about failures.
fn show(line: &str, shown: bool) -> bool {
    let shown = match line {
        "successes:" => false,
        "failures:" => true,
        _ if line.starts_with("test result: ") => false,
        _ => shown,
    };
    let wanted = shown || line.starts_with("SKIPPED ");
    let noise = line.is_empty() || line.starts_with("running ") || line.chars().all(|c| ".i0123456789/ ".contains(c));
    if wanted && !noise && line != "successes:" {
        say(line);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_and_skips_are_counted() {
        let mut tally = Tally { passed: 1, ..Tally::default() };
        count("test result: ok. 35 passed; 2 failed; 4 ignored; 0 measured; 0 filtered out", &mut tally);
        count("SKIPPED no persistent memory here", &mut tally);
        count("35 passed", &mut tally);
        assert_eq!((tally.passed, tally.failed, tally.skipped), (35, 2, 5));
    }
}
