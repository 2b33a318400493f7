//! Small programs of two hosts whose outcomes are known, and random ones in every order there is.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::RefCell;

use super::program::Program;
use super::{Host, Hosts, HostsExplored, HostsFailure};
use crate::sim::random::Random;
use crate::sim::{Hardware, Machine, Medium, SimPlatform, SimSource};
use crate::{Config, CopyFlags, Granularity, MapConfig, Set, SharedPart, Sharing};

const DIRTY: CopyFlags = CopyFlags::NOFLUSH;

fn hardware() -> Hardware {
    Hardware::new().page_bytes(256).address_space_bytes(1 << 12)
}

fn medium() -> Medium {
    Medium::new(256).sharing(Sharing::Incoherent)
}

fn one(machine: &Machine) {
    let _ = machine.add_source(medium());
}

type Shared<'s, 'm> = SharedPart<&'s Set<'m, SimPlatform, SimSource>>;

fn with_part<T>(host: &Host, act: impl FnOnce(&Shared<'_, '_>) -> T) -> T {
    let set: Set<'_, _, _> = Set::with_capacity(host.platform(), Config::new(Granularity::Page), 1);
    let part = set.map(host.source(0), &MapConfig::new()).unwrap().into_shared().unwrap();
    act(&part)
}

fn put(part: &Shared<'_, '_>, offset: usize, value: u64) {
    part.write_with(offset, &value.to_le_bytes(), DIRTY).unwrap();
}

fn get(part: &Shared<'_, '_>, offset: usize) -> u64 {
    let mut bytes = [0; 8];
    part.read(offset, &mut bytes).unwrap();
    u64::from_le_bytes(bytes)
}

