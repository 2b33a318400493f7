//! What a machine is made of.

/// What a machine is made of.
#[derive(Clone, Copy, Debug)]
pub struct Hardware {
    pub(super) page_bytes: usize,
    pub(super) line_bytes: usize,
    pub(super) address_space_bytes: usize,
    pub(super) tracking: bool,
}

impl Hardware {
    /// Returns a machine with pages of 4096 bytes, lines of 64, and 16 MiB of address space.
    #[must_use]
    pub const fn new() -> Self {
        Self { page_bytes: 4096, line_bytes: 64, address_space_bytes: 16 << 20, tracking: true }
    }

    /// Has pages of `page_bytes` bytes, a power of two from 64 up; small ones make small worlds.
    ///
    /// ```
    /// use pmemset_core::sim::{Hardware, Machine};
    ///
    /// let small = Machine::new(Hardware::new().page_bytes(256).address_space_bytes(64 << 10));
    /// assert_eq!(small.address_space().length_bytes(), 64 << 10);
    /// ```
    #[must_use]
    pub const fn page_bytes(mut self, page_bytes: usize) -> Self {
        assert!(page_bytes.is_power_of_two() && page_bytes >= 64, "a page is a power of two and holds a line");
        self.page_bytes = page_bytes;
        self
    }

    /// Has an address space of `length_bytes` bytes, rounded up to pages; all of it costs memory once touched.
    #[must_use]
    pub const fn address_space_bytes(mut self, length_bytes: usize) -> Self {
        self.address_space_bytes = length_bytes;
        self
    }

    /// Does not look at what is stored: nothing can be explored, and threads may store while others call.
    #[must_use]
    pub const fn without_tracking(mut self) -> Self {
        self.tracking = false;
        self
    }
}

impl Default for Hardware {
    fn default() -> Self {
        Self::new()
    }
}
