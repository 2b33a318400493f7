//! All scenarios, by subject.

mod itself;

use crate::machine::Scenario;

/// Returns every scenario.
pub(crate) fn all() -> impl Iterator<Item = &'static Scenario> {
    [itself::SCENARIOS].into_iter().flatten()
}
