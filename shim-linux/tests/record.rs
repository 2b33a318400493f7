//! Shutdown records in files.

use std::fs;
use std::path::PathBuf;

use pmemset_core::{Errno, ShutdownRecord};
use shim_linux::{RecordError, RecordFile};

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
        fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
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
    assert_eq!(folder.names(), ["pool.sds"]);
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
    assert_eq!(folder.names(), ["pool.sds"], "nothing half done is left");
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
