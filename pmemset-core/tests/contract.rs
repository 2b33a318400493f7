//! The contract suite accepts the simulator, and finds each broken duty where it should.
#![allow(unsafe_code, reason = "ports that break their duties")]

mod ports;

use core::panic::AssertUnwindSafe;
use std::panic::catch_unwind;

use pmemset_core::contract::{self, Finding, Outcome};
use pmemset_core::lock::SpinRwLock;
use pmemset_core::sim::{Hardware, Machine, Medium};
use pmemset_core::{Checked, Granularity, Platform, Shared, Sharing, Source, Span, WithLock};
use ports::adapter::{Adapter, Knowing, Lapse};
use ports::board::{Board, Flaw};
use ports::fabric::{Fabric, Host, Misdeed};
use ports::liar::Liar;
use ports::simulated::{Fault, Port};

/// Returns the duties that are broken; a panic of the simulator, which guards itself, ends the list.
fn broken_duties<P: Platform>(platform: &P, source: &impl Source<Space = P::Space>) -> Vec<&'static str> {
    let mut broken = Vec::new();
    let checks = AssertUnwindSafe(|| check_duties(platform, source, &mut broken));
    if catch_unwind(checks).is_err() {
        broken.push("no panic");
    }
    broken
}

fn check_duties<P: Platform>(platform: &P, source: &impl Source<Space = P::Space>, broken: &mut Vec<&'static str>) {
    let mut report = |duty, finding: Finding| {
        if let Err(breach) = finding {
            println!("{duty}: {breach}");
            broken.push(duty);
        }
    };
    contract::platform(platform, &mut report);
    contract::source(platform, source, &mut report);
}

#[test]
fn simulator_keeps_the_contract() {
    let growing = Medium::new(1 << 14).growing_to(1 << 16);
    for granularity in [Granularity::Byte, Granularity::CacheLine, Granularity::Page] {
        let media = [growing, Medium::new(1 << 14), growing.alignment(8192).alignment(16384), Medium::new(20000)];
        for (medium, page_bytes) in media.into_iter().flat_map(|medium| [(medium, 4096), (medium, 256)]) {
            let machine = Machine::new(Hardware::new().page_bytes(page_bytes));
            // 4 units at least, whatever the alignment.
            let source = machine.add_source(medium.granularity(granularity));
            if source.alignment_bytes() > page_bytes {
                source.truncate(1 << 16);
            }
            assert_eq!(broken_duties(&machine.platform(), &source), [""; 0]);
            assert_eq!(machine.pages(), [], "everything is given back");
        }
    }
}

#[test]
fn damaged_source_keeps_the_contract() {
    let machine = Machine::new(Hardware::new());
    let source = machine.add_source(Medium::new(1 << 16).device(b"dimm", 3));
    for start in [9000, 5000, 40_000, 9064] {
        source.damage(Span::new(start, 64).unwrap());
    }
    assert_eq!(broken_duties(&machine.platform(), &source), [""; 0]);
}

#[test]
fn platform_with_another_lock_keeps_the_contract() {
    let machine = Machine::new(Hardware::new());
    let source = machine.add_source(Medium::new(1 << 16));
    let platform = WithLock::<_, SpinRwLock>::new(machine.platform());
    assert_eq!(broken_duties(&platform, &source), [""; 0]);
    assert_eq!(machine.pages(), [], "everything is given back");
}

#[test]
fn fixed_source_keeps_the_contract() {
    let machine = Machine::new(Hardware::new());
    let address = machine.address_space().start() + (1 << 20);
    let source = machine.add_source(Medium::new(1 << 16).growing_to(1 << 17).fixed_at(address));
    assert_eq!(broken_duties(&machine.platform(), &source), [""; 0]);
}

