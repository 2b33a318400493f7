//! The NVDIMM firmware interface table (ACPI 6.5, section 5.2.25): which ranges of memory are persistent, and how.
//!
//! Structures are stepped over by the length they state; unknown types, and what a newer table adds behind the known
//! fields, are ignored. Nothing is assumed about their order.

use heapless::Vec;

/// The most ranges that are looked for.
pub const RANGES_MAX: usize = 16;

/// A range of persistent memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// First physical address.
    pub base: u64,
    /// Length in bytes.
    pub length_bytes: u64,
    /// Number of modules that it is made of; 0 where the table names none.
    pub modules: u16,
    /// The handle of its first module, 0 without one.
    pub handle: u32,
    /// State flags of all its modules, or-ed (bits as in [`NOT_ARMED`]).
    pub state: u16,
    /// A flush hint address of its first module, if the table has one.
    pub flush_hint: Option<u64>,
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

/// What the table says.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Nfit {
    /// The ranges of persistent memory, in the order of their addresses.
    pub ranges: Vec<Range, RANGES_MAX>,
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
    /// There are more than [`RANGES_MAX`] ranges.
    TooMany,
}

/// Type of a persistent memory range: 66f0d379-b4f3-4074-ac43-0d3318b78cdb.
const PERSISTENT: [u8; 16] =
    [0x79, 0xd3, 0xf0, 0x66, 0xf3, 0xb4, 0x74, 0x40, 0xac, 0x43, 0x0d, 0x33, 0x18, 0xb7, 0x8c, 0xdb];

const HEADER_BYTES: usize = 40;
const SYSTEM_RANGE: u16 = 0;
const MODULE_MAPPING: u16 = 1;
const FLUSH_HINTS: u16 = 6;
const CAPABILITIES: u16 = 7;

/// A structure of the table: its type and its bytes, the four of the header included.
struct Structure<'t> {
    kind: u16,
    bytes: &'t [u8],
}

impl Structure<'_> {
    fn u16(&self, at: usize) -> Option<u16> {
        Some(u16::from_le_bytes(self.bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
    }

    fn u32(&self, at: usize) -> Option<u32> {
        Some(u32::from_le_bytes(self.bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
    }

    fn u64(&self, at: usize) -> Option<u64> {
        Some(u64::from_le_bytes(self.bytes.get(at..at.checked_add(8)?)?.try_into().ok()?))
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
    let mut indices: Vec<u16, RANGES_MAX> = Vec::new();
    let mut overflow = false;
    each(table, |structure| {
        match structure.kind {
            SYSTEM_RANGE if structure.bytes.get(16..32)? == PERSISTENT => {
                let (base, length_bytes) = (structure.u64(32)?, structure.u64(40)?);
                if length_bytes == 0 || base.checked_add(length_bytes).is_none() {
                    return None;
                }
                let range = Range { base, length_bytes, modules: 0, handle: 0, state: 0, flush_hint: None };
                overflow |= nfit.ranges.push(range).is_err() || indices.push(structure.u16(4)?).is_err();
            }
            CAPABILITIES => nfit.caches_are_durable |= structure.u32(8)? & 1 == 1,
            _ => {}
        }
        Some(())
    })?;
    if overflow {
        return Err(NfitError::TooMany);
    }
    mappings(table, &indices, &mut nfit)?;
    hints(table, &mut nfit)?;
    nfit.ranges.sort_unstable_by_key(|range| range.base);
    Ok(nfit)
}

/// Joins the modules to their ranges; the structures may stand in any order.
fn mappings(table: &[u8], indices: &[u16], nfit: &mut Nfit) -> Result<(), NfitError> {
    each(table, |structure| {
        if structure.kind == MODULE_MAPPING {
            let (handle, index, state) = (structure.u32(4)?, structure.u16(12)?, structure.u16(44)?);
            for (range, _) in nfit.ranges.iter_mut().zip(indices).filter(|(_, its)| **its == index) {
                range.handle = if range.modules == 0 { handle } else { range.handle };
                range.modules = range.modules.saturating_add(1);
                range.state |= state;
            }
        }
        Some(())
    })
}

fn hints(table: &[u8], nfit: &mut Nfit) -> Result<(), NfitError> {
    each(table, |structure| {
        if structure.kind == FLUSH_HINTS && structure.u16(8)? > 0 {
            let (handle, address) = (structure.u32(4)?, structure.u64(16)?);
            for range in nfit.ranges.iter_mut().filter(|range| range.modules > 0 && range.handle == handle) {
                range.flush_hint = Some(address);
            }
        }
        Some(())
    })
}

#[cfg(test)]
#[path = "nfit_tests.rs"]
mod tests;
