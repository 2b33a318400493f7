//! Writes NVDIMM firmware interface tables, for tests, the fuzzer and virtual machines (ACPI 6.5, section 5.2.25).

/// Type of a persistent memory range: 66f0d379-b4f3-4074-ac43-0d3318b78cdb.
const PERSISTENT: [u8; 16] =
    [0x79, 0xd3, 0xf0, 0x66, 0xf3, 0xb4, 0x74, 0x40, 0xac, 0x43, 0x0d, 0x33, 0x18, 0xb7, 0x8c, 0xdb];

/// A structure of `length` bytes with a header, and `fields` at their offsets.
fn structure(kind: u16, length: u16, fields: &[(usize, &[u8])]) -> Vec<u8> {
    let mut bytes = vec![0; length.into()];
    bytes[..2].copy_from_slice(&kind.to_le_bytes());
    bytes[2..4].copy_from_slice(&length.to_le_bytes());
    for (at, field) in fields {
        bytes[*at..*at + field.len()].copy_from_slice(field);
    }
    bytes
}

/// A range of persistent memory.
pub fn range(index: u16, base: u64, length_bytes: u64) -> Vec<u8> {
    let fields: [(usize, &[u8]); 4] =
        [(4, &index.to_le_bytes()), (16, &PERSISTENT), (32, &base.to_le_bytes()), (40, &length_bytes.to_le_bytes())];
    structure(0, 56, &fields)
}

/// The share of the module `handle` in range `index`; the module is what control region `control` says.
pub fn mapping(handle: u32, index: u16, control: u16, state: u16) -> Vec<u8> {
    let fields: [(usize, &[u8]); 4] = [
        (4, &handle.to_le_bytes()),
        (12, &index.to_le_bytes()),
        (14, &control.to_le_bytes()),
        (44, &state.to_le_bytes()),
    ];
    structure(1, 48, &fields)
}

/// A control region: the vendor's number is 0x8680, `made` is a location and a date.
pub fn control(index: u16, made: Option<[u8; 3]>, serial: u32) -> Vec<u8> {
    let [place, year, week] = made.unwrap_or_default();
    let fields: [(usize, &[u8]); 4] = [
        (4, &index.to_le_bytes()),
        (6, &[0x86, 0x80]),
        (18, &[u8::from(made.is_some()), place, year, week]),
        (24, &serial.to_be_bytes()),
    ];
    structure(4, 32, &fields)
}

/// The one flush hint of a module.
pub fn flush_hint(handle: u32, address: u64) -> Vec<u8> {
    structure(6, 24, &[(4, &handle.to_le_bytes()), (8, &[1]), (16, &address.to_le_bytes())])
}

/// What the platform promises; bit 0: its caches are durable.
pub fn capabilities(bits: u32) -> Vec<u8> {
    structure(7, 16, &[(4, &[31]), (8, &bits.to_le_bytes())])
}

/// The table with these structures.
pub fn table(structures: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = b"NFIT\0\0\0\0\x01\0PMSET PMSETTST\x01\0\0\0PMST\x01\0\0\0\0\0\0\0".to_vec();
    bytes.extend(structures.concat());
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    bytes[4..8].copy_from_slice(&length.to_le_bytes());
    seal(&mut bytes);
    bytes
}

/// Makes the checksum right.
pub fn seal(bytes: &mut [u8]) {
    bytes[9] = 0;
    bytes[9] = bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)).wrapping_neg();
}
