//! Parsers of what sysfs and the device mapper say: pure functions over bytes that never panic and take garbage for an
//! error.

use core::fmt;

/// The unit of block-device offsets and of `badblocks` lists, in bytes.
pub(crate) const SECTOR_BYTES: u64 = 512;

/// How far stores have to get to survive a power cut (a region's `persistence_domain`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PersistenceDomain {
    /// CPU caches are written out on power loss.
    CpuCache,
    /// Whatever has reached the memory controller is written out on power loss.
    MemoryController,
    /// The platform says that there is none.
    None,
    /// The platform does not say, or its answer is not known to this version: write back cache lines.
    Unknown,
}

impl fmt::Display for PersistenceDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::CpuCache => "CPU caches",
            Self::MemoryController => "memory controller",
            Self::None => "none",
            Self::Unknown => "unknown",
        })
    }
}

/// The text is not what its kernel document says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Garbage;

/// Returns `text` without the one newline that ends an attribute.
#[must_use]
#[inline(never)]
pub fn trim(text: &[u8]) -> &[u8] {
    match text {
        [text @ .., b'\n'] => text,
        _ => text,
    }
}

/// Returns what is before the first `separator`, and what is behind it if there is one.
#[must_use]
#[inline(never)]
pub fn cut(text: &[u8], separator: u8) -> (&[u8], Option<&[u8]>) {
    match text.iter().position(|byte| *byte == separator) {
        Some(at) => (text.get(..at).unwrap_or_default(), text.get(at.wrapping_add(1)..)),
        None => (text, None),
    }
}

/// Parses digits of one base, nothing before, between or behind them.
pub(crate) fn digits(text: &[u8], base: u32) -> Result<u64, Garbage> {
    if text.is_empty() {
        return Err(Garbage);
    }
    text.iter().try_fold(0_u64, |value, byte| {
        let digit = char::from(*byte).to_digit(base).ok_or(Garbage)?;
        value.checked_mul(u64::from(base)).and_then(|value| value.checked_add(u64::from(digit))).ok_or(Garbage)
    })
}

/// Parses an attribute that holds one number: decimal, or hexadecimal behind `0x`.
///
/// # Errors
///
/// [`Garbage`]: anything else, also a sign, an empty text or more than 64 bits.
pub fn number(text: &[u8]) -> Result<u64, Garbage> {
    match trim(text) {
        [b'0', b'x', hex @ ..] => digits(hex, 16),
        decimal => digits(decimal, 10),
    }
}

/// Parses a count that the kernel writes signed, with -1 for "not known" (`nfit/dirty_shutdown`).
///
/// # Errors
///
/// [`Garbage`]: not a number.
pub fn count(text: &[u8]) -> Result<Option<u64>, Garbage> {
    match trim(text) {
        [b'-', negative @ ..] => digits(negative, 10).map(|_| None),
        _ => number(text).map(Some),
    }
}

/// Parses an attribute that is either `0` or `1`.
///
/// # Errors
///
/// [`Garbage`]: anything else.
pub fn flag(text: &[u8]) -> Result<bool, Garbage> {
    match trim(text) {
        b"0" => Ok(false),
        b"1" => Ok(true),
        _ => Err(Garbage),
    }
}

/// Parses a region's `persistence_domain` (kernel document `ABI/testing/sysfs-bus-nd`).
#[must_use]
pub fn persistence_domain(text: &[u8]) -> PersistenceDomain {
    let text = trim(text);
    if text == b"cpu_cache" {
        PersistenceDomain::CpuCache
    } else if text == b"memory_controller" {
        PersistenceDomain::MemoryController
    } else if text == b"none" {
        PersistenceDomain::None
    } else {
        PersistenceDomain::Unknown
    }
}

/// Parses a device number, `MAJOR:MINOR`.
///
/// # Errors
///
/// [`Garbage`]: anything else.
pub fn device_number(text: &[u8]) -> Result<(u32, u32), Garbage> {
    let (major, minor) = cut(trim(text), b':');
    let part = |text| digits(text, 10).and_then(|number| u32::try_from(number).map_err(|_| Garbage));
    Ok((part(major)?, part(minor.ok_or(Garbage)?)?))
}

/// Parses a region's `mappingN`, `nmemK,OFFSET,LENGTH[,POSITION]`, and returns K.
///
/// # Errors
///
/// [`Garbage`]: anything else.
pub fn mapping(text: &[u8]) -> Result<u32, Garbage> {
    let (name, mut fields) = cut(trim(text), b',');
    let mut rest = 0_u32;
    while let Some(field) = fields {
        let (field, behind) = cut(field, b',');
        number(field)?;
        rest = rest.saturating_add(1);
        fields = behind;
    }
    if !(2..=3).contains(&rest) {
        return Err(Garbage);
    }
    numbered(name, b"nmem").ok_or(Garbage)
}

