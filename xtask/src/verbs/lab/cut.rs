//! Cuts the power at random times, and has the next boot look at what is left.

use core::time::Duration;

use super::image::copy;
use super::vm::{Boot, End, Said, plugin_arguments};
use crate::support::qemu::Plugged;
use crate::support::random::Random;
use crate::support::tally::say;
use lab_machine::{Cut, Scenario};

/// Returns between 50 and 1,250 ms.
fn delay(random: &mut Random) -> Duration {
    Duration::from_millis(50 + random.below(1200))
}

/// Runs the rounds of a scenario; each boot checks what the cut before has left, and writes on until the next.
///
/// # Errors
///
/// The first thing that is not as it must be.
pub(crate) fn rounds(first: Boot<'_>, plugin: Option<&Plugged>) -> Result<String, String> {
    let (scenario, plain) = (first.scenario, first.qemu);
    let mut boot = Boot { plugin: plugin.map(|(_, plugin)| plugin_arguments(plugin)), ..first };
    if let Some((qemu, _)) = plugin {
        boot.qemu = qemu;
    }
    let mut random = Random::new();
    let (mut acknowledged, mut total) = (0_u64, 0_u64);
    for round in 0..=scenario.rounds {
        let last = round == scenario.rounds;
        boot.words = format!("lab.phase={round} lab.ack={acknowledged} lab.last={}", u8::from(last));
        // Half of the cuts may come before anything was acknowledged; the others do not, however slow the machine is.
        let from = if round % 2 == 0 { "ack" } else { "ready" };
        boot.cut_after = (!last).then(|| (from, delay(&mut random)));
        if last {
            // Nothing more is cut, and the QEMU that takes the plugin may crash when it ends by itself.
            (boot.plugin, boot.qemu) = (None, plain);
        }
        if boot.plugin.is_some() {
            copy(&boot.folder.join("memory"), &boot.folder.join("durable"))?;
        }
        let (end, said) = twice(&boot)?;
        if let Some(reason) = said.last("lost") {
            if !scenario.loses {
                return Err(format!("round {round}: lost {reason}"));
            }
            return Ok(format!("data lost as it must be, in round {round}"));
        }
        match end {
            End::Cut => {}
            End::Done if last => {}
            End::Failed(reason) | End::NeverReached(reason) => return Err(format!("round {round}: {reason}")),
            other => return Err(format!("round {round}: ended as {other:?} instead of being cut")),
        }
        let at = said.last("ack").and_then(|number| number.parse().ok()).unwrap_or(acknowledged);
        total += at.saturating_sub(acknowledged);
        acknowledged = at;
        if scenario.cut == Cut::Flushed {
            copy(&boot.folder.join("durable"), &boot.folder.join("memory"))?;
        }
    }
    verdict(scenario, total)
}

/// Judges rounds none of which has lost anything.
fn verdict(scenario: &Scenario, total: u64) -> Result<String, String> {
    if total == 0 {
        return Err("no record was ever acknowledged".into());
    }
    if scenario.loses {
        return Err(format!(
            "{} power cuts and nothing lost: the lab would not notice a missing flush",
            scenario.rounds
        ));
    }
    Ok(format!("{} power cuts, {total} records kept", scenario.rounds))
}

/// Boots; and once more if the machine never reached the test program.
pub(crate) fn twice(boot: &Boot<'_>) -> Result<(End, Said), String> {
    match boot.run()? {
        (End::NeverReached(reason), _) => {
            say(&format!("again   {}: {reason}", boot.scenario.name));
            boot.run()
        }
        other => Ok(other),
    }
}

#[cfg(test)]
mod tests {
    use lab_machine::{SCENARIOS, Scenario};

    use super::verdict;

    #[test]
    fn a_canary_that_loses_nothing_is_a_failure() {
        let canary = Scenario { loses: true, rounds: 5, ..SCENARIOS[0] };
        assert!(verdict(&canary, 100).is_err());
        let right = Scenario { loses: false, ..canary };
        assert!(verdict(&right, 100).is_ok());
        assert!(verdict(&right, 0).is_err(), "nothing was tested");
    }
}
