//! What an exploration says beside its verdict: reads in an order that never was, flushes and fences for nothing, what
//! was left out, how far it is; and threads, whose steps it interleaves.
#![allow(unsafe_code, reason = "reads through an address that nobody has asked for")]
#![allow(clippy::cast_possible_truncation, reason = "numbers of entries, which are small")]

use core::cell::Cell;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use pmemset_core::sim::{Call, Explore, Explored, Failure, Hardware, Hint, Machine, Medium, SimPlatform, SimSource};
use pmemset_core::{Config, CopyFlags, Granularity, MapConfig, Set};

type SimSet<'s, O = ()> = Set<'s, SimPlatform, SimSource, O>;
type Part<'s> = pmemset_core::Part<&'s SimSet<'static>>;

const DURABLY: CopyFlags = CopyFlags::empty();

fn with_part<T>(machine: &Machine, act: impl FnOnce(&mut Part<'_>) -> T) -> T {
    let set = SimSet::with_capacity(machine.platform(), Config::new(Granularity::CacheLine), 4);
    let mapped = set.map(machine.source(0), &MapConfig::new()).unwrap().extent();
    act(&mut set.part_at(mapped.start()).unwrap())
}

fn run(
    explore: Explore,
    work: impl Fn(&Machine, &Part<'_>),
    check: impl Fn(&mut Part<'_>) -> Result<(), String>,
) -> Result<Explored, Failure> {
    explore.run(
        |machine| {
            let _ = machine.add_source(Medium::new(4096));
            with_part(machine, |part| {
                machine.settle();
                work(machine, part);
            });
        },
        |machine| with_part(machine, |part| check(part)),
    )
}

fn get(part: &Part<'_>, word: usize) -> u64 {
    let mut bytes = [0; 8];
    part.read(word * 8, &mut bytes).unwrap();
    u64::from_le_bytes(bytes)
}

fn explore() -> Explore {
    Explore::new(Hardware::new())
}

#[test]
fn what_was_read_in_an_order_that_never_was_is_told() {
    let outcome = |flags: CopyFlags| {
        run(
            explore(),
            move |_, part| {
                part.write_with(0, &[1; 8], flags).unwrap();
                part.write_with(64, &[1; 8], DURABLY).unwrap();
            },
            // Reads both, and is content with whatever it finds.
            |part| match (get(part, 0), get(part, 8)) {
                (0 | 0x0101_0101_0101_0101, 0 | 0x0101_0101_0101_0101) => Ok(()),
                other => Err(format!("{other:?}")),
            },
        )
        .unwrap()
    };
    assert_eq!(outcome(DURABLY).unordered, []);
    let lost = outcome(CopyFlags::NOFLUSH);
    let [pair] = lost.unordered[..] else { panic!("{lost}") };
    assert_eq!((pair.lost, pair.later), ((0, 0), (0, 64)));
    let line = |place: Option<pmemset_core::sim::Place>| place.unwrap().origin.unwrap().line();
    assert_eq!(line(pair.lost_place) + 1, line(pair.later_place), "{lost}");
}

#[test]
fn cut_within_a_removal_is_told_by_its_line() {
    let removed_at = Cell::new(0);
    let outcome = explore().run(
        |machine| {
            let set = SimSet::with_capacity(machine.platform(), Config::new(Granularity::CacheLine), 4);
            let part = set.map(machine.add_source(Medium::new(4096)), &MapConfig::new()).unwrap();
            part.write(0, &[1; 8]).unwrap();
            machine.settle();
            removed_at.set(line!() + 1);
            set.remove(part).unwrap();
        },
        |_| Err("whatever is found".to_owned()),
    );
    let failure = outcome.unwrap_err();
    assert_eq!(failure.call(), Call::WriteBack, "{failure}");
    assert_eq!(failure.cuts[0].before.origin.map(|origin| origin.line()), Some(removed_at.get()), "{failure}");
}

#[test]
fn flushes_and_fences_for_nothing_are_told() {
    let outcome = run(
        explore(),
        |_, part| {
            part.write_with(0, &[1; 8], CopyFlags::TEMPORAL).unwrap();
            part.persist(0, 8).unwrap(); // for nothing, the fence as well
            part.write_with(0, &[2; 8], CopyFlags::NOFLUSH).unwrap();
            part.persist(0, 8).unwrap();
        },
        |_| Ok(()),
    );
    let hints = outcome.unwrap().hints;
    let [(Hint::FlushedTwice(Some(flush)), 1), (Hint::NothingToFence(Some(fence)), 1)] =
        hints.iter().map(|(hint, times)| (*hint, *times)).collect::<Vec<_>>()[..]
    else {
        panic!("{hints:?}")
    };
    assert_eq!((flush.line(), flush.file()), (fence.line(), file!()));
}

#[test]
fn slices_and_pointers_are_decided_at_once_and_what_is_stored_never() {
    // Four lines, of which two units each are old or new.
    let runs = |check: fn(&mut Part<'_>) -> bool| {
        let outcome = run(
            explore(),
            |_, part| (0..4).for_each(|line| part.write_with(line * 64, &[1; 16], CopyFlags::NOFLUSH).unwrap()),
            |part| if check(part) { Ok(()) } else { Err("not accepted".to_owned()) },
        );
        outcome.unwrap().runs
    };
    // SAFETY: nobody else uses the source.
    let slice = runs(|part| unsafe { part.as_slice(0, 16) }.unwrap().iter().all(|byte| *byte < 2));
    // SAFETY: mapped.
    let pointer = runs(|part| unsafe { part.as_ptr(64, 8).unwrap().read_volatile() } < 2);
    let nothing = runs(|_| true);
    let stored = runs(|part| {
        part.fill(0, 9, 256, DURABLY).unwrap();
        let mut bytes = [0; 256];
        part.read(0, &mut bytes).unwrap();
        bytes == [9; 256]
    });
    assert_eq!((slice, pointer, nothing, stored), (4, 2, 1, 1));
}

#[test]
fn reads_at_addresses_that_nobody_has_asked_for_are_told() {
    let outcome = explore().run(
        |machine| {
            let _ = machine.add_source(Medium::new(4096));
            with_part(machine, |part| {
                machine.settle();
                part.write_with(0, &[1; 8], CopyFlags::NOFLUSH).unwrap();
            });
            machine.acknowledge(1);
        },
        |machine| {
            let told = machine.acknowledged() == 1;
            let byte = with_part(machine, |part| {
                let address = core::ptr::with_exposed_provenance::<u8>(part.extent().start());
                // SAFETY: mapped.
                unsafe { address.read_volatile() }
            });
            if told && byte == 0 { Err("lost".to_owned()) } else { Ok(()) }
        },
    );
    let message = outcome.unwrap_err().message;
    assert!(message.starts_with("lost") && message.contains("not got from a part"), "{message}");
}

static PROGRESS: AtomicUsize = AtomicUsize::new(0);

#[test]
fn progress_and_what_is_left_out_are_told() {
    let explore = explore().runs_max(1200).progress(|progress| {
        assert!(progress.cut_point < progress.cut_points && !progress.to_string().is_empty());
        PROGRESS.fetch_add(1, Ordering::Relaxed);
    });
    let outcome = run(
        explore,
        |_, part| (0..11).for_each(|line| part.write_with(line * 64, &[1; 8], CopyFlags::NOFLUSH).unwrap()),
        |part| if (0..11).all(|line| get(part, line * 8) < u64::MAX) { Ok(()) } else { Err(String::new()) },
    );
    let explored = outcome.unwrap();
    assert!(explored.bounded > 0 && explored.runs == 1200 && !explored.is_complete(), "{explored}");
    assert!(explored.to_string().contains("NOT COMPLETE"), "{explored}");
    assert!(PROGRESS.load(Ordering::Relaxed) > 11);
}

#[test]
fn sums_are_followed_once() {
    let outcome = |summarises: bool| {
        explore()
            .run(
                |machine| {
                    let _ = machine.add_source(Medium::new(4096));
                    with_part(machine, |part| {
                        machine.settle();
                        part.fill(0, 1, 12 * 64, CopyFlags::NOFLUSH).unwrap();
                    });
                },
                |machine| {
                    with_part(machine, |part| {
                        let mut lines = 0;
                        for line in 0..12 {
                            lines += u64::from(get(part, line * 8) != 0);
                            if summarises {
                                machine.summary(&lines);
                            }
                        }
                        if lines <= 12 { Ok(()) } else { Err(format!("{lines}")) }
                    })
                },
            )
            .unwrap()
    };
    let (all, few) = (outcome(false), outcome(true));
    assert!(all.runs >= 1 << 12 && few.runs < 100 && few.is_complete(), "{all}\n{few}");
}

/// Two threads append to one log; `right` gives each entry a mark of its own.
fn appending_threads(right: bool) -> Result<Explored, Failure> {
    let work = |machine: &Machine, part: &Part<'_>| {
        let taken = AtomicU64::new(0);
        let append = |value: u8| {
            let number = taken.fetch_add(1, Ordering::SeqCst) as usize;
            part.write_with(64 + number * 64, &[value; 16], DURABLY).unwrap();
            let mark = if right { number * 8 } else { 0 };
            let count = if right { 1 } else { taken.load(Ordering::SeqCst) };
            part.write_with(mark, &count.to_le_bytes(), DURABLY).unwrap();
        };
        machine.threads([&|| append(1), &|| append(2)]);
    };
    let check = move |part: &mut Part<'_>| {
        let there = |number: usize| {
            let first = get(part, 8 + number * 8);
            first != 0 && first == get(part, 9 + number * 8)
        };
        let promised = |number: usize| if right { get(part, number) == 1 } else { get(part, 0) > number as u64 };
        match (0..2).find(|number| promised(*number) && !there(*number)) {
            Some(number) => Err(format!("entry {number} is promised, and not there")),
            None => Ok(()),
        }
    };
    run(explore().schedules(40), work, check)
}

#[test]
fn cuts_fall_between_any_two_steps_of_threads() {
    appending_threads(true).unwrap().assert_complete();
    let failure = appending_threads(false).unwrap_err();
    assert!(failure.message.ends_with("is promised, and not there"), "{failure}");
    // By its replay the same schedule fails again, by itself.
    let again = appending_threads(false).unwrap_err();
    assert_eq!((failure.replay, failure.message), (again.replay, again.message));
}

#[test]
fn threads_wait_for_the_lock_of_a_set() {
    let outcome = explore().schedules(10).run(
        |machine| {
            let sources = [0, 1].map(|_| machine.add_source(Medium::new(4096)));
            let set = SimSet::with_capacity(machine.platform(), Config::new(Granularity::CacheLine), 4);
            machine.settle();
            let live = |index: usize| {
                let mapped = set.map(sources[index].clone(), &MapConfig::new()).unwrap().extent();
                let part = set.part_at(mapped.start()).unwrap();
                part.write_with(0, &[7; 64], DURABLY).unwrap();
                set.remove(part).unwrap();
            };
            machine.threads([&|| live(0), &|| live(1)]);
            machine.acknowledge(1);
        },
        |machine| {
            machine.every(2, |index| match machine.source(index).words(0, 1)[0] {
                0 if machine.acknowledged() == 1 => Err("lost".to_owned()),
                _ => Ok(()),
            })
        },
    );
    outcome.unwrap().assert_complete();
}