/// Returns N of `prefixN`, in decimal and without leading zeros; `None` for any other name.
#[must_use]
pub fn numbered(name: &[u8], prefix: &[u8]) -> Option<u32> {
    let tail = name.strip_prefix(prefix)?;
    if matches!(tail, [b'0', _, ..]) {
        return None;
    }
    u32::try_from(digits(tail, 10).ok()?).ok()
}

/// Parses the id of a memory module: printable ASCII without blanks, not empty.
///
/// # Errors
///
/// [`Garbage`]: anything else.
pub fn module_id(text: &[u8]) -> Result<&[u8], Garbage> {
    let id = trim(text);
    if !id.is_empty() && id.iter().all(u8::is_ascii_graphic) { Ok(id) } else { Err(Garbage) }
}

/// What a link in `/sys/dev` says about the device's place on the nd bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegionPath<'t> {
    /// The link's text up to the region's own directory.
    pub prefix: &'t [u8],
    /// The number in the region's name.
    pub id: u32,
    /// The number in the name of its bus.
    pub bus: u32,
}

/// Finds the region in the target of a link: the component `regionR` directly below `ndbusB`.
///
/// A CXL region of the same name that is on no nd bus does not count.
#[must_use]
pub fn region(link: &[u8]) -> Option<RegionPath<'_>> {
    let (mut bus, mut rest) = (None, Some(link));
    while let Some(text) = rest {
        let (component, behind) = cut(text, b'/');
        if let (Some(id), Some(bus)) = (numbered(component, b"region"), bus) {
            let left = behind.map_or(0, |behind| behind.len().wrapping_add(1));
            return Some(RegionPath { prefix: link.get(..link.len().wrapping_sub(left))?, id, bus });
        }
        bus = numbered(component, b"ndbus");
        rest = behind;
    }
    None
}

/// Returns the last component of a link's target.
///
/// # Errors
///
/// [`Garbage`]: it is empty or a dot name.
pub fn base_name(link: &[u8]) -> Result<&[u8], Garbage> {
    match link.rsplit(|byte| *byte == b'/').next() {
        Some(name) if !matches!(name, b"" | b"." | b"..") => Ok(name),
        _ => Err(Garbage),
    }
}

/// One line of a `badblocks` list, or of a device-mapper table: sectors of 512 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sectors {
    /// The first sector.
    pub start: u64,
    /// The number of sectors, at least 1.
    pub count: u64,
}

impl Sectors {
    /// Returns the sectors as bytes.
    ///
    /// # Errors
    ///
    /// [`Garbage`]: they do not fit 64 bits, or there is none.
    pub fn span(self) -> Result<pmemset_core::Span, Garbage> {
        let start = self.start.checked_mul(SECTOR_BYTES).ok_or(Garbage)?;
        let length_bytes = self.count.checked_mul(SECTOR_BYTES).ok_or(Garbage)?;
        pmemset_core::Span::new(start, length_bytes).ok_or(Garbage)
    }
}

/// A reader of `badblocks`, lines of `START COUNT`, byte by byte.
#[derive(Clone, Copy, Debug, Default)]
pub struct BadBlockLines {
    start: Option<u64>,
    number: Option<u64>,
}

impl BadBlockLines {
    /// Takes the next byte; returns the block when it ends a line.
    ///
    /// # Errors
    ///
    /// [`Garbage`]: it cannot be there, or the line does not hold a block; also a count of 0.
    pub fn next(&mut self, byte: u8) -> Result<Option<pmemset_core::Span>, Garbage> {
        match (byte, self.start, self.number) {
            (b'0'..=b'9', _, number) => {
                let tens = number.unwrap_or(0).checked_mul(10).ok_or(Garbage)?;
                self.number = Some(tens.checked_add(u64::from(byte & 15)).ok_or(Garbage)?);
                Ok(None)
            }
            (b' ', None, Some(start)) => {
                *self = Self { start: Some(start), number: None };
                Ok(None)
            }
            (b'\n', Some(start), Some(count)) => {
                *self = Self::default();
                Sectors { start, count }.span().map(Some)
            }
            _ => Err(Garbage),
        }
    }

    /// Returns whether the last line is complete.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.start.is_none() && self.number.is_none()
    }
}

/// Parses the parameters of a device-mapper target of type `linear`, `MAJOR:MINOR START`.
///
/// # Errors
///
/// [`Garbage`]: anything else.
pub fn linear_target(parameters: &[u8]) -> Result<((u32, u32), u64), Garbage> {
    let (device, start) = cut(parameters, b' ');
    if device.last() == Some(&b'\n') {
        return Err(Garbage);
    }
    Ok((device_number(device)?, digits(trim(start.ok_or(Garbage)?), 10)?))
}

#[cfg(test)]
mod tests;
