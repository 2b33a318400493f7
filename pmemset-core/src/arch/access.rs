//! Single loads and stores of the memory of parts, which others may load and store at the same time.
//!
//! That memory is none of the program's own: nobody else in the language has it but by an `unsafe` slice, whose maker
//! promises that nobody stores. So each access here is one instruction of the processor, whose manual says what it does
//! beside others; the compiler sees an instruction, not an access that could race. Processors without a line below, and
//! interpreters, get volatile accesses, which the standard library allows for memory outside of every allocation.

/// What is stored in one way: a cache line.
#[cfg(any(test, target_arch = "x86_64"))]
pub(super) const BLOCK_BYTES: usize = 64;

/// From how many bytes on wider registers are worth it, and streaming what does not consist of blocks: measured, see
/// `cargo xtask bench copy`.
#[cfg(any(test, target_arch = "x86_64"))]
pub(super) const LONG_BYTES: usize = 256;

/// What one instruction loads or stores: 8 bytes on 64-bit processors, 4 on 32-bit ones.
pub(super) const WORD_BYTES: usize = size_of::<usize>();

/// Whether [`Unit::load`] may be used at every address.
pub(super) const LOADS_ANYWHERE: bool =
    cfg!(not(miri)) && (cfg!(target_arch = "x86_64") || cfg!(all(target_arch = "aarch64", not(target_os = "none"))));

/// What one instruction loads or stores: a word, or a piece of one.
pub(super) trait Unit: Copy {
    /// Loads one.
    ///
    /// # Safety
    ///
    /// It is readable, and aligned unless [`LOADS_ANYWHERE`].
    unsafe fn load(at: *const Self) -> Self;

    /// Stores one.
    ///
    /// # Safety
    ///
    /// It is writable, and aligned.
    unsafe fn store(at: *mut Self, value: Self);

    /// Returns the one whose bytes are what `byte` returns for their offsets.
    fn of_bytes(byte: impl FnMut(usize) -> u8) -> Self;
}

macro_rules! units {
    ($($unit:ident $register:ident $load:tt $store:tt;)*) => {$(
        impl Unit for $unit {
            #[inline(always)]
            unsafe fn load(at: *const Self) -> Self {
                #[cfg(test)]
                notes::loaded(at.addr(), size_of::<Self>());
                units!(load $unit $load at)
            }

            #[inline(always)]
            unsafe fn store(at: *mut Self, value: Self) {
                #[cfg(test)]
                notes::stored(at.addr(), size_of::<Self>());
                units!(store $register $store at value)
            }

            #[inline(always)]
            fn of_bytes(byte: impl FnMut(usize) -> u8) -> Self {
                Self::from_ne_bytes(core::array::from_fn(byte))
            }
        }
    )*};
    (load $unit:ident "volatile" $at:ident) => {
        // SAFETY: the caller promises it.
        unsafe { $at.read_volatile() }
    };
    (load $unit:ident $load:tt $at:ident) => {{
        let value: usize;
        // SAFETY: the caller promises it.
        unsafe {
            core::arch::asm!($load, value = out(reg) value, at = in(reg) $at,
                options(nostack, preserves_flags, readonly));
        }
        #[allow(clippy::cast_possible_truncation, reason = "loaded with zeros above it")]
        let value = value as $unit;
        value
    }};
    (store $register:ident "volatile" $at:ident $value:ident) => {
        // SAFETY: the caller promises it.
        unsafe { $at.write_volatile($value) }
    };
    (store $register:ident $store:tt $at:ident $value:ident) => {
        // SAFETY: the caller promises it.
        unsafe {
            core::arch::asm!($store, value = in($register) $value, at = in(reg) $at, options(nostack, preserves_flags));
        }
    };
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
units! {
    usize reg "mov {value}, [{at}]" "mov [{at}], {value}";
    u32 reg "mov {value:e}, [{at}]" "mov [{at}], {value:e}";
    u16 reg "movzx {value:e}, word ptr [{at}]" "mov [{at}], {value:x}";
    u8 reg_byte "movzx {value:e}, byte ptr [{at}]" "mov [{at}], {value}";
}
#[cfg(all(target_arch = "aarch64", not(miri)))]
units! {
    usize reg "ldr {value}, [{at}]" "str {value}, [{at}]";
    u32 reg "ldr {value:w}, [{at}]" "str {value:w}, [{at}]";
    u16 reg "ldrh {value:w}, [{at}]" "strh {value:w}, [{at}]";
    u8 reg "ldrb {value:w}, [{at}]" "strb {value:w}, [{at}]";
}
#[cfg(all(target_arch = "riscv64", not(miri)))]
units! {
    usize reg "ld {value}, 0({at})" "sd {value}, 0({at})";
    u32 reg "lwu {value}, 0({at})" "sw {value}, 0({at})";
    u16 reg "lhu {value}, 0({at})" "sh {value}, 0({at})";
    u8 reg "lbu {value}, 0({at})" "sb {value}, 0({at})";
}
#[cfg(any(miri, not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64"))))]
units! {
    usize reg "volatile" "volatile";
    u32 reg "volatile" "volatile";
    u16 reg "volatile" "volatile";
    u8 reg "volatile" "volatile";
}

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

    type Noted = RefCell<Option<Vec<(usize, usize)>>>;

    std::thread_local! {
        static LOADED: Noted = const { RefCell::new(None) };
        static STORED: Noted = const { RefCell::new(None) };
    }

    pub(in super::super) fn loaded(address: usize, length_bytes: usize) {
        LOADED.with_borrow_mut(|all| all.iter_mut().for_each(|all| all.push((address, length_bytes))));
    }

    pub(in super::super) fn stored(address: usize, length_bytes: usize) {
        STORED.with_borrow_mut(|all| all.iter_mut().for_each(|all| all.push((address, length_bytes))));
    }

    /// Returns the addresses and lengths in bytes of what `act` has loaded of parts, in this order.
    pub(crate) fn loads(act: impl FnOnce()) -> Vec<(usize, usize)> {
        LOADED.set(Some(Vec::new()));
        act();
        LOADED.take().unwrap_or_default()
    }

    /// Returns the addresses and lengths in bytes of what `act` has stored to parts, in this order.
    pub(crate) fn stores(act: impl FnOnce()) -> Vec<(usize, usize)> {
        STORED.set(Some(Vec::new()));
        act();
        STORED.take().unwrap_or_default()
    }
}
