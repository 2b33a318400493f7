//! Writes the ACPI tables that make a shared file look like NVDIMMs to a stock kernel: NFIT and SSDT.

use std::fs;
use std::path::Path;

use lab_machine::{BASE, CONTROL, Domain, HINTS, Machine, REGIONS_END};

use crate::support::processes::output_of;
use crate::support::qemu::program;

/// Little-endian bytes of a structure.
#[derive(Default)]
struct Table(Vec<u8>);

impl Table {
    fn u8(&mut self, value: u8) -> &mut Self {
        self.0.push(value);
        self
    }
    fn u16(&mut self, value: u16) -> &mut Self {
        self.0.extend(value.to_le_bytes());
        self
    }
    fn u32(&mut self, value: u32) -> &mut Self {
        self.0.extend(value.to_le_bytes());
        self
    }
    fn u64(&mut self, value: u64) -> &mut Self {
        self.0.extend(value.to_le_bytes());
        self
    }
    fn bytes(&mut self, value: &[u8]) -> &mut Self {
        self.0.extend(value);
        self
    }
}

/// Byte-addressable persistent memory, 66f0d379-b4f3-4074-ac43-0d3318b78cdb as ACPI stores it.
const PERSISTENT_MEMORY: [u8; 16] =
    [0x79, 0xd3, 0xf0, 0x66, 0xf3, 0xb4, 0x74, 0x40, 0xac, 0x43, 0x0d, 0x33, 0x18, 0xb7, 0x8c, 0xdb];

/// Volatile memory, 7305944f-fdda-44e3-b16c-3f22d252e5d0.
const VOLATILE_MEMORY: [u8; 16] =
    [0x4f, 0x94, 0x05, 0x73, 0xda, 0xfd, 0xe3, 0x44, 0xb1, 0x6c, 0x3f, 0x22, 0xd2, 0x52, 0xe5, 0xd0];

/// Returns the NVDIMM firmware interface table of `machine` (ACPI 6.5, 5.2.26).
pub(crate) fn nfit(machine: &Machine) -> Vec<u8> {
    let mut table = Table::default();
    let dimm_bytes = machine.region_bytes() / if machine.interleave { machine.dimms } else { 1 };
    for region in 0..machine.regions() {
        // System physical address range: proximity domain valid, write-back and non-volatile memory.
        let kind = if machine.volatile { &VOLATILE_MEMORY } else { &PERSISTENT_MEMORY };
        table.u16(0).u16(56).u16(number(region) + 1).u16(2).u32(0).u32(1).bytes(kind);
        table.u64(BASE + region * machine.region_bytes()).u64(machine.region_bytes()).u64(0x8008);
    }
    // Volatile ranges have no modules.
    let dimms = if machine.volatile { 0 } else { machine.dimms };
    for dimm in 0..dimms {
        let (range, offset, ways) = match machine.interleave {
            true => (1, 256 * dimm, number(machine.dimms)),
            false => (number(dimm) + 1, 0, 1),
        };
        // Memory device to range: ways and offset of the interleaving; flag bit 3 means not armed.
        table.u16(1).u16(48).u32(u32::from(number(dimm)) + 1).u16(number(dimm)).u16(0).u16(range).u16(number(dimm) + 1);
        table.u64(dimm_bytes).u64(offset).u64(0).u16(0).u16(ways).u16(if machine.armed { 0 } else { 8 }).u16(0);
    }
    for dimm in 0..dimms {
        // Control region: vendor, device, revision, the same of the subsystem, manufactured where and when, serial
        // number.
        table.u16(4).u16(32).u16(number(dimm) + 1).u16(0x8680).u16(0x4c41).u16(1).u16(0x8680).u16(0x4c41).u16(1);
        table.u8(1).u8(0x0a).u16(0x2620).u16(0).u32(0x1000 + u32::from(number(dimm))).u16(0x0301).u16(0);
    }
    for dimm in 0..dimms {
        // Flush hint address: one page for each module.
        table.u16(6).u16(24).u32(u32::from(number(dimm)) + 1).u16(1).bytes(&[0; 6]).u64(BASE + HINTS + 0x1000 * dimm);
    }
    let capability = match machine.domain {
        Domain::None => None,
        Domain::Memory => Some(2),
        Domain::Cpu => Some(3),
    };
    if let Some(capability) = capability {
        table.u16(7).u16(16).u8(1).bytes(&[0; 3]).u32(capability).u32(0);
    }
    with_header(&table.0)
}

