//! Everything that is measured.

mod books;
mod c;
mod checks;
mod copy;
mod fragmented;
mod iterate;
mod log;
mod look_up;
mod map;
mod open;
mod persist;
mod persist_many;
mod refresh;
mod touch;

use pmemset_bench::{Forced, PAGE, tmpfs_file};

use crate::report::Figure;

/// The most segments that a set has room for.
const SEGMENTS_MAX: usize = 65_536;

/// A figure: how it is called, and what it shows.
pub(crate) struct Subject {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// What the numbers beside the cases count.
    pub(crate) unit: &'static str,
    /// What a reader has to know.
    pub(crate) about: &'static str,
    pub(crate) run: fn(&mut Figure),
}

/// Every figure, in the order of the page.
pub(crate) const FIGURES: &[Subject] = &[
    map::SUBJECT,
    fragmented::SUBJECT,
    look_up::SUBJECT,
    iterate::SUBJECT,
    books::SUBJECT,
    persist::SUBJECT,
    persist_many::SUBJECT,
    refresh::SUBJECT,
    copy::SUBJECT,
    checks::SUBJECT,
    touch::SUBJECT,
    open::SUBJECT,
    log::SUBJECT,
    c::SUBJECT,
];

/// A small generator of random numbers; always the same ones.
pub(crate) struct Random(u64);

impl Random {
    const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((u128::from(self.0 >> 16) * limit as u128) >> 48).unwrap_or(0)
    }

    /// Returns the numbers below `n` in some order.
    fn order(n: usize) -> Vec<usize> {
        let mut random = Self::new(n as u64);
        let mut order: Vec<usize> = (0..n).collect();
        for i in (1..n).rev() {
            order.swap(i, random.below(i + 1));
        }
        order
    }
}

/// Returns how many mappings the process may have.
fn mappings_max() -> usize {
    let text = std::fs::read_to_string("/proc/sys/vm/max_map_count");
    text.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(65_530)
}
