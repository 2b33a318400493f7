//! The map and the queue of `sequential-storage`.

use std::collections::VecDeque;

use embedded_storage_async::nor_flash::{ErrorType, MultiwriteNorFlash, NorFlash, ReadNorFlash};
use pmemset_core::error::FlashError;
use pmemset_core::sim::{Explored, Failure, Machine};
use pmemset_core::{CopyFlags, Flash};
use sequential_storage::cache::Cache;
use sequential_storage::map::{MapConfig, MapStorage};
use sequential_storage::queue::{QueueConfig, QueueStorage};

use super::{SimPart, SimSet, explored, now, with_part};

/// Two entries a page: one that is erased has few units, and can be half erased in few ways.
const PAGE_BYTES: usize = 64;
const LENGTH: u32 = 256;
const KEYS: u32 = 3;

type Pages<'s> = Flash<&'s SimSet<'static>, 4, PAGE_BYTES>;

fn with_flash<T>(machine: &Machine, act: impl FnOnce(Pages<'_>) -> T) -> T {
    with_part(machine, |part| act(Flash::new(part).unwrap()))
}

/// Stores numbers from `first` on, each at one of a few keys.
fn store<F: NorFlash>(flash: F, numbers: core::ops::Range<u32>, tell: impl Fn(u32)) {
    let mut map = MapStorage::new(flash, MapConfig::new(0..LENGTH), Cache::new_uncached());
    for number in numbers {
        now(map.store_item(&mut [0; 64], &((number % KEYS) as u8), &[number; 4])).unwrap();
        tell(number);
    }
}

/// Returns the number at a key.
fn fetch<F: NorFlash>(flash: F, key: u32) -> Result<Option<u32>, String> {
    let mut map = MapStorage::new(flash, MapConfig::new(0..LENGTH), Cache::new_uncached());
    let mut buffer = [0; 64];
    let found = now(map.fetch_item::<[u32; 4]>(&mut buffer, &(key as u8))).map_err(|error| format!("{error:?}"))?;
    match found {
        Some([number, rest @ ..]) if rest == [number; 3] => Ok(Some(number)),
        Some(torn) => Err(format!("{torn:?} at {key}")),
        None => Ok(None),
    }
}

/// A mount after a power cut: every number that was told is there, and a store works.
fn check_map(machine: &Machine) -> Result<(), String> {
    let told = machine.acknowledged() as u32;
    for key in 0..KEYS {
        let last = (0..=told).rev().find(|number| number % KEYS == key);
        let found = with_flash(machine, |flash| fetch(flash, key))?;
        if found != last && (found != Some(told + 1) || (told + 1) % KEYS != key) {
            return Err(format!("{told} told, {found:?} found at {key}"));
        }
    }
    with_flash(machine, |flash| store(flash, told + 1..told + 2, |_| ()));
    let found = with_flash(machine, |flash| fetch(flash, (told + 1) % KEYS))?;
    if found == Some(told + 1) { Ok(()) } else { Err(format!("{found:?} after a store of {}", told + 1)) }
}

/// Until the pages are used up, so that each second store erases one.
const STORED: u32 = 8;

fn explore_map(keep: impl Fn(&Machine, core::ops::Range<u32>)) -> Result<Explored, Failure> {
    explored(
        "sequential-storage, map",
        1,
        |machine| {
            with_flash(machine, |mut flash| now(NorFlash::erase(&mut flash, 0, LENGTH)).unwrap());
            with_flash(machine, |flash| store(flash, 0..STORED, |_| ()));
            machine.acknowledge(u64::from(STORED - 1));
            machine.settle();
            keep(machine, STORED..STORED + 16);
        },
        check_map,
    )
}

#[test]
fn map_keeps_what_it_has_told() {
    let tell = |machine: &Machine, number: u32| machine.acknowledge(number.into());
    let explored = explore_map(|machine, numbers| {
        with_flash(machine, |flash| store(flash, numbers, |number| tell(machine, number)));
    });
    explored.unwrap().assert_complete();
    let failure = explore_map(|machine, numbers| {
        with_part(machine, |part| store(Forgetful(part), numbers, |number| tell(machine, number)));
    });
    let failure = failure.unwrap_err();
    assert!(failure.message.contains("told"), "{failure}");
}

/// A flash that does not bring to the medium what it is told to write.
struct Forgetful<'s>(SimPart<'s>);

