//! What the fuzzers of the parsers do with the choices of a generator: seeded ones by `cargo xtask fuzz`, bytes by
//! `cargo fuzz`.

use pmemset_core::Span;
use pmemset_core::support::Random;
use pmemset_linux::internal::parse::{self, BadBlockLines, Garbage};
use pmemset_linux::internal::{Sysfs, proc, targets};
use pmemset_linux::nd::PersistenceDomain;

use crate::sysfs::Tree;

/// Texts that the kernel writes; what comes of them is damaged, or taken together.
const SEEDS: [&[u8]; 16] = [
    b"0\n",
    b"1\n",
    b"-1\n",
    b"0x1f",
    b"18446744073709551615",
    b"18446744073709551616",
    b"memory_controller\n",
    b"cpu_cache\n",
    b"259:1048575\n",
    b"nmem12,0,4294967296,0",
    b"nmem0,0x0,0x100000000",
    b"8680-56341200-0000\n",
    b"../../devices/LNXSYSTM:00/ndbus0/region3/namespace3.0/block/pmem3",
    b"36028797018963967 1",
    b"2048 8",
    b"259:0 2048",
];

pub(super) fn damaged(random: &mut Random) -> Vec<u8> {
    let mut text = random.of(&SEEDS).to_vec();
    for _ in 0..random.below(4) {
        let at = random.below(text.len() + 1);
        match random.below(4) {
            0 => text.insert(at, b"0123456789abcxn:, \n-/\0"[random.below(22)]),
            1 if at < text.len() => drop(text.remove(at)),
            2 if at < text.len() => text[at] = random.word().to_le_bytes()[0],
            _ => text.extend_from_slice(random.of(&SEEDS)),
        }
    }
    text
}

/// Returns the number that digits of `base` and nothing else spell, the slow way.
fn spelled(text: &[u8], base: u32) -> Option<u64> {
    let text = core::str::from_utf8(text).ok()?;
    let plain = !text.is_empty() && text.chars().all(|digit| digit.is_digit(base));
    plain.then(|| u64::from_str_radix(text, base).ok()).flatten()
}

/// Every parser takes any text; what it accepts is what the text says.
pub fn texts(random: &mut Random) {
    let given = damaged(random);
    let text = given.strip_suffix(b"\n").unwrap_or(&given);
    assert_eq!(parse::trim(&given), text);
    let number = match text.strip_prefix(b"0x") {
        Some(hex) => spelled(hex, 16),
        None => spelled(text, 10),
    };
    assert_eq!(parse::number(&given).ok(), number, "{}", given.escape_ascii());
    let negative = text.strip_prefix(b"-").map(|digits| spelled(digits, 10).map(|_| None));
    assert_eq!(parse::count(&given).ok(), negative.unwrap_or(number.map(Some)), "{}", given.escape_ascii());
    assert_eq!(
        parse::flag(&given),
        if text == b"0" {
            Ok(false)
        } else if text == b"1" {
            Ok(true)
        } else {
            Err(Garbage)
        }
    );
    let known =
        [(&b"cpu_cache"[..], PersistenceDomain::CpuCache), (b"memory_controller", PersistenceDomain::MemoryController)];
    let domain = known.iter().find(|(name, _)| *name == text).map_or(PersistenceDomain::Unknown, |(_, domain)| *domain);
    if text != b"none" {
        assert_eq!(parse::persistence_domain(&given), domain);
    }
    devices(&given, text);
    if let Ok(block) = bad_block(&given) {
        assert_eq!(format!("{} {}", block.start() / 512, block.length_bytes() / 512), undecorated(&given, ' '));
    }
    if let Some(region) = parse::region(&given) {
        let (prefix, end) = (region.prefix, format!("/region{}", region.id));
        assert!(given.starts_with(prefix) && prefix.ends_with(end.trim_start_matches('/').as_bytes()));
        let holds = |part: &str| given.windows(part.len()).any(|window| window == part.as_bytes());
        assert!(holds(&format!("ndbus{}/region{}", region.bus, region.id)), "{}", given.escape_ascii());
    }
    if let Ok(name) = parse::base_name(&given) {
        assert!(given.ends_with(name) && !name.is_empty() && !name.contains(&b'/'));
    }
}

