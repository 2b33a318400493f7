//! What can be a source and what cannot: flags, kinds of files, permissions, descriptors, unnamed files.

mod machine;

use std::collections::BTreeSet;
use std::fs::{self, File, Permissions};
use std::io::{BufRead as _, BufReader};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};

use machine::{Folder, alone, descriptors, is_root, skip};
use pmemset_core::error::McsafeError;
use pmemset_core::{Errno, Health as _, Source};
use pmemset_linux::{FileSource, OpenError, OpenOptions};
use rustix::fs::{CWD, FileType, Mode, OFlags};

const KEEP: OpenOptions = OpenOptions::new();

fn refused(path: impl AsRef<Path>, options: OpenOptions) -> OpenError {
    FileSource::open(path.as_ref(), options).map(drop).unwrap_err()
}

#[test]
fn what_is_no_regular_file_is_refused_by_kind() {
    let folder = Folder::on_disk("kinds");
    let kind = |path: &Path, options| match refused(path, options) {
        OpenError::InvalidFileType { kind } => kind,
        other => panic!("{}: {other:?}", path.display()),
    };
    let socket = folder.join("socket");
    let _listener = UnixListener::bind(&socket).unwrap();
    let fifo = folder.join("fifo");
    rustix::fs::mknodat(CWD, &fifo, FileType::Fifo, Mode::RWXU, 0).unwrap();
    let everything = OpenOptions::new().create_always().create_if_needed();
    for options in [KEEP, everything, KEEP.create_if_needed(), KEEP.do_not_grow()] {
        assert_eq!(kind(folder.path(), options), FileType::Directory);
        assert_eq!(kind(&socket, options), FileType::Socket);
        assert_eq!(kind(&fifo, options), FileType::Fifo);
        assert_eq!(kind(Path::new("/dev/null"), options), FileType::CharacterDevice);
    }
    assert_eq!(OpenError::InvalidFileType { kind: FileType::Socket }.code(), -100_005);
    let text = refused(folder.path(), KEEP).to_string();
    assert!(text.contains("a directory") && text.contains("regular files"), "{text}");
}

#[test]
fn a_block_device_is_refused() {
    let mut devices = fs::read_dir("/dev").unwrap().flatten();
    let device = devices.find(|entry| entry.file_type().is_ok_and(|kind| kind.is_block_device()));
    match device.map(|device| refused(device.path(), KEEP)) {
        Some(OpenError::InvalidFileType { kind }) => assert_eq!(kind, FileType::BlockDevice),
        Some(OpenError::Open(cause)) => skip(&format!("the block device cannot be opened here: {cause}")),
        Some(other) => panic!("{other:?}"),
        None => skip("no block device in /dev"),
    }
}

#[test]
fn paths_that_lead_nowhere_are_refused() {
    let folder = Folder::on_disk("paths");
    for options in [KEEP, KEEP.create_if_needed(), KEEP.create_always()] {
        assert_eq!(refused("", options), OpenError::InvalidPath(Errno::NOENT));
        assert_eq!(refused(folder.join("none/file"), options), OpenError::InvalidPath(Errno::NOENT));
        assert_eq!(FileSource::open("a\0b", options).map(drop), Err(OpenError::InvalidPath(Errno::INVAL)));
        let long = folder.join(&"x".repeat(256));
        assert_eq!(refused(&long, options), OpenError::Open(Errno::from_raw(36)));
        assert_eq!(refused("x/".repeat(3_000), options), OpenError::Open(Errno::from_raw(36)));
    }
    assert_eq!(refused(folder.join("none"), KEEP), OpenError::InvalidPath(Errno::NOENT));
    assert_eq!(OpenError::InvalidPath(Errno::NOENT).code(), -200_003);
    File::create(folder.join("file")).unwrap();
    assert_eq!(refused(folder.join("file/below"), KEEP), OpenError::Open(Errno::NOTDIR));
    symlink("loop", folder.join("loop")).unwrap();
    assert_eq!(refused(folder.join("loop"), KEEP), OpenError::Open(Errno::from_raw(40)));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing was made on the way");
}

