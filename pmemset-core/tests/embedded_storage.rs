//! A structure that is written for `embedded-storage`, and knows nothing of sets, is explored like any other: a part
//! stands in for its flash.
#![allow(clippy::cast_possible_truncation, reason = "offsets in a small flash")]

mod compare;

use compare::compared;
use embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash};
use pmemset_core::error::PersistError;
use pmemset_core::sim::{Explore, Explored, Failure, Hardware, Machine, Medium, SimPlatform, SimSource};
use pmemset_core::{Config, CopyFlags, Granularity, MapConfig, Part, Set};

const PAGE_BYTES: usize = 256;

type SimSet<'s, O = ()> = Set<'s, SimPlatform, SimSource, O>;

/// A part as flash memory: what was written or erased is durable when the call returns, and until then any of its
/// units may be.
struct Flash<'s>(Part<&'s SimSet<'static>>);

#[derive(Debug)]
struct FlashError(#[expect(dead_code, reason = "printed where it is unwrapped")] PersistError);

impl NorFlashError for FlashError {
    fn kind(&self) -> NorFlashErrorKind {
        NorFlashErrorKind::Other
    }
}

impl From<PersistError> for FlashError {
    fn from(error: PersistError) -> Self {
        Self(error)
    }
}

impl ErrorType for Flash<'_> {
    type Error = FlashError;
}

impl ReadNorFlash for Flash<'_> {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), FlashError> {
        Ok(self.0.read(offset as usize, bytes)?)
    }

    fn capacity(&self) -> usize {
        self.0.extent().length_bytes()
    }
}

impl NorFlash for Flash<'_> {
    const WRITE_SIZE: usize = 8;
    const ERASE_SIZE: usize = PAGE_BYTES;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), FlashError> {
        Ok(self.0.fill(from as usize, 0xff, (to - from) as usize, CopyFlags::empty())?)
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), FlashError> {
        Ok(self.0.write(offset as usize, bytes)?)
    }
}

/// A counter in two pages of flash: one word for each value, and a page is erased only when the other has the value.
struct Counter<F>(F);

impl<F: NorFlash> Counter<F> {
    fn word(&mut self, page: usize, index: usize) -> u64 {
        let mut bytes = [0; 8];
        self.0.read((page * F::ERASE_SIZE + index * 8) as u32, &mut bytes).unwrap();
        u64::from_le_bytes(bytes)
    }

    /// Returns the highest value, its page, and the index of the first word there that is free.
    fn last(&mut self) -> (u64, usize, usize) {
        let mut last = (0, 0, 0);
        for page in 0..2 {
            for index in 0..F::ERASE_SIZE / 8 {
                match self.word(page, index) {
                    u64::MAX => break,
                    value if value >= last.0 => last = (value, page, index + 1),
                    _ => {}
                }
            }
        }
        last
    }

    fn increment(&mut self, erases_first: bool) {
        let (value, page, free) = self.last();
        let store = |flash: &mut F, page: usize, index: usize| {
            flash.write((page * F::ERASE_SIZE + index * 8) as u32, &(value + 1).to_le_bytes()).unwrap();
        };
        let erase = |flash: &mut F, page: usize| {
            flash.erase((page * F::ERASE_SIZE) as u32, ((page + 1) * F::ERASE_SIZE) as u32).unwrap();
        };
        if free < F::ERASE_SIZE / 8 {
            return store(&mut self.0, page, free);
        }
        let other = 1 - page;
        if erases_first {
            // The mistake: for a moment neither page has the value.
            erase(&mut self.0, page);
            store(&mut self.0, page, 0);
        } else {
            erase(&mut self.0, other);
            store(&mut self.0, other, 0);
        }
    }
}

fn with_counter<T>(machine: &Machine, act: impl FnOnce(Counter<Flash<'_>>) -> T) -> T {
    let set = SimSet::with_capacity(machine.platform(), Config::new(Granularity::CacheLine), 4);
    let mapped = set.map(machine.source(0), &MapConfig::new()).unwrap();
    act(Counter(Flash(set.part_at(mapped.extent().start()).unwrap())))
}

fn explore(erases_first: bool) -> Result<Explored, Failure> {
    let hardware = Hardware::new().page_bytes(PAGE_BYTES).address_space_bytes(8 * PAGE_BYTES);
    compared(
        "embedded-storage",
        1024,
        Explore::new(hardware),
        |machine| {
            let _ = machine.add_source(Medium::new(2 * PAGE_BYTES as u64));
            with_counter(machine, |mut counter| {
                counter.0.erase(0, 2 * PAGE_BYTES as u32).unwrap();
                (0..PAGE_BYTES / 8 - 2).for_each(|_| counter.increment(false));
                machine.settle();
                for _ in 0..4 {
                    counter.increment(erases_first);
                    machine.acknowledge(counter.last().0);
                }
            });
        },
        |machine| {
            let told = machine.acknowledged();
            let (found, ..) = with_counter(machine, |mut counter| counter.last());
            if found >= told { Ok(()) } else { Err(format!("{told} told, {found} found")) }
        },
    )
}

#[test]
fn structure_on_flash_is_explored() {
    explore(false).unwrap().assert_complete();
    let failure = explore(true).unwrap_err();
    assert!(failure.message.contains("told"), "{failure}");
}
