//! Finds a table through ACPI's root pointer (ACPI 6.5, section 5.2.5 to 5.2.8).

use crate::Kernel;

const HEADER_BYTES: usize = 36;

fn sums_to_zero(bytes: &[u8]) -> bool {
    bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)) == 0
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// Returns the whole table at `address`, its header included; `None` if its length or checksum is wrong.
fn table<K: Kernel>(kernel: &K, address: u64) -> Option<&[u8]> {
    let length = usize::try_from(u32_at(kernel.bytes(address, HEADER_BYTES)?, 4)?).ok()?;
    kernel.bytes(address, length).filter(|bytes| length >= HEADER_BYTES && sums_to_zero(bytes))
}

/// Returns the first table with the signature `signature` that the root pointer at the physical address `rsdp` leads
/// to.
pub fn find<K: Kernel>(kernel: &K, rsdp: u64, signature: [u8; 4]) -> Option<&[u8]> {
    let root = kernel.bytes(rsdp, 20).filter(|root| root.starts_with(b"RSD PTR ") && sums_to_zero(root))?;
    let extended = if root[15] >= 2 { kernel.bytes(rsdp, 36).filter(|root| sums_to_zero(root)) } else { None };
    let wide = extended.and_then(|root| u64_at(root, 24)).filter(|address| *address != 0);
    let (index, entry_bytes) = match wide {
        Some(address) => (table(kernel, address).filter(|table| table.starts_with(b"XSDT"))?, 8),
        None => (table(kernel, u32_at(root, 16)?.into()).filter(|table| table.starts_with(b"RSDT"))?, 4),
    };
    index[HEADER_BYTES..].chunks_exact(entry_bytes).find_map(|entry| {
        let address = if entry_bytes == 8 { u64_at(entry, 0)? } else { u32_at(entry, 0)?.into() };
        kernel.bytes(address, 4).filter(|head| **head == signature)?;
        table(kernel, address)
    })
}

#[cfg(test)]
mod tests {
    use std::vec;

    use super::*;
    use crate::fake::Ram;

    fn seal(ram: &mut [u8], start: usize, length: usize, at: usize) {
        ram[start + at] = 0;
        ram[start + at] =
            ram[start..start + length].iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)).wrapping_neg();
    }

    fn put(ram: &mut [u8], at: usize, signature: &[u8; 4], body: &[u8]) {
        ram[at..at + 4].copy_from_slice(signature);
        let length = HEADER_BYTES + body.len();
        ram[at + 4..at + 8].copy_from_slice(&u32::try_from(length).unwrap().to_le_bytes());
        ram[at + HEADER_BYTES..at + length].copy_from_slice(body);
        seal(ram, at, length, 9);
    }

    fn machine(revision: u8) -> Ram {
        let mut ram = vec![0u8; 4096];
        ram[..8].copy_from_slice(b"RSD PTR ");
        ram[15] = revision;
        ram[16..20].copy_from_slice(&256u32.to_le_bytes());
        seal(&mut ram, 0, 20, 8);
        ram[20..24].copy_from_slice(&36u32.to_le_bytes());
        ram[24..32].copy_from_slice(&512u64.to_le_bytes());
        seal(&mut ram, 0, 36, 32);
        let (first, second) = (1024u32.to_le_bytes(), 2048u32.to_le_bytes());
        put(&mut ram, 256, b"RSDT", &[first, second].concat());
        put(&mut ram, 512, b"XSDT", &[1024u64.to_le_bytes(), 2048u64.to_le_bytes()].concat());
        put(&mut ram, 1024, b"APIC", &[1, 2, 3]);
        put(&mut ram, 2048, b"NFIT", &[4, 5, 6, 7]);
        Ram::new(ram)
    }

    #[test]
    fn tables_are_found_by_both_indices() {
        for revision in [0, 2] {
            let ram = machine(revision);
            assert_eq!(find(&ram, 0, *b"NFIT").map(|table| &table[36..]), Some(&[4, 5, 6, 7][..]));
            assert_eq!(find(&ram, 0, *b"APIC").map(<[u8]>::len), Some(39));
            assert_eq!(find(&ram, 0, *b"NONE"), None);
            assert_eq!(find(&ram, 1, *b"NFIT"), None);
        }
    }

    #[test]
    fn damaged_tables_are_not_found() {
        for at in [3, 260, 516, 2050, 2053, 2086] {
            let mut ram = machine(if at == 260 { 0 } else { 2 });
            ram.bytes[at] ^= 0x41;
            assert_eq!(find(&ram, 0, *b"NFIT"), None, "{at}");
        }
        let mut ram = machine(2);
        ram.bytes[2052..2056].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(find(&ram, 0, *b"NFIT"), None);
    }
}
