//! What is opened as what.

use pmemset_linux::{OpenError, OpenOptions};
use rustix::fs::{CWD, FileType, Mode, OFlags, mkfifoat};

use super::tree::memory;
use crate::{AnyError, AnySource, DaxError, DaxOptions, DaxSource};

const NEW: DaxOptions = DaxOptions::new();

#[test]
fn a_path_is_opened_as_what_it_is() {
    let path = std::env::temp_dir().join(std::format!("pmemset-any-{}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let text = path.to_str().unwrap();
    let missing = AnySource::open(text, OpenOptions::new()).err().unwrap();
    assert!(matches!(missing, AnyError::File(OpenError::InvalidPath(_))) && missing.code() == -200_003);
    assert!(matches!(AnySource::open(text, OpenOptions::new().create_if_needed()), Ok(AnySource::File(_))));
    assert_eq!(DaxSource::open(text, NEW).err(), Some(DaxError::NotDeviceDax { kind: FileType::RegularFile }));
    std::fs::remove_file(&path).unwrap();
    mkfifoat(CWD, text, Mode::RWXU).unwrap();
    assert_eq!(DaxSource::open(text, NEW).err(), Some(DaxError::NotDeviceDax { kind: FileType::Fifo }));
    std::fs::remove_file(&path).unwrap();
    let directory = DaxError::NotDeviceDax { kind: FileType::Directory };
    assert_eq!(DaxSource::open("/tmp", NEW).err(), Some(directory));
    assert_eq!(DaxSource::open("/tmp/\0", NEW).err().map(|error| error.code()), Some(-200_003));
    let device = AnyError::File(OpenError::InvalidFileType { kind: FileType::CharacterDevice });
    assert_eq!(AnySource::open("/dev/null", OpenOptions::new()).err(), Some(device));
}

/// Of every descriptor there is one answer, also where the kernel's would come later.
#[test]
fn descriptors_are_checked() {
    let open = |flags| rustix::fs::open("/dev/null", flags, Mode::empty()).unwrap();
    let character = DaxError::NotDeviceDax { kind: FileType::CharacterDevice };
    for (flags, error) in [
        (OFlags::RDONLY, DaxError::NotWritable),
        (OFlags::WRONLY, DaxError::NotReadable),
        (OFlags::PATH, DaxError::NotReadable),
    ] {
        assert_eq!(DaxSource::from_owned_fd(open(flags), NEW).err(), Some(error));
    }
    let null = open(OFlags::RDWR);
    // A machine whose sysfs does not show the device answers with that.
    let error = DaxSource::from_fd(rustix::fd::AsFd::as_fd(&null), NEW).err().unwrap();
    assert!(error == character || matches!(error, DaxError::Attribute(_) | DaxError::Open(_)), "{error}");
    let file = DaxError::NotDeviceDax { kind: FileType::RegularFile };
    assert_eq!(DaxSource::from_owned_fd(memory(4096), NEW).err(), Some(file));
}