/// Every fault, and the first duty that finds it.
const FINDERS: &[(Fault, &str)] = &[
    (Fault::PageSize, "page_size_is_a_power_of_two_and_stays"),
    (Fault::Alignment, "suggested_alignment_is_whole_pages"),
    (Fault::ReservesTooMuch, "reservation_has_the_length_and_alignment_asked_for"),
    (Fault::IgnoresAlignment, "reservation_has_the_length_and_alignment_asked_for"),
    (Fault::ReservesTwice, "reservations_lie_apart"),
    (Fault::ReserveAtTakesWhatIsTaken, "reservation_is_refused_where_one_is"),
    (Fault::ReserveAtSaysInval, "reservation_is_refused_where_one_is"),
    (Fault::ReleaseFails, "released_space_can_be_reserved_again"),
    (Fault::ReleasesNothing, "released_space_can_be_reserved_again"),
    (Fault::TailReleasesAll, "tail_can_be_released_and_extended"),
    (Fault::PieceReleasesTail, "any_piece_can_be_released"),
    (Fault::Infinite, "impossible_reservation_is_refused"),
    (Fault::CopyLosesTheLastByte, "copy_moves_every_byte"),
    (Fault::CopyForwardOnly, "copy_moves_every_byte"),
    (Fault::FillIsLong, "fill_sets_every_byte"),
    (Fault::SourceAlignment, "alignment_is_a_power_of_two_and_stays"),
    (Fault::GranularityFlips, "granularity_stays"),
    (Fault::Granule, "write_granule_can_be_stored"),
    (Fault::SharingFlips, "sharing_stays"),
    (Fault::LengthShrinks, "length_is_enough_and_stays"),
    (Fault::GrowsBytesThatAreThere, "prepare_leaves_what_is_there"),
    (Fault::GrowsSilently, "prepare_grows_exactly_or_refuses"),
    (Fault::HoldsEverything, "prepare_grows_exactly_or_refuses"),
    (Fault::UndoesNever, "prepare_grows_exactly_or_refuses"),
    (Fault::GrowsWithoutRefusal, "impossible_growth_is_refused"),
    (Fault::UndoesAlways, "growth_in_use_is_not_undone"),
    (Fault::GivesBackNothing, "storage_is_given_back_or_kept"),
    (Fault::GivesBackTooMuch, "storage_is_given_back_or_kept"),
    (Fault::IgnoresOffset, "offset_selects_the_bytes"),
    (Fault::LosesBytes, "bytes_stay_from_mapping_to_mapping"),
    (Fault::UnmapLeavesHole, "unmapping_puts_the_placeholder_back"),
    (Fault::ReleaseLeavesMappings, "mappings_go_with_their_addresses"),
    (Fault::SyncOnlyWhole, "sync_takes_any_page"),
    (Fault::DeepFlushAligned, "deep_flush_takes_any_range"),
    (Fault::DeviceWithoutId, "device_stays"),
    (Fault::BlocksOutOfOrder, "bad_blocks_are_in_order"),
    (Fault::BlocksElsewhere, "bad_blocks_are_in_order"),
    (Fault::ReadsPastTheEnd, "mcsafe_copies_stay_inside"),
    (Fault::WritesNothing, "mcsafe_copies_go_where_they_are_told"),
    (Fault::MapsBehindTheEnd, "mapping_past_the_end_fails_and_keeps_the_placeholder"),
];

#[test]
fn right_port_passes() {
    let port = Port::new(None);
    assert_eq!(broken_duties(&port, &port), [""; 0]);
}

#[test]
fn broken_port_fails_in_the_expected_place() {
    for &(fault, finder) in FINDERS {
        let port = Port::new(Some(fault));
        assert_eq!(broken_duties(&port, &port).first(), Some(&finder), "{fault:?}");
    }
}

