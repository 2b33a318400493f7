//! All scenarios, by subject.

mod cuts;
mod files;
mod itself;

use crate::machine::Scenario;

/// Returns every scenario.
pub(crate) fn all() -> impl Iterator<Item = &'static Scenario> {
    [itself::SCENARIOS, files::SCENARIOS, cuts::SCENARIOS].into_iter().flatten()
}
