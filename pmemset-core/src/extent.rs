//! Ranges of addresses and of source bytes: half-open, never empty, never wrapping; all range arithmetic is here.

use core::fmt;
use core::ops::Range;

macro_rules! range_type {
    ($(#[$meta:meta])* $name:ident, $int:ty, $what:literal) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name {
            start: $int,
            end: $int,
        }

        impl $name {
            #[doc = concat!("Returns the range of `length_bytes` bytes from ", $what, " `start`.")]
            ///
            /// `None` when `length_bytes` is 0 or the end would not fit the type.
            ///
            /// ```
            #[doc = concat!("use pmemset_core::", stringify!($name), " as Range;")]
            ///
            /// assert_eq!(Range::new(4096, 0), None);
            /// assert_eq!(Range::new(4096, 8).unwrap().end(), 4104);
            /// ```
            #[must_use]
            pub const fn new(start: $int, length_bytes: $int) -> Option<Self> {
                match start.checked_add(length_bytes) {
                    Some(end) => Self::between(start, end),
                    None => None,
                }
            }

            /// Returns the range from `start` up to, and without, `end`; `None` unless `start < end`.
            ///
            /// ```
            #[doc = concat!("use pmemset_core::", stringify!($name), " as Range;")]
            ///
            /// assert_eq!(Range::between(8, 16), Range::new(8, 8));
            /// assert_eq!(Range::between(8, 8), None);
            /// ```
            #[must_use]
            pub const fn between(start: $int, end: $int) -> Option<Self> {
                if start < end { Some(Self { start, end }) } else { None }
            }

            #[doc = concat!("Returns the first ", $what, ".")]
            #[must_use]
            pub const fn start(self) -> $int {
                self.start
            }

            #[doc = concat!("Returns the first ", $what, " behind the range.")]
            #[must_use]
            pub const fn end(self) -> $int {
                self.end
            }

            /// Returns the length in bytes, at least 1.
            ///
            /// ```
            #[doc = concat!("use pmemset_core::", stringify!($name), " as Range;")]
            ///
            /// assert_eq!(Range::between(8, 24).unwrap().length_bytes(), 16);
            /// ```
            #[must_use]
            pub const fn length_bytes(self) -> $int {
                self.end.wrapping_sub(self.start)
            }

            #[doc = concat!("Returns whether the ", $what, " lies in the range.")]
            ///
            /// ```
            #[doc = concat!("use pmemset_core::", stringify!($name), " as Range;")]
            ///
            /// let range = Range::between(8, 16).unwrap();
            /// assert!(range.contains(8) && !range.contains(16));
            /// ```
            #[must_use]
            pub const fn contains(self, at: $int) -> bool {
                self.start <= at && at < self.end
            }

            /// Returns whether every byte of `other` lies in the range.
            ///
            /// ```
            #[doc = concat!("use pmemset_core::", stringify!($name), " as Range;")]
            ///
            /// let range = Range::between(8, 16).unwrap();
            /// assert!(range.covers(Range::between(8, 12).unwrap()));
            /// ```
            #[must_use]
            pub const fn covers(self, other: Self) -> bool {
                self.start <= other.start && other.end <= self.end
            }

            /// Returns whether the two ranges share a byte.
            ///
            /// ```
            #[doc = concat!("use pmemset_core::", stringify!($name), " as Range;")]
            ///
            /// let range = Range::between(8, 16).unwrap();
            /// assert!(!range.overlaps(Range::between(16, 24).unwrap()));
            /// ```
            #[must_use]
            pub const fn overlaps(self, other: Self) -> bool {
                self.start < other.end && other.start < self.end
            }

            /// Returns the bytes that both ranges have; `None` where they share none.
            ///
            /// ```
            #[doc = concat!("use pmemset_core::", stringify!($name), " as Range;")]
            ///
            /// let range = Range::between(8, 16).unwrap();
            /// assert_eq!(range.intersect(Range::between(12, 24).unwrap()), Range::between(12, 16));
            /// ```
            #[must_use]
            pub const fn intersect(self, other: Self) -> Option<Self> {
                let start = if self.start > other.start { self.start } else { other.start };
                let end = if self.end < other.end { self.end } else { other.end };
                Self::between(start, end)
            }

            /// Returns the piece before `at`; `None` where it would be empty.
            ///
            /// ```
            #[doc = concat!("use pmemset_core::", stringify!($name), " as Range;")]
            ///
            /// assert_eq!(Range::between(8, 16).unwrap().ending_at(12), Range::between(8, 12));
            /// ```
            #[must_use]
            pub const fn ending_at(self, at: $int) -> Option<Self> {
                Self::between(self.start, if at < self.end { at } else { self.end })
            }

            /// Returns the piece from `at` on; `None` where it would be empty.
            ///
            /// ```
            #[doc = concat!("use pmemset_core::", stringify!($name), " as Range;")]
            ///
            /// assert_eq!(Range::between(8, 16).unwrap().starting_at(12), Range::between(12, 16));
            /// ```
            #[must_use]
            pub const fn starting_at(self, at: $int) -> Option<Self> {
                Self::between(if at > self.start { at } else { self.start }, self.end)
            }

            /// Returns the piece of `length_bytes` bytes from `offset` bytes into the range;
            /// `None` where it is empty or not wholly inside.
            ///
            /// ```
            #[doc = concat!("use pmemset_core::", stringify!($name), " as Range;")]
            ///
            /// let range = Range::between(8, 16).unwrap();
            /// assert_eq!(range.slice(4, 4), Range::between(12, 16));
            /// assert_eq!(range.slice(4, 5), None);
            /// ```
            #[must_use]
            pub const fn slice(self, offset: $int, length_bytes: $int) -> Option<Self> {
                let Some(start) = self.start.checked_add(offset) else { return None };
                let Some(piece) = Self::new(start, length_bytes) else { return None };
                if self.covers(piece) { Some(piece) } else { None }
            }

            /// Returns whether start and end are multiples of `alignment`, a power of two.
            ///
            /// ```
            #[doc = concat!("use pmemset_core::", stringify!($name), " as Range;")]
            ///
            /// assert!(Range::between(8, 16).unwrap().is_aligned(8));
            /// ```
            #[must_use]
            pub const fn is_aligned(self, alignment: $int) -> bool {
                let mask = alignment.wrapping_sub(1);
                self.start & mask == 0 && self.end & mask == 0
            }

            /// Returns the smallest range on multiples of `alignment`, a power of two, that covers this one;
            /// `None` where its end would not fit the type.
            ///
            /// ```
            #[doc = concat!("use pmemset_core::", stringify!($name), " as Range;")]
            ///
            /// assert_eq!(Range::between(9, 10).unwrap().align_outward(8), Range::between(8, 16));
            /// ```
            #[must_use]
            pub const fn align_outward(self, alignment: $int) -> Option<Self> {
                let mask = alignment.wrapping_sub(1);
                match self.end.checked_add(mask) {
                    Some(end) => Self::between(self.start & !mask, end & !mask),
                    None => None,
                }
            }
        }

        #[cfg(feature = "defmt")]
        impl defmt::Format for $name {
            fn format(&self, f: defmt::Formatter<'_>) {
                // Not derived: defmt cuts `usize` to 32 bits.
                defmt::write!(f, "{=u64:#x}..{=u64:#x}", self.start as u64, self.end as u64);
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#x}..{:#x}", self.start, self.end)
            }
        }

        impl From<$name> for Range<$int> {
            fn from(range: $name) -> Self {
                range.start..range.end
            }
        }

        /// Fails where the range is empty.
        impl TryFrom<Range<$int>> for $name {
            type Error = EmptyRange;

            fn try_from(range: Range<$int>) -> Result<Self, EmptyRange> {
                Self::between(range.start, range.end).ok_or(EmptyRange)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self, f)
            }
        }
    };
}

