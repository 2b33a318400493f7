//! The NVDIMM firmware interface table (ACPI 6.5, section 5.2.25): which ranges of memory are persistent, and how.
//!
//! Structures are stepped over by the length they state; unknown types, and what a newer table adds behind the known
//! fields, are ignored. Nothing is assumed about their order.

use heapless::{String, Vec};
use pmemset_core::DeviceId;
use pmemset_core::error::DeviceError;

/// The most ranges that are looked for.
pub const RANGES_MAX: usize = 16;
/// The most shares of modules in these ranges.
pub const MODULES_MAX: usize = 64;

/// A range of persistent memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// First physical address.
    pub base: u64,
    /// Length in bytes.
    pub length_bytes: u64,
    /// Its number in the table.
    pub index: u16,
    /// The lowest handle of a module that it is made of; 0 where the table names none.
    pub handle: u32,
    /// State flags of all its modules, or-ed (bits as in [`NOT_ARMED`]).
    pub state: u16,
}

/// State flag: saving the contents failed at the last power cut.
pub const SAVE_FAILED: u16 = 1;
/// State flag: restoring them failed.
pub const RESTORE_FAILED: u16 = 1 << 1;
/// State flag: the platform did not flush its buffers at the last power cut.
pub const FLUSH_FAILED: u16 = 1 << 2;
/// State flag: stores made now would not survive a power cut.
pub const NOT_ARMED: u16 = 1 << 3;
/// State flag: the firmware could not map the module.
pub const MAP_FAILED: u16 = 1 << 6;

impl Range {
    /// Returns whether stores made now survive a power cut.
    #[must_use]
    pub const fn is_usable(&self) -> bool {
        self.state & (NOT_ARMED | MAP_FAILED) == 0
    }

    /// Returns whether the last power cut may have lost stores.
    #[must_use]
    pub const fn was_cut_badly(&self) -> bool {
        self.state & (SAVE_FAILED | RESTORE_FAILED | FLUSH_FAILED) != 0
    }
}

/// The share of a memory module in a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Module {
    /// The number of the range.
    pub range: u16,
    /// The module's handle, which says where it sits.
    pub handle: u32,
    /// The number of the structure that says what it is.
    control: u16,
    /// What it is; `None` where the table does not say.
    pub identity: Option<Identity>,
    /// One of its flush hint addresses, if the table has any.
    pub flush_hint: Option<u64>,
}

/// What tells a memory module from all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The vendor's number, as the module stores it.
    pub vendor: [u8; 2],
    /// Where and when it was made, if the table says so: the location, and the two bytes of the date.
    pub made: Option<[u8; 3]>,
    /// The serial number, as the module stores it.
    pub serial: [u8; 4],
}

impl Identity {
    /// Returns the id that Linux shows as `nmemX/nfit/id`, such as `8680-01-2620-00100000`.
    #[must_use]
    pub fn text(&self) -> String<21> {
        let made = self.made.iter().flat_map(|[place, year, week]| [&[*place][..], &[*year, *week]].map(hex));
        let pieces = [hex(&self.vendor)].into_iter().chain(made).chain([hex(&self.serial)]);
        let mut text = String::new();
        for piece in pieces {
            // There is room for all of them.
            let _ = if text.is_empty() { Ok(()) } else { text.push('-') };
            let _ = text.push_str(&piece);
        }
        text
    }
}

fn hex(bytes: &[u8]) -> String<8> {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}

/// What the table says.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Nfit {
    /// The ranges of persistent memory, in the order of their addresses; none overlaps another.
    pub ranges: Vec<Range, RANGES_MAX>,
    /// The modules behind them, in the order of their handles.
    pub modules: Vec<Module, MODULES_MAX>,
    /// Whether the processor's caches are inside the power-fail domain; false where the table does not say so.
    pub caches_are_durable: bool,
}

