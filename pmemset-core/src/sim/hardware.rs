//! The properties of a simulated machine.

/// The properties of a simulated machine.
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

    /// Sets the page size, a power of two of at least 64. With small pages there is less to explore.
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

    /// Sets the size of the address space, rounded up to pages. It takes as much memory, once touched.
    #[must_use]
    pub const fn address_space_bytes(mut self, length_bytes: usize) -> Self {
        self.address_space_bytes = length_bytes;
        self
    }

    /// Switches the tracking of stores off: nothing can be explored then, and threads may store during calls of others.
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