#[test]
fn a_long_path_is_no_obstacle() {
    let folder = Folder::on_disk("long");
    let deep = (0..8).fold(folder.path().to_path_buf(), |path, _| path.join("d".repeat(200)));
    fs::create_dir_all(&deep).unwrap();
    FileSource::open(deep.join("file"), KEEP.create_if_needed()).unwrap();
}

/// Runs `body` in a thread that may do what anybody may.
fn as_nobody(body: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            if is_root() {
                rustix::thread::set_thread_uid(rustix::fs::Uid::from_raw(65_534)).unwrap();
            }
            body();
        });
        thread.join().unwrap();
    });
}

#[test]
fn without_permission_a_file_is_refused_and_untouched() {
    let folder = Folder::below("/dev/shm", "permission");
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    let file = folder.join("file");
    fs::write(&file, b"data").unwrap();
    for mode in [0o000, 0o444, 0o222] {
        fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
        as_nobody(|| {
            for options in [KEEP, KEEP.create_always(), KEEP.create_if_needed()] {
                assert_eq!(refused(&file, options), OpenError::Open(Errno::ACCES), "{mode:o}");
            }
            assert_eq!(OpenError::Open(Errno::ACCES).code(), -13);
        });
        assert_eq!(fs::metadata(&file).unwrap().len(), 4);
    }
    if is_root() {
        as_nobody(|| {
            assert_eq!(refused(folder.join("new"), KEEP.create_if_needed()), OpenError::Open(Errno::ACCES));
            let error = FileSource::temporary(folder.path()).map(drop).unwrap_err();
            assert_eq!(error, OpenError::CannotCreateTemporary(Errno::ACCES));
        });
        assert!(!folder.join("new").exists());
    }
}

#[test]
fn a_read_only_file_system_is_refused() {
    if !is_root() {
        return skip("mounting needs root");
    }
    let Some(mount) = machine::Mount::new("readonly", "tmpfs", "none", "size=1m") else {
        return skip("no tmpfs can be mounted here");
    };
    fs::write(mount.join("file"), [1; 4096]).unwrap();
    assert!(mount.remount("ro"));
    assert_eq!(refused(mount.join("file"), KEEP), OpenError::Open(Errno::ROFS));
    let error = FileSource::temporary(mount.path()).map(drop).unwrap_err();
    assert_eq!(error, OpenError::CannotCreateTemporary(Errno::ROFS));
}

#[test]
fn create_always_truncates_in_place_and_create_if_needed_keeps() {
    let folder = Folder::on_disk("create");
    let path = folder.join("file");
    let size = || fs::metadata(&path).unwrap().len();
    FileSource::open(&path, KEEP.create_if_needed()).unwrap();
    assert_eq!(size(), 0);
    fs::write(&path, [7; 10_000]).unwrap();
    let inode = fs::metadata(&path).unwrap().ino();
    FileSource::open(&path, KEEP).unwrap();
    FileSource::open(&path, KEEP.create_if_needed().do_not_grow()).unwrap();
    assert_eq!(size(), 10_000);
    FileSource::open(&path, KEEP.create_always().create_if_needed()).unwrap();
    assert_eq!((size(), fs::metadata(&path).unwrap().ino()), (0, inode));
    fs::remove_file(&path).unwrap();
    FileSource::open(&path, KEEP.create_always()).unwrap();
    assert_eq!(size(), 0);
    // Through a link: in place, too.
    symlink(&path, folder.join("link")).unwrap();
    fs::write(&path, [7; 10]).unwrap();
    FileSource::open(folder.join("link"), KEEP.create_always()).unwrap();
    assert!(size() == 0 && folder.join("link").is_symlink());
}

/// Set for a process that locks the file it is told, and keeps it until it is killed.
const LOCKS: &str = "PMEMSET_TEST_LOCKS";

