//! All scenarios, by subject.

mod cuts;
mod files;
mod itself;
mod refusals;

use crate::machine::Scenario;

/// Returns every scenario.
pub(crate) fn all() -> impl Iterator<Item = &'static Scenario> {
    [itself::SCENARIOS, files::SCENARIOS, cuts::SCENARIOS, refusals::SCENARIOS].into_iter().flatten()
}
