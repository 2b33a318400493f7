//! All scenarios, by subject.

mod badblocks;
mod cuts;
mod cxl;
mod devdax;
mod files;
mod itself;
mod refusals;
mod state;

use crate::machine::Scenario;

const SUBJECTS: [&[Scenario]; 8] = [
    itself::SCENARIOS,
    files::SCENARIOS,
    refusals::SCENARIOS,
    state::SCENARIOS,
    badblocks::SCENARIOS,
    devdax::SCENARIOS,
    cxl::SCENARIOS,
    cuts::SCENARIOS,
];

/// Returns every scenario.
pub(crate) fn all() -> impl Iterator<Item = &'static Scenario> {
    SUBJECTS.into_iter().flatten()
}