#[test]
fn a_file_that_another_process_has_for_itself_is_refused_until_that_has_ended() {
    let name = "a_file_that_another_process_has_for_itself_is_refused_until_that_has_ended";
    if let Some(path) = std::env::var_os(LOCKS) {
        let _kept = FileSource::open(&path, KEEP.exclusive()).unwrap();
        println!("locked");
        let _ = std::io::stdin().read_line(&mut String::new());
        return;
    }
    let folder = Folder::on_disk("exclusive");
    let path = folder.join("file");
    fs::write(&path, [7; 10_000]).unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(LOCKS, &path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.into_iter().any(|line| line.ends_with("locked")));
    for options in [KEEP, KEEP.create_if_needed(), KEEP.create_always(), KEEP.do_not_grow()] {
        assert_eq!(refused(&path, options.exclusive()), OpenError::InUse);
        assert_eq!(fs::metadata(&path).unwrap().len(), 10_000, "truncated under its owner");
    }
    assert_eq!(OpenError::InUse.code(), Errno::AGAIN.code());
    // Who does not ask is not refused: the lock is advisory.
    assert!(FileSource::open(&path, KEEP).is_ok());
    child.kill().unwrap();
    child.wait().unwrap();
    let ours = FileSource::open(&path, KEEP.create_always().exclusive()).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().len(), 0);
    let shared = ours.as_fd().try_clone_to_owned().unwrap();
    drop(ours);
    assert_eq!(refused(&path, KEEP.exclusive()), OpenError::InUse, "the last descriptor has it");
    drop(shared);
    assert!(FileSource::open(&path, KEEP.exclusive()).is_ok());
}

#[test]
fn a_mode_is_for_new_files_only() {
    alone("a_mode_is_for_new_files_only", || {
        let folder = Folder::on_disk("mode");
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
        for umask in [0o022, 0o077, 0] {
            rustix::process::umask(Mode::from_bits_truncate(umask));
            for (asked, given) in [(0, 0o644), (0o400, 0o400), (0o700, 0o700), (0o100, 0o100), (0o777, 0o777)] {
                for options in [KEEP.create_always(), KEEP.create_if_needed()] {
                    let path = folder.join("file");
                    let _ = fs::remove_file(&path);
                    FileSource::open(&path, options.create_mode(asked).unwrap()).unwrap();
                    assert_eq!(mode(&path), given & !umask, "{asked:o} less {umask:o}");
                    fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
                    FileSource::open(&path, options.create_mode(asked).unwrap()).unwrap();
                    assert_eq!(mode(&path), 0o640);
                }
            }
        }
    });
}

#[test]
fn a_descriptor_must_be_open_for_both() {
    let folder = Folder::on_disk("descriptor");
    let path = folder.join("file");
    fs::write(&path, [1; 8192]).unwrap();
    let check = |flags: OFlags| {
        let file = rustix::fs::open(&path, flags | OFlags::CLOEXEC, Mode::empty()).unwrap();
        FileSource::from_fd(file.as_fd()).map(drop)
    };
    assert_eq!(check(OFlags::RDWR), Ok(()));
    assert_eq!(check(OFlags::RDWR | OFlags::APPEND), Err(OpenError::Appends));
    assert_eq!(check(OFlags::RDONLY), Err(OpenError::NotWritable));
    assert_eq!(check(OFlags::WRONLY), Err(OpenError::NotReadable));
    assert_eq!(check(OFlags::PATH), Err(OpenError::NotReadable));
    assert_eq!((OpenError::NotWritable.code(), OpenError::NotReadable.code()), (-100_032, -100_004));
    let directory = File::open(folder.path()).unwrap();
    let error = FileSource::from_owned_fd(directory.into()).map(drop).unwrap_err();
    assert_eq!(error, OpenError::InvalidFileType { kind: FileType::Directory });
    let (reader, _writer) = std::io::pipe().unwrap();
    let error = FileSource::from_fd(reader.as_fd()).map(drop).unwrap_err();
    assert_eq!(error, OpenError::InvalidFileType { kind: FileType::Fifo });
}

