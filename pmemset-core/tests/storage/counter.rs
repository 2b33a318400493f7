//! A counter that is written for `embedded-storage` and knows nothing of sets.

use embedded_storage::nor_flash::NorFlash;
use pmemset_core::sim::{Explored, Failure};

use super::{PAGE_BYTES, explored, with_flash};

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

fn explore(erases_first: bool) -> Result<Explored, Failure> {
    explored(
        "embedded-storage",
        2,
        |machine| {
            with_flash(machine, |flash| {
                let mut counter = Counter(flash);
                NorFlash::erase(&mut counter.0, 0, 2 * PAGE_BYTES as u32).unwrap();
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
            let (found, ..) = with_flash(machine, |flash| Counter(flash).last());
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
