//! What a machine could leave behind at one step.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::hash::Hash;

use super::caller::Origin;
use super::fault::Call;
use super::line::{Line, UNIT_BYTES};
use super::medium::{Medium, SourceState};
use super::open::Left;
use super::oracle::name;
use super::report::Place;
use crate::Span;

/// What a machine could leave behind at one step.
#[derive(Clone, Debug)]
pub(super) struct Cut {
    pub(super) step: usize,
    pub(super) call: Call,
    pub(super) origin: Origin,
    pub(super) acknowledged: u64,
    pub(super) kept: Vec<u8>,
    /// How much the check had read by then, where it is cut itself.
    pub(super) reads: usize,
    pub(super) sources: Vec<SourceCut>,
}

#[derive(Clone, Debug)]
pub(super) struct SourceCut {
    pub(super) medium: Medium,
    pub(super) sure: Arc<Vec<u8>>,
    pub(super) lines: BTreeMap<usize, Arc<Line>>,
    pub(super) open: Left,
    pub(super) since: Arc<Vec<u32>>,
    pub(super) bad: Vec<Span>,
}

impl SourceCut {
    pub(super) fn of(source: &SourceState) -> Self {
        Self {
            medium: source.medium.after_cut(),
            sure: Arc::clone(&source.image.sure),
            lines: source.image.lines.clone(),
            open: source.image.open.clone(),
            since: Arc::clone(&source.image.since),
            bad: source.bad.clone(),
        }
    }

    /// Returns the line, of which something may be lost, that holds the unit at `offset`, and that unit.
    pub(super) fn line(&self, offset: usize) -> Option<(&Line, usize)> {
        let (start, line) = self.lines.range(..=offset).next_back()?;
        let unit = (offset - start) / UNIT_BYTES;
        (unit < line.units()).then_some((&**line, unit))
    }
}

impl Cut {
    /// Returns a number for all that a check can find after this cut, `bytes` among it: 128 bits, so that no two agree.
    pub(super) fn name(&self, bytes: impl Hash) -> u128 {
        let about = |source: &SourceCut| format!("{:?} {:?}", source.medium, source.bad);
        let sources: Vec<String> = self.sources.iter().map(about).collect();
        name((bytes, self.acknowledged, &self.kept, sources))
    }
}

impl Place {
    pub(super) fn of(cut: &Cut) -> Self {
        Self { step: cut.step, call: cut.call, origin: cut.origin }
    }

    /// Returns who stored what was first seen at `step`, as far as that is known.
    pub(super) fn of_store(cuts: &[Cut], step: usize) -> Option<Self> {
        let first = cuts.first()?.step;
        cuts.get(step.checked_sub(first + 1)?).map(Self::of)
    }
}
