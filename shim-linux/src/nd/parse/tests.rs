//! Tables and properties of the parsers.
extern crate std;

use proptest::prelude::*;
use std::vec::Vec;

use super::*;

#[test]
fn numbers() {
    assert_eq!(number(b"0\n"), Ok(0));
    assert_eq!(number(b"0x1080000000\n"), Ok(0x10_8000_0000));
    assert_eq!(number(b"18446744073709551615"), Ok(u64::MAX));
    for garbage in
        [&b""[..], b"\n", b"0x", b"-1", b"+1", b" 1", b"1 ", b"1\n\n", b"18446744073709551616", b"12a", b"1\0"]
    {
        assert_eq!(number(garbage), Err(Garbage), "{garbage:?}");
    }
}

#[test]
fn counts_tell_unknown_from_zero() {
    assert_eq!(count(b"0\n"), Ok(Some(0)));
    assert_eq!(count(b"-1\n"), Ok(None));
    assert_eq!(count(b"18446744073709551615\n"), Ok(Some(u64::MAX)));
    for garbage in [&b""[..], b"-", b"--1", b"unknown\n"] {
        assert_eq!(count(garbage), Err(Garbage));
    }
}

#[test]
fn domains() {
    assert_eq!(persistence_domain(b"cpu_cache\n"), PersistenceDomain::CpuCache);
    assert_eq!(persistence_domain(b"memory_controller\n"), PersistenceDomain::MemoryController);
    assert_eq!(persistence_domain(b"none\n"), PersistenceDomain::None);
    for other in [&b""[..], b"unknown\n", b"cpu_cache\n\n", b"cpu_cache ", b"cpu_cach", b"CPU_CACHE\n"] {
        assert_eq!(persistence_domain(other), PersistenceDomain::Unknown);
    }
}

#[test]
fn flags_and_device_numbers() {
    assert_eq!((flag(b"0\n"), flag(b"1\n")), (Ok(false), Ok(true)));
    assert_eq!((flag(b""), flag(b"2\n"), flag(b"01")), (Err(Garbage), Err(Garbage), Err(Garbage)));
    assert_eq!(device_number(b"259:3\n"), Ok((259, 3)));
    for garbage in [&b""[..], b":", b"1:", b":1", b"1:2:3", b"4294967296:0", b"a:b"] {
        assert_eq!(device_number(garbage), Err(Garbage));
    }
}

#[test]
fn mappings_and_ids() {
    assert_eq!(mapping(b"nmem12,0,274877906944,0\n"), Ok(12));
    assert_eq!(mapping(b"nmem0,0,1024\n"), Ok(0));
    for garbage in
        [&b""[..], b"nmem0", b"nmem0,0", b"nmem,0,1", b"nmem0,0,1,0,0", b"nmem0,x,1", b"dimm0,0,1", b"nmem01,0,1"]
    {
        assert_eq!(mapping(garbage), Err(Garbage), "{garbage:?}");
    }
    assert_eq!(module_id(b"8089-a2-1834-00001234\n"), Ok(&b"8089-a2-1834-00001234"[..]));
    for garbage in [&b""[..], b"\n", b"a b\n", b"a\n\n", b"\xff", b"\0"] {
        assert_eq!(module_id(garbage), Err(Garbage));
    }
}

#[test]
fn a_region_is_below_a_bus() {
    let found = |link: &'static [u8]| region(link).map(|found| (found.id, found.prefix));
    assert_eq!(
        found(b"../../devices/LNXSYSTM:00/ACPI0012:00/ndbus0/region3/pfn3.0/block/pmem3/pmem3p1"),
        Some((3, &b"../../devices/LNXSYSTM:00/ACPI0012:00/ndbus0/region3"[..]))
    );
    assert_eq!(
        found(b"../../devices/platform/e820_pmem/ndbus1/region0"),
        Some((0, &b"../../devices/platform/e820_pmem/ndbus1/region0"[..]))
    );
    assert_eq!(found(b"../../devices/platform/ACPI0017:00/root0/decoder0.0/region0/dax_region0/dax0.0"), None);
    assert_eq!(found(b"../../devices/pci0000:00/virtio1/block/vda"), None);
    assert_eq!(found(b"ndbus0/x/region0"), None);
    assert_eq!(found(b"ndbus0/region"), None);
    assert_eq!(found(b""), None);
    assert_eq!(
        (base_name(b"../../block/pmem0"), base_name(b"a/.."), base_name(b"")),
        (Ok(&b"pmem0"[..]), Err(Garbage), Err(Garbage))
    );
}