/// Every flaw of the port that stages, and the first duty that finds it.
const FLAWS: &[(Flaw, &str)] = &[
    (Flaw::LinesLongerThanPages, "cache_line_fits_the_page"),
    (Flaw::ReadsWholeWords, "read_copies_every_byte"),
    (Flaw::LinesWithoutInstructions, "granularity_suits_the_processor"),
    (Flaw::BytesOverCopies, "write_back_reaches_the_medium"),
    (Flaw::WideGranule, "write_granule_can_be_stored"),
    (Flaw::FixedBesideAlignment, "fixed_address_is_aligned"),
    (Flaw::MapReachesBehind, "mapping_leaves_its_neighbours"),
    (Flaw::MapReachesBefore, "offset_selects_the_bytes"),
    (Flaw::UnmapForgets, "bytes_stay_from_mapping_to_mapping"),
    (Flaw::UnmapWritesOnePageMore, "unmapping_changes_no_other_bytes"),
    (Flaw::WriteBackLosesBytes, "write_back_takes_any_range"),
    (Flaw::InvalidateForgets, "write_back_invalidate_takes_any_range"),
    (Flaw::SyncDoesNothing, "sync_reaches_the_medium"),
    (Flaw::SyncAtTheStart, "sync_changes_no_other_bytes"),
    (Flaw::SyncAtAnotherPage, "sync_reaches_the_medium"),
    (Flaw::SyncOfTheFirstPageOnly, "sync_reaches_the_medium"),
    (Flaw::SyncOfOnePageMore, "sync_changes_no_other_bytes"),
    (Flaw::SyncSpoilsTheMapping, "sync_takes_any_page"),
    (Flaw::DeepFlushAtTheStart, "deep_flush_changes_no_other_bytes"),
    (Flaw::DeepFlushOfOnePageMore, "deep_flush_changes_no_other_bytes"),
    (Flaw::AnotherSpace, "space_is_the_platforms_and_stays"),
    (Flaw::FailureKeptTwice, "failed_write_back_stays"),
    (Flaw::CopiesAppend, "mcsafe_copies_go_where_they_are_told"),
    (Flaw::CopiesAtTheStart, "mcsafe_copies_go_where_they_are_told"),
    (Flaw::ReadsAtTheStart, "mcsafe_copies_go_where_they_are_told"),
];

/// The duties of what the port that stages does not have, and why they are skipped.
const NOTHING_THERE: [(&str, &str); 5] = [
    ("fixed_address_is_aligned", "the source can be at any address"),
    ("growth_in_use_is_not_undone", "the source does not grow"),
    ("write_back_reaches_the_medium", "the source is synchronised by pages"),
    ("device_stays", "the source names no device"),
    ("bad_blocks_are_in_order", "the source cannot list its bad blocks"),
];

#[test]
fn right_port_that_stages_passes() {
    for once in [false, true] {
        let board = if once { Board::new(None).mapping_once() } else { Board::new(None) };
        let mut skipped = Vec::new();
        let mut report = |duty, finding: Finding| match finding {
            Ok(Outcome::Kept) => {}
            Ok(Outcome::Skipped(reason)) => skipped.push((duty, reason)),
            Err(breach) => panic!("{duty}: {breach}"),
        };
        contract::platform(&board, &mut report);
        contract::source(&board, &board, &mut report);
        assert_eq!(skipped.iter().any(|(duty, _)| *duty == "sync_reaches_the_medium"), once, "{skipped:?}");
        skipped.retain(|(duty, _)| *duty != "sync_reaches_the_medium");
        assert_eq!(skipped, NOTHING_THERE, "what such a source does not have, and nothing else");
        assert!(board.is_empty(), "everything is given back");
    }
}

#[test]
fn broken_port_that_stages_fails_in_the_expected_place() {
    for &(flaw, finder) in FLAWS {
        let board = Board::new(Some(flaw));
        let mut broken = Vec::new();
        check_duties(&board, &board, &mut broken);
        assert_eq!(broken.first(), Some(&finder), "{flaw:?}");
    }
}

