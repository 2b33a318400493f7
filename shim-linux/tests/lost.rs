//! Bytes that the kernel has lost: a disk that is full below its file system, so that write-back fails after the fact.
//!
//! The kernel tells it once for each open file, and calls the lost pages clean then.
#![cfg(target_pointer_width = "64")]

mod machine;

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::process::Command;
use std::sync::Barrier;
use std::thread;

use machine::{Mount, is_root, skip};
use pmemset_core::{Config, CopyFlags, Extent, Granularity, MapConfig, Part, Set};
use pmemset_linux::{FileSource, Linux, OpenOptions};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
/// The part that is durable before anything fails.
const FIRST: usize = 64 * KIB;
/// The part whose bytes are lost.
const SECOND: usize = 2 * MIB;

type Files<'s, O = ()> = Set<'s, Linux, &'s FileSource, O>;

type Borrowed<'s, 'fd> = Set<'s, Linux, &'s FileSource<BorrowedFd<'fd>>>;

fn run(command: &mut Command) -> Result<(), String> {
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr))),
        Err(error) => Err(format!("{command:?}: {error}")),
    }
}

/// An ext4 on a loop device whose file is sparse, on a tmpfs that is about to be full. Unmounted in this order.
struct Disk {
    ext4: Mount,
    tmpfs: Mount,
}

impl Disk {
    /// `name` keeps the disks of several tests apart.
    fn new(name: &str) -> Result<Self, String> {
        let tmpfs =
            Mount::new(&format!("{name}-medium"), "tmpfs", "none", "size=12m").ok_or("no tmpfs can be mounted here")?;
        let image = tmpfs.join("image");
        File::create(&image).unwrap().set_len(32 << 20).unwrap();
        let options = ["-q", "-O", "^has_journal", "-E", "lazy_itable_init=1,nodiscard"];
        run(Command::new("mkfs.ext4").args(options).arg(&image))?;
        let options = "loop,errors=continue";
        let ext4 =
            Mount::new(&format!("{name}-files"), "ext4", image.to_str().unwrap(), options).ok_or("no loop device")?;
        Ok(Self { ext4, tmpfs })
    }

    /// Takes the storage of all zeros away from the image, and gives what is free to another file.
    fn fill(&self) -> Result<(), String> {
        run(Command::new("fallocate").arg("--dig-holes").arg(self.tmpfs.join("image")))?;
        let mut filler = File::create(self.tmpfs.join("filler")).unwrap();
        while filler.write_all(&[1; 64 * KIB]).is_ok() {}
        Ok(())
    }
}

fn write_back(path: &Path) -> bool {
    Command::new("sync").arg("-f").arg(path).status().is_ok_and(|status| status.success())
}

#[test]
fn what_the_kernel_has_lost_is_never_called_durable() {
    if !is_root() {
        return skip("mounting needs root");
    }
    let disk = match Disk::new("lost") {
        Ok(disk) => disk,
        Err(reason) => return skip(&reason),
    };
    let path = disk.ext4.join("file");
    let source = FileSource::open(&path, OpenOptions::new().create_always()).unwrap();
    let set: Files<'_, _> = Set::with_capacity(Linux::new(), Config::new(Granularity::Page), 4);
    let map = |offset: usize, length: usize| -> Extent {
        set.map(&source, &MapConfig::new().offset(offset as u64).length(length)).unwrap().extent()
    };
    let (first, second) = (map(0, FIRST), map(FIRST, SECOND));
    set.fill(first.start(), 0xaa, FIRST, CopyFlags::empty()).unwrap();
    set.fill(second.start(), 0, SECOND, CopyFlags::empty()).unwrap();
    assert!(write_back(&path));
    let other: Files<'_, _> = Set::with_capacity(Linux::new(), Config::new(Granularity::Page), 4);
    let third = other.map(&source, &MapConfig::new().offset(FIRST as u64).length(4096)).unwrap().extent();
    if let Err(reason) = disk.fill() {
        return skip(&reason);
    }
    set.fill(second.start(), 0xbb, SECOND, CopyFlags::NOFLUSH).unwrap();
    // By itself, as after some seconds; the kernel keeps the error for whoever asks next.
    write_back(&path);

    let asked = set.persist(first.start(), FIRST);
    assert!(asked.is_err(), "the kernel's one answer");
    let lost = set.persist(second.start(), SECOND);
    assert!(lost.is_err(), "the bytes that are lost: {lost:?}");
    assert!(set.persist(first.start(), 4096).is_err(), "again");
    assert!(set.deep_flush(second.start(), SECOND).is_err());
    assert!(other.persist(third.start(), 4096).is_err(), "in every set that maps the file through this source");
    for start in [first.start(), second.start()] {
        let refused = set.remove(set.part_at(start).unwrap());
        assert!(refused.is_err(), "a removal would call it durable");
    }
    assert_eq!(set.segment_count(), 2, "all is still mapped");

    // Given up on purpose; opened anew where there is room again, it is another source.
    for (set, start) in [(&set, first.start()), (&set, second.start()), (&other, third.start())] {
        set.discard(set.part_at(start).unwrap()).unwrap();
    }
    fs::remove_file(disk.tmpfs.join("filler")).unwrap();
    let anew = FileSource::open(&path, OpenOptions::new()).unwrap();
    let set: Files<'_, _> = Set::with_capacity(Linux::new(), Config::new(Granularity::Page), 4);
    let part = set.map(&anew, &MapConfig::new().length(FIRST)).unwrap().extent();
    set.fill(part.start(), 0xcc, FIRST, CopyFlags::empty()).unwrap();
}