/// Why the table was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NfitError {
    /// The signature is another one.
    Signature,
    /// The bytes end before the length that the table states, or the length is too small.
    Length,
    /// The bytes of the table do not sum up to 0.
    Checksum,
    /// The structure at this offset states a length that is too small or runs past the table.
    Structure {
        /// Its offset in bytes.
        offset: usize,
    },
    /// There are more than [`RANGES_MAX`] ranges, or more than [`MODULES_MAX`] shares of modules in them.
    TooMany,
    /// Two ranges share memory.
    Overlap,
}

impl core::fmt::Display for NfitError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Signature => f.write_str("it is no NVDIMM firmware interface table"),
            Self::Length => f.write_str("the table ends before its length"),
            Self::Checksum => f.write_str("the table's bytes do not sum up to 0"),
            Self::Structure { offset } => write!(f, "the structure at byte {offset} does not fit into the table"),
            Self::TooMany => f.write_str("there are more ranges or modules than there is room for"),
            Self::Overlap => f.write_str("two ranges share memory"),
        }
    }
}

impl core::error::Error for NfitError {}

impl Nfit {
    /// Returns the shares of modules in `range`, in the order of their handles.
    pub fn modules_of(&self, range: &Range) -> impl Iterator<Item = &Module> {
        let index = range.index;
        self.modules.iter().filter(move |module| module.range == index)
    }

    /// Appends to the empty `id` the ids of the modules behind `range`, ordered by their handles and each once.
    ///
    /// # Errors
    ///
    /// - [`DeviceError::Unsupported`]: the table names no module, or does not say what one is.
    /// - [`DeviceError::IdTooLong`]: there are more than 24 modules.
    pub fn device(&self, range: &Range, id: &mut DeviceId) -> Result<(), DeviceError> {
        let mut last = None;
        for module in self.modules_of(range) {
            if last != Some(module.handle) {
                id.push(module.identity.ok_or(DeviceError::Unsupported)?.text().as_bytes())?;
                last = Some(module.handle);
            }
        }
        last.map(drop).ok_or(DeviceError::Unsupported)
    }
}

/// Type of a persistent memory range: 66f0d379-b4f3-4074-ac43-0d3318b78cdb.
const PERSISTENT: [u8; 16] =
    [0x79, 0xd3, 0xf0, 0x66, 0xf3, 0xb4, 0x74, 0x40, 0xac, 0x43, 0x0d, 0x33, 0x18, 0xb7, 0x8c, 0xdb];

const HEADER_BYTES: usize = 40;
const SYSTEM_RANGE: u16 = 0;
const MODULE_MAPPING: u16 = 1;
const CONTROL_REGION: u16 = 4;
const FLUSH_HINTS: u16 = 6;
const CAPABILITIES: u16 = 7;

/// A structure of the table: its type and its bytes, the four of the header included.
struct Structure<'t> {
    kind: u16,
    bytes: &'t [u8],
}

impl Structure<'_> {
    fn array<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.bytes.get(at..at.checked_add(N)?)?.try_into().ok()
    }

    fn u16(&self, at: usize) -> Option<u16> {
        self.array(at).map(u16::from_le_bytes)
    }

    fn u32(&self, at: usize) -> Option<u32> {
        self.array(at).map(u32::from_le_bytes)
    }

    fn u64(&self, at: usize) -> Option<u64> {
        self.array(at).map(u64::from_le_bytes)
    }
}

/// Returns the structure at `offset`, and the offset of the one behind it.
fn structure(table: &[u8], offset: usize) -> Result<(Structure<'_>, usize), NfitError> {
    let bad = NfitError::Structure { offset };
    let head = table.get(offset..).ok_or(bad)?;
    let &[kind_low, kind_high, length_low, length_high, ..] = head else { return Err(bad) };
    let length = usize::from(u16::from_le_bytes([length_low, length_high]));
    let bytes = head.get(..length).filter(|bytes| bytes.len() >= 4).ok_or(bad)?;
    Ok((Structure { kind: u16::from_le_bytes([kind_low, kind_high]), bytes }, offset + length))
}

fn each<'t>(table: &'t [u8], mut visit: impl FnMut(&Structure<'t>) -> Option<()>) -> Result<(), NfitError> {
    let mut offset = HEADER_BYTES;
    while offset < table.len() {
        let (structure, next) = structure(table, offset)?;
        visit(&structure).ok_or(NfitError::Structure { offset })?;
        offset = next;
    }
    Ok(())
}

