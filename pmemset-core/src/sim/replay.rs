//! The name of one state after a power cut, short enough for a test's output.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

/// Which state the check did not accept; printed and parsed as `point:content.content…`, with `/` between cuts in a
/// row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimReplay {
    /// For each cut in a row: its number, and which content of each unsure line survives.
    pub(super) path: Vec<(usize, Vec<usize>)>,
}

impl fmt::Display for SimReplay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (depth, (point, choice)) in self.path.iter().enumerate() {
            let choice: Vec<String> = choice.iter().map(ToString::to_string).collect();
            write!(f, "{}{point}:{}", if depth == 0 { "" } else { "/" }, choice.join("."))?;
        }
        Ok(())
    }
}

impl FromStr for SimReplay {
    type Err = core::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut path = Vec::new();
        for cut in text.split('/') {
            let (point, choice) = cut.split_once(':').unwrap_or((cut, ""));
            let digits = choice.split('.').filter(|digit| !digit.is_empty());
            path.push((point.parse()?, digits.map(str::parse).collect::<Result<_, _>>()?));
        }
        Ok(Self { path })
    }
}