/// Two sources on one open file: the kernel tells the first to ask, and the other is told by it.
#[test]
fn sources_of_one_file_tell_each_other() {
    if !is_root() {
        return skip("mounting needs root");
    }
    let disk = match Disk::new("told") {
        Ok(disk) => disk,
        Err(reason) => return skip(&reason),
    };
    let path = disk.ext4.join("file");
    let file = File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
    file.set_len((FIRST + SECOND) as u64).unwrap();
    let one = FileSource::from_fd(file.as_fd()).unwrap();
    let other = FileSource::from_fd(file.as_fd()).unwrap();
    let make = || Set::with_capacity(Linux::new(), Config::new(Granularity::Page), 4);
    let sets: [Borrowed<'_, '_>; 2] = [make(), make()];
    let (whole, rest) = (MapConfig::new().length(FIRST), MapConfig::new().offset(FIRST as u64).length(SECOND));
    let first = sets[0].map(&one, &whole).unwrap().extent();
    let second = sets[1].map(&other, &rest).unwrap().extent();
    sets[0].fill(first.start(), 0xaa, FIRST, CopyFlags::empty()).unwrap();
    sets[1].fill(second.start(), 0, SECOND, CopyFlags::empty()).unwrap();
    if let Err(reason) = disk.fill() {
        return skip(&reason);
    }
    sets[1].fill(second.start(), 0xbb, SECOND, CopyFlags::NOFLUSH).unwrap();
    write_back(&path);
    sets[0].persist(first.start(), FIRST).unwrap_err();
    sets[1].persist(second.start(), SECOND).unwrap_err();
    sets[1].remove_range(second.start(), 1).unwrap_err();
    sets[1].discard_range(second.start(), 1).unwrap();
}

/// Threads that all ask at the same moment about bytes that are lost already: the kernel tells one of them. (Which
/// moments there are, `loom.rs` tries one by one.)
#[test]
fn threads_that_ask_at_the_same_moment_are_all_told() {
    const THREADS: usize = 4;
    const EACH: usize = 512 * KIB;
    if !is_root() {
        return skip("mounting needs root");
    }
    let disk = match Disk::new("race") {
        Ok(disk) => disk,
        Err(reason) => return skip(&reason),
    };
    let path = disk.ext4.join("file");
    let mut zeros = File::create(&path).unwrap();
    zeros.write_all(&vec![0; THREADS * EACH]).unwrap();
    zeros.sync_all().unwrap();
    if let Err(reason) = disk.fill() {
        return skip(&reason);
    }
    for round in 0..20 {
        let file = File::options().read(true).write(true).open(&path).unwrap();
        // Every other thread asks through a descriptor of its own of the same open file.
        let again = file.try_clone().unwrap();
        let sources = [FileSource::from_fd(file.as_fd()).unwrap(), FileSource::from_fd(again.as_fd()).unwrap()];
        let set: Borrowed<'_, '_> = Set::with_capacity(Linux::new(), Config::new(Granularity::Page), THREADS);
        let parts: Vec<_> = (0..THREADS)
            .map(|thread| {
                let config = MapConfig::new().offset((thread * EACH) as u64).length(EACH);
                set.map(&sources[thread % 2], &config).unwrap()
            })
            .collect();
        for part in &parts {
            part.fill(0, round + 1, EACH, CopyFlags::NOFLUSH).unwrap();
        }
        write_back(&path);
        let together = Barrier::new(THREADS);
        let answers = thread::scope(|scope| {
            let ask = |part| {
                let (together, part): (&Barrier, &Part<_>) = (&together, part);
                scope.spawn(move || {
                    together.wait();
                    part.persist(0, EACH)
                })
            };
            let threads: Vec<_> = parts.iter().map(ask).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        assert!(answers.iter().all(Result::is_err), "round {round}: lost bytes are called durable: {answers:?}");
    }
}
