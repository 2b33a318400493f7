//! Shutdown records in files.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, symlink};
use std::path::PathBuf;

use pmemset_core::{Errno, ShutdownRecord};
use pmemset_linux::{RecordError, RecordFile};
use rustix::fs::{CWD, Mode, mkfifoat};

/// The last part of a path is a symbolic link, which is not followed.
const LOOP: Errno = Errno::from_raw(40);

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("record-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn open(&self) -> RecordFile {
        RecordFile::new(self.0.to_str().unwrap(), b"pool.sds").unwrap()
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn record(count: u8) -> ShutdownRecord {
    let mut bytes = [0; 536];
    bytes[520] = count;
    ShutdownRecord::from_bytes(&bytes)
}

#[test]
fn record_comes_back_byte_for_byte() {
    let folder = Folder::new("back");
    let file = folder.open();
    assert_eq!(file.load(), Ok(None));
    file.keep(&record(7), 1).unwrap();
    assert_eq!(fs::read(folder.0.join("pool.sds")).unwrap(), record(7).to_bytes());
    assert_eq!(folder.names(), ["lock.pool.sds", "pool.sds"]);
    drop(file);
    assert_eq!(folder.open().load(), Ok(Some(record(7))));
}

#[test]
fn older_record_is_not_kept() {
    let folder = Folder::new("order");
    let file = folder.open();
    file.keep(&record(2), 2).unwrap();
    file.keep(&record(1), 1).unwrap();
    assert_eq!(file.load(), Ok(Some(record(2))));
    // A source made from what was loaded counts its records from 1 again.
    file.keep(&record(3), 1).unwrap();
    assert_eq!(file.load(), Ok(Some(record(3))));
}

#[test]
fn what_is_no_record_is_said() {
    let folder = Folder::new("no");
    for length_bytes in [0, 535, 537] {
        fs::write(folder.0.join("pool.sds"), vec![0; length_bytes]).unwrap();
        assert_eq!(folder.open().load(), Err(RecordError::NotARecord { length_bytes }));
    }
    fs::remove_file(folder.0.join("pool.sds")).unwrap();
    fs::create_dir(folder.0.join("pool.sds")).unwrap();
    assert_eq!(folder.open().load(), Err(RecordError::Failed(Errno::ISDIR)));
    assert_eq!(folder.open().keep(&record(1), 1), Err(Errno::ISDIR));
    assert_eq!(folder.names(), ["lock.pool.sds", "pool.sds"], "nothing half done is left");
    for name in [&b""[..], b".", b"..", b"a/b", b"a\0b", &[b'x'; 600]] {
        assert_eq!(RecordFile::new("/tmp", name).unwrap_err(), RecordError::InvalidName);
    }
    let absent = RecordFile::new(folder.0.join("absent").to_str().unwrap(), b"x").unwrap_err();
    assert_eq!(absent, RecordError::Failed(Errno::NOENT));
}

#[test]
fn threads_leave_the_youngest() {
    let folder = Folder::new("threads");
    let file = folder.open();
    std::thread::scope(|scope| {
        for thread in 0..4_u8 {
            let file = &file;
            scope.spawn(move || {
                for step in 0..8 {
                    file.keep(&record(step * 4 + thread), u64::from(step * 4 + thread)).unwrap();
                }
            });
        }
    });
    assert_eq!(file.load(), Ok(Some(record(31))));
}

/// What lies under the name that a record is written under is neither written to nor waited for.
#[test]
fn what_is_in_the_way_is_replaced() {
    let folder = Folder::new("way");
    let path = |name: &str| folder.0.join(name);
    fs::write(path("precious"), "not to be overwritten").unwrap();
    let file = folder.open();
    type Put = fn(&PathBuf, &PathBuf);
    let puts: [(&str, Put); 4] = [
        ("a hard link", |precious, way| fs::hard_link(precious, way).unwrap()),
        ("a symbolic link", |precious, way| symlink(precious, way).unwrap()),
        ("a pipe", |_, way| mkfifoat(CWD, way, Mode::RUSR | Mode::WUSR).unwrap()),
        ("what a power cut left", |_, way| fs::write(way, "half a rec").unwrap()),
    ];
    for (number, (name, put)) in (1..).zip(puts) {
        put(&path("precious"), &path("next.pool.sds"));
        assert_eq!(file.keep(&record(number), number.into()), Ok(()), "{name}");
        assert_eq!(file.load(), Ok(Some(record(number))), "{name}");
        assert!(fs::symlink_metadata(path("pool.sds")).unwrap().is_file(), "{name}");
    }
    assert_eq!(fs::read(path("precious")).unwrap(), b"not to be overwritten");
    assert_eq!(fs::metadata(path("precious")).unwrap().nlink(), 1);
    fs::create_dir(path("next.pool.sds")).unwrap();
    assert_eq!(file.keep(&record(9), 9), Err(Errno::EXIST));
    assert_eq!(file.load(), Ok(Some(record(4))), "as it was");
}

/// The record itself is a file of its own, read without waiting.
#[test]
fn what_is_no_file_is_no_record() {
    let folder = Folder::new("kind");
    let path = |name: &str| folder.0.join(name);
    let file = folder.open();
    mkfifoat(CWD, path("pool.sds"), Mode::RUSR | Mode::WUSR).unwrap();
    assert_eq!(file.load(), Err(RecordError::NotARecord { length_bytes: 0 }));
    fs::remove_file(path("pool.sds")).unwrap();
    fs::write(path("elsewhere"), record(1).to_bytes()).unwrap();
    symlink(path("elsewhere"), path("pool.sds")).unwrap();
    assert_eq!(file.load(), Err(RecordError::Failed(LOOP)));
    drop(file);
    for kind in ["a pipe", "a link"] {
        fs::remove_file(path("lock.pool.sds")).unwrap();
        match kind {
            "a pipe" => mkfifoat(CWD, path("lock.pool.sds"), Mode::RUSR | Mode::WUSR).unwrap(),
            _ => symlink(path("elsewhere"), path("lock.pool.sds")).unwrap(),
        }
        let refused = RecordFile::new(folder.0.to_str().unwrap(), b"pool.sds").map(drop);
        assert_eq!(refused, if kind == "a pipe" { Ok(()) } else { Err(RecordError::Failed(LOOP)) }, "{kind}");
    }
    assert!(fs::symlink_metadata(path("lock.pool.sds")).unwrap().file_type().is_symlink());
    assert!(!fs::metadata(path("elsewhere")).unwrap().file_type().is_fifo());
}

/// Two keepers of one record would each replace the other's, and a clean one the dirty one.
#[test]
fn a_record_has_one_keeper() {
    let folder = Folder::new("one");
    let new = |name: &[u8]| RecordFile::new(folder.0.to_str().unwrap(), name);
    let first = new(b"pool.sds").unwrap();
    first.keep(&record(1), 1).unwrap();
    assert_eq!(new(b"pool.sds").map(drop), Err(RecordError::InUse));
    let other = new(b"other.sds").unwrap();
    other.keep(&record(2), 1).unwrap();
    assert_eq!(first.load(), Ok(Some(record(1))));
    drop(first);
    let second = new(b"pool.sds").unwrap();
    assert_eq!(second.load(), Ok(Some(record(1))));
    assert_eq!(new(b"pool.sds").map(drop), Err(RecordError::InUse));
    assert_eq!(folder.names(), ["lock.other.sds", "lock.pool.sds", "other.sds", "pool.sds"]);
}
