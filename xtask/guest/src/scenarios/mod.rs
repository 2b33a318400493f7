//! All scenarios, by subject.

mod badblocks;
mod cuts;
mod devdax;
mod files;
mod itself;
mod refusals;
mod state;

use crate::machine::Scenario;

/// Returns every scenario.
pub(crate) fn all() -> impl Iterator<Item = &'static Scenario> {
    [
        itself::SCENARIOS,
        files::SCENARIOS,
        cuts::SCENARIOS,
        refusals::SCENARIOS,
        state::SCENARIOS,
        badblocks::SCENARIOS,
        devdax::SCENARIOS,
    ]
    .into_iter()
    .flatten()
}
