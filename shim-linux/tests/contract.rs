//! The contract suite of the core, on a Linux process and on files of several file systems.

use std::sync::{Mutex, PoisonError};

use pmemset_core::Source;
use pmemset_core::contract::{self, Finding, Outcome};
use pmemset_linux::{FileSource, Linux, OpenOptions, Process};
use rustix::fs::{Mode, OFlags, ftruncate, open, statfs};

const TMPFS: u64 = 0x0102_1994;
const EXT4: u64 = 0xef53;

/// What a file of the page cache does not show: its mappings share their memory, and no power is cut here.
const UNSEEN: [&str; 3] = ["fixed_address_is_aligned", "write_back_reaches_the_medium", "sync_reaches_the_medium"];
const UNSEEN_FIXED: [&str; 4] = [
    "fixed_address_is_aligned",
    "growth_in_use_is_not_undone",
    "write_back_reaches_the_medium",
    "sync_reaches_the_medium",
];
/// What depends on the machine that this runs on.
const BELOW: [&str; 2] = ["device_stays", "bad_blocks_are_in_order"];

/// The suite wants the address space for itself.
static ADDRESS_SPACE: Mutex<()> = Mutex::new(());

/// Returns the duties that are broken; those that were not checked have to be `skipped`.
fn broken_duties(source: &impl Source<Space = Process>, skipped: &[&str]) -> Vec<String> {
    let _alone = ADDRESS_SPACE.lock().unwrap_or_else(PoisonError::into_inner);
    let (mut broken, mut unseen) = (Vec::new(), Vec::new());
    let mut report = |duty: &'static str, finding: Finding| match finding {
        Ok(Outcome::Kept) => {}
        Ok(Outcome::Skipped(_)) => unseen.push(duty),
        Err(breach) => broken.push(format!("{duty}: {breach}")),
    };
    contract::platform(&Linux::new(), &mut report);
    contract::source(&Linux::new(), source, &mut report);
    unseen.retain(|duty| !BELOW.contains(duty));
    assert_eq!(unseen, skipped, "not checked");
    broken
}

/// Checks sources on a file system with the magic number `kind`, or says why it cannot.
fn check_on(kind: u64, name: &str, folders: &[&str]) {
    let of_kind = |folder: &&&str| statfs(**folder).is_ok_and(|facts| facts.f_type.cast_unsigned() == kind);
    let Some(folder) = folders.iter().find(of_kind) else {
        println!("SKIPPED contract on {name}: none of {folders:?} is on it");
        return;
    };
    let growing = FileSource::temporary(*folder).unwrap();
    growing.prepare(pmemset_core::Span::new(0, 1 << 16).unwrap()).unwrap();
    assert_eq!(broken_duties(&growing, &UNSEEN), [""; 0], "a temporary file on {name}");

    let path = format!("{folder}/pmemset-contract-{}", std::process::id());
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
    let fixed = open(&path, flags, Mode::RUSR | Mode::WUSR).unwrap();
    let named = FileSource::open(path.as_str(), OpenOptions::new());
    std::fs::remove_file(&path).unwrap();
    ftruncate(&fixed, 20_000).unwrap();
    assert_eq!(broken_duties(&named.unwrap(), &UNSEEN), [""; 0], "a named file on {name}");
    ftruncate(&fixed, 1 << 16).unwrap();
    assert_eq!(
        broken_duties(&FileSource::from_owned_fd(fixed).unwrap(), &UNSEEN_FIXED),
        [""; 0],
        "a descriptor on {name}"
    );
}

#[test]
fn tmpfs_keeps_the_contract() {
    check_on(TMPFS, "tmpfs", &["/dev/shm", "/tmp"]);
}

#[test]
fn ext4_keeps_the_contract() {
    check_on(EXT4, "ext4", &[env!("CARGO_TARGET_TMPDIR"), "/var/tmp", "/tmp"]);
}
