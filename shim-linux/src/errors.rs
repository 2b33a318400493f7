//! One place for each error: its variants, what they say, and libpmemset's number for them.

/// libpmemset's numbers, and libpmem2's where libpmemset passes them on.
pub mod code {
    /// `PMEMSET_E_INVALID_SOURCE_PATH`.
    pub const INVALID_SOURCE_PATH: i32 = -200_003;
    /// `PMEMSET_E_INVALID_SOURCE_FILE_CREATE_FLAGS`.
    pub const INVALID_SOURCE_FILE_CREATE_FLAGS: i32 = -200_019;
    /// `PMEMSET_E_CANNOT_CREATE_TEMP_FILE`.
    pub const CANNOT_CREATE_TEMP_FILE: i32 = -200_020;
    /// `PMEMSET_E_INVALID_ALIGNMENT_VALUE`.
    pub const INVALID_ALIGNMENT_VALUE: i32 = -200_035;
    /// `PMEM2_E_INVALID_FILE_HANDLE`.
    pub const INVALID_FILE_HANDLE: i32 = -100_004;
    /// `PMEM2_E_INVALID_FILE_TYPE`.
    pub const INVALID_FILE_TYPE: i32 = -100_005;
    /// `PMEM2_E_FILE_DESCRIPTOR_NOT_WRITABLE`.
    pub const FILE_DESCRIPTOR_NOT_WRITABLE: i32 = -100_032;
}

/// Declares an error, each variant as `Name(binding: Type)` or `Name { field: Type }`, `= number => message;`.
///
/// A message names its cause, so that programs without `std` see it; `source()` has nothing to add.
#[doc(hidden)]
#[macro_export]
macro_rules! __errors {
    ($(#[$meta:meta])* pub enum $Name:ident { $(
        $(#[$doc:meta])*
        $Variant:ident $( ( $($bind:ident : $bind_type:ty),+ ) )? $( { $( $(#[$field_doc:meta])* $field:ident : $field_type:ty ),+ $(,)? } )?
            = $code:expr => $message:literal $(, $argument:expr)*;
    )+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum $Name { $(
            $(#[$doc])*
            $Variant $( ( $($bind_type),+ ) )? $( { $( $(#[$field_doc])* $field : $field_type ),+ } )?,
        )+ }

        impl $Name {
            /// Returns libpmemset's number for this error, or libpmem2's where libpmemset passes that on.
            #[must_use]
            #[allow(unused_variables, reason = "not every number is that of a cause")]
            pub const fn code(&self) -> i32 {
                match *self { $( Self::$Variant $( ( $($bind),+ ) )? $( { $($field),+ } )? => $code, )+ }
            }
        }

        impl ::core::fmt::Display for $Name {
            #[allow(unused_variables, reason = "not every message has them all")]
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                match *self { $(
                    Self::$Variant $( ( $($bind),+ ) )? $( { $($field),+ } )? => write!(f, $message $(, $argument)*),
                )+ }
            }
        }

        impl ::core::error::Error for $Name {}
    };
}

pub use __errors as errors;

/// Returns what people call this kind of file.
#[must_use]
pub const fn kind_name(kind: rustix::fs::FileType) -> &'static str {
    use rustix::fs::FileType;
    match kind {
        FileType::RegularFile => "a regular file",
        FileType::Directory => "a directory",
        FileType::Symlink => "a symbolic link",
        FileType::Fifo => "a pipe",
        FileType::Socket => "a socket",
        FileType::CharacterDevice => "a character device",
        FileType::BlockDevice => "a block device",
        _ => "a file of an unknown kind",
    }
}

#[cfg(test)]
mod tests {
    use core::error::Error;
    use std::string::ToString;

    use pmemset_core::Errno;

    use super::code;
    use crate::nd::{Attribute, NdError};
    use crate::{OpenError, RecordError};

    /// Programs print messages and their chains: a reason stands in the message, and only there.
    #[test]
    fn a_reason_is_said_once_and_a_number_is_libpmemsets() {
        let cases: [(&(dyn Error + 'static), i32, &str); 5] = [
            (&OpenError::InvalidPath(Errno::NOENT), code::INVALID_SOURCE_PATH, "no such file or directory"),
            (
                &OpenError::InvalidFileType { kind: rustix::fs::FileType::Fifo },
                code::INVALID_FILE_TYPE,
                "this is a pipe",
            ),
            (&OpenError::CannotCreateTemporary(Errno::NOSPC), code::CANNOT_CREATE_TEMP_FILE, "no space left on device"),
            (&RecordError::NotARecord { length_bytes: 537 }, -22, "a shutdown record has 536 bytes, and the file more"),
            (
                &NdError::Unreadable { attribute: Attribute::DeepFlush, cause: Errno::ACCES },
                -13,
                "deep_flush in sysfs: permission",
            ),
        ];
        for (error, number, text) in cases {
            let message = error.to_string();
            assert!(message.contains(text), "{message}");
            assert!(error.source().is_none());
            let code = None
                .or_else(|| error.downcast_ref().map(OpenError::code))
                .or_else(|| error.downcast_ref().map(RecordError::code))
                .or_else(|| error.downcast_ref().map(|error: &NdError| error.errno().code()));
            assert_eq!(code, Some(number), "{message}");
        }
    }
}
