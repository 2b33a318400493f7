//! Results counted and printed the way every verb reports them.

use core::cell::RefCell;
use std::fmt;

use crate::support::progress;

/// Whether a verb succeeded; `Err` is for what kept it from running at all.
pub(crate) type Outcome = Result<bool, Box<dyn core::error::Error>>;

/// Results counted the way every verb reports them.
#[derive(Debug, Default, Clone)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
}

impl Tally {
    /// Counts one check, and prints it.
    pub(crate) fn check(&mut self, name: &str, result: Result<(), String>) {
        match result {
            Ok(()) => {
                self.passed += 1;
                say(&format!("ok      {name}"));
            }
            Err(reason) => {
                self.failed += 1;
                say(&format!("FAILED  {name}: {reason}"));
            }
        }
    }

    /// Does one check, counts it and prints it.
    pub(crate) fn run(&mut self, name: &str, check: impl FnOnce() -> Result<(), String>) {
        let result = progress::during(name, check);
        self.check(name, result);
    }

    /// Counts one check that cannot run here, and prints why.
    pub(crate) fn skip(&mut self, name: &str, reason: &str) {
        self.skipped += 1;
        say(&format!("skipped {name}: {reason}"));
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }

    /// Reads the last line of a run.
    pub(crate) fn read(line: &str) -> Option<Self> {
        let mut pieces = line.trim().split(", ");
        let mut number = |word: &str| pieces.next()?.strip_suffix(word)?.trim_end().parse().ok();
        Some(Self { passed: number("passed")?, failed: number("failed")?, skipped: number("skipped")? })
    }

    /// Prints the last line of a run, and returns how a verb that only checks has ended.
    #[allow(clippy::unnecessary_wraps, reason = "what verbs return")]
    pub(crate) fn outcome(&self) -> Outcome {
        println!("\n{self}");
        Ok(self.good())
    }

    /// Says the same in a form that cannot be taken for the last line of a run.
    pub(crate) fn summary(&self) -> String {
        format!("{} ok, {} bad, {} left out", self.passed, self.failed, self.skipped)
    }

    /// Returns whether nothing failed, and something ran or was left out with a reason.
    pub(crate) fn good(&self) -> bool {
        self.failed == 0 && self.passed + self.skipped > 0
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

thread_local! {
    /// What this thread has said, where it is kept for later.
    static KEPT: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Says a line of results.
pub(crate) fn say(line: &str) {
    KEPT.with_borrow_mut(|kept| match kept {
        Some(text) => text.push_str(&format!("{line}\n")),
        None => println!("{line}"),
    });
}

/// Does `work`, and returns what it has said instead of printing it.
pub(crate) fn keeping<T>(work: impl FnOnce() -> T) -> (T, String) {
    let before = KEPT.replace(Some(String::new()));
    let result = work();
    (result, KEPT.replace(before).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::Tally;

    #[test]
    fn the_last_line_of_a_run_is_read() {
        let tally = Tally { passed: 12, failed: 3, skipped: 4 };
        let read = Tally::read(&tally.to_string()).unwrap();
        assert_eq!((read.passed, read.failed, read.skipped), (12, 3, 4));
        for other in ["", "12 passed", "12 passed, 3 failed", "x passed, 3 failed, 4 skipped", &tally.summary()] {
            assert!(Tally::read(other).is_none(), "{other}");
        }
    }
}
