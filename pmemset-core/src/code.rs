//! Numbers of errors: libpmemset's, and what makes of an enumeration of reasons an error with such numbers.

use crate::Errno;

macro_rules! codes {
    ($($(#[$meta:meta])* $name:ident = $number:literal, $prefix:literal;)*) => {
        $($(#[$meta])*
        #[doc = concat!("\n\n`", $prefix, stringify!($name), "`.")]
        pub const $name: i32 = $number;)*

        /// Returns the C library's name for a number: `PMEMSET_E_…`, or `PMEM2_E_…` for what it passes on.
        ///
        /// ```
        /// use pmemset_core::code;
        ///
        /// assert_eq!(code::name(code::DEEP_FLUSH_FAIL), Some("PMEMSET_E_DEEP_FLUSH_FAIL"));
        /// ```
        #[must_use]
        pub const fn name(code: i32) -> Option<&'static str> {
            match code {
                $($number => Some(concat!($prefix, stringify!($name))),)*
                _ => None,
            }
        }

        #[cfg(test)]
        const ALL: &[i32] = &[$($number),*];
    };
}

codes! {
    /// No source has a path, or it is no path.
    INVALID_SOURCE_PATH = -200_003, "PMEMSET_E_";
    /// There is no room for another segment, or another piece of address space.
    CANNOT_ALLOCATE_INTERNAL_STRUCTURE = -200_005, "PMEMSET_E_";
    /// An offset is not a multiple of the alignment.
    INVALID_OFFSET_VALUE = -200_006, "PMEMSET_E_";
    /// The source's stores become durable in coarser units than the set requires.
    GRANULARITY_NOT_SUPPORTED = -200_007, "PMEMSET_E_";
    /// The source was not mapped.
    INVALID_PMEM2_MAP = -200_008, "PMEMSET_E_";
    /// The source's granularity is not that of the set's parts.
    GRANULARITY_MISMATCH = -200_011, "PMEMSET_E_";
    /// Bytes are not mapped.
    NO_PART_MAPPED = -200_012, "PMEMSET_E_";
    /// No part has an address.
    CANNOT_FIND_PART_MAP = -200_013, "PMEMSET_E_";
    /// A part cannot be continued.
    CANNOT_COALESCE_PARTS = -200_014, "PMEMSET_E_";
    /// A length is not a multiple of the alignment.
    LENGTH_UNALIGNED = -200_015, "PMEMSET_E_";
    /// A part is not in the set.
    PART_NOT_FOUND = -200_016, "PMEMSET_E_";
    /// Bytes could not be made durable.
    DEEP_FLUSH_FAIL = -200_018, "PMEMSET_E_";
    /// A flag or a permission bit has no meaning.
    INVALID_SOURCE_FILE_CREATE_FLAGS = -200_019, "PMEMSET_E_";
    /// A directory takes no unnamed file.
    CANNOT_CREATE_TEMP_FILE = -200_020, "PMEMSET_E_";
    /// A source cannot grow.
    CANNOT_GROW_SOURCE_FILE = -200_021, "PMEMSET_E_";
    /// Something is in use.
    PART_MAP_POSSIBLE_USE_AFTER_DROP = -200_022, "PMEMSET_E_";
    /// No hole is long enough.
    CANNOT_FIT_PART_MAP = -200_023, "PMEMSET_E_";
    /// An offset is too large.
    OFFSET_OUT_OF_RANGE = -200_024, "PMEMSET_E_";
    /// The set does not accept a shutdown state.
    UNDESIRABLE_PART_STATE = -200_026, "PMEMSET_E_";
    /// No device counts unsafe shutdowns.
    SDS_NOSUPP = -200_028, "PMEMSET_E_";
    /// The id of a device is too long for a shutdown record.
    SDS_DEVICE_ID_LEN_TOO_BIG = -200_029, "PMEMSET_E_";
    /// Nothing of the source is left to be mapped.
    MAP_LENGTH_UNSET = -200_030, "PMEMSET_E_";
    /// A source is too small, and may not grow.
    SOURCE_FILE_IS_TOO_SMALL = -200_031, "PMEMSET_E_";
    /// The medium is damaged.
    IO_FAIL = -200_032, "PMEMSET_E_";
    /// A range is too long, or not inside.
    LENGTH_OUT_OF_RANGE = -200_033, "PMEMSET_E_";
    /// An alignment is not a power of two.
    INVALID_ALIGNMENT_VALUE = -200_035, "PMEMSET_E_";
    /// A source is on no region that lists bad blocks.
    DAX_REGION_NOT_FOUND = -200_036, "PMEMSET_E_";
    /// The place of a source in its region cannot be read.
    CANNOT_READ_BOUNDS = -200_037, "PMEMSET_E_";
    /// The medium does not list bad blocks.
    BADBLOCK_NOSUPP = -200_038, "PMEMSET_E_";
    /// A descriptor is not open for reading.
    INVALID_FILE_HANDLE = -100_004, "PMEM2_E_";
    /// A file is of a kind that cannot be mapped.
    INVALID_FILE_TYPE = -100_005, "PMEM2_E_";
    /// Something is at the addresses of a reservation.
    MAPPING_EXISTS = -100_007, "PMEM2_E_";
    /// The length of a reservation is not a multiple of the page size.
    RESERVATION_LENGTH_UNALIGNED = -100_015, "PMEM2_E_";
    /// The address of a reservation is not a multiple of the page size.
    ADDRESS_UNALIGNED = -100_022, "PMEM2_E_";
    /// A descriptor is not open for writing.
    FILE_DESCRIPTOR_NOT_WRITABLE = -100_032, "PMEM2_E_";
    /// A reservation is in use.
    VM_RESERVATION_NOT_EMPTY = -100_033, "PMEM2_E_";
}

/// Returns the number of an operating system's error for what `code()` of an error returned (`pmemset_err_to_errno`).
///
/// Numbers of operating-system errors stay. "Not supported" becomes `EOPNOTSUPP`; all other numbers of the library
/// become `EINVAL`.
///
/// ```
/// use pmemset_core::{Errno, code};
///
/// assert_eq!(code::to_errno(-28), Errno::NOSPC);
/// assert_eq!(code::to_errno(code::LENGTH_UNALIGNED), Errno::INVAL);
/// ```
#[doc(alias = "pmemset_err_to_errno")]
#[must_use]
pub const fn to_errno(code: i32) -> Errno {
    match code {
        SDS_NOSUPP | BADBLOCK_NOSUPP => Errno::OPNOTSUPP,
        -99_999..=-1 => Errno::from_raw(code.wrapping_neg()),
        _ => Errno::INVAL,
    }
}

/// Makes an error of an enumeration: each variant stands in one place, with its number and its message.
///
/// A message says everything, the platform's reason included, and there is no `source`: whoever prints a chain of
/// errors would else print the reason twice, and firmware prints no chains.
///
/// The crates of this project call it by `pmemset_core::support`, those on Linux with fields that have no format of
/// `defmt`'s; the core itself calls [`errors`].
#[doc(hidden)]
#[macro_export]
macro_rules! __errors {
    ($(#[$meta:meta])* pub enum $name:ident {
        $($(#[$variant_meta:meta])* $variant:ident
            $(($inner:ident: $inner_type:ty))?
            $({$($(#[$field_meta:meta])* $field:ident: $type:ty),+ $(,)?})?
            = $code:expr => $text:literal $(, $argument:expr)*;)+
    }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$variant_meta])* $variant $(($inner_type))? $({$($(#[$field_meta])* $field: $type),+})?),+
        }

        impl $name {
            /// Returns libpmemset's number for this error, see [`code`](crate::code), or the platform's, negated.
            ///
            /// ```
            /// use pmemset_core::{code, error::LookupError};
            ///
            /// let error = LookupError::NotMapped { address: 0x1000 };
            /// assert_eq!(code::name(error.code()), Some("PMEMSET_E_CANNOT_FIND_PART_MAP"));
            /// ```
            #[must_use]
            #[allow(unused_variables, clippy::match_same_arms, reason = "not every number depends on every field")]
            pub const fn code(&self) -> i32 {
                match *self {
                    $(Self::$variant $(($inner))? $({$($field),+})? => $code),+
                }
            }
        }

        impl ::core::fmt::Display for $name {
            #[allow(unused_variables, clippy::too_many_lines, reason = "a message for each; not all name every field")]
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                match *self {
                    $(Self::$variant $(($inner))? $({$($field),+})? => write!(f, $text $(, $argument)*)),+
                }
            }
        }

        impl ::core::error::Error for $name {}
    };
}

/// The same, for the core's own errors: with a format of `defmt`'s.
macro_rules! errors {
    ($($enumeration:tt)+) => {
        $crate::__errors! { $($enumeration)+ }
        $crate::code::logged! { $($enumeration)+ }
    };
}
pub(crate) use errors;

#[cfg(not(feature = "defmt"))]
macro_rules! logged {
    ($($enumeration:tt)+) => {};
}

/// The format of an error: that of the same enumeration with numbers of 64 bits, since defmt cuts others to 32.
#[cfg(feature = "defmt")]
macro_rules! logged {
    ($(#[$meta:meta])* pub enum $name:ident {
        $($(#[$variant_meta:meta])* $variant:ident
            $(($inner:ident: $inner_type:ty))?
            $({$($(#[$field_meta:meta])* $field:ident: $type:ty),+ $(,)?})?
            = $code:expr => $text:literal $(, $argument:expr)*;)+
    }) => {
        impl $crate::code::Wide for $name {
            type Wide = Self;

            fn wide(self) -> Self {
                self
            }
        }

        const _: () = {
            use self::$name as Narrow;
            const _: () = {
                use $crate::code::Wide;

                /// The same with numbers of 64 bits.
                #[derive(defmt::Format)]
                enum $name {
                    $($variant
                        $((<$inner_type as Wide>::Wide))?
                        $({$($field: <$type as Wide>::Wide),+})?),+
                }

                impl defmt::Format for Narrow {
                    fn format(&self, f: defmt::Formatter<'_>) {
                        let wide = match *self {
                            $(Self::$variant $(($inner))? $({$($field),+})? => {
                                $name::$variant $((Wide::wide($inner)))? $({$($field: Wide::wide($field)),+})?
                            }),+
                        };
                        defmt::Format::format(&wide, f);
                    }
                }
            };
        };
    };
}
pub(crate) use logged;

/// What is logged of a field: numbers with 64 bits, because defmt cuts others to 32.
#[cfg(feature = "defmt")]
pub(crate) trait Wide {
    /// The type that is logged.
    type Wide: defmt::Format;

    /// Returns the value that is logged.
    fn wide(self) -> Self::Wide;
}

#[cfg(feature = "defmt")]
impl Wide for usize {
    type Wide = u64;

    fn wide(self) -> u64 {
        self as u64
    }
}

#[cfg(feature = "defmt")]
macro_rules! as_it_is {
    ($($type:ty)*) => {$(
        impl $crate::code::Wide for $type {
            type Wide = Self;

            fn wide(self) -> Self {
                self
            }
        }
    )*};
}
#[cfg(feature = "defmt")]
pub(crate) use as_it_is;

#[cfg(feature = "defmt")]
as_it_is!(u32 u64 Errno);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_names_and_no_two_the_same() {
        for (index, code) in ALL.iter().enumerate() {
            assert!(name(*code).is_some_and(|name| name.contains("_E_")), "{code}");
            assert!(!ALL[..index].contains(code), "{code}");
        }
        assert_eq!(name(CANNOT_COALESCE_PARTS), Some("PMEMSET_E_CANNOT_COALESCE_PARTS"));
        assert_eq!((name(-200_034), name(-2), name(0)), (None, None, None));
    }

    #[test]
    fn every_number_has_an_errno() {
        assert_eq!(to_errno(BADBLOCK_NOSUPP), Errno::OPNOTSUPP);
        assert_eq!(to_errno(Errno::NOSPC.code()), Errno::NOSPC);
        for code in ALL.iter().copied().chain([0, 1, i32::MIN, i32::MAX, -100_000]) {
            let expected = matches!(code, SDS_NOSUPP | BADBLOCK_NOSUPP);
            assert_eq!(to_errno(code), if expected { Errno::OPNOTSUPP } else { Errno::INVAL }, "{code}");
        }
    }
}
