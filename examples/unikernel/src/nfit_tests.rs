//! Tables as QEMU writes them, and tables that firmware should not write.

use super::*;

fn range_structure(index: u16, base: u64, length_bytes: u64) -> std::vec::Vec<u8> {
    let mut bytes = vec![0; 56];
    bytes[2] = 56;
    bytes[4..6].copy_from_slice(&index.to_le_bytes());
    bytes[16..32].copy_from_slice(&PERSISTENT);
    bytes[32..40].copy_from_slice(&base.to_le_bytes());
    bytes[40..48].copy_from_slice(&length_bytes.to_le_bytes());
    bytes
}

fn mapping(handle: u32, index: u16, state: u16) -> std::vec::Vec<u8> {
    let mut bytes = vec![0; 48];
    bytes[0] = 1;
    bytes[2] = 48;
    bytes[4..8].copy_from_slice(&handle.to_le_bytes());
    bytes[12..14].copy_from_slice(&index.to_le_bytes());
    bytes[44..46].copy_from_slice(&state.to_le_bytes());
    bytes
}

fn capabilities(bits: u32) -> std::vec::Vec<u8> {
    let mut bytes = vec![7, 0, 16, 0, 31, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    bytes[8..12].copy_from_slice(&bits.to_le_bytes());
    bytes
}

fn flush_hint(handle: u32, address: u64) -> std::vec::Vec<u8> {
    let mut bytes = vec![0; 24];
    bytes[0] = 6;
    bytes[2] = 24;
    bytes[4..8].copy_from_slice(&handle.to_le_bytes());
    bytes[8] = 1;
    bytes[16..24].copy_from_slice(&address.to_le_bytes());
    bytes
}

fn table(structures: &[std::vec::Vec<u8>]) -> std::vec::Vec<u8> {
    let mut bytes = vec![0; HEADER_BYTES];
    bytes[..4].copy_from_slice(b"NFIT");
    structures.iter().for_each(|structure| bytes.extend(structure));
    let length = u32::try_from(bytes.len()).unwrap();
    bytes[4..8].copy_from_slice(&length.to_le_bytes());
    seal(&mut bytes);
    bytes
}

fn seal(bytes: &mut [u8]) {
    bytes[9] = 0;
    bytes[9] = bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)).wrapping_neg();
}

#[test]
fn order_of_structures_does_not_matter() {
    let pieces = [
        range_structure(2, 0x1_4000_0000, 0x100_0000),
        range_structure(1, 0x1_0000_0000, 0x200_0000),
        mapping(7, 1, 0),
        mapping(9, 2, FLUSH_FAILED),
        flush_hint(7, 0xfed0_0040),
        capabilities(0),
    ];
    let forward = parse(&table(&pieces)).unwrap();
    let mut reversed = pieces.to_vec();
    reversed.reverse();
    assert_eq!(forward, parse(&table(&reversed)).unwrap());
    assert_eq!(forward.ranges[0].base, 0x1_0000_0000);
    assert_eq!(forward.ranges[0].flush_hint, Some(0xfed0_0040));
    assert_eq!((forward.ranges[0].handle, forward.ranges[1].handle), (7, 9));
    assert!(!forward.ranges[0].was_cut_badly() && forward.ranges[1].was_cut_badly());
    assert!(!forward.caches_are_durable);
}

#[test]
fn caches_are_durable_only_where_the_table_says_so() {
    assert!(parse(&table(&[capabilities(1)])).unwrap().caches_are_durable);
    assert!(!parse(&table(&[capabilities(2)])).unwrap().caches_are_durable);
    assert!(!parse(&table(&[])).unwrap().caches_are_durable);
}

#[test]
fn one_module_not_armed_makes_its_range_unusable() {
    let range = |state| {
        let pieces = [range_structure(1, 0x1000, 0x1000), mapping(1, 1, 0), mapping(2, 1, state)];
        parse(&table(&pieces)).unwrap().ranges[0]
    };
    assert!(range(0).is_usable() && range(FLUSH_FAILED).is_usable());
    assert!(!range(NOT_ARMED).is_usable());
    assert!(!range(MAP_FAILED).is_usable());
    assert_eq!(range(0).modules, 2);
}

#[test]
fn unknown_types_and_longer_structures_are_stepped_over() {
    let unknown = vec![0x55, 0, 9, 0, 1, 2, 3, 4, 5];
    let mut longer = range_structure(1, 0x1000, 0x2000);
    longer.extend([0xee; 8]);
    longer[2] = 64;
    let nfit = parse(&table(&[unknown, longer, mapping(3, 1, 0)])).unwrap();
    assert_eq!((nfit.ranges.len(), nfit.ranges[0].handle), (1, 3));
}

#[test]
fn volatile_ranges_are_no_persistent_memory() {
    let mut range = range_structure(1, 0x1000, 0x1000);
    range[16] ^= 1;
    assert!(parse(&table(&[range])).unwrap().ranges.is_empty());
}

#[test]
fn structures_that_lie_about_their_length_are_refused() {
    for length in [0u8, 3, 57, 255] {
        let mut bytes = table(&[range_structure(1, 0x1000, 0x1000)]);
        bytes[HEADER_BYTES + 2] = length;
        seal(&mut bytes);
        assert_eq!(parse(&bytes), Err(NfitError::Structure { offset: HEADER_BYTES }), "{length}");
    }
    let mut short = range_structure(1, 0x1000, 0x1000);
    short.truncate(40);
    short[2] = 40;
    assert_eq!(parse(&table(&[short])), Err(NfitError::Structure { offset: HEADER_BYTES }));
    let empty = range_structure(1, 0x1000, 0);
    assert_eq!(parse(&table(&[empty])), Err(NfitError::Structure { offset: HEADER_BYTES }));
    let wrapping = range_structure(1, u64::MAX - 1, 0x1000);
    assert_eq!(parse(&table(&[wrapping])), Err(NfitError::Structure { offset: HEADER_BYTES }));
}

#[test]
fn damaged_headers_are_refused() {
    let good = table(&[range_structure(1, 0x1000, 0x1000)]);
    assert_eq!(parse(&[]), Err(NfitError::Signature));
    assert_eq!(parse(b"NFIT"), Err(NfitError::Length));
    assert_eq!(parse(&good[..good.len() - 1]), Err(NfitError::Length));
    let mut flipped = good.clone();
    flipped[60] ^= 1;
    assert_eq!(parse(&flipped), Err(NfitError::Checksum));
    let many: std::vec::Vec<_> = (0..17).map(|i| range_structure(i, 0x1000 * (u64::from(i) + 1), 0x1000)).collect();
    assert_eq!(parse(&table(&many)), Err(NfitError::TooMany));
}

#[test]
fn every_truncation_and_every_flipped_byte_ends() {
    let good = table(&[range_structure(1, 0x1000, 0x1000), mapping(3, 1, 0), flush_hint(3, 8), capabilities(1)]);
    for at in 0..good.len() {
        for value in [0, 1, 3, 4, 0x7f, 0xff] {
            let mut bytes = good.clone();
            bytes[at] = value;
            seal(&mut bytes);
            let _ = parse(&bytes);
            let _ = parse(&bytes[..at]);
        }
    }
}