/// Bytes would go to the end of the file, whatever offset was asked for.
#[test]
fn a_descriptor_that_was_made_to_append_copies_nothing() {
    let folder = Folder::on_disk("append");
    let path = folder.join("file");
    fs::write(&path, [b'.'; 8192]).unwrap();
    let file = File::options().read(true).write(true).open(&path).unwrap();
    let source = FileSource::from_fd(file.as_fd()).unwrap();
    assert_eq!(source.write_mcsafe(100, b"hello"), Ok(()));
    rustix::fs::fcntl_setfl(&file, OFlags::APPEND).unwrap();
    assert_eq!(source.write_mcsafe(200, b"hello"), Err(McsafeError::Failed(Errno::INVAL)));
    let text = fs::read(&path).unwrap();
    assert_eq!((text.len(), &text[100..105], &text[200..205]), (8192, &b"hello"[..], &b"....."[..]));
}

/// The kernel rounds a mapping of such a file up to a huge page, over what lies behind the window.
#[test]
fn a_file_of_huge_pages_is_refused() {
    use rustix::fs::{MemfdFlags, memfd_create};
    match memfd_create("huge", MemfdFlags::HUGETLB | MemfdFlags::CLOEXEC) {
        Ok(file) => {
            assert_eq!(FileSource::from_fd(file.as_fd()).map(drop), Err(OpenError::HugePages));
            assert_eq!(FileSource::from_owned_fd(file).map(drop), Err(OpenError::HugePages));
            assert_eq!(OpenError::HugePages.code(), -100_005);
        }
        Err(cause) => skip(&format!("no files of huge pages here: {cause}")),
    }
    if !is_root() {
        return skip("mounting needs root");
    }
    let Some(mount) = machine::Mount::new("huge", "hugetlbfs", "none", "mode=0755") else {
        return skip("no hugetlbfs can be mounted here");
    };
    assert_eq!(refused(mount.join("file"), KEEP.create_if_needed()), OpenError::HugePages);
    assert_eq!(FileSource::temporary(mount.path()).map(drop), Err(OpenError::HugePages));
}

/// `fs.protected_regular` refuses `O_CREAT` for files of others in directories that all may write to, to root also.
#[test]
fn a_file_that_is_there_is_not_created() {
    if !is_root() {
        return skip("giving a file away needs root");
    }
    if !fs::read_to_string("/proc/sys/fs/protected_regular").is_ok_and(|text| text.trim() != "0") {
        return skip("the kernel protects no files: sysctl fs.protected_regular=1");
    }
    let folder = Folder::in_memory("protected");
    fs::set_permissions(folder.path(), Permissions::from_mode(0o1777)).unwrap();
    let path = folder.join("file");
    fs::write(&path, [1; 4096]).unwrap();
    std::os::unix::fs::chown(&path, Some(1000), Some(1000)).unwrap();
    let plain = File::options().read(true).write(true).create(true).truncate(false).open(&path).map(drop);
    assert_eq!(plain.unwrap_err().kind(), std::io::ErrorKind::PermissionDenied, "this is what it is about");
    FileSource::open(&path, KEEP.create_if_needed()).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().len(), 4096);
    FileSource::open(&path, KEEP.create_always()).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().len(), 0);
}

/// `fcntl(2)` with numbers that `rustix` does not know: leases.
fn lease(file: &File, command: i32, kind: i32) -> Result<i32, i32> {
    use std::os::fd::AsRawFd;
    // SAFETY: changes nothing but the lease, or whom the kernel tells of it.
    let result = unsafe { syscalls::syscall!(syscalls::Sysno::fcntl, file.as_raw_fd(), command, kind) };
    result.map(|value| i32::try_from(value).unwrap()).map_err(syscalls::Errno::into_raw)
}

