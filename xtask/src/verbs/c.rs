//! `cargo xtask c`: libpmemset for C programs, built, checked, and installed where a prefix is given.

mod behaviour;
mod kernels;
mod library;
mod narrow;
mod numbers;
mod port;
mod programs;
mod prototypes;
mod unikraft;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use self::library::{Library, exports, install, undefined};
use self::programs::{
    Check, cases, compile, compile_with, errors_are_met, example, fresh_folder, header, preloaded,
    taken_without_warnings, valgrind,
};
use crate::support::packages;
use crate::support::processes::{find_program, is_root, output_of, root, run as run_command};
use crate::support::tally::{Outcome, Tally};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Install the header, the libraries and the pkg-config file below this folder, and test nothing.
    #[arg(long)]
    prefix: Option<PathBuf>,
    /// Install the library for kernels and firmware instead, built for this target.
    #[arg(long, requires = "prefix", value_parser = port::TARGETS)]
    target: Option<String>,
}

/// Every warning is an error, in the library's own C and in its tests.
const WARNINGS: [&str; 4] = ["-Wall", "-Wextra", "-pedantic", "-Werror"];
/// The C programs; each runs in a folder of its own.
const PROGRAMS: [&str; 9] =
    ["layout", "objects", "parts", "gone", "events", "bytes", "refusals", "catalogue", "threads"];
/// Those that valgrind also looks at: not where a fault is what is wanted, nor where threads would run one after
/// another.
const WATCHED: [&str; 6] = ["objects", "parts", "events", "bytes", "refusals", "catalogue"];

pub(crate) fn run(args: &Args) -> Outcome {
    let target = port::TARGETS.into_iter().find(|target| args.target.as_deref() == Some(target));
    if let (Some(target), Some(prefix)) = (target, &args.prefix) {
        port::install(target, prefix)?;
        return Ok(true);
    }
    if let Some(prefix) = &args.prefix {
        install(Library::get()?, prefix)?;
        return Ok(true);
    }
    check().outcome()
}

/// Builds the shared library, and returns where it is.
pub(crate) fn shared_library() -> Result<PathBuf, String> {
    Library::get().map(|library| library.shared.clone())
}

/// Builds the program whose cases the lab runs on real persistent memory, with all that it needs in it.
pub(crate) fn machine_cases() -> Result<PathBuf, String> {
    let library = Library::get()?;
    let program = folder().join("machine");
    let mut cc = Command::new("cc");
    cc.args(["-std=gnu99", "-O1", "-static", "-s"]).args(WARNINGS).arg("-I").arg(source().join("include"));
    cc.arg(source().join("tests/machine.c")).arg(&library.archive).arg("-o").arg(&program);
    run_command(&mut cc).map(|_| program)
}

fn source() -> PathBuf {
    root().join("examples/libpmemset")
}

fn folder() -> PathBuf {
    root().join("target/c")
}

/// Builds the libraries, and runs C programs on them, installed as a user would have them.
pub(crate) fn check() -> Tally {
    let mut tally = Tally::default();
    if !cfg!(all(target_os = "linux", target_pointer_width = "64")) {
        tally.skip("libpmemset", "it is for 64-bit Linux");
        return tally;
    }
    if let Some(missing) = ["cc", "ld", "objcopy", "nm", "ar"].into_iter().find(|tool| find_program(tool).is_none()) {
        tally.skip("libpmemset", &format!("no {missing} (apt-get install gcc)"));
        return tally;
    }
    tally.run("the headers declare what the Rust code defines", prototypes::check);
    tally.run("its errors have the numbers of the Rust code", numbers::check);
    tally.run("each behaviour of the C library has a case, or the tables say why not", behaviour::check);
    tally.run("each error is one that a program expects, or the list says why not", errors_are_met);
    let prefix = folder().join("prefix");
    let _ = fs::remove_dir_all(&prefix);
    let built = Library::get();
    tally.check("libpmemset builds without warnings", built.as_ref().map(|_| ()).map_err(Clone::clone));
    if let Ok(library) = built {
        tally.run("it exports the names of libpmemset 1.0 and no others", || exports(library));
        tally.run("it leaves to libc what its list says", || undefined(library));
        tally.run("it is installed", || install(library, &prefix));
        compilers(&mut tally, &prefix);
        hosted(&mut tally, &prefix);
        special(&mut tally, &prefix);
    }
    narrow::check(&mut tally);
    port::check(&mut tally);
    unikraft::check(&mut tally);
    tally
}

