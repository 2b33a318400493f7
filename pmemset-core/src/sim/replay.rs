//! The name of one way of a check after a power cut, short enough for a test's output.

use alloc::collections::VecDeque;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

/// A cut, and what survived of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    /// The number of the cut.
    pub(super) point: usize,
    /// Which of the values was found, for everything that can be one of several, in the order in which it is looked at;
    /// the newest, number 0, behind the end.
    pub(super) values: VecDeque<usize>,
}

/// Which way of the check failed; printed and parsed as `schedule@point:value.value…`, with `/` between cuts in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimReplay {
    pub(super) schedule: u64,
    pub(super) path: Vec<Choice>,
}

impl fmt::Display for SimReplay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.schedule)?;
        for (depth, Choice { point, values }) in self.path.iter().enumerate() {
            let used = values.iter().rposition(|value| *value != 0).map_or(0, |last| last + 1);
            let values: Vec<String> = values.iter().take(used).map(ToString::to_string).collect();
            write!(f, "{}{point}:{}", if depth == 0 { "@" } else { "/" }, values.join("."))?;
        }
        Ok(())
    }
}

impl FromStr for SimReplay {
    type Err = core::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (schedule, text) = text.split_once('@').unwrap_or((text, ""));
        let mut path = Vec::new();
        for cut in text.split('/').filter(|cut| !cut.is_empty()) {
            let (point, values) = cut.split_once(':').unwrap_or((cut, ""));
            let values = values.split('.').filter(|value| !value.is_empty());
            path.push(Choice { point: point.parse()?, values: values.map(str::parse).collect::<Result<_, _>>()? });
        }
        Ok(Self { schedule: schedule.parse()?, path })
    }
}