#[test]
fn every_duty_has_a_planted_flaw() {
    let mut found: Vec<_> = FINDERS.iter().map(|(_, duty)| *duty).chain(FLAWS.iter().map(|(_, duty)| *duty)).collect();
    found.push("lock_excludes");
    let port = Port::new(None);
    let mut without = Vec::new();
    let mut report = |duty, _: Finding| {
        if !found.contains(&duty) {
            without.push(duty);
        }
    };
    contract::platform(&port, &mut report);
    contract::source(&port, &port, &mut report);
    assert_eq!(without, [""; 0]);
}

/// Lets readers in beside a writer.
struct OpenLock;

// SAFETY: none; nothing is kept behind it.
unsafe impl lock_api::RawRwLock for OpenLock {
    const INIT: Self = Self;
    type GuardMarker = lock_api::GuardSend;

    fn lock_shared(&self) {}
    fn try_lock_shared(&self) -> bool {
        true
    }
    unsafe fn unlock_shared(&self) {}
    fn lock_exclusive(&self) {}
    fn try_lock_exclusive(&self) -> bool {
        true
    }
    unsafe fn unlock_exclusive(&self) {}
}

#[test]
fn lock_that_excludes_nobody_is_found() {
    let board = Board::new(None);
    let mut broken = Vec::new();
    check_duties(&WithLock::<_, OpenLock>::new(&board), &board, &mut broken);
    assert_eq!(broken, ["lock_excludes"]);
}

#[test]
fn nothing_that_a_port_says_makes_the_suite_panic() {
    let (mut kept, mut broken) = (0, 0);
    for seed in 0..150 {
        println!("seed {seed}");
        let board = Board::new(None);
        let liar = Liar::new(&board, seed);
        let mut report = |_, finding: Finding| match finding {
            Ok(_) => kept += 1,
            Err(_) => broken += 1,
        };
        contract::platform(&liar, &mut report);
        contract::source(&liar, &liar, &mut report);
    }
    assert!(kept > 500 && broken > 500, "{kept} kept, {broken} broken");
}

#[test]
fn sync_that_hides_failures_is_found() {
    let right = Board::new(None);
    let found = contract::sync_tells_of_failures(&right, &right, &mut |broken| right.fail(broken));
    assert_eq!(found, Ok(Outcome::Kept));
    let wrong = Board::new(Some(Flaw::SyncHidesFailures));
    let found = contract::sync_tells_of_failures(&wrong, &wrong, &mut |broken| wrong.fail(broken));
    assert_eq!(found.unwrap_err().expected, "a sync that cannot reach the medium to fail");
    assert!(right.is_empty() && wrong.is_empty(), "everything is given back");
}

/// What an adapter may forget, and the duty that finds it.
const LAPSES: [(Lapse, &str); 16] = [
    (Lapse::AnotherSpace, "adapter_is_in_the_same_space"),
    (Lapse::Alignment, "adapter_promises_no_more"),
    (Lapse::Granule, "adapter_promises_no_more"),
    (Lapse::FixedAddress, "adapter_promises_no_more"),
    (Lapse::FinerGranularity, "adapter_promises_no_more"),
    (Lapse::GranularityLimit, "adapter_promises_no_more"),
    (Lapse::Longer, "adapter_promises_no_more"),
    (Lapse::Sharing, "adapter_shares_no_more"),
    (Lapse::FailureOfItsOwn, "adapter_shares_the_failed_write_back"),
    (Lapse::Health, "adapter_switches_no_check_off"),
    (Lapse::Record, "adapter_switches_no_check_off"),
    (Lapse::Detection, "adapter_switches_no_check_off"),
    (Lapse::Device, "adapter_knows_its_medium"),
    (Lapse::BlocksUnknown, "adapter_knows_its_medium"),
    (Lapse::NoBlocks, "adapter_knows_its_medium"),
    (Lapse::Copies, "adapter_knows_its_medium"),
];

/// Returns the duties of an adapter that are broken, and fails for those that are skipped.
fn lapses(inner: &Knowing, outer: &impl Source<Space = <Knowing as Source>::Space>) -> Vec<&'static str> {
    let mut broken = Vec::new();
    contract::adapter(inner, outer, &mut |duty, finding| match finding {
        Ok(Outcome::Kept) => {}
        Ok(Outcome::Skipped(reason)) => panic!("{duty}: {reason}"),
        Err(_) => broken.push(duty),
    });
    broken
}

