//! Memory of a virtual machine in a part: what was stored is dirty until it is durable, and nothing else is written
//! back.
#![cfg(feature = "vm-memory")]

use std::sync::Mutex;

use pmemset_core::sim::{Call, Explore, Fault, Hardware, Machine, Medium, SimPlatform, SimSource};
use pmemset_core::{Answer, Config, Event, Extent, Granularity, MapConfig, Set, observer};
use pmemset_linux::GuestPart;
use vm_memory::bitmap::Bitmap;
use vm_memory::{Bytes, VolatileMemory, VolatileMemoryError};

const PAGE: usize = 4096;

fn hardware() -> Hardware {
    Hardware::new().address_space_bytes(16 * PAGE)
}

fn machine(granularity: Granularity) -> Machine {
    let machine = Machine::new(hardware());
    let _ = machine.add_source(Medium::new(6 * PAGE as u64).granularity(granularity));
    machine
}

type SimSet<'s> = Set<'s, SimPlatform, SimSource>;

fn set_of(machine: &Machine) -> SimSet<'static> {
    SimSet::with_capacity(machine.platform(), Config::new(Granularity::Page), 4)
}

fn map<'s>(machine: &Machine, set: &'s SimSet<'static>) -> GuestPart<&'s SimSet<'static>> {
    GuestPart::new(set.map(machine.source(0), &MapConfig::new()).unwrap())
}

#[test]
fn dirty_pages_and_no_others_are_persisted() {
    let machine = machine(Granularity::CacheLine);
    let persisted = Mutex::new(Vec::<Extent>::new());
    let observer = observer::from_fn(|event: &Event<'_, SimSource>| {
        if let Event::Persist { range, .. } = event {
            persisted.lock().unwrap().push(*range);
        }
        Answer::Proceed
    });
    let config = Config::new(Granularity::Page).observer(&observer);
    let set: Set<'_, SimPlatform, SimSource, _> = Set::with_capacity(machine.platform(), config, 4);
    let part = set.map(machine.source(0), &MapConfig::new().length(6 * PAGE)).unwrap();
    let extent = part.extent();
    let memory = GuestPart::new(part);
    let slice = memory.as_volatile_slice();
    slice.write_obj(7_u64, PAGE - 4).unwrap();
    slice.write_obj(8_u8, 3 * PAGE).unwrap();
    assert_eq!(slice.read_obj::<u64>(PAGE - 4).unwrap(), 7);
    assert_eq!(
        (0..6).map(|page| memory.dirty().dirty_at(page * PAGE)).collect::<Vec<_>>(),
        [true, true, false, true, false, false]
    );
    memory.persist_dirty().unwrap();
    let wanted = [extent.slice(0, 2 * PAGE).unwrap(), extent.slice(3 * PAGE, PAGE).unwrap()];
    assert_eq!(*persisted.lock().unwrap(), wanted);
    memory.persist_dirty().unwrap();
    assert_eq!(persisted.lock().unwrap().len(), 2, "nothing is dirty any more");
    slice.write_obj(9_u8, 6 * PAGE - 1).unwrap();
    memory.persist_dirty().unwrap();
    assert_eq!(persisted.lock().unwrap().last(), extent.slice(5 * PAGE, PAGE).as_ref());
}

#[test]
fn slices_end_with_the_part() {
    let machine = machine(Granularity::CacheLine);
    let set = set_of(&machine);
    let memory = map(&machine, &set);
    assert_eq!(memory.get_slice(6 * PAGE, 0).unwrap().len(), 0);
    for (offset, count) in [(6 * PAGE, 1), (1, 6 * PAGE)] {
        let error = memory.get_slice(offset, count).unwrap_err();
        assert!(matches!(error, VolatileMemoryError::OutOfBounds { .. }), "{error}");
    }
    let error = memory.get_slice(usize::MAX, 2).unwrap_err();
    assert!(matches!(error, VolatileMemoryError::Overflow { .. }), "{error}");
}

#[test]
fn what_could_not_be_made_durable_is_still_dirty() {
    let machine = machine(Granularity::Page);
    let set = set_of(&machine);
    let memory = map(&machine, &set);
    for page in [0, 2, 4] {
        memory.as_volatile_slice().write_obj(1_u8, page * PAGE).unwrap();
    }
    machine.fail(Fault::nth(1).only(Call::Sync));
    memory.persist_dirty().unwrap_err();
    let dirty = [0, 2, 4].map(|page| memory.dirty().dirty_at(page * PAGE));
    assert_eq!(dirty, [false, true, true]);
}

#[test]
fn what_was_persisted_survives_a_power_cut() {
    let explored = Explore::new(hardware()).run(
        |machine| {
            let _ = machine.add_source(Medium::new(6 * PAGE as u64));
            let set = set_of(machine);
            let memory = map(machine, &set);
            machine.settle();
            for number in 1..=3_u64 {
                memory.as_volatile_slice().write_obj(number, PAGE - 8).unwrap();
                memory.as_volatile_slice().write_obj(number, 4 * PAGE).unwrap();
                memory.persist_dirty().unwrap();
                machine.acknowledge(number);
            }
        },
        |machine| {
            let set = set_of(machine);
            let part = set.map(machine.source(0), &MapConfig::new()).unwrap();
            for offset in [PAGE - 8, 4 * PAGE] {
                let mut word = [0; 8];
                part.read(offset, &mut word).unwrap();
                if u64::from_le_bytes(word) < machine.acknowledged() {
                    return Err(format!("{word:?} at {offset:#x}"));
                }
            }
            Ok(())
        },
    );
    explored.unwrap().assert_complete();
}
