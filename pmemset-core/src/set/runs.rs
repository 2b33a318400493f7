//! Many ranges as the lines or pages that they touch, each once.

use crate::Extent;

/// Runs of whole units that the ranges touch: ascending, apart from each other, each unit in one of them.
#[derive(Debug)]
pub(super) struct Runs<'r> {
    ranges: &'r [Extent],
    unit_bytes: usize,
    /// Everything below is done.
    from: usize,
    /// The lowest units from there on, where they have been looked for already.
    ahead: Option<Extent>,
    ascending: bool,
}

impl<'r> Runs<'r> {
    /// `unit_bytes` is a power of two.
    pub(super) fn new(ranges: &'r [Extent], unit_bytes: usize) -> Self {
        Self { ranges, unit_bytes, from: 0, ahead: None, ascending: ranges.is_sorted_by_key(|range| range.start()) }
    }

    /// Returns the lowest units, from `from` on, that one of the ranges touches; of ascending ones each is asked once.
    fn lowest(&mut self, from: usize) -> Option<Extent> {
        let unit_bytes = self.unit_bytes;
        let rest = move |range: &Extent| range.align_outward(unit_bytes).unwrap_or(*range).starting_at(from);
        if !self.ascending {
            return self.ranges.iter().filter_map(rest).min_by_key(|range| range.start());
        }
        while let [first, others @ ..] = self.ranges {
            self.ranges = others;
            if let Some(rest) = rest(first) {
                return Some(rest);
            }
        }
        None
    }
}

impl Iterator for Runs<'_> {
    type Item = Extent;

    fn next(&mut self) -> Option<Extent> {
        let mut run = self.ahead.or_else(|| self.lowest(self.from))?;
        loop {
            self.from = run.end();
            self.ahead = self.lowest(self.from);
            match self.ahead {
                Some(more) if more.start() == run.end() => run = Extent::between(run.start(), more.end())?,
                _ => return Some(run),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_unit_once() {
        // Every choice of three ranges in a small world, in every order.
        let all: Vec<Extent> =
            (0..24_usize).step_by(3).flat_map(|at| [1, 4, 9].map(|n| Extent::new(at, n).unwrap())).collect();
        for a in &all {
            for b in &all {
                for c in &all {
                    let ranges = [*a, *b, *c];
                    let runs: Vec<Extent> = Runs::new(&ranges, 4).collect();
                    let units: Vec<usize> = runs.iter().flat_map(|run| (run.start()..run.end()).step_by(4)).collect();
                    let touched = |unit: &usize| ranges.iter().any(|r| r.overlaps(Extent::new(*unit, 4).unwrap()));
                    let model: Vec<usize> = (0..48).step_by(4).filter(touched).collect();
                    assert_eq!(units, model, "{ranges:?}");
                    assert!(runs.is_sorted_by(|one, other| one.end() < other.start()), "{runs:?}");
                }
            }
        }
    }
}
