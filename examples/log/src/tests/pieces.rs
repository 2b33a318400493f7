//! The header and the cell by themselves, as firmware uses them.

use pmemset_core::sim::{Explore, Machine, Medium, SimPlatform, SimSource};
use pmemset_core::{Config, Granularity, MapConfig, Part, Set};

use super::{GRANULARITIES, PAGE, hardware};
use crate::cell::{COPY_BYTES, Cell, Content};

use crate::header::{Header, Opened};

const HEADER: Header = Header { magic: *b"a thing.", version: 3, layout: [7, 8, 9, 10, 11] };

type Parts = Set<'static, SimPlatform, SimSource>;

fn with_part<T>(machine: &Machine, act: impl FnOnce(&Part<&Parts>) -> T) -> T {
    let set: Parts = Set::with_capacity(machine.platform(), Config::new(Granularity::Page), 1);
    let part = set.map(machine.source(0).reopen(), &MapConfig::new()).unwrap();
    act(&part)
}

/// Whoever finds the header finds what was made durable before it; a torn one is made anew, also when that is cut.
#[test]
fn header_is_there_after_what_it_vouches_for() {
    let begin = |machine: &Machine| {
        with_part(machine, |part| {
            let prepare = || part.write(128, &[5; 16]).map_err(crate::header::HeaderError::Failed);
            HEADER.open_with(part, 0, prepare)
        })
    };
    for granularity in GRANULARITIES {
        let work = |machine: &Machine| {
            let _ = machine.add_source(Medium::new(PAGE as u64).granularity(granularity));
            machine.settle();
            assert_eq!(begin(machine), Ok(Opened::Made));
            machine.acknowledge(1);
        };
        let check = |machine: &Machine| match (begin(machine), machine.acknowledged()) {
            (Ok(Opened::Made), 1) => Err("it was there, and is made again".to_owned()),
            (Ok(opened), _) => {
                let behind = machine.source(0).bytes(128, 16);
                machine.acknowledge(1);
                if opened == Opened::Made || opened == Opened::Found(HEADER.layout) && behind == [5; 16] {
                    Ok(())
                } else {
                    Err(format!("{opened:?}, and behind it {behind:?}"))
                }
            }
            (Err(error), _) => Err(error.to_string()),
        };
        let explored = Explore::new(hardware()).depth(1).run(work, check);
        explored.unwrap_or_else(|failure| panic!("{granularity:?}: {failure}")).assert_complete();
    }
}

/// Not from the front on, and the second copy before the first.
const COPIES: [usize; 2] = [2 * COPY_BYTES, 0];

/// The value is the old one or the new one; with the mistake that one fence is for both copies, it may be neither.
#[test]
fn cell_holds_one_value_or_the_next() {
    let explore = |granularity, at_once: bool| {
        let work = move |machine: &Machine| {
            let _ = machine.add_source(Medium::new((3 * COPY_BYTES) as u64).granularity(granularity));
            with_part(machine, |part| {
                let (mut cell, content) = Cell::open(part, COPIES).unwrap();
                assert_eq!(content, Content::Nothing);
                assert!(cell.store(part, &[1; 24]).unwrap());
                machine.settle();
                for value in 2..5_u8 {
                    let bytes = &[value; 24][..usize::from(value) * 6 - 6];
                    let stored = if at_once { cell.store_at_once(part, bytes) } else { cell.store(part, bytes) };
                    assert!(stored.unwrap());
                    machine.acknowledge(value.into());
                }
            });
        };
        let check = |machine: &Machine| {
            with_part(machine, |part| {
                let (cell, _) = Cell::open(part, COPIES).unwrap();
                let mut value = [0; 24];
                let length = cell.load(part, &mut value).unwrap();
                let (found, told) = (u64::from(value[0]), machine.acknowledged().max(1));
                let whole = value[..length].iter().all(|byte| *byte == value[0]);
                let right = if found == 1 { 24 } else { (found as usize * 6).saturating_sub(6) };
                let one_of_both = whole && length == right && (found == told || found == told + 1);
                if one_of_both { Ok(()) } else { Err(format!("{told} was told: {:?}", &value[..length])) }
            })
        };
        Explore::new(hardware()).run(work, check)
    };
    for granularity in GRANULARITIES {
        let explored = explore(granularity, false);
        explored.unwrap_or_else(|failure| panic!("{granularity:?}: {failure}")).assert_complete();
    }
    explore(Granularity::CacheLine, true).unwrap_err();
}

/// Once a value is acknowledged, damage to a copy leaves it, and damage to both is told: the one before never comes
/// back.
#[test]
fn a_damaged_value_is_never_taken_for_the_one_before() {
    let machine = Machine::new(hardware());
    let _ = machine.add_source(Medium::new((3 * COPY_BYTES) as u64));
    with_part(&machine, |part| {
        let (mut cell, _) = Cell::open(part, COPIES).unwrap();
        for value in 1..=4_u8 {
            cell.store(part, &[value; 24]).unwrap();
            // Flipped, and what is left when a page that cannot be read has been cleared.
            for damage in [vec![1; 1], vec![0; 40]] {
                for byte in 0..40 {
                    let spoil = |copy: usize| {
                        let (mut before, at) =
                            (vec![0; damage.len()], if damage.len() > 1 { copy } else { copy + byte });
                        part.read(at, &mut before).unwrap();
                        let changed = if damage.len() > 1 { damage.clone() } else { vec![before[0] ^ damage[0]] };
                        part.write(at, &changed).unwrap();
                        (at, before)
                    };
                    for copy in COPIES {
                        let (at, before) = spoil(copy);
                        let (found, content) = Cell::open(part, COPIES).unwrap();
                        let mut bytes = [0; 24];
                        assert_eq!((content, found.load(part, &mut bytes)), (Content::Value, Ok(24)));
                        assert_eq!(bytes, [value; 24], "byte {byte} of the copy at {copy}");
                        // It is whole again, also for the next store, which begins with the damaged copy.
                        found.refresh(part).unwrap();
                        assert_eq!(Cell::open(part, COPIES).unwrap(), (cell, Content::Value));
                        part.write(at, &before).unwrap();
                    }
                    let (at, before) = spoil(COPIES[1]);
                    let (other_at, other_before) = spoil(COPIES[0]);
                    let content = Cell::open(part, COPIES).unwrap().1;
                    // Nothing can tell two cleared pages from new ones.
                    assert_eq!(content, if damage.len() > 1 { Content::Nothing } else { Content::Damaged });
                    part.write(at, &before).unwrap();
                    part.write(other_at, &other_before).unwrap();
                }
            }
        }
    });
}

#[test]
fn cells_refuse_what_is_too_long() {
    let machine = Machine::new(hardware());
    let _ = machine.add_source(Medium::new((3 * COPY_BYTES) as u64));
    with_part(&machine, |part| {
        let (mut cell, _) = Cell::open(part, COPIES).unwrap();
        assert_eq!(cell.store(part, &[1; 497]), Ok(false));
        assert_eq!(cell.store(part, &[1; 496]), Ok(true));
        assert_eq!(Cell::open(part, COPIES).unwrap(), (cell, Content::Value));
    });
}

/// As the documentation of [`Table`](crate::Table) says.
#[cfg(target_pointer_width = "64")]
#[test]
fn an_entry_of_a_table_takes_272_bytes() {
    assert_eq!(size_of::<crate::Entry>(), 272);
}
