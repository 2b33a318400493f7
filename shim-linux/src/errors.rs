//! What errors of sources have in common.

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

    use pmemset_core::{Errno, code};

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
