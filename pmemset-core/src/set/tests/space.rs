//! What is of another address space is refused, and an adapter passes on what its source says of itself.
#![allow(unsafe_code, reason = "an adapter implements an unsafe trait")]

use super::fake::PAGE;
use crate::error::MapError;
use crate::sim::{Hardware, Machine, Medium, SimPlatform, SimSource};
use crate::{
    BadBlockPolicy, Checked, Config, Granularity, MapConfig, Platform, Reservation, Set, Source, Span, forward_source,
};

#[test]
fn a_source_of_another_machine_is_refused_and_nothing_happens() {
    let (here, there) = (Machine::new(Hardware::new()), Machine::new(Hardware::new()));
    let source = there.add_source(Medium::new(PAGE as u64).growing_to(8 * PAGE as u64));
    let native = here.add_source(Medium::new(2 * PAGE as u64));
    let set: Set<'_, SimPlatform, &SimSource, _> =
        Set::with_capacity(here.platform(), Config::new(Granularity::Page), 4);
    let calls = (here.calls(), there.calls());
    let length = MapConfig::new().length(2 * PAGE);
    assert_eq!(set.map(&source, &length).unwrap_err(), MapError::OtherSpace);
    assert_eq!((here.calls(), there.calls(), set.segment_count()), (calls.0, calls.1, 0));
    set.map(&native, &length).unwrap();
}

#[test]
fn a_source_of_another_machine_than_the_reservation_is_refused() {
    let (here, there) = (Machine::new(Hardware::new()), Machine::new(Hardware::new()));
    let reservation = Reservation::with_capacity(there.platform(), 8 * PAGE, 4).unwrap();
    let (source, native) = (here.add_source(Medium::new(PAGE as u64)), there.add_source(Medium::new(PAGE as u64)));
    let set = Set::with_capacity(&reservation, Config::new(Granularity::Page), 4);
    assert_eq!(set.map(&source, &MapConfig::new()).unwrap_err(), MapError::OtherSpace);
    set.map(&native, &MapConfig::new()).unwrap();
}

/// An adapter with nothing of its own.
struct Wrapped<S>(S);

// SAFETY: every call goes on to the source inside.
unsafe impl<S: Source> Source for Wrapped<S> {
    type Space = S::Space;

    forward_source!(self { Self(source) => source });
}

#[test]
fn a_wrapped_source_keeps_its_checks_and_its_failure() {
    type Pool = Wrapped<Checked<SimSource, <SimPlatform as Platform>::Lock>>;
    let machine = Machine::new(Hardware::new());
    let medium = machine.add_source(Medium::new(2 * PAGE as u64));
    medium.damage(Span::new(0, 512).unwrap());
    let source: Pool = Wrapped(Checked::new(medium).bad_block_detection(BadBlockPolicy::Required));
    let set: Set<'_, SimPlatform, &Pool, _> =
        Set::with_capacity(machine.platform(), Config::new(Granularity::CacheLine), 4);
    let block = Span::new(0, 512).unwrap();
    assert_eq!(set.map(&source, &MapConfig::new()).unwrap_err(), MapError::BadBlock { block });
    assert!(core::ptr::eq(source.failed_write_back(), source.0.source().failed_write_back()));
}