/// Reads a list of one line, whose newline is left out.
fn bad_block(line: &[u8]) -> Result<Span, Garbage> {
    let mut lines = BadBlockLines::default();
    for byte in line {
        if lines.next(*byte)?.is_some() {
            return Err(Garbage);
        }
    }
    lines.next(b'\n')?.ok_or(Garbage)
}

/// Returns the text with the leading zeros of its two numbers taken off.
fn undecorated(text: &[u8], between: char) -> String {
    let text = String::from_utf8_lossy(text);
    let plain = |digits: &str| match digits.trim_start_matches('0') {
        "" => "0".to_owned(),
        rest => rest.to_owned(),
    };
    text.split(between).map(plain).collect::<Vec<_>>().join(&between.to_string())
}

fn devices(given: &[u8], text: &[u8]) {
    if let Ok((major, minor)) = parse::device_number(given) {
        assert_eq!(format!("{major}:{minor}"), undecorated(text, ':'));
    }
    if let Ok(module) = parse::mapping(given) {
        let name = format!("nmem{module},");
        assert!(text.starts_with(name.as_bytes()), "{}", given.escape_ascii());
    }
    if let Ok(((major, minor), start)) = parse::linear_target(given) {
        let (device, sector) = text.split_at(text.iter().position(|byte| *byte == b' ').unwrap());
        assert_eq!(format!("{major}:{minor}"), undecorated(device, ':'));
        assert_eq!(spelled(&sector[1..], 10), Some(start));
    }
    let printable = !text.is_empty() && text.iter().all(u8::is_ascii_graphic);
    assert_eq!(parse::module_id(given), if printable { Ok(text) } else { Err(Garbage) });
}

/// Lines of `/proc/self`, what comes of which is damaged, or taken together.
const LINES: [&[u8]; 8] = [
    b"7f0e80000000-7f0e80400000 rw-s 00200000 103:02 12 /mnt0/records (deleted)\n",
    b"7ffff7fc3000-7ffff7fc5000 r-xp 00000000 00:00 0                          [vdso]\n",
    b"ShmemPmdMapped:     2048 kB\n",
    b"VmFlags: rd wr sh mr mw me ms sd \n",
    b"25 1 259:3 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p3 rw,errors=remount-ro\n",
    b"41 25 0:34 / /mnt/huge rw - tmpfs none rw,huge=within_size,inode64\n",
    b"always within_size advise [never] deny force\n",
    b"0-3,7,9-11\n",
];

