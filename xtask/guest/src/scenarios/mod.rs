//! All scenarios, by subject.

mod badblocks;
mod broken;
mod cuts;
mod cxl;
mod demo;
mod devdax;
mod devdax_damage;
mod files;
mod itself;
mod mapped;
mod refusals;
mod state;

use crate::machine::Scenario;

const SUBJECTS: [&[Scenario]; 12] = [
    itself::SCENARIOS,
    demo::SCENARIOS,
    files::SCENARIOS,
    refusals::SCENARIOS,
    state::SCENARIOS,
    badblocks::SCENARIOS,
    broken::SCENARIOS,
    mapped::SCENARIOS,
    devdax::SCENARIOS,
    devdax_damage::SCENARIOS,
    cxl::SCENARIOS,
    cuts::SCENARIOS,
];

/// Returns every scenario.
pub(crate) fn all() -> impl Iterator<Item = &'static Scenario> {
    SUBJECTS.into_iter().flatten()
}
