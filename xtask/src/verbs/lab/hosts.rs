//! Two machines over one memory: each is cut in the middle and boots again, and goes on where it was.

use core::time::Duration;
use std::fs;
use std::os::unix::fs::symlink;
use std::sync::OnceLock;

use super::cut::twice;
use super::vm::{Boot, End};
use crate::support::random::Random;

/// What the machines share. Each has its folder, in which these are, and a console of its own.
const SHARED: [&str; 3] = ["memory", "nfit.aml", "ssdt.aml"];

/// Has two machines exchange the records of a scenario; they are cut in turn, as often as it says.
///
/// # Errors
///
/// The first thing that is not as it must be.
pub(crate) fn exchange(boot: &Boot<'_>) -> Result<String, String> {
    let rounds = boot.scenario.rounds;
    let roles = [("producer", rounds.div_ceil(2)), ("consumer", rounds / 2)];
    let failed = &OnceLock::new();
    let boot = &Boot { failed: Some(failed), words: String::new(), plugin: None, ..*boot };
    let [producer, consumer] = std::thread::scope(|scope| {
        let start = |(role, cuts)| scope.spawn(move || lives(boot, role, cuts).map_err(|reason| failed.set(reason)));
        roles.map(start).map(std::thread::ScopedJoinHandle::join)
    });
    if let Some(reason) = failed.get() {
        return Err(reason.clone());
    }
    let (Ok(Ok(producer)), Ok(Ok(consumer))) = (producer, consumer) else {
        return Err("a machine's thread has panicked".into());
    };
    let records = boot.scenario.records;
    Ok(format!("{records} records; producer cut at {producer:?}, consumer at {consumer:?}"))
}

/// Boots one of the machines until all records are there; returns how many were acknowledged at each cut.
fn lives(boot: &Boot<'_>, role: &str, cuts: u32) -> Result<Vec<u64>, String> {
    let folder = boot.folder.join(role);
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    for name in SHARED {
        let link = folder.join(name);
        symlink(boot.folder.join(name), &link).map_err(|error| format!("{}: {error}", link.display()))?;
    }
    let records = boot.scenario.records;
    let mut random = Random::new();
    let (mut place, mut cut_at) = (Place::default(), Vec::new());
    for life in 0..=cuts {
        let last = life == cuts;
        let piece = records / (u64::from(cuts) + 2);
        let mark = if last { 0 } else { (piece * (u64::from(life) + 1) + random.below(piece.max(1))).max(1) };
        let words = format!("lab.role={role} lab.records={records} lab.mark={mark}");
        let cut_after = (!last).then(|| ("mark", Duration::from_millis(random.below(50))));
        let of = |reason: String| format!("{role}, boot {life}, mark {mark}: {reason}");
        let (end, said) = twice(&Boot { folder: &folder, words, plugin: None, cut_after, ..*boot })?;
        match end {
            End::Cut if !last => {}
            End::Done if last => {}
            End::Failed(reason) | End::NeverReached(reason) => return Err(of(reason)),
            other => return Err(of(format!("ended as {other:?}"))),
        }
        place.follow(&said.0).map_err(of)?;
        if !last {
            cut_at.push(place.acknowledged);
        }
    }
    place.ends_with(records).map_err(|reason| format!("{role}: {reason}"))?;
    Ok(cut_at)
}

/// How far a machine is, by what it has said.
#[derive(Default)]
struct Place {
    /// So many records are known to count.
    acknowledged: u64,
    /// So many may count.
    intended: u64,
}

impl Place {
    /// Follows what a machine has said from one boot to its end.
    fn follow(&mut self, said: &[String]) -> Result<(), String> {
        for line in said {
            let Some((word, number)) = line.split_once(' ') else { continue };
            let Ok(number) = number.parse() else { continue };
            let (acknowledged, intended) = (self.acknowledged, self.intended);
            let (right, now) = match word {
                // The cut came before or after what was intended, and never between.
                "begin" => {
                    (number == acknowledged || number == intended, Self { acknowledged: number, intended: number })
                }
                "will" => (number > acknowledged && acknowledged == intended, Self { acknowledged, intended: number }),
                "ack" => (number == intended, Self { acknowledged: number, intended }),
                _ => continue,
            };
            if !right {
                return Err(format!("{line:?}, when {acknowledged} records counted and {intended} were to"));
            }
            *self = now;
        }
        Ok(())
    }

    fn ends_with(&self, records: u64) -> Result<(), String> {
        let found = self.acknowledged;
        if found == records { Ok(()) } else { Err(format!("{found} of {records} records")) }
    }
}

#[cfg(test)]
mod tests {
    use super::Place;

    fn follow(lives: &[&str]) -> Result<(), String> {
        let mut place = Place::default();
        for life in lives {
            place.follow(&life.split(", ").map(str::to_owned).collect::<Vec<_>>())?;
        }
        place.ends_with(9)
    }

    #[test]
    fn a_machine_goes_on_where_it_was_cut() {
        let right: [&[&str]; 4] = [
            &["start, begin 0, will 4, ack 4, will 9, ack 9, done"],
            &["begin 0, will 4, ack 4, mark", "begin 4, will 9, ack 9"],
            &["begin 0, will 4, mark", "begin 0, will 9, ack 9"],
            &["begin 0, will 4, mark", "begin 4, will 9, ack 9"],
        ];
        for lives in right {
            assert_eq!(follow(lives), Ok(()), "{lives:?}");
        }
        let wrong: [&[&str]; 6] = [
            &["begin 0, will 4, ack 4", "begin 3, will 9, ack 9"],
            &["begin 0, will 4, ack 4", "begin 5, will 9, ack 9"],
            &["begin 0, will 4, ack 4, will 8", "begin 6, will 9, ack 9"],
            &["begin 0, will 4, ack 4, will 3, ack 3, will 9, ack 9"],
            &["begin 0, will 4, ack 4, will 6, will 9, ack 9"],
            &["begin 0, will 8, ack 8"],
        ];
        for lives in wrong {
            assert!(follow(lives).is_err(), "{lives:?}");
        }
    }
}
