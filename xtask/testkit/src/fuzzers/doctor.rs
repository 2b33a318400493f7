//! What the doctor reads, damaged: lines of `mountinfo`, and attributes of whole machines.

use std::fs;

use pmemset_core::support::Random;
use pmemset_linux::doctor::{Kind, Report, Subject};
use pmemset_linux::internal::doctor::{entry, examine_all_with};

use super::linux::damaged;
use crate::machines::{ALL, machine, parse_json};
use crate::sysfs::Folder;

/// Whatever is read, there is a report, and its JSON is read as it was written.
pub fn doctor(random: &mut Random) {
    mounts(random);
    names(random);
    if random.one_in(16) {
        broken_machine(random);
    }
}

fn any_text(random: &mut Random) -> String {
    let character =
        |random: &mut Random| random.of(&['a', '/', ' ', '\\', '"', '\t', '\n', '\u{1b}', '\u{7f}', 'é', '0', '-']);
    (0..random.below(12)).map(|_| character(random)).collect()
}

/// A line is read as the kernel writes it (`seq_path`, `mangle`); a damaged one is refused, or read as something.
fn mounts(random: &mut Random) {
    let escaped = |text: &str| {
        let escape = |byte: u8| match byte {
            b' ' | b'\t' | b'\n' | b'\\' => format!("\\{byte:03o}").into_bytes(),
            other => vec![other],
        };
        String::from_utf8(text.bytes().flat_map(escape).collect()).unwrap()
    };
    let (point, source) = (format!("/{}", any_text(random)), format!("x{}", any_text(random)));
    let (id, minor) = (random.word() % 10_000, random.below(1 << 20));
    let shared = random.of(&["", "shared:1 ", "shared:1 master:2 "]);
    let (at, from) = (escaped(&point), escaped(&source));
    let line = format!("{id} 35 259:{minor} / {at} rw,noatime {shared}- ext4 {from} rw,dax=always");
    let read = entry(&line).unwrap_or_else(|| panic!("{line:?}"));
    assert_eq!((read.id, read.device), (id, (259, u32::try_from(minor).unwrap())), "{line:?}");
    assert_eq!((&read.point, &read.source, read.options.as_str()), (&point, &source, "rw,noatime,dax=always"));
    let mut bytes = line.into_bytes();
    for _ in 0..random.below(4) {
        let at = random.below(bytes.len());
        bytes[at] = random.word().to_le_bytes()[0];
    }
    let _ = entry(&String::from_utf8_lossy(&bytes));
}

/// Names of files and devices are anybody's.
fn names(random: &mut Random) {
    let name = any_text(random);
    let mut report = Report::default();
    report.push(Subject::new(Kind::File, name.as_str()));
    assert_eq!(parse_json(&report.to_json())["subjects"][0]["name"].get(), Some(&name));
    assert!(!report.to_string().contains(char::is_control), "{name:?}");
}

/// A machine whose attributes are damaged is examined all the same.
fn broken_machine(random: &mut Random) {
    let folder = Folder::new();
    let described = &ALL[random.below(ALL.len())];
    let machine = machine(&folder, described.description);
    let mut files = Vec::new();
    attributes(folder.path(), &mut files);
    files.sort_unstable();
    for _ in 0..1 + random.below(4) {
        fs::write(&files[random.below(files.len())], damaged(random)).unwrap();
    }
    let report = examine_all_with(&machine, |_, _| {});
    parse_json(&report.to_json());
    assert!(report.to_string().starts_with("this machine"), "{}", described.name);
}

fn attributes(folder: &std::path::Path, files: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => attributes(&entry.path(), files),
            Ok(kind) if kind.is_file() => files.push(entry.path()),
            _ => {}
        }
    }
}