fn explored(cuts: usize, hosts: &[Program<'_>]) -> Result<HostsExplored, HostsFailure> {
    Hosts::new(hardware()).cuts(cuts).run(one, hosts, |_| Ok(()))
}

/// Returns everything that the last host can find, and that all have accepted.
fn found(
    cuts: usize,
    writer: impl Fn(&Shared<'_, '_>),
    reader: impl Fn(&Shared<'_, '_>) -> Vec<u64>,
) -> BTreeSet<Vec<u64>> {
    let all = RefCell::new(BTreeSet::new());
    let writer = |host: &Host| {
        with_part(host, |part| writer(part));
        Ok(())
    };
    let reader = |host: &Host| {
        all.borrow_mut().insert(with_part(host, |part| reader(part)));
        Ok(())
    };
    explored(cuts, &[&writer, &reader]).unwrap_or_else(|failure| panic!("{failure}")).assert_complete();
    all.into_inner()
}

fn set_of<const N: usize>(all: &[[u64; N]]) -> BTreeSet<Vec<u64>> {
    all.iter().map(|one| one.to_vec()).collect()
}

#[test]
fn a_first_read_may_be_old_and_may_be_newer_than_was_published() {
    let writer = |part: &Shared<'_, '_>| put(part, 0, 1);
    assert_eq!(found(0, writer, |part| vec![get(part, 0)]), set_of(&[[0], [1]]));
    // What was seen is not unseen.
    assert_eq!(found(0, writer, |part| vec![get(part, 0), get(part, 0)]), set_of(&[[0, 0], [0, 1], [1, 1]]));
}

#[test]
fn a_message_is_passed_by_two_publications_and_two_refreshes() {
    for left_out in 0..5 {
        let writer = move |part: &Shared<'_, '_>| {
            put(part, 64, 42);
            if left_out != 1 {
                part.publish(64, 8).unwrap();
            }
            put(part, 0, 1);
            if left_out != 2 {
                part.publish(0, 8).unwrap();
            }
        };
        let reader = move |part: &Shared<'_, '_>| {
            if left_out != 3 {
                part.refresh(0, 8).unwrap();
            }
            let ready = get(part, 0);
            if left_out != 4 {
                part.refresh(64, 8).unwrap();
            }
            vec![ready, get(part, 64)]
        };
        let all = found(0, writer, reader);
        let wrong = all.contains(&vec![1, 0]);
        // Without the publication of the mark, or the refresh before it, nothing wrong is seen, at most nothing.
        assert_eq!(wrong, matches!(left_out, 1 | 4), "{left_out}: {all:?}");
    }
}

#[test]
fn persisting_at_byte_granularity_publishes_nothing() {
    for (granularity, publishes) in [(Granularity::Byte, false), (Granularity::CacheLine, true)] {
        let writer = |host: &Host| {
            with_part(host, |part| {
                put(part, 0, 7);
                part.persist(0, 8).unwrap();
            });
            host.acknowledge(1);
            Ok(())
        };
        let reader = |host: &Host| {
            with_part(host, |part| {
                let told = host.acknowledged_by(0);
                part.refresh(0, 8).unwrap();
                let value = get(part, 0);
                if told == 1 && value != 7 { Err(format!("persisted, and still {value}")) } else { Ok(()) }
            })
        };
        let prepare = |machine: &Machine| drop(machine.add_source(medium().granularity(granularity)));
        let explored = Hosts::new(hardware()).run(prepare, &[&writer, &reader], |_| Ok(()));
        assert_eq!(explored.is_ok(), publishes, "{granularity}: {explored:?}");
    }
}

#[test]
fn what_a_cut_leaves_is_one_value_for_everybody() {
    // The host that starts again, and the other one, which refreshes, agree.
    let restarts = |host: &Host| {
        with_part(host, |part| {
            if host.life() == 0 {
                put(part, 0, 1);
                put(part, 64, 2);
                part.publish(0, 8).unwrap();
                return Ok(());
            }
            let (first, second) = (get(part, 64), get(part, 64));
            host.acknowledge(10 + second);
            if first == second { Ok(()) } else { Err("read twice after a cut, and found two things".into()) }
        })
    };
    let all = RefCell::new(BTreeSet::new());
    let other = |host: &Host| {
        with_part(host, |part| {
            let told = host.acknowledged_by(0);
            part.refresh(64, 8).unwrap();
            let value = get(part, 64);
            all.borrow_mut().insert((told, value));
            if told >= 10 && told - 10 != value { Err(format!("{told} told, {value} found")) } else { Ok(()) }
        })
    };
    let explored = explored(1, &[&restarts, &other]).unwrap_or_else(|failure| panic!("{failure}"));
    assert!(explored.cuts > 0);
    assert_eq!(all.into_inner(), [(0, 0), (0, 2), (10, 0), (12, 2)].into());
}

#[test]
fn caches_that_are_saved_lose_nothing() {
    for (granularity, saved) in [(Granularity::Byte, true), (Granularity::CacheLine, false)] {
        let writer = |host: &Host| {
            with_part(host, |part| {
                if host.life() == 0 {
                    put(part, 0, 7);
                    host.acknowledge(1);
                    return Ok(());
                }
                let value = get(part, 0);
                if host.acknowledged() == 1 && value != 7 { Err(format!("lost: {value}")) } else { Ok(()) }
            })
        };
        let prepare = |machine: &Machine| drop(machine.add_source(medium().granularity(granularity)));
        let explored = Hosts::new(hardware()).cuts(1).run(prepare, &[&writer], |_| Ok(()));
        assert_eq!(explored.is_ok(), saved, "{granularity}: {explored:?}");
    }
}

#[test]
fn two_hosts_that_store_to_one_line_are_told() {
    let first = |host: &Host| {
        with_part(host, |part| {
            put(part, 0, 1);
            part.publish(0, 8).unwrap();
            Ok(())
        })
    };
    let second = |host: &Host| {
        with_part(host, |part| {
            put(part, 8, 1);
            part.publish(8, 8).unwrap();
            Ok(())
        })
    };
    let message = explored(0, &[&first, &second]).unwrap_err().message;
    assert!(message.contains("stores to a line of source 0 of which it may not have the newest store"), "{message}");
    let apart = |host: &Host| {
        with_part(host, |part| {
            put(part, 64, 1);
            part.publish(64, 8).unwrap();
            Ok(())
        })
    };
    explored(2, &[&first, &apart]).unwrap().assert_complete();
    // A line that was published there and refreshed here has changed hands.
    let takes_over = |host: &Host| {
        with_part(host, |part| {
            if host.acknowledged_by(0) == 1 {
                part.refresh(0, 64).unwrap();
                put(part, 8, get(part, 0) + 1);
                part.publish(8, 8).unwrap();
            }
            Ok(())
        })
    };
    let hands_over = |host: &Host| {
        first(host)?;
        host.acknowledge(1);
        Ok(())
    };
    let check = |host: &Host| {
        with_part(host, |part| match (get(part, 0), get(part, 8)) {
            (1, 0 | 2) => Ok(()),
            other => Err(format!("{other:?}")),
        })
    };
    Hosts::new(hardware()).run(one, &[&hands_over, &takes_over], check).unwrap().assert_complete();
}

#[test]
fn a_refresh_publishes_what_was_stored_here() {
    let writer = |host: &Host| {
        with_part(host, |part| {
            put(part, 0, 7);
            part.refresh(0, 8).unwrap();
            if get(part, 0) != 7 {
                return Err("lost".into());
            }
            host.acknowledge(1);
            Ok(())
        })
    };
    let check = |host: &Host| {
        with_part(host, |part| match (host.acknowledged_by(0), get(part, 0)) {
            (1, 7) | (0, _) => Ok(()),
            other => Err(format!("{other:?}")),
        })
    };
    Hosts::new(hardware()).run(one, &[&writer], check).unwrap().assert_complete();
}

#[test]
fn pointers_and_programs_that_are_not_the_same_again_are_refused() {
    let lends = |host: &Host| {
        with_part(host, |part| {
            let _ = part.as_ptr(0, 8);
            Ok(())
        })
    };
    let message = explored(0, &[&lends]).unwrap_err().message;
    assert!(message.contains("is lent, and shared"), "{message}");
    let runs = core::cell::Cell::new(0);
    let other_each_time = |host: &Host| {
        with_part(host, |part| {
            runs.set(runs.get() + 1);
            let _ = (get(part, 64 * (runs.get() % 2)), get(part, 128));
            Ok(())
        })
    };
    let explore = || explored(0, &[&other_each_time]);
    assert!(std::panic::catch_unwind(core::panic::AssertUnwindSafe(explore)).is_err());
}

/// Something that a random program does.
#[derive(Clone, Copy, Debug)]
enum Op {
    Store(usize, u64),
    Stream(usize, u64),
    Load(usize),
    Publish(usize),
    Refresh(usize),
    Tell(u64),
    Ask,
}

/// Returns a program of host `me`, which stores to a line of its own; what it does may depend on what it has loaded.
fn program(random: &mut Random, me: usize) -> Vec<(bool, Op)> {
    let mut next = 10 * me as u64;
    (0..3 + random.below(4))
        .map(|_| {
            let (mine, any) = (64 * me + 8 * random.below(2), 64 * random.below(2) + 8 * random.below(2));
            next += 1;
            let op = match random.below(9) {
                0 | 1 => Op::Store(mine, next),
                2 => Op::Stream(mine, next),
                3 | 4 => Op::Load(any),
                5 => Op::Publish(64 * me),
                6 => Op::Refresh(any),
                7 => Op::Tell(next),
                _ => Op::Ask,
            };
            (random.below(4) == 0, op)
        })
        .collect()
}

fn perform(host: &Host, me: usize, program: &[(bool, Op)]) -> Result<(), String> {
    with_part(host, |part| {
        let mut last = 1;
        for (depends, op) in program {
            if *depends && last & 1 == 0 {
                continue;
            }
            match *op {
                Op::Store(offset, value) => put(part, offset, value + last),
                Op::Stream(offset, value) => {
                    part.write_with(offset, &value.to_le_bytes(), CopyFlags::NODRAIN).unwrap();
                }
                Op::Load(offset) => last = get(part, offset),
                Op::Publish(line) => part.publish(line, 64).unwrap(),
                Op::Refresh(offset) => part.refresh(offset, 8).unwrap(),
                Op::Tell(value) => host.acknowledge(value),
                Op::Ask => last = host.acknowledged_by(1 - me),
            }
        }
        Ok(())
    })
}

/// The orders that are left out make no outcome that those that are not do not make, and the other way round.
#[test]
fn random_programs_come_out_as_in_every_order() {
    let (mut outcomes, mut states) = (0, [0, 0]);
    for seed in 0..150_u64 {
        let mut random = Random::new(seed);
        let programs = [program(&mut random, 0), program(&mut random, 1)];
        let hosts = [0, 1].map(|me| {
            let program = &programs[me];
            move |host: &Host| perform(host, me, program)
        });
        let cuts = (seed % 3 == 0) as usize;
        let mut all = [false, true].map(|everywhere| {
            let explore = Hosts::new(hardware()).cuts(cuts);
            let mut search = explore.search(one, &[&hosts[0], &hosts[1]], &|_| Ok(()), everywhere);
            search.run(64, cuts).unwrap_or_else(|failure| panic!("seed {seed}: {failure}"));
            assert_eq!(search.found.bounded, 0);
            states[usize::from(everywhere)] += search.found.states;
            search.outcomes
        });
        let [reduced, whole] = &mut all;
        assert_eq!(reduced, whole, "seed {seed}: {programs:?}");
        outcomes += whole.len();
    }
    println!("{outcomes} outcomes, {} states, {} in every order", states[0], states[1]);
    assert!(outcomes > 300 && states[1] > 2 * states[0], "{outcomes} {states:?}");
}
