//! Single loads and stores of the memory of parts, which others may load and store at the same time.
//!
//! That memory is none of the program's own: nobody else in the language has it but by an `unsafe` slice, whose maker
//! promises that nobody stores. So each access here is one instruction of the processor, whose manual says what it does
//! beside others; the compiler sees an instruction, not an access that could race. Processors without a line below, and
//! interpreters, get volatile accesses, which the standard library allows for memory outside of every allocation.

/// What is stored in one way: a cache line.
pub(super) const BLOCK_BYTES: usize = 64;

/// From how many bytes on wider registers are worth it: measured, see `cargo xtask bench copy`.
pub(super) const WIDE_FROM_BYTES: usize = 256;

/// What one instruction loads or stores: 8 bytes on 64-bit processors, 4 on 32-bit ones.
pub(super) const WORD_BYTES: usize = size_of::<usize>();

/// Whether [`load_word`] may be used at every address.
pub(super) const LOADS_ANYWHERE: bool =
    cfg!(not(miri)) && (cfg!(target_arch = "x86_64") || cfg!(all(target_arch = "aarch64", not(target_os = "none"))));

#[cfg(all(not(miri), any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")))]
macro_rules! access {
    ($load_word:literal, $load_byte:literal, $store_word:literal, $store_byte:literal, $byte:ident) => {
        /// Loads a word.
        ///
        /// # Safety
        ///
        /// It is readable, and aligned unless [`LOADS_ANYWHERE`].
        #[inline(always)]
        pub(super) unsafe fn load_word(at: *const usize) -> usize {
            #[cfg(test)]
            notes::loaded(at.addr(), WORD_BYTES);
            let value: usize;
            // SAFETY: the caller promises the word.
            unsafe {
                core::arch::asm!($load_word, value = out(reg) value, at = in(reg) at,
                    options(nostack, preserves_flags, readonly));
            }
            value
        }

        /// Loads a byte.
        ///
        /// # Safety
        ///
        /// It is readable.
        #[inline(always)]
        pub(super) unsafe fn load_byte(at: *const u8) -> u8 {
            #[cfg(test)]
            notes::loaded(at.addr(), 1);
            let value: u32;
            // SAFETY: the caller promises the byte.
            unsafe {
                core::arch::asm!($load_byte, value = out(reg) value, at = in(reg) at,
                    options(nostack, preserves_flags, readonly));
            }
            #[allow(clippy::cast_possible_truncation, reason = "loaded with zeros above the byte")]
            let value = value as u8;
            value
        }

        /// Stores a word.
        ///
        /// # Safety
        ///
        /// It is writable, and aligned.
        #[inline(always)]
        pub(super) unsafe fn store_word(at: *mut usize, value: usize) {
            // SAFETY: the caller promises the word.
            unsafe {
                core::arch::asm!($store_word, value = in(reg) value, at = in(reg) at,
                    options(nostack, preserves_flags));
            }
        }

        /// Stores a byte.
        ///
        /// # Safety
        ///
        /// It is writable.
        #[inline(always)]
        pub(super) unsafe fn store_byte(at: *mut u8, value: u8) {
            // SAFETY: the caller promises the byte.
            unsafe {
                core::arch::asm!($store_byte, value = in($byte) value, at = in(reg) at,
                    options(nostack, preserves_flags));
            }
        }
    };
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
access!(
    "mov {value}, [{at}]",
    "movzx {value:e}, byte ptr [{at}]",
    "mov [{at}], {value}",
    "mov [{at}], {value}",
    reg_byte
);
#[cfg(all(target_arch = "aarch64", not(miri)))]
access!("ldr {value}, [{at}]", "ldrb {value:w}, [{at}]", "str {value}, [{at}]", "strb {value:w}, [{at}]", reg);
#[cfg(all(target_arch = "riscv64", not(miri)))]
access!("ld {value}, 0({at})", "lbu {value}, 0({at})", "sd {value}, 0({at})", "sb {value}, 0({at})", reg);

#[cfg(any(miri, not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64"))))]
mod plain {
    macro_rules! access {
        ($($load:ident $store:ident $value:ty;)*) => {$(
            /// Loads a value.
            ///
            /// # Safety
            ///
            /// It is readable, and aligned.
            #[inline(always)]
            pub(in super::super) unsafe fn $load(at: *const $value) -> $value {
                #[cfg(test)]
                super::notes::loaded(at.addr(), size_of::<$value>());
                // SAFETY: the caller promises the value.
                unsafe { at.read_volatile() }
            }

            /// Stores a value.
            ///
            /// # Safety
            ///
            /// It is writable, and aligned.
            #[inline(always)]
            pub(in super::super) unsafe fn $store(at: *mut $value, value: $value) {
                // SAFETY: the caller promises the value.
                unsafe { at.write_volatile(value) }
            }
        )*};
    }

    access! {
        load_word store_word usize;
        load_byte store_byte u8;
    }
}
#[cfg(any(miri, not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64"))))]
pub(super) use plain::{load_byte, load_word, store_byte, store_word};

/// How many bytes are asked for at a time, four cache lines: offsets from the middle that are short in the instruction.
const HINT_BYTES: usize = 256;

/// Asks for all cache lines of `at`, without waiting for them.
#[inline(always)]
pub(crate) fn prefetch_all<T>(at: &T) {
    let start = core::ptr::from_ref(at).cast::<u8>();
    for block in 0..size_of::<T>() / HINT_BYTES {
        let middle = start.wrapping_add(block.wrapping_mul(HINT_BYTES).wrapping_add(HINT_BYTES / 2));
        #[cfg(target_arch = "x86_64")]
        // SAFETY: hints that read nothing into the program, on addresses that a reference vouches for.
        unsafe {
            core::arch::asm!(
                "prefetcht0 [{0} - 128]", "prefetcht0 [{0} - 64]", "prefetcht0 [{0}]", "prefetcht0 [{0} + 64]",
                in(reg) middle, options(nostack, preserves_flags, readonly)
            );
        }
        #[cfg(target_arch = "aarch64")]
        // SAFETY: hints that read nothing into the program, on addresses that a reference vouches for.
        unsafe {
            core::arch::asm!(
                "prfum pldl1keep, [{0}, -128]", "prfum pldl1keep, [{0}, -64]", "prfm pldl1keep, [{0}]",
                "prfm pldl1keep, [{0}, 64]",
                in(reg) middle, options(nostack, preserves_flags, readonly)
            );
        }
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        let _ = middle;
    }
}

/// Asks for the cache line of `at`, without waiting for it.
#[inline(always)]
pub(crate) fn prefetch<T: ?Sized>(at: &T) {
    let at = core::ptr::from_ref(at).cast::<u8>();
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint that reads nothing into the program, on an address that a reference vouches for.
    unsafe {
        core::arch::asm!("prefetcht0 [{}]", in(reg) at, options(nostack, preserves_flags, readonly));
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: a hint that reads nothing into the program, on an address that a reference vouches for.
    unsafe {
        core::arch::asm!("prfm pldl1keep, [{}]", in(reg) at, options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = at;
}

#[cfg(test)]
pub(crate) mod notes {
    use core::cell::RefCell;
    use std::vec::Vec;

    std::thread_local! {
        static LOADED: RefCell<Option<Vec<(usize, usize)>>> = const { RefCell::new(None) };
    }

    pub(in super::super) fn loaded(address: usize, length_bytes: usize) {
        LOADED.with_borrow_mut(|all| all.iter_mut().for_each(|all| all.push((address, length_bytes))));
    }

    /// Returns the addresses and lengths in bytes of what `act` has loaded of parts, in this order.
    pub(crate) fn loads(act: impl FnOnce()) -> Vec<(usize, usize)> {
        LOADED.set(Some(Vec::new()));
        act();
        LOADED.take().unwrap_or_default()
    }
}
