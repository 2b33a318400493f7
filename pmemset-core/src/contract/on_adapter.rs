//! The duties of a source that is made of another one: what the source inside knows is not lost, and not switched off.

use super::bed::length_of;
use super::{Breach, Finding, KEPT, ensure, skipped};
use crate::health::{BadBlocks, McsafeError};
use crate::health::{DeviceError, DeviceId};
use crate::{Sharing, Source, Span};

const NO_HEALTH: &str = "nothing is known of the medium of the source inside";

/// [`Source::space`]: that of the source inside.
pub fn adapter_is_in_the_same_space<I, O>(inner: &I, outer: &O) -> Finding
where
    I: Source + ?Sized,
    O: Source<Space = I::Space> + ?Sized,
{
    ensure(inner.space() == outer.space(), Breach::of("the address space of the source inside"))?;
    KEPT
}

/// [`Source::failed_write_back`]: the very one of the source inside, so that a failure is a failure of both.
pub fn adapter_shares_the_failed_write_back<I, O>(inner: &I, outer: &O) -> Finding
where
    I: Source + ?Sized,
    O: Source + ?Sized,
{
    let shared = core::ptr::eq(inner.failed_write_back(), outer.failed_write_back());
    ensure(shared, Breach::of("one place for the failed write-back of the adapter and of the source inside"))?;
    KEPT
}

/// The facts of a source: nothing finer, narrower or elsewhere than in the source inside.
pub fn adapter_promises_no_more<I: Source + ?Sized, O: Source + ?Sized>(inner: &I, outer: &O) -> Finding {
    let (needed, given) = (inner.alignment_bytes(), outer.alignment_bytes());
    ensure(given >= needed, Breach::of("the alignment of the source inside").number(needed as u64))?;
    let (needed, given) = (inner.write_granule_bytes(), outer.write_granule_bytes());
    ensure(given >= needed, Breach::of("the granule of the source inside").number(needed as u64))?;
    let (needed, given) = (inner.fixed_address(), outer.fixed_address());
    ensure(needed.is_none() == given.is_none(), Breach::of("the fixed address of the source inside"))?;
    let finer = inner.granularity().ok().zip(outer.granularity().ok()).is_some_and(|(needed, given)| given < needed);
    ensure(!finer, Breach::of("no granularity finer than that of the source inside"))?;
    let why = inner.granularity() != outer.granularity() || inner.granularity_limit() == outer.granularity_limit();
    ensure(why, Breach::of("why the source inside has no finer granularity"))?;
    let longer = length_of(outer)? > length_of(inner)?;
    ensure(!longer, Breach::of("no more bytes than the source inside has"))?;
    KEPT
}

/// [`Source::sharing`]: that of the source inside, or private; coherent memory may be taken for such that is not.
///
/// [`Shared`](crate::Shared), with which a user says what no source knows, breaks it on purpose.
pub fn adapter_shares_no_more<I: Source + ?Sized, O: Source + ?Sized>(inner: &I, outer: &O) -> Finding {
    let less = match (inner.sharing(), outer.sharing()) {
        (_, Sharing::Private) | (Sharing::Coherent, _) => true,
        (inside, outside) => inside == outside,
    };
    ensure(less, Breach::of("no more sharing than the source inside says"))?;
    KEPT
}

/// [`Health::shutdown`](crate::Health::shutdown), [`Health::bad_block_policy`](crate::Health::bad_block_policy): what
/// is checked of the source inside is checked of the adapter.
pub fn adapter_switches_no_check_off<I: Source + ?Sized, O: Source + ?Sized>(inner: &I, outer: &O) -> Finding {
    let Some(within) = inner.health() else { return skipped(NO_HEALTH) };
    let Some(without) = outer.health() else { return Err(Breach::of("the health of the source inside")) };
    let kept = within.shutdown().is_none() || without.shutdown().is_some();
    ensure(kept, Breach::of("the shutdown record of the source inside"))?;
    let as_strict = without.bad_block_policy() >= within.bad_block_policy();
    ensure(as_strict, Breach::of("the bad-block detection of the source inside"))?;
    KEPT
}

/// [`Health::device`](crate::Health::device), [`Health::bad_blocks`](crate::Health::bad_blocks),
/// [`Health::read_mcsafe`](crate::Health::read_mcsafe): the answers of the source inside.
pub fn adapter_knows_its_medium<I: Source + ?Sized, O: Source + ?Sized>(inner: &I, outer: &O) -> Finding {
    let Some(within) = inner.health() else { return skipped(NO_HEALTH) };
    let Some(without) = outer.health() else { return Err(Breach::of("the health of the source inside")) };
    let (mut first, mut second) = (DeviceId::new(), DeviceId::new());
    let counts = (within.device(&mut first), without.device(&mut second));
    let same = counts.0 == counts.1 && first.as_bytes() == second.as_bytes();
    ensure(same || counts.0 == Err(DeviceError::Unsupported), Breach::of("the device of the source inside"))?;
    let whole = Span::new(0, length_of(outer)?).ok_or(Breach::of("bytes to ask about"))?;
    let (mut one, mut other) = ([whole; 4], [whole; 4]);
    let known = (within.bad_blocks(whole, &mut one), without.bad_blocks(whole, &mut other));
    let unknown = matches!(known.0, BadBlocks::Unknown(_));
    ensure(unknown || (known.0 == known.1 && one == other), Breach::of("the bad blocks of the source inside"))?;
    let (mut one, mut other) = ([0; 8], [0; 8]);
    let read = (within.read_mcsafe(0, &mut one), without.read_mcsafe(0, &mut other));
    let same = read.0 == Err(McsafeError::Unsupported) || (read.0 == read.1 && one == other);
    ensure(same, Breach::of("the copies of the source inside"))?;
    KEPT
}