#[test]
fn adapter_that_forgets_is_found() {
    let knowing = Knowing::new();
    assert_eq!(lapses(&knowing, &Adapter::new(&knowing, None)), [""; 0]);
    for (lapse, finder) in LAPSES {
        let broken = lapses(&knowing, &Adapter::new(&knowing, Some(lapse)));
        assert_eq!(broken.first(), Some(&finder), "{lapse:?}");
    }
    contract::adapter(&knowing, &&knowing, &mut |duty, _| {
        assert!(LAPSES.iter().any(|(_, finder)| *finder == duty), "no lapse is planted for {duty}");
    });
}

#[test]
fn adapters_of_the_crate_forget_nothing() {
    let knowing = Knowing::new();
    assert_eq!(lapses(&knowing, &&knowing), [""; 0], "a reference");
    let boxed: Box<dyn Source<Space = _>> = Box::new(&knowing);
    assert_eq!(lapses(&knowing, &boxed), [""; 0], "behind a pointer");
    let checked: Checked<_, SpinRwLock> = Checked::new(&knowing);
    assert_eq!(lapses(&knowing, &checked), [""; 0], "checks that are off do not switch those inside off");
    for (inside, said, broken) in [
        (Sharing::Private, Sharing::Private, false),
        (Sharing::Private, Sharing::Incoherent, true),
        (Sharing::Incoherent, Sharing::Coherent, true),
        (Sharing::Coherent, Sharing::Incoherent, false),
        (Sharing::Incoherent, Sharing::Private, false),
    ] {
        let inside = Shared::new(&knowing, inside);
        let mut found = Vec::new();
        contract::adapter(&inside, &Shared::new(&inside, said), &mut |duty, finding| {
            found.extend(finding.is_err().then_some(duty));
        });
        // What its user says is what it is for; nothing else is.
        assert_eq!(found, ["adapter_shares_no_more"][..usize::from(broken)], "{said} over {}", inside.sharing());
    }
}

/// What a host may do wrong with memory that it shares, and the duty that finds it.
const MISDEEDS: [(Misdeed, &str); 6] = [
    (Misdeed::SaysPrivate, "hosts_agree_on_sharing"),
    (Misdeed::SaysCoherent, "hosts_agree_on_sharing"),
    (Misdeed::WritesNothingBack, "published_bytes_reach_the_other_host"),
    (Misdeed::DropsNothing, "published_bytes_reach_the_other_host"),
    (Misdeed::DropsWhatIsDirty, "refreshing_keeps_what_was_stored_here"),
    (Misdeed::WritesAllBack, "publishing_writes_no_other_lines"),
];

/// Returns the duties that two hosts on one memory break, of which the first does something wrong.
fn misdeeds(misdeed: Option<Misdeed>) -> Vec<&'static str> {
    let fabric = Fabric::new();
    let (one, other) = (Host::new(&fabric, misdeed), Host::new(&fabric, None));
    let mut broken = Vec::new();
    contract::hosts((&one, &one), (&other, &other), &mut |duty, finding| {
        if let Err(breach) = finding {
            println!("{duty}: {breach}");
            broken.push(duty);
        }
    });
    broken
}

#[test]
fn hosts_that_share_are_told_from_those_that_do_not() {
    assert_eq!(misdeeds(None), [""; 0]);
    for (misdeed, finder) in MISDEEDS {
        assert_eq!(misdeeds(Some(misdeed)).first(), Some(&finder), "{misdeed:?}");
    }
    let fabric = Fabric::new();
    let host = Host::new(&fabric, None);
    contract::hosts((&host, &host), (&host, &host), &mut |duty, _| {
        assert!(MISDEEDS.iter().any(|(_, finder)| *finder == duty), "no misdeed is planted for {duty}");
    });
}