impl ErrorType for Forgetful<'_> {
    type Error = FlashError;
}

impl ReadNorFlash for Forgetful<'_> {
    const READ_SIZE: usize = 1;

    async fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), FlashError> {
        Ok(self.0.read(offset as usize, bytes)?)
    }

    fn capacity(&self) -> usize {
        self.0.extent().length_bytes()
    }
}

impl NorFlash for Forgetful<'_> {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = PAGE_BYTES;

    async fn erase(&mut self, from: u32, to: u32) -> Result<(), FlashError> {
        Ok(self.0.fill(from as usize, 0xff, (to - from) as usize, CopyFlags::empty())?)
    }

    async fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), FlashError> {
        Ok(self.0.write_with(offset as usize, bytes, CopyFlags::NOFLUSH)?)
    }
}

impl MultiwriteNorFlash for Forgetful<'_> {}

/// Pushes a number, or takes the oldest one.
#[derive(Clone, Copy)]
enum Step {
    Push(u32),
    Pop,
}

/// Two pushes, then one of each in turn: so many that pages are erased.
fn step(index: u32) -> Step {
    if index < 2 || index.is_multiple_of(2) { Step::Push(index) } else { Step::Pop }
}

/// Returns what is in the queue after so many steps.
fn model(steps: u32) -> VecDeque<u32> {
    let mut queue = VecDeque::new();
    for index in 0..steps {
        match step(index) {
            Step::Push(number) => queue.push_back(number),
            Step::Pop => drop(queue.pop_front()),
        }
    }
    queue
}

fn act<F: MultiwriteNorFlash>(flash: F, steps: core::ops::Range<u32>, tell: impl Fn(u32)) {
    let mut queue = QueueStorage::new(flash, QueueConfig::new(0..LENGTH), Cache::new_uncached());
    for index in steps {
        match step(index) {
            Step::Push(number) => now(queue.push(&[number; 4].map(u32::to_le_bytes).concat(), false)).unwrap(),
            Step::Pop => assert!(now(queue.pop(&mut [0; 64])).unwrap().is_some()),
        }
        tell(index + 1);
    }
}

fn contents<F: NorFlash>(flash: F) -> Result<VecDeque<u32>, String> {
    let mut queue = QueueStorage::new(flash, QueueConfig::new(0..LENGTH), Cache::new_uncached());
    let mut buffer = [0; 64];
    let mut iterator = now(queue.iter()).map_err(|error| format!("{error:?}"))?;
    let mut found = VecDeque::new();
    while let Some(entry) = now(iterator.next(&mut buffer)).map_err(|error| format!("{error:?}"))? {
        found.push_back(u32::from_le_bytes(entry.get(..4).ok_or("short")?.try_into().unwrap()));
    }
    Ok(found)
}

#[test]
fn queue_keeps_what_it_has_told() {
    const STEPS: u32 = 8;
    let explored = explored(
        "sequential-storage, queue",
        1,
        |machine| {
            with_flash(machine, |mut flash| now(NorFlash::erase(&mut flash, 0, LENGTH)).unwrap());
            with_flash(machine, |flash| act(flash, 0..STEPS, |_| ()));
            machine.acknowledge(STEPS.into());
            machine.settle();
            with_flash(machine, |flash| act(flash, STEPS..STEPS + 24, |steps| machine.acknowledge(steps.into())));
        },
        |machine| {
            let told = machine.acknowledged() as u32;
            let found = with_flash(machine, |flash| contents(flash))?;
            if found == model(told) || found == model(told + 1) {
                return Ok(());
            }
            Err(format!("after {told} steps or one more: {found:?}"))
        },
    );
    explored.unwrap().assert_complete();
}
