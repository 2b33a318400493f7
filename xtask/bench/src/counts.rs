//! Does one operation again and again in a function of a known name, for callgrind to count its instructions; or each
//! one once behind a mark, for strace to list its system calls.
#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on ends")]

use core::hint::black_box;
use std::os::fd::{AsFd, BorrowedFd};
use std::process::ExitCode;

use pmemset_bench::{Forced, PAGE, tmpfs_file};
use pmemset_core::{Config, Extent, Granularity, MapConfig, Platform, Reservation, Set, Source};
use pmemset_linux::{FileSource, Linux, OpenOptions, Process};
use rustix::fs::{Access, access};

/// Parts that are there before.
const PARTS: usize = 1_000;
/// How often the operation is done.
const TIMES: usize = 64;

/// An operation: its name, and what does it.
type Operation = (&'static str, fn(&mut dyn FnMut(&mut dyn FnMut())));

/// What is counted.
const OPERATIONS: [Operation; 7] = [
    ("map", |count| with_pages(|world| (0..TIMES).for_each(|page| count(&mut || world.map(PARTS + page))))),
    ("look-up", |count| with_pages(|world| (0..TIMES).for_each(|time| count(&mut || world.look_up(time * 15))))),
    ("remove", |count| with_pages(|world| (0..TIMES).for_each(|time| count(&mut || world.remove(time * 15))))),
    ("persist-64", |count| with_lines(|set, at| (0..TIMES).for_each(|_| count(&mut || persist(set, at))))),
    ("persist-many-64", |count| with_lines(|set, at| (0..TIMES).for_each(|_| count(&mut || persist_many(set, at))))),
    ("copy-64", |count| with_lines(|set, at| (0..TIMES).for_each(|_| count(&mut || copy(set, at, 64))))),
    ("copy-4096", |count| with_lines(|set, at| (0..TIMES).for_each(|_| count(&mut || copy(set, at, 4096))))),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        // What the counts depend on besides the compiler.
        ["processor"] => println!("{:?}", Linux::new().cpu()),
        ["times"] => println!("{TIMES}"),
        ["list"] => OPERATIONS.iter().for_each(|(name, _)| println!("{name}")),
        ["calls"] => calls(),
        [name] => {
            let Some((_, run)) = OPERATIONS.iter().find(|operation| operation.0 == name) else {
                return ExitCode::FAILURE;
            };
            run(&mut |operation| counted_operation(operation));
        }
        _ => return ExitCode::FAILURE,
    }
    ExitCode::SUCCESS
}

/// The function whose instructions count, with all that it calls.
#[inline(never)]
#[allow(unsafe_code, reason = "callgrind is told this name")]
// SAFETY: no library has a function of this name.
#[unsafe(no_mangle)]
fn counted_operation(operation: &mut dyn FnMut()) {
    operation();
    // Not the last call, or it would be a jump from here.
    black_box(());
}

/// Parts of one page in a reservation, in order.
struct World<'a, 'r> {
    set: Set<'a, &'a Reservation<'r, Linux>, &'a FileSource<BorrowedFd<'a>>>,
    source: &'a FileSource<BorrowedFd<'a>>,
    start: usize,
}

impl World<'_, '_> {
    fn map(&self, page: usize) {
        self.set.map(self.source, &MapConfig::new().offset((page * PAGE) as u64).length(PAGE)).unwrap();
    }

    fn look_up(&self, page: usize) {
        let _gone = black_box(self.set.part_at(black_box(self.start + page * PAGE)).unwrap());
    }

    fn remove(&self, page: usize) {
        self.set.remove_range(black_box(self.start + page * PAGE), PAGE).unwrap();
    }
}

fn with_pages(run: impl FnOnce(&World<'_, '_>)) {
    let pages = PARTS + TIMES;
    let file = tmpfs_file(pages * PAGE);
    let source = FileSource::from_fd(file.as_fd()).unwrap();
    let reservation = Reservation::with_capacity(Linux::new(), pages * PAGE, 2 * pages).unwrap();
    let set = Set::with_capacity(&reservation, Config::new(Granularity::Page), 2 * pages);
    let world = World { set, source: &source, start: reservation.extent().start() };
    (0..PARTS).for_each(|page| world.map(page));
    run(&world);
}

type LineSet<'a> = Set<'a, Linux, &'a Forced>;

/// A part that is flushed by cache lines, and its address.
fn with_lines(run: impl FnOnce(&LineSet<'_>, usize)) {
    let file = tmpfs_file(16 * PAGE);
    let source = Forced::new(&file);
    let set = Set::with_capacity(Linux::new(), Config::new(Granularity::CacheLine), 8);
    let at = set.map(&source, &MapConfig::new()).unwrap().extent().start();
    copy(&set, at, 16 * PAGE);
    run(&set, at);
}

fn persist(set: &LineSet<'_>, at: usize) {
    set.persist(black_box(at), black_box(64)).unwrap();
}

/// So many lines that lie apart.
fn persist_many(set: &LineSet<'_>, at: usize) {
    let ranges: [Extent; 64] = core::array::from_fn(|line| Extent::new(at + line * PAGE / 4, 8).unwrap());
    set.persist_many(black_box(&ranges)).unwrap();
}

fn copy(set: &LineSet<'_>, at: usize, length_bytes: usize) {
    static BYTES: [u8; 16 * PAGE] = [7; 16 * PAGE];
    set.write(black_box(at), black_box(&BYTES[..length_bytes])).unwrap();
}

/// Makes a system call that strace shows and that does nothing.
fn mark(name: &str) {
    let _ = access(format!("pmemset-counts:{name}"), Access::EXISTS);
}

/// Does each operation once, behind a mark of its name.
fn calls() {
    let marked = |name: &str, operation: &mut dyn FnMut()| {
        mark(name);
        operation();
        mark("");
    };
    with_pages(|world| {
        marked("map", &mut || world.map(PARTS));
        marked("look-up", &mut || world.look_up(7));
        marked("persist-pages", &mut || world.set.persist(world.start, 64).unwrap());
        marked("remove", &mut || world.remove(7));
    });
    with_lines(|set, at| {
        marked("persist-64", &mut || persist(set, at));
        marked("copy-4096", &mut || copy(set, at, 4096));
    });
    let path = format!("/dev/shm/pmemset-counts-{}", std::process::id());
    std::fs::write(&path, [0; PAGE]).unwrap();
    let set: Set<'_, Linux, std::sync::Arc<FileSource>> =
        Set::with_capacity(Linux::new(), Config::new(Granularity::Page), 8);
    let open = |options: OpenOptions| std::sync::Arc::new(FileSource::open(path.as_str(), options).unwrap());
    let (mut source, mut at) = (None, 0);
    marked("open", &mut || source = Some(open(OpenOptions::new().do_not_grow())));
    let source = source.unwrap();
    marked("probe", &mut || assert_eq!(known(&*source), Granularity::Page));
    let map = |config: MapConfig| set.map(source.clone(), &config).unwrap().extent().start();
    marked("map-anywhere", &mut || at = map(MapConfig::new()));
    marked("remove-anywhere", &mut || set.remove_range(at, PAGE).unwrap());
    let grows = open(OpenOptions::new());
    marked("map-growing-anywhere", &mut || {
        set.map(grows.clone(), &MapConfig::new().offset(PAGE as u64).length(PAGE)).unwrap();
    });
    std::fs::remove_file(&path).unwrap();
}

fn known(source: &impl Source<Space = Process>) -> Granularity {
    source.granularity().unwrap()
}