/// Parses a list of one line, whose newline is left out.
fn bad_block(line: &[u8]) -> Result<pmemset_core::Span, Garbage> {
    let mut lines = BadBlockLines::default();
    for byte in line {
        if lines.next(*byte)?.is_some() {
            return Err(Garbage);
        }
    }
    let block = lines.next(b'\n')?.ok_or(Garbage);
    assert!(lines.is_complete());
    block
}

#[test]
fn lists_and_tables() {
    assert_eq!(bad_block(b"2048 8"), Sectors { start: 2048, count: 8 }.span());
    let mut lines = BadBlockLines::default();
    assert_eq!((lines.next(b'1'), lines.is_complete()), (Ok(None), false));
    assert_eq!((lines.next(b' '), lines.is_complete()), (Ok(None), false));
    for garbage in [
        &b""[..],
        b"1",
        b"1 ",
        b" 1",
        b"1 0",
        b"1 2 3",
        b"1 2\n",
        b"0x1 2",
        b"36028797018963968 1",
        b"1 36028797018963968",
    ] {
        assert_eq!(bad_block(garbage), Err(Garbage), "{garbage:?}");
    }
    assert_eq!(linear_target(b"259:1 2048"), Ok(((259, 1), 2048)));
    for garbage in [&b""[..], b"259:1", b"259:1 ", b"/dev/pmem0 0", b"259:1 2048 x", b"259:1\n 0", b"259 0"] {
        assert_eq!(linear_target(garbage), Err(Garbage), "{garbage:?}");
    }
}

fn near_miss() -> impl Strategy<Value = Vec<u8>> {
    let likely = prop::sample::select(b"0123456789x:, -\n/abnmregiondbus".to_vec());
    prop_oneof![prop::collection::vec(any::<u8>(), 0..64), prop::collection::vec(likely, 0..64)]
}

proptest! {
    #[test]
    fn no_input_panics(text in near_miss()) {
        let _ = (number(&text), count(&text), flag(&text), persistence_domain(&text), device_number(&text));
        let _ = (mapping(&text), module_id(&text), region(&text), base_name(&text), bad_block(&text), linear_target(&text));
    }

    #[test]
    fn accepted_text_is_canonical(text in near_miss()) {
        if let Ok(span) = bad_block(&text) {
            let plain = std::format!("{} {}", span.start() / 512, span.length_bytes() / 512);
            prop_assert_eq!(bad_block(plain.as_bytes()), Ok(span));
        }
        if let Ok(value) = number(&text) {
            prop_assert_eq!(number(std::format!("{value:#x}\n").as_bytes()), Ok(value));
        }
    }

    #[test]
    fn written_text_is_read_back(a in any::<u32>(), b in any::<u32>(), start in 0..1_u64 << 54, count in 1..1_u64 << 54) {
        prop_assert_eq!(device_number(std::format!("{a}:{b}\n").as_bytes()), Ok((a, b)));
        prop_assert_eq!(mapping(std::format!("nmem{a},{start},{count},{b}\n").as_bytes()), Ok(a));
        prop_assert_eq!(bad_block(std::format!("{start} {count}").as_bytes()), Sectors { start, count }.span());
        prop_assert_eq!(linear_target(std::format!("{a}:{b} {start}").as_bytes()), Ok(((a, b), start)));
    }
}