/// Has every compiler that there is read the headers and the programs.
fn compilers(tally: &mut Tally, prefix: &Path) {
    // Debian's; where it cannot be had, what needs it is skipped below.
    let _ = packages::install(&["clang"]);
    let (c, cxx) = (["c99", "c11", "c17"], ["c++11", "c++17", "c++20"]);
    for (compiler, standards) in [("cc", c), ("c++", cxx), ("clang", c), ("clang++", cxx)] {
        let name = format!("{compiler} takes the headers without warnings, as {}", standards.join(", "));
        match find_program(compiler) {
            None => tally.skip(&name, "it is not here"),
            Some(_) => tally.run(&name, || standards.iter().try_for_each(|one| header(compiler, one, prefix))),
        }
    }
    let name = "clang takes the C programs without warnings";
    match find_program("clang") {
        None => tally.skip(name, "it is not here"),
        Some(_) => tally.run(name, || taken_without_warnings(&PROGRAMS, prefix)),
    }
}

/// Runs the programs on the shared and the static library, and with every access checked.
fn hosted(tally: &mut Tally, prefix: &Path) {
    for (kind, dynamic) in [("shared", true), ("static", false)] {
        for program in PROGRAMS {
            tally.run(&format!("{program}.c on the {kind} library"), || {
                let built = compile(program, prefix, dynamic, &[])?;
                cases(Command::new(built), &fresh_folder(&format!("{program}-{kind}"))?)
            });
        }
    }
    checked(tally, &PROGRAMS, &WATCHED, prefix, &[]);
}

/// Runs programs with every access checked, and some under valgrind; `more` goes to the linker.
fn checked(tally: &mut Tally, programs: &[&str], watched: &[&str], prefix: &Path, more: &[&str]) {
    for program in programs {
        tally.run(&format!("{program}.c with AddressSanitizer and UBSan"), || {
            let built = compile_with(program, prefix, false, more, Check::Accesses)?;
            cases(Command::new(built), &fresh_folder(&format!("{program}-asan"))?)
        });
    }
    let memory = format!("no access is wrong and nothing leaks in {} (valgrind)", watched.join(", "));
    if find_program("valgrind").is_none() {
        tally.skip(&memory, "no valgrind (apt-get install valgrind)");
    } else {
        tally.run(&memory, || watched.iter().try_for_each(|program| valgrind(program, prefix, more)));
    }
}

/// Runs what needs something of the machine besides a compiler.
fn special(tally: &mut Tally, prefix: &Path) {
    let beside = "pmem2.c, beside libpmem2";
    match packages::install(&["libpmem2-dev"]) {
        Err(reason) => tally.skip(beside, &reason),
        Ok(()) => {
            tally.run(beside, || {
                let built = compile("pmem2", prefix, true, &["-lpmem2"])?;
                cases(Command::new(built), &fresh_folder("pmem2")?)
            });
            checked(tally, &["pmem2"], &["pmem2"], prefix, &["-lpmem2"]);
        }
    }
    let media = "media.c: shutdown state and bad blocks, where /sys is a tree of the test's";
    let namespaces = || output_of("unshare", &["--mount", "true"]);
    match is_root().then(namespaces) {
        None => tally.skip(media, "only the administrator mounts"),
        Some(Err(reason)) => tally.skip(media, &reason),
        Some(Ok(_)) => tally.run(media, || {
            let built = compile_with("media", prefix, false, &[], Check::Accesses)?;
            cases(Command::new(built), &fresh_folder("media")?)
        }),
    }
    for kind in ["tmpfs", "ext4"] {
        let name = format!("32 threads map, look up and remove 1,000 times each on {kind}");
        let places = [folder(), "/dev/shm".into(), std::env::temp_dir()];
        let is_it = |place: &&PathBuf| {
            let found = output_of("stat", &["-f", "-c", "%T", &place.to_string_lossy()]);
            // ext2, ext3 and ext4 have one number.
            found
                .is_ok_and(|found| found.trim().split('/').any(|name| name == kind || name == "ext2" && kind == "ext4"))
        };
        match places.iter().find(is_it) {
            None => tally.skip(&name, "none is mounted where tests write"),
            Some(place) => tally.run(&name, || {
                let files = place.join(format!("pmemset-threads-{}", std::process::id()));
                fs::create_dir_all(&files).map_err(|error| format!("{}: {error}", files.display()))?;
                let result = compile("threads", prefix, true, &[]).and_then(|built| cases(Command::new(built), &files));
                let _ = fs::remove_dir_all(&files);
                result
            }),
        }
    }
    tally.run("the first example finds its record again", || {
        let program = compile("readme", prefix, true, &[])?;
        example(&program, "readme", None)
    });
    tally.run("a program that was linked with another library of these names runs with this one", || preloaded(prefix));
}
