//! All scenarios, by subject.

mod badblocks;
mod broken;
mod c;
mod cuts;
mod cxl;
mod demo;
mod devdax;
mod devdax_damage;
mod doctor;
mod facts;
mod files;
mod hosts;
mod itself;
mod mapped;
mod refusals;
mod state;
mod vanishing;

use crate::lab::Checks;

const SUBJECTS: [&[Checks]; 17] = [
    itself::CHECKS,
    demo::CHECKS,
    c::CHECKS,
    files::CHECKS,
    refusals::CHECKS,
    state::CHECKS,
    badblocks::CHECKS,
    broken::CHECKS,
    mapped::CHECKS,
    devdax::CHECKS,
    devdax_damage::CHECKS,
    cxl::CHECKS,
    facts::CHECKS,
    vanishing::CHECKS,
    doctor::CHECKS,
    hosts::CHECKS,
    cuts::CHECKS,
];

/// Returns what the scenario `name` does.
pub(crate) fn find(name: &str) -> Option<&'static Checks> {
    SUBJECTS.into_iter().flatten().find(|checks| checks.0 == name)
}

#[cfg(test)]
mod tests {
    use super::SUBJECTS;

    #[test]
    fn every_scenario_has_checks_and_a_machine() {
        let here: Vec<&str> = SUBJECTS.into_iter().flatten().map(|checks| checks.0).collect();
        let declared: Vec<&str> = lab_machine::SCENARIOS.iter().map(|scenario| scenario.name).collect();
        assert_eq!(here, declared, "the same names in the same order");
    }
}
