//! Random numbers from a seed.

/// A generator of random numbers that are always the same for a seed (splitmix64): for tests and fuzzers, no secrets.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// Returns the generator for `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// Returns the next 64 bits.
    #[must_use]
    pub fn word(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below `bound`; 0 where `bound` is 0.
    #[must_use]
    pub fn below(&mut self, bound: usize) -> usize {
        let number = self.word();
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
}
