//! The header and the cell by themselves, as firmware uses them.

use pmemset_core::sim::{Explore, Machine, Medium, SimPlatform, SimSource};
use pmemset_core::{Config, Granularity, MapConfig, Part, Set};

use super::{GRANULARITIES, PAGE, hardware};
use crate::cell::{CELL_BYTES, Cell, Content};
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

/// The value is the old one or the new one; with the mistake that it is written in place, it is neither.
#[test]
fn cell_holds_one_value_or_the_next() {
    let explore = |granularity, in_place: bool| {
        let work = move |machine: &Machine| {
            let _ = machine.add_source(Medium::new((2 * CELL_BYTES) as u64).granularity(granularity));
            with_part(machine, |part| {
                let (mut cell, content) = Cell::open(part, CELL_BYTES).unwrap();
                assert_eq!(content, Content::Nothing);
                assert!(cell.store(part, &[1; 24]).unwrap());
                machine.settle();
                for value in 2..5_u8 {
                    if in_place {
                        cell.forget_one();
                    }
                    assert!(cell.store(part, &[value; 24][..usize::from(value) * 6 - 6]).unwrap());
                    machine.acknowledge(value.into());
                }
            });
        };
        let check = |machine: &Machine| {
            with_part(machine, |part| {
                let (cell, _) = Cell::open(part, CELL_BYTES).unwrap();
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

#[test]
fn cells_refuse_what_is_too_long() {
    let machine = Machine::new(hardware());
    let _ = machine.add_source(Medium::new(CELL_BYTES as u64));
    with_part(&machine, |part| {
        let (mut cell, _) = Cell::open(part, 0).unwrap();
        assert_eq!(cell.store(part, &[1; 497]), Ok(false));
        assert_eq!(cell.store(part, &[1; 496]), Ok(true));
        assert_eq!(Cell::open(part, 0).unwrap(), (cell, Content::Value));
    });
}

/// As the documentation of [`Table`](crate::Table) says.
#[cfg(target_pointer_width = "64")]
#[test]
fn an_entry_of_a_table_takes_272_bytes() {
    assert_eq!(size_of::<crate::Entry>(), 272);
}