/// Reads a table that starts with its signature; bytes behind its stated length are ignored.
///
/// # Errors
///
/// See [`NfitError`].
pub fn parse(bytes: &[u8]) -> Result<Nfit, NfitError> {
    if bytes.get(..4) != Some(b"NFIT") {
        return Err(NfitError::Signature);
    }
    let stated = bytes.get(4..8).and_then(|field| field.try_into().ok()).map(u32::from_le_bytes);
    let length = stated.and_then(|length| usize::try_from(length).ok()).ok_or(NfitError::Length)?;
    let table = bytes.get(..length).filter(|table| table.len() >= HEADER_BYTES).ok_or(NfitError::Length)?;
    if table.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)) != 0 {
        return Err(NfitError::Checksum);
    }
    let mut nfit = Nfit::default();
    let mut room = true;
    each(table, |structure| {
        match structure.kind {
            SYSTEM_RANGE if structure.array(16)? == PERSISTENT => {
                let (index, base, length_bytes) = (structure.u16(4)?, structure.u64(32)?, structure.u64(40)?);
                if length_bytes == 0 || base.checked_add(length_bytes).is_none() {
                    return None;
                }
                let range = Range { base, length_bytes, index, handle: 0, state: 0 };
                room &= nfit.ranges.push(range).is_ok();
            }
            CAPABILITIES => nfit.caches_are_durable |= structure.u32(8)? & 1 == 1,
            _ => {}
        }
        Some(())
    })?;
    if !room {
        return Err(NfitError::TooMany);
    }
    nfit.ranges.sort_unstable_by_key(|range| range.base);
    if nfit.ranges.windows(2).any(|pair| pair[0].base + pair[0].length_bytes > pair[1].base) {
        return Err(NfitError::Overlap);
    }
    mappings(table, &mut nfit)?;
    details(table, &mut nfit)?;
    Ok(nfit)
}

/// Joins the modules to their ranges; the structures may stand in any order.
fn mappings(table: &[u8], nfit: &mut Nfit) -> Result<(), NfitError> {
    let mut room = true;
    each(table, |structure| {
        if structure.kind == MODULE_MAPPING {
            let (handle, index, control) = (structure.u32(4)?, structure.u16(12)?, structure.u16(14)?);
            let state = structure.u16(44)?;
            let mut ranges = nfit.ranges.iter_mut().filter(|range| range.index == index).peekable();
            if ranges.peek().is_some() {
                let module = Module { range: index, handle, control, identity: None, flush_hint: None };
                room &= nfit.modules.push(module).is_ok();
            }
            ranges.for_each(|range| range.state |= state);
        }
        Some(())
    })?;
    nfit.modules.sort_unstable_by_key(|module| (module.handle, module.range, module.control));
    for range in &mut nfit.ranges {
        let first = nfit.modules.iter().find(|module| module.range == range.index);
        range.handle = first.map_or(0, |module| module.handle);
    }
    if room { Ok(()) } else { Err(NfitError::TooMany) }
}

/// Joins flush hints and identities to the modules.
fn details(table: &[u8], nfit: &mut Nfit) -> Result<(), NfitError> {
    each(table, |structure| {
        match structure.kind {
            FLUSH_HINTS if structure.u16(8)? > 0 => {
                let (handle, address) = (structure.u32(4)?, structure.u64(16)?);
                for module in nfit.modules.iter_mut().filter(|module| module.handle == handle) {
                    module.flush_hint = Some(address);
                }
            }
            CONTROL_REGION => {
                let (index, vendor, serial) = (structure.u16(4)?, structure.array(6)?, structure.array(24)?);
                let [valid, made @ ..] = structure.array::<4>(18)?;
                let identity = Identity { vendor, made: (valid & 1 == 1).then_some(made), serial };
                for module in nfit.modules.iter_mut().filter(|module| module.control == index) {
                    module.identity = Some(identity);
                }
            }
            _ => {}
        }
        Some(())
    })
}

#[cfg(test)]
mod tests;