range_type! {
    /// A range of addresses.
    ///
    /// ```
    /// let page = pmemset_core::Extent::new(0x1000, 4096).unwrap();
    /// assert_eq!(page.to_string(), "0x1000..0x2000");
    /// ```
    Extent, usize, "address"
}

range_type! {
    /// A range of bytes of a source, counted from its first byte; 64 bits wide on every processor.
    ///
    /// ```
    /// let block = pmemset_core::Span::new(512, 256).unwrap();
    /// assert_eq!(std::ops::Range::from(block), 512..768);
    /// ```
    #[doc(alias = "pmemset_badblock")]
    Span, u64, "offset"
}

/// Why something is no range: it would be empty.
///
/// ```
/// use pmemset_core::Extent;
/// use pmemset_core::error::EmptyRange;
///
/// assert_eq!(Extent::try_from(8..8), Err(EmptyRange));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct EmptyRange;

impl fmt::Display for EmptyRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the range is empty")
    }
}

impl core::error::Error for EmptyRange {}

#[cfg(feature = "defmt")]
crate::code::as_it_is!(Extent Option<Extent> Span);

/// Returns the first multiple of `alignment` (a power of two) that is not below `value`; `None` on overflow.
#[must_use]
pub(crate) const fn align_up(value: usize, alignment: usize) -> Option<usize> {
    let mask = alignment.wrapping_sub(1);
    match value.checked_add(mask) {
        Some(sum) => Some(sum & !mask),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_empty_never_wrapping() {
        assert_eq!(Extent::new(5, 0), None);
        assert_eq!(Extent::new(usize::MAX, 1), None);
        assert_eq!(Extent::new(usize::MAX - 1, 1).map(Extent::end), Some(usize::MAX));
        assert_eq!(Span::new(u64::MAX - 4095, 4096), None);
        assert_eq!(Extent::between(7, 7), None);
        assert_eq!(Extent::between(8, 7), None);
        assert_eq!(Extent::try_from(7..9), Ok(Extent::new(7, 2).unwrap()));
        assert_eq!(Span::try_from(7..7), Err(EmptyRange));
        assert_eq!(core::ops::Range::from(Span::new(7, 2).unwrap()), 7..9);
    }

    #[test]
    fn pieces_agree_with_a_bit_model() {
        let bits = |range: Option<Extent>| (0..16).map(|i| range.is_some_and(|r| r.contains(i))).collect::<Vec<_>>();
        for (a, b, c, d) in
            (0..8).flat_map(|a| (0..8).flat_map(move |b| (0..8).flat_map(move |c| (0..8).map(move |d| (a, b, c, d)))))
        {
            let (x, y) = (Extent::between(a, b), Extent::between(c, d));
            let (Some(x), Some(y)) = (x, y) else { continue };
            let both = (0..16).map(|i| x.contains(i) && y.contains(i)).collect::<Vec<_>>();
            assert_eq!(bits(x.intersect(y)), both);
            assert_eq!(x.overlaps(y), both.contains(&true));
            assert_eq!(x.covers(y), (0..16).all(|i| !y.contains(i) || x.contains(i)));
            assert_eq!(bits(x.ending_at(c)), (0..16).map(|i| x.contains(i) && i < c).collect::<Vec<_>>());
            assert_eq!(bits(x.starting_at(c)), (0..16).map(|i| x.contains(i) && i >= c).collect::<Vec<_>>());
            let inside = c + d <= x.length_bytes() && d > 0;
            assert_eq!(x.slice(c, d), if inside { Extent::new(a + c, d) } else { None });
        }
    }

    #[test]
    fn alignment_is_outward_and_checked() {
        let piece = Extent::new(4097, 1).unwrap();
        assert!(!piece.is_aligned(4096));
        assert_eq!(piece.align_outward(4096), Extent::new(4096, 4096));
        assert_eq!(Extent::new(usize::MAX - 10, 5).unwrap().align_outward(4096), None);
        assert_eq!(align_up(1, 8), Some(8));
        assert_eq!(align_up(16, 8), Some(16));
        assert_eq!(align_up(usize::MAX, 8), None);
    }
}