#[test]
fn a_leased_file_is_opened_when_its_holder_lets_go() {
    const SETLEASE: i32 = 1024;
    const GETLEASE: i32 = 1025;
    const SETOWN: i32 = 8;
    const READ: i32 = 0;
    const NONE: i32 = 2;
    alone("a_leased_file_is_opened_when_its_holder_lets_go", || {
        let folder = Folder::on_disk("lease");
        let path = folder.join("file");
        fs::write(&path, [0; 8192]).unwrap();
        let holder = File::open(&path).unwrap();
        if lease(&holder, SETLEASE, READ).is_err() {
            return skip("no leases on this file system");
        }
        // Nobody is to be told by a signal.
        assert_eq!(lease(&holder, SETOWN, 0), Ok(0));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while lease(&holder, GETLEASE, 0) == Ok(READ) {
                    std::thread::yield_now();
                }
                assert_eq!(lease(&holder, SETLEASE, NONE), Ok(0));
            });
            let opened = FileSource::open(&path, KEEP).map(drop);
            // Whatever came of it, the holder ends.
            let _ = lease(&holder, SETLEASE, NONE);
            assert_eq!(opened, Ok(()), "open(2) waits, and works");
        });
    });
}

/// Pitfall: what belongs to the caller stays the caller's.
#[test]
fn a_borrowed_descriptor_stays_open_and_a_given_one_is_closed() {
    alone("a_borrowed_descriptor_stays_open_and_a_given_one_is_closed", || {
        let folder = Folder::on_disk("ownership");
        let path = folder.join("file");
        fs::write(&path, [1; 8192]).unwrap();
        let before = descriptors();
        let file = File::options().read(true).write(true).open(&path).unwrap();
        drop(FileSource::from_fd(file.as_fd()).unwrap());
        assert_eq!(file.metadata().unwrap().len(), 8192);
        drop(FileSource::from_owned_fd(file.into()).unwrap());
        assert_eq!(descriptors(), before);
        // Refusals keep nothing open either.
        for path in [folder.path(), Path::new("/dev/null"), &folder.join("none")] {
            refused(path, KEEP);
        }
        assert_eq!(descriptors(), before);
    });
}

#[test]
fn descriptors_do_not_pass_to_other_programs() {
    alone("descriptors_do_not_pass_to_other_programs", || {
        let folder = Folder::on_disk("cloexec");
        let open = || -> BTreeSet<i32> {
            let names = fs::read_dir("/proc/self/fd").unwrap().flatten();
            let numbers: Vec<i32> = names.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
            // Without the one that has listed them.
            let is_open = |number: &i32| fs::symlink_metadata(format!("/proc/self/fd/{number}")).is_ok();
            numbers.into_iter().filter(is_open).collect()
        };
        let before = open();
        let _named = FileSource::open(folder.join("file"), KEEP.create_always()).unwrap();
        let _unnamed = FileSource::temporary(folder.path()).unwrap();
        let after = open();
        assert_eq!(after.len(), before.len() + 2);
        for number in after.difference(&before) {
            let info = fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap();
            let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap().trim();
            assert!(u32::from_str_radix(flags, 8).unwrap() & 0o2_000_000 != 0, "{number}: {info}");
        }
    });
}

#[test]
fn an_unnamed_file_is_empty_and_nowhere_to_be_seen() {
    for folder in [Folder::on_disk("temporary"), Folder::in_memory("temporary")] {
        let source = FileSource::temporary(folder.path()).unwrap();
        assert_eq!(source.length_bytes(), Ok(0));
        assert!(source.facts().unwrap().may_grow);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        let missing = FileSource::temporary(folder.join("none")).map(drop).unwrap_err();
        assert_eq!(missing, OpenError::InvalidPath(Errno::NOENT));
        fs::write(folder.join("file"), b"").unwrap();
        let not_a_folder = FileSource::temporary(folder.join("file")).map(drop).unwrap_err();
        assert_eq!(not_a_folder, OpenError::CannotCreateTemporary(Errno::NOTDIR));
        assert_eq!(not_a_folder.code(), -200_020);
        let nul = FileSource::temporary("/tmp/\0").map(drop).unwrap_err();
        assert_eq!(nul, OpenError::InvalidPath(Errno::INVAL));
    }
}