/// Every parser of `/proc/self` and of the nodes' folder takes any text; what it accepts is what the text says.
pub fn proc(random: &mut Random) {
    let mut text = random.of(&LINES).to_vec();
    for _ in 0..random.below(5) {
        let at = random.below(text.len() + 1);
        match random.below(4) {
            0 => text.insert(at, b"0123456789abcdef-: ,[]\n/k\0"[random.below(26)]),
            1 if at < text.len() => drop(text.remove(at)),
            2 if at < text.len() => text[at] = random.word().to_le_bytes()[0],
            _ => text.extend_from_slice(random.of(&LINES)),
        }
    }
    let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if let Ok(vma) = proc::vma(line) {
        let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty()).collect();
        let hex = |text: &[u8]| spelled(text, 16).unwrap();
        let dash = words[0].iter().position(|byte| *byte == b'-').unwrap();
        assert_eq!(
            (vma.extent.start() as u64, vma.extent.end() as u64),
            (hex(&words[0][..dash]), hex(&words[0][dash + 1..]))
        );
        assert_eq!((vma.offset, vma.inode), (hex(words[2]), spelled(words[4], 10).unwrap()));
        let colon = words[3].iter().position(|byte| *byte == b':').unwrap();
        let device = (u64::from(vma.device.0), u64::from(vma.device.1));
        assert_eq!(device, (hex(&words[3][..colon]), hex(&words[3][colon + 1..])));
    }
    if let Some((name, bytes)) = proc::amount(line) {
        let said = String::from_utf8_lossy(&line[name.len() + 1..]).trim().to_owned();
        assert_eq!(said.strip_suffix(" kB").and_then(|number| spelled(number.as_bytes(), 10)), Some(bytes / 1024));
    }
    if let Ok(word) = proc::chosen(line) {
        assert!(line.windows(word.len() + 2).any(|window| window == [b"[", word, b"]"].concat()));
    }
    let mut numbers = Vec::new();
    if proc::list(line, &mut |first, last| numbers.push((first, last))).is_ok() {
        assert!(numbers.iter().all(|(first, last)| first <= last));
        for (place, number) in
            numbers.iter().flat_map(|(first, last)| *first..=(*last).min(first.saturating_add(9))).enumerate().take(9)
        {
            if numbers.iter().filter(|(first, last)| (first..=last).contains(&&number)).count() == 1
                && numbers.iter().all(|(first, last)| last - first < 10)
            {
                assert_eq!(proc::distance(b"0 1 2 3 4 5 6 7 8 9", line, number), Ok(u32::try_from(place).unwrap()));
            }
        }
    }
    let mut lines = proc::MountLines::default();
    let mounts: Vec<proc::Mount> = text.iter().filter_map(|byte| lines.next(*byte)).collect();
    assert!(mounts.len() <= text.iter().filter(|byte| **byte == b'\n').count());
    for mount in mounts.iter().filter(|mount| mount.huge != proc::Huge::Never) {
        assert!(text.windows(5).any(|window| window == b"huge="), "{mount:?}: {}", text.escape_ascii());
    }
}

/// Tables of linear targets are read as they are written; damaged ones are refused, or hold targets in a row.
pub fn tables(random: &mut Random) {
    let mut answer = vec![0_u8; 312];
    let mut written = Vec::new();
    let (count, mut sector) = (1 + random.below(4), 0);
    for _ in 0..count {
        let (length, start, minor) = (1 + random.word() % 5000, random.word() % 100_000, random.word() % 300);
        let mut target = vec![0_u8; 40];
        target[0..8].copy_from_slice(&u64::to_ne_bytes(sector));
        target[8..16].copy_from_slice(&length.to_ne_bytes());
        target[24..30].copy_from_slice(b"linear");
        target.extend_from_slice(format!("259:{minor} {start}\0").as_bytes());
        target.resize(target.len().next_multiple_of(8), 0);
        let next = u32::try_from(answer.len() - 312 + target.len()).unwrap();
        target[20..24].copy_from_slice(&next.to_ne_bytes());
        answer.extend(target);
        written.push((sector, length, minor, start));
        sector += length;
    }
    answer[16..20].copy_from_slice(&312_u32.to_ne_bytes());
    answer[20..24].copy_from_slice(&u32::try_from(count).unwrap().to_ne_bytes());
    let damage = random.below(5);
    for _ in 0..damage {
        let at = random.below(answer.len());
        answer[at] = random.of(&[0, 1, 8, 255, random.clone().word().to_le_bytes()[0]]);
    }
    let cut = random.one_in(6);
    if cut {
        answer.truncate(random.below(answer.len()));
    }
    let mut read = Vec::new();
    let outcome = targets(&answer, |target| {
        read.push((target.sectors.start, target.sectors.count, u64::from(target.below.1), target.start));
        Ok(())
    });
    let mut expected = 0;
    for (start, count, ..) in &read {
        assert_eq!(*start, expected, "targets in a row");
        expected = start + count;
    }
    if damage == 0 && !cut {
        assert_eq!((outcome, read), (Ok(()), written));
    }
}

/// Opens a tree as the shim opens `/sys`.
pub fn open(tree: &Tree) -> Sysfs {
    Sysfs::at(tree.open().into())
}
