//! Whether a history of one register is linearizable: each call may have happened at one moment between start and end.
//!
//! Every write has a value of its own, so what each read has read from is known, and no order need be searched (Gibbons
//! and Korach, "Testing shared memories", 1997). A value holds the register from its write to the last of its reads: of
//! two values, one goes before the other if a call of the one has ended before a call of the other began. A history is
//! wrong just if two values go before each other, a read ends before its write began, or a value was never written.

use core::fmt;
use std::collections::BTreeMap;

/// What a call has done to the register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// It has written this value, which nobody else writes.
    Write(u64),
    /// It has read this value, or that there was none.
    Read(Option<u64>),
}

/// A call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// When it began: later than 0.
    pub start: u64,
    /// When it was answered; `None`: it never was, and may have happened at any time later, or not at all.
    pub end: Option<u64>,
    /// What it has done.
    pub act: Act,
}

/// Why a history is not linearizable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Violation {
    /// This was read, and nobody has written it.
    Invented(u64),
    /// This was written twice: the history says nothing.
    WrittenTwice(u64),
    /// This was read before its write began.
    FromTheFuture(u64),
    /// Each of the two has been there before the other: a lost write, or a stale read.
    NoOrder(Option<u64>, Option<u64>),
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invented(value) => write!(f, "{value} was read, and never written"),
            Self::WrittenTwice(value) => write!(f, "{value} was written twice"),
            Self::FromTheFuture(value) => write!(f, "{value} was read before it was written"),
            Self::NoOrder(one, other) => write!(f, "{one:?} was there before {other:?}, and after it"),
        }
    }
}

impl core::error::Error for Violation {}

/// The calls of one value: the earliest end, and the latest start.
#[derive(Clone, Copy, Debug)]
struct Zone {
    value: Option<u64>,
    end_min: u64,
    start_max: u64,
}

/// Checks the calls of one register, which has no value at first.
///
/// # Errors
///
/// See [`Violation`].
pub fn check(calls: &[Call]) -> Result<(), Violation> {
    let mut zones = zones(calls)?;
    zones.sort_by_key(|zone| zone.end_min);
    // A value whose calls were not all at the same time holds the register from `end_min` to `start_max` at least.
    let (long, short): (Vec<Zone>, Vec<Zone>) = zones.into_iter().partition(|zone| zone.end_min < zone.start_max);
    for pair in long.windows(2) {
        if pair[1].end_min < pair[0].start_max {
            return Err(Violation::NoOrder(pair[0].value, pair[1].value));
        }
    }
    for zone in short {
        let before = long.partition_point(|long| long.end_min < zone.start_max);
        if let Some(long) = long[..before].last().filter(|long| zone.end_min < long.start_max) {
            return Err(Violation::NoOrder(long.value, zone.value));
        }
    }
    Ok(())
}

fn zones(calls: &[Call]) -> Result<Vec<Zone>, Violation> {
    let mut written = BTreeMap::from([(None, (0, 0))]);
    for call in calls {
        if let Act::Write(value) = call.act
            && written.insert(Some(value), (call.start, call.end.unwrap_or(u64::MAX))).is_some()
        {
            return Err(Violation::WrittenTwice(value));
        }
    }
    let mut zones = BTreeMap::new();
    for call in calls {
        // A call without an answer counts if its value was read.
        let (Some(end), Act::Read(value)) = (call.end, call.act) else { continue };
        let Some((write_start, write_end)) = written.get(&value) else {
            return Err(Violation::Invented(value.unwrap_or_default()));
        };
        if end < *write_start {
            return Err(Violation::FromTheFuture(value.unwrap_or_default()));
        }
        let zone = zones.entry(value).or_insert(Zone { value, end_min: *write_end, start_max: *write_start });
        zone.end_min = zone.end_min.min(end);
        zone.start_max = zone.start_max.max(call.start);
    }
    for (value, (start, end)) in written {
        if end < u64::MAX {
            zones.entry(value).or_insert(Zone { value, end_min: end, start_max: start });
        }
    }
    Ok(zones.into_values().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(value: u64, start: u64, end: u64) -> Call {
        Call { start, end: (end > 0).then_some(end), act: Act::Write(value) }
    }

    fn read(value: u64, start: u64, end: u64) -> Call {
        Call { start, end: Some(end), act: Act::Read((value > 0).then_some(value)) }
    }

    #[test]
    fn what_a_register_may_do_and_what_not() {
        assert_eq!(check(&[]), Ok(()));
        assert_eq!(check(&[read(0, 1, 2), write(1, 3, 4), read(1, 5, 6)]), Ok(()));
        assert_eq!(check(&[write(1, 1, 6), read(0, 2, 3), read(1, 4, 5)]), Ok(()));
        assert_eq!(check(&[write(1, 1, 0), read(0, 2, 3), read(1, 40, 50)]), Ok(()));
        assert_eq!(check(&[write(1, 1, 2), read(2, 3, 4)]), Err(Violation::Invented(2)));
        assert_eq!(check(&[read(1, 1, 2), write(1, 3, 4)]), Err(Violation::FromTheFuture(1)));
        assert_eq!(check(&[write(1, 1, 2), read(0, 3, 4)]), Err(Violation::NoOrder(None, Some(1))));
        let lost = [write(1, 1, 2), write(2, 3, 4), read(1, 5, 6)];
        assert_eq!(check(&lost), Err(Violation::NoOrder(Some(1), Some(2))));
        let stale = [write(1, 1, 2), write(2, 3, 0), read(2, 5, 6), read(1, 7, 8)];
        assert_eq!(check(&stale), Err(Violation::NoOrder(Some(1), Some(2))));
        assert_eq!(check(&[write(1, 1, 2), write(1, 3, 4)]), Err(Violation::WrittenTwice(1)));
    }

    /// Tries every order.
    fn some_order(left: &[Call], value: Option<u64>) -> bool {
        let done = |call: &Call| call.end.is_none();
        if left.iter().all(done) {
            return true;
        }
        (0..left.len()).any(|place| {
            let call = left[place];
            let first = left.iter().all(|other| other.end.is_none_or(|end| end >= call.start));
            let next = match call.act {
                Act::Write(written) => Some(written),
                Act::Read(read) if read == value || call.end.is_none() => value,
                Act::Read(_) => return false,
            };
            let mut rest = left.to_vec();
            rest.remove(place);
            first && some_order(&rest, next)
        })
    }

    #[test]
    fn says_the_same_as_trying_every_order() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut below = |limit: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % limit
        };
        let mut seen = [0, 0];
        for _ in 0..20_000 {
            let writes = 1 + below(3);
            let calls: Vec<Call> = (0..writes + below(4))
                .map(|number| {
                    let start = 1 + below(8);
                    let end = (below(6) > 0).then(|| start + below(6));
                    let read = below(writes + 1);
                    let act =
                        if number < writes { Act::Write(number + 1) } else { Act::Read((read > 0).then_some(read)) };
                    Call { start, end, act }
                })
                .collect();
            let linearizable = check(&calls).is_ok();
            assert_eq!(linearizable, some_order(&calls, None), "{calls:?}");
            seen[usize::from(linearizable)] += 1;
        }
        assert!(seen.iter().all(|count| *count > 2000), "{seen:?}");
    }
}
