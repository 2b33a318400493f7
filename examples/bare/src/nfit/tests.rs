//! Tables as QEMU writes them, and tables that firmware should not write.

use super::*;
use testkit::nfit::{capabilities, control, flush_hint, mapping, range, seal, table};

#[test]
fn order_of_structures_does_not_matter() {
    let pieces = [
        range(2, 0x1_4000_0000, 0x100_0000),
        range(1, 0x1_0000_0000, 0x200_0000),
        mapping(7, 1, 0, 0),
        mapping(9, 2, 0, FLUSH_FAILED),
        flush_hint(7, 0xfed0_0040),
        capabilities(0),
    ];
    let forward = parse(&table(&pieces)).unwrap();
    let mut reversed = pieces.to_vec();
    reversed.reverse();
    assert_eq!(forward, parse(&table(&reversed)).unwrap());
    assert_eq!(forward.ranges[0].base, 0x1_0000_0000);
    assert_eq!(forward.modules[0].flush_hint, Some(0xfed0_0040));
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
    let joined = |state| {
        let modules = [mapping(1, 1, 0, 0), mapping(2, 1, 0, state), mapping(3, 1, 0, 0)];
        let pieces = [&[range(1, 0x1000, 0x1000)], &modules[..]].concat();
        parse(&table(&pieces)).unwrap().ranges[0]
    };
    assert!(joined(0).is_usable() && joined(FLUSH_FAILED).is_usable());
    assert!(!joined(NOT_ARMED).is_usable());
    assert!(!joined(MAP_FAILED).is_usable());
}

#[test]
fn unknown_types_and_longer_structures_are_stepped_over() {
    let unknown = vec![0x55, 0, 9, 0, 1, 2, 3, 4, 5];
    let mut longer = range(1, 0x1000, 0x2000);
    longer.extend([0xee; 8]);
    longer[2] = 64;
    let nfit = parse(&table(&[unknown, longer, mapping(3, 1, 0, 0)])).unwrap();
    assert_eq!((nfit.ranges.len(), nfit.ranges[0].handle), (1, 3));
}

#[test]
fn volatile_ranges_are_no_persistent_memory() {
    let mut other = range(1, 0x1000, 0x1000);
    other[16] ^= 1;
    assert!(parse(&table(&[other])).unwrap().ranges.is_empty());
}

#[test]
fn structures_that_lie_about_their_length_are_refused() {
    for length in [0u8, 3, 57, 255] {
        let mut bytes = table(&[range(1, 0x1000, 0x1000)]);
        bytes[HEADER_BYTES + 2] = length;
        seal(&mut bytes);
        assert_eq!(parse(&bytes), Err(NfitError::Structure { offset: HEADER_BYTES }), "{length}");
    }
    let mut short = range(1, 0x1000, 0x1000);
    short.truncate(40);
    short[2] = 40;
    assert_eq!(parse(&table(&[short])), Err(NfitError::Structure { offset: HEADER_BYTES }));
    let empty = range(1, 0x1000, 0);
    assert_eq!(parse(&table(&[empty])), Err(NfitError::Structure { offset: HEADER_BYTES }));
    let wrapping = range(1, u64::MAX - 1, 0x1000);
    assert_eq!(parse(&table(&[wrapping])), Err(NfitError::Structure { offset: HEADER_BYTES }));
}

#[test]
fn damaged_headers_are_refused() {
    let good = table(&[range(1, 0x1000, 0x1000)]);
    assert_eq!(parse(&[]), Err(NfitError::Signature));
    assert_eq!(parse(b"NFIT"), Err(NfitError::Length));
    assert_eq!(parse(&good[..good.len() - 1]), Err(NfitError::Length));
    let mut flipped = good.clone();
    flipped[60] ^= 1;
    assert_eq!(parse(&flipped), Err(NfitError::Checksum));
    let many: std::vec::Vec<_> = (0..17).map(|i| range(i, 0x1000 * (u64::from(i) + 1), 0x1000)).collect();
    assert_eq!(parse(&table(&many)), Err(NfitError::TooMany));
}

#[test]
fn every_truncation_and_every_flipped_byte_ends() {
    let good = table(&[range(1, 0x1000, 0x1000), mapping(3, 1, 0, 0), flush_hint(3, 8), capabilities(1)]);
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

fn device_of(nfit: &Nfit) -> Result<DeviceId, DeviceError> {
    let mut id = DeviceId::new();
    nfit.device(&nfit.ranges[0], &mut id).map(|()| id)
}

#[test]
fn ids_are_those_that_linux_shows() {
    let made = control(5, Some([1, 0x26, 0x20]), 0x1000);
    let pieces = [range(1, 0x1000, 0x1000), mapping(3, 1, 5, 0), made];
    let nfit = parse(&table(&pieces)).unwrap();
    assert_eq!(device_of(&nfit).unwrap().as_bytes(), b"8680-01-2620-00001000");
    let pieces = [control(5, None, 0x5634_1200), mapping(3, 1, 5, 0), range(1, 0x1000, 0x1000)];
    let nfit = parse(&table(&pieces)).unwrap();
    assert_eq!(device_of(&nfit).unwrap().as_bytes(), b"8680-56341200");
}

#[test]
fn modules_of_a_range_are_named_by_their_handles_and_each_once() {
    let mut pieces = vec![range(1, 0x1000, 0x2000), range(2, 0x8000, 0x1000)];
    pieces.extend([mapping(9, 1, 2, 0), mapping(4, 1, 1, 0), mapping(9, 1, 2, 0), mapping(1, 2, 3, 0)]);
    pieces.extend([control(1, None, 1), control(2, None, 2), control(3, None, 3)]);
    pieces.extend([flush_hint(4, 0x40), flush_hint(9, 0x90)]);
    let nfit = parse(&table(&pieces)).unwrap();
    assert_eq!(device_of(&nfit).unwrap().as_bytes(), b"8680-000000018680-00000002");
    let hints: std::vec::Vec<_> = nfit.modules_of(&nfit.ranges[0]).map(|module| module.flush_hint).collect();
    assert_eq!(hints, [Some(0x40), Some(0x90), Some(0x90)]);
    assert_eq!(nfit.ranges[0].handle, 4);
}

#[test]
fn ranges_without_modules_or_with_unknown_ones_are_no_device() {
    for pieces in [&[][..], &[mapping(3, 1, 5, 0)], &[mapping(3, 1, 5, 0), mapping(4, 1, 6, 0), control(5, None, 1)]] {
        let nfit = parse(&table(&[pieces, &[range(1, 0x1000, 0x1000)]].concat())).unwrap();
        assert_eq!(device_of(&nfit).map(drop), Err(DeviceError::Unsupported));
    }
}

#[test]
fn ranges_that_share_memory_are_refused() {
    let pieces = [range(1, 0x3000, 0x1000), range(2, 0x1000, 0x2001)];
    assert_eq!(parse(&table(&pieces)), Err(NfitError::Overlap));
}

#[test]
fn more_modules_than_there_is_room_for_are_refused() {
    let mut pieces = vec![range(1, 0x1000, 0x1000)];
    pieces.extend((0..65).map(|handle| mapping(handle, 1, 0, 0)));
    assert_eq!(parse(&table(&pieces)), Err(NfitError::TooMany));
    pieces.truncate(65);
    assert_eq!(parse(&table(&pieces)).unwrap().modules.len(), MODULES_MAX);
}
