//! Random numbers from a seed, or from bytes that somebody chose.

use alloc::vec::Vec;

/// A generator of random numbers that are always the same for a seed (splitmix64): for tests and fuzzers, no secrets.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
    /// What is still to be said of the chosen bytes, the next one last.
    chosen: Vec<u8>,
}

impl Random {
    /// Returns the generator for `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { state: seed, chosen: Vec::new() }
    }

    /// Returns a generator that says what `bytes` spell, and after them what seed 0 says: for fuzzers that learn from
    /// the paths that bytes take.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self { state: 0, chosen: bytes.iter().rev().copied().collect() }
    }

    /// Returns the next 64 bits.
    #[must_use]
    pub fn word(&mut self) -> u64 {
        match self.chosen.len() {
            0 => self.mixed(),
            left => (0..left.min(8)).fold(0, |word, _| word << 8 | u64::from(self.chosen.pop().unwrap_or(0))),
        }
    }

    /// Returns a number below `bound`; 0 where `bound` is 0.
    #[must_use]
    pub fn below(&mut self, bound: usize) -> usize {
        let number = match self.chosen.last().filter(|_| bound <= 256).copied() {
            Some(byte) => {
                self.chosen.pop();
                u64::from(byte)
            }
            None => self.word(),
        };
        if bound == 0 { 0 } else { (number % bound as u64) as usize }
    }

    /// Returns one of `choices`, which are not empty.
    #[must_use]
    pub fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// Returns true once in `times`, on average.
    #[must_use]
    pub fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    fn mixed(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