fn number(value: u64) -> u16 {
    u16::try_from(value).unwrap_or(u16::MAX)
}

fn with_header(body: &[u8]) -> Vec<u8> {
    let mut table = Table::default();
    table.bytes(b"NFIT").u32(u32::try_from(40 + body.len()).unwrap_or(u32::MAX)).u8(1).u8(0);
    table.bytes(b"PMSET ").bytes(b"PMSETLAB").u32(1).bytes(b"PMST").u32(1).u32(0).bytes(body);
    let sum = table.0.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    table.0[9] = 0_u8.wrapping_sub(sum);
    table.0
}

/// Writes both tables into `folder` as `nfit.aml` and `ssdt.aml`.
///
/// # Errors
///
/// That a file could not be written, or what the compiler of ACPI source said.
pub(crate) fn write(machine: &Machine, folder: &Path) -> Result<(), String> {
    const { assert!(REGIONS_END <= CONTROL) };
    let source = include_str!("ssdt.asl").replace("CONTROL_PAGE", &format!("{:#x}", BASE + CONTROL));
    fs::write(folder.join("nfit.aml"), nfit(machine)).map_err(|error| error.to_string())?;
    fs::write(folder.join("ssdt.asl"), source).map_err(|error| error.to_string())?;
    let iasl = program("iasl").ok_or("no iasl on this machine")?;
    let prefix = folder.join("ssdt");
    output_of(&iasl.to_string_lossy(), &[Path::new("-p"), &prefix, &folder.join("ssdt.asl")]).map(drop)
}

#[cfg(test)]
mod tests {
    use super::nfit;
    use lab_machine::{Domain, Machine};

    /// Returns kind and length of every structure in the table.
    fn structures(table: &[u8]) -> Vec<(u16, u16)> {
        let word = |at: usize| u16::from_le_bytes([table[at], table[at + 1]]);
        let mut at = 40;
        let mut found = Vec::new();
        while at < table.len() {
            found.push((word(at), word(at + 2)));
            at += usize::from(word(at + 2));
        }
        assert_eq!(at, table.len());
        found
    }

    #[test]
    fn the_table_holds_what_the_machine_has() {
        let machine = Machine { dimms: 2, ..Machine::NFIT };
        let table = nfit(&machine);
        let expected = [(0, 56), (0, 56), (1, 48), (1, 48), (4, 32), (4, 32), (6, 24), (6, 24), (7, 16)];
        assert_eq!(structures(&table), expected);
        assert_eq!(table.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)), 0, "checksum");
        assert_eq!(u32::from_le_bytes(table[4..8].try_into().unwrap()) as usize, table.len());
    }

    #[test]
    fn interleaved_modules_share_one_range_and_unknown_domains_have_no_capability() {
        let machine = Machine { dimms: 2, interleave: true, domain: Domain::None, ..Machine::NFIT };
        let kinds: Vec<u16> = structures(&nfit(&machine)).into_iter().map(|structure| structure.0).collect();
        assert_eq!(kinds, [0, 1, 1, 4, 4, 6, 6]);
    }

    #[test]
    fn volatile_memory_has_a_range_and_no_modules() {
        let machine = Machine { dimms: 2, volatile: true, ..Machine::NFIT };
        let table = nfit(&machine);
        assert_eq!(structures(&table), [(0, 56), (0, 56), (7, 16)]);
        assert_eq!(table[56..60], [0x4f, 0x94, 0x05, 0x73]);
    }
}
