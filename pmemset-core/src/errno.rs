//! Numbers of errors, as a platform's calls give them.

use core::fmt;

/// A platform's error number, positive as in `errno(3)`.
///
/// ```
/// use pmemset_core::Errno;
///
/// assert_eq!(Errno::NOSPC.to_string(), "no space left on device (errno 28)");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Errno(i32);

macro_rules! errnos {
    ($($name:ident = $number:literal, $text:literal;)*) => {
        impl Errno {
            $(#[doc = concat!("`E", stringify!($name), "`: ", $text, ".")]
            pub const $name: Self = Self($number);)*

            const fn text(self) -> Option<&'static str> {
                match self.0 {
                    $($number => Some($text),)*
                    _ => None,
                }
            }
        }
    };
}

errnos! {
    PERM = 1, "operation not permitted";
    NOENT = 2, "no such file or directory";
    INTR = 4, "interrupted";
    IO = 5, "input/output error";
    NXIO = 6, "no such device or address";
    BADF = 9, "bad file descriptor";
    AGAIN = 11, "try again";
    NOMEM = 12, "out of memory or address space";
    ACCES = 13, "permission denied";
    FAULT = 14, "bad address or damaged memory";
    BUSY = 16, "device or resource busy";
    EXIST = 17, "something is already there";
    NODEV = 19, "no such device";
    NOTDIR = 20, "not a directory";
    ISDIR = 21, "is a directory";
    INVAL = 22, "invalid argument";
    NOTTY = 25, "not supported by the device";
    FBIG = 27, "file too large";
    NOSPC = 28, "no space left on device";
    ROFS = 30, "read-only file system";
    RANGE = 34, "result does not fit";
    OVERFLOW = 75, "value too large";
    OPNOTSUPP = 95, "operation not supported";
}

impl Errno {
    /// Returns the error with the number `number`, positive as in `errno(3)`.
    ///
    /// ```
    /// assert_eq!(pmemset_core::Errno::from_raw(28), pmemset_core::Errno::NOSPC);
    /// ```
    #[must_use]
    pub const fn from_raw(number: i32) -> Self {
        Self(number)
    }

    /// Returns the number, positive as in `errno(3)`.
    ///
    /// ```
    /// assert_eq!(pmemset_core::Errno::NOSPC.raw(), 28);
    /// ```
    #[must_use]
    pub const fn raw(self) -> i32 {
        self.0
    }

    /// Returns the number as libpmemset returns it: negative.
    ///
    /// ```
    /// assert_eq!(pmemset_core::Errno::NOSPC.code(), -28);
    /// ```
    #[must_use]
    pub const fn code(self) -> i32 {
        self.0.wrapping_neg()
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.text() {
            Some(text) => write!(f, "{text} (errno {})", self.0),
            None => write!(f, "errno {}", self.0),
        }
    }
}

impl core::error::Error for Errno {}
