//! The duties of memory that several hosts share: what is published is seen after a refresh, and nothing else is
//! undone.
#![allow(unsafe_code, reason = "the checks do with a port what a set does")]

use super::bed::{Bed, UNITS};
use super::{Breach, Finding, KEPT, ensure};
use crate::{Extent, Platform, Sharing, Source};

/// A platform, and its source.
type Host<'h, P, S> = (&'h P, &'h S);

/// [`Source::sharing`]: always the same.
pub fn sharing_stays<S: Source + ?Sized>(source: &S) -> Finding {
    let first = source.sharing();
    ensure(source.sharing() == first, Breach::of("always the same sharing"))?;
    KEPT
}

/// [`Source::sharing`]: not private, and the same on both hosts.
pub fn hosts_agree_on_sharing<P, Q, S, T>((_, one): Host<'_, P, S>, (_, other): Host<'_, Q, T>) -> Finding
where
    S: Source + ?Sized,
    T: Source + ?Sized,
{
    ensure(one.sharing() != Sharing::Private, Breach::of("a source that says that it is shared"))?;
    ensure(one.sharing() == other.sharing(), Breach::of("both hosts to say the same of the sharing"))?;
    KEPT
}

/// What [`Set::publish`](crate::Set::publish) does with a range that is mapped.
fn publish<P: Platform, S: Source + ?Sized>((platform, source): Host<'_, P, S>, range: Extent) {
    if source.sharing() != Sharing::Coherent {
        // SAFETY: the checks give ranges of mappings.
        unsafe { platform.write_back(range) };
    }
    platform.fence();
}

/// What [`Set::refresh`](crate::Set::refresh) does with a range that is mapped.
fn refresh<P: Platform, S: Source + ?Sized>((platform, source): Host<'_, P, S>, range: Extent) {
    if source.sharing() != Sharing::Coherent {
        platform.full_fence();
        // SAFETY: the checks give ranges of mappings.
        unsafe { platform.write_back_invalidate(range) };
    }
    platform.full_fence();
}

/// [`Platform::write_back`] and [`Platform::fence`] on one host, [`Platform::write_back_invalidate`] and
/// [`Platform::full_fence`] on the other: what the one has stored is what the other finds, and back again, also where
/// the other had it in its caches before.
pub fn published_bytes_reach_the_other_host<P, Q, S, T>(one: Host<'_, P, S>, other: Host<'_, Q, T>) -> Finding
where
    P: Platform,
    Q: Platform,
    S: Source<Space = P::Space> + ?Sized,
    T: Source<Space = Q::Space> + ?Sized,
{
    let (here, there) = (Bed::new(one.0, one.1, UNITS)?, Bed::new(other.0, other.1, UNITS)?);
    let (near, far) = (here.map(1, 2)?, there.map(1, 2)?);
    for seed in [60, 62] {
        near.store(seed);
        publish(one, near.extent);
        refresh(other, far.extent);
        far.holds(seed).map_err(|breach| Breach { expected: "published bytes, after a refresh", ..breach })?;
        far.store(seed.saturating_add(1));
        publish(other, far.extent);
        refresh(one, near.extent);
        let back = near.holds(seed.saturating_add(1));
        back.map_err(|breach| Breach { expected: "published bytes, after a refresh on the way back", ..breach })?;
    }
    near.unmap()?;
    far.unmap()?;
    KEPT
}

/// [`Platform::write_back_invalidate`]: of lines that this host has stored to; they are not lost, and then not hidden.
pub fn refreshing_keeps_what_was_stored_here<P, Q, S, T>(one: Host<'_, P, S>, other: Host<'_, Q, T>) -> Finding
where
    P: Platform,
    Q: Platform,
    S: Source<Space = P::Space> + ?Sized,
    T: Source<Space = Q::Space> + ?Sized,
{
    let (here, there) = (Bed::new(one.0, one.1, UNITS)?, Bed::new(other.0, other.1, UNITS)?);
    let (near, far) = (here.map(1, 2)?, there.map(1, 2)?);
    near.store(64);
    refresh(one, near.extent);
    near.holds(64)?;
    refresh(other, far.extent);
    far.holds(64).map_err(|breach| Breach { expected: "what was dirty to be written back by a refresh", ..breach })?;
    near.unmap()?;
    far.unmap()?;
    KEPT
}

/// [`Platform::write_back`]: of the lines of the range and no others, so that what another host has stored beside them
/// is not undone.
pub fn publishing_writes_no_other_lines<P, Q, S, T>(one: Host<'_, P, S>, other: Host<'_, Q, T>) -> Finding
where
    P: Platform,
    Q: Platform,
    S: Source<Space = P::Space> + ?Sized,
    T: Source<Space = Q::Space> + ?Sized,
{
    let (here, there) = (Bed::new(one.0, one.1, UNITS)?, Bed::new(other.0, other.1, UNITS)?);
    // Neighbours in one mapping here, and each in a mapping of its own there.
    let near = here.map(1, 2)?;
    near.store(65);
    publish(one, near.extent);
    let (first, second) = (there.map(1, 1)?, there.map(2, 1)?);
    refresh(other, second.extent);
    second.store(66);
    publish(other, second.extent);
    let mine = near.extent.slice(0, here.unit_bytes).unwrap_or(near.extent);
    publish(one, mine);
    refresh(other, second.extent);
    second.holds(66).map_err(|breach| Breach { expected: "no lines but those of the range written back", ..breach })?;
    refresh(other, first.extent);
    first.holds(65)?;
    first.unmap()?;
    second.unmap()?;
    near.unmap()?;
    KEPT
}
