//! All scenarios, by subject.

mod badblocks;
mod cuts;
mod cxl;
mod devdax;
mod files;
mod itself;
mod mapped;
mod refusals;
mod state;

use crate::machine::Scenario;

const SUBJECTS: [&[Scenario]; 9] = [
    itself::SCENARIOS,
    files::SCENARIOS,
    refusals::SCENARIOS,
    state::SCENARIOS,
    badblocks::SCENARIOS,
    mapped::SCENARIOS,
    devdax::SCENARIOS,
    cxl::SCENARIOS,
    cuts::SCENARIOS,
];

/// Returns every scenario.
pub(crate) fn all() -> impl Iterator<Item = &'static Scenario> {
    SUBJECTS.into_iter().flatten()
}
