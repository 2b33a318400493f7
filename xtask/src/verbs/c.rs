//! `cargo xtask c`: libpmemset for C programs, built, checked, and installed where a prefix is given.

mod port;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::packages;
use crate::support::processes::{self, find_program, output_of, root, run as run_command};
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

const SONAME: &str = "libpmemset.so.1";
const NODE: &str = "LIBPMEMSET_1.0";
/// Every warning is an error, in the library's own C and in its tests.
const WARNINGS: [&str; 4] = ["-Wall", "-Wextra", "-pedantic", "-Werror"];
/// The C programs; each runs in a folder of its own.
const PROGRAMS: [&str; 7] = ["layout", "objects", "parts", "gone", "events", "bytes", "threads"];

pub(crate) fn run(args: &Args) -> Outcome {
    let target = port::TARGETS.into_iter().find(|target| args.target.as_deref() == Some(target));
    if let (Some(target), Some(prefix)) = (target, &args.prefix) {
        port::install(target, prefix)?;
        return Ok(true);
    }
    if let Some(prefix) = &args.prefix {
        install(&Library::build(&folder())?, prefix)?;
        return Ok(true);
    }
    let tally = check();
    println!("\n{tally}");
    Ok(tally.good())
}

/// Builds the shared library, and returns where it is.
pub(crate) fn shared_library() -> Result<PathBuf, String> {
    Library::build(&folder()).map(|library| library.shared)
}

fn source() -> PathBuf {
    root().join("examples/libpmemset")
}

fn folder() -> PathBuf {
    root().join("target/c")
}

/// Builds the library, and runs the C programs on it, installed as a user would have it.
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
    let prefix = folder().join("prefix");
    let _ = fs::remove_dir_all(&prefix);
    let built = Library::build(&folder());
    tally.check("libpmemset builds without warnings", built.as_ref().map(drop).map_err(Clone::clone));
    let Ok(library) = built else { return tally };
    tally.run("it exports the names of libpmemset 1.0 and no others", || exports(&library));
    tally.run("it leaves to libc what its list says", || undefined(&library));
    tally.run("it is installed", || install(&library, &prefix));
    for compiler in ["cc -std=c99", "cc -std=c11", "c++ -std=c++20", "clang -std=c99", "clang++ -std=c++20"] {
        let name = format!("{compiler} takes the header without warnings");
        let mut words = compiler.split(' ');
        match words.next().filter(|program| find_program(program).is_some()) {
            None => tally.skip(&name, "it is not here"),
            Some(program) => tally.run(&name, || header(program, words.next().unwrap_or_default(), &prefix)),
        }
    }
    for (kind, dynamic) in [("shared", true), ("static", false)] {
        for program in PROGRAMS {
            tally.run(&format!("{program}.c on the {kind} library"), || {
                let built = compile(program, &prefix, dynamic, &[])?;
                cases(Command::new(built), &fresh_folder(&format!("{program}-{kind}"))?)
            });
        }
    }
    let beside = "pmem2.c, beside libpmem2";
    match packages::install(&["libpmem2-dev"]) {
        Err(reason) => tally.skip(beside, &reason),
        Ok(()) => tally.run(beside, || {
            let built = compile("pmem2", &prefix, true, &["-lpmem2"])?;
            cases(Command::new(built), &fresh_folder("pmem2")?)
        }),
    }
    tally.run("the first example finds its record again", || {
        let program = compile("readme", &prefix, true, &[])?;
        example(&program, "readme", None)
    });
    tally
        .run("a program that was linked with another library of these names runs with this one", || preloaded(&prefix));
    let memory = "no access is wrong and nothing leaks (valgrind)";
    if find_program("valgrind").is_none() {
        tally.skip(memory, "no valgrind (apt-get install valgrind)");
    } else {
        tally.run(memory, || valgrind(&prefix));
    }
    port::check(&mut tally);
    tally
}

/// What is built.
struct Library {
    shared: PathBuf,
    archive: PathBuf,
}

impl Library {
    fn build(folder: &Path) -> Result<Self, String> {
        let (source, archive) = (source(), folder.join("libpmemset.a"));
        let mut cargo = processes::cargo();
        cargo.current_dir(&source).args(["build", "--release", "--quiet", "--locked", "--target-dir"]).arg(folder);
        run_command(&mut cargo)?;
        let object = |name: &str| folder.join(format!("{name}.o"));
        let mut cc = Command::new("cc");
        cc.args(["-std=gnu99", "-O2", "-fPIC", "-c"]).args(WARNINGS).arg("-I").arg(source.join("include"));
        run_command(cc.arg(source.join("src/hosted/glue.c")).arg("-o").arg(object("glue")))?;

        // One object of it all, so that what is global can be chosen: an archive keeps no names to itself.
        let mut ld = Command::new("ld");
        ld.args(["-r", "--whole-archive"]).arg(folder.join("release/libpmemset.a")).arg("--no-whole-archive");
        run_command(ld.arg(object("glue")).arg("-o").arg(object("whole")))?;
        let mut objcopy = Command::new("objcopy");
        // What Rust's own library has for link-time optimisation, piece on piece: nonsense to an archiver of LLVM.
        objcopy.args(["--remove-section=.llvmbc", "--remove-section=.llvmcmd"]);
        for name in names()? {
            objcopy.arg(format!("--keep-global-symbol={name}"));
        }
        run_command(objcopy.arg(object("whole")).arg(object("pmemset")))?;
        let _ = fs::remove_file(&archive);
        run_command(Command::new("ar").arg("rcs").arg(&archive).arg(object("pmemset")))?;

        let shared = folder.join(SONAME);
        let mut script = std::ffi::OsString::from("-Wl,--version-script=");
        script.push(source.join("libpmemset.map"));
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-Wl,-z,defs", "-Wl,--gc-sections"]).arg(format!("-Wl,-soname,{SONAME}")).arg(script);
        run_command(cc.arg(object("pmemset")).arg("-o").arg(&shared))?;
        Ok(Self { shared, archive })
    }
}

/// Returns the names that the version script exports.
fn names() -> Result<Vec<String>, String> {
    let script = fs::read_to_string(source().join("libpmemset.map")).map_err(|error| error.to_string())?;
    let names = script.lines().filter_map(|line| line.trim().strip_suffix(';'));
    Ok(names.filter(|name| name.starts_with("pmemset_")).map(str::to_owned).collect())
}

fn exports(library: &Library) -> Result<(), String> {
    let mut wanted: Vec<String> = names()?.iter().map(|name| format!("{name}@@{NODE}")).collect();
    wanted.sort();
    let table =
        output_of("nm", &["-D", "--defined-only", "--with-symbol-versions", &library.shared.to_string_lossy()])?;
    let mut found: Vec<String> =
        table.lines().filter_map(|line| line.split(' ').next_back()).map(str::to_owned).collect();
    found.retain(|name| !name.starts_with(NODE));
    found.sort();
    let archive = output_of("nm", &["-g", "--defined-only", &library.archive.to_string_lossy()])?;
    let mut global: Vec<&str> = archive.lines().filter_map(|line| line.split(' ').nth(2)).collect();
    global.sort_unstable();
    let plain: Vec<&str> = wanted.iter().filter_map(|name| name.split('@').next()).collect();
    if found != wanted {
        return Err(format!("the shared library has {found:?}"));
    }
    if global != plain { Err(format!("the archive has {global:?}")) } else { Ok(()) }
}

/// Compares what the library wants from elsewhere with the list that is checked in.
fn undefined(library: &Library) -> Result<(), String> {
    let table = output_of("nm", &["-u", &library.archive.to_string_lossy()])?;
    let mut found: Vec<&str> =
        table.lines().filter_map(|line| line.trim().split_once(' ')).map(|(_, name)| name).collect();
    found.sort_unstable();
    found.dedup();
    let text = fs::read_to_string(source().join("undefined.txt")).map_err(|error| error.to_string())?;
    let listed: Vec<&str> = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
    let more: Vec<&&str> = found.iter().filter(|name| !listed.contains(name)).collect();
    // What the linker makes itself, and what one compiler calls where another one has it inline.
    if more.is_empty() { Ok(()) } else { Err(format!("not on the list: {more:?}")) }
}

/// Installs below `prefix`.
fn install(library: &Library, prefix: &Path) -> Result<(), String> {
    let (include, lib) = (prefix.join("include"), prefix.join("lib"));
    let config = lib.join("pkgconfig");
    let text = format!(
        "prefix={}\nincludedir=${{prefix}}/include\nlibdir=${{prefix}}/lib\n\nName: libpmemset\n\
         Description: sets of persistent-memory parts\nVersion: 1.0\nCflags: -I${{includedir}}\n\
         Libs: -L${{libdir}} -lpmemset\n",
        prefix.display()
    );
    let work = || {
        fs::create_dir_all(&include)?;
        fs::create_dir_all(&config)?;
        fs::copy(source().join("include/libpmemset.h"), include.join("libpmemset.h"))?;
        fs::copy(&library.archive, lib.join("libpmemset.a"))?;
        // Another program may have it mapped: the old file stays what it is.
        let shared = lib.join(SONAME);
        let next = lib.join(format!("{SONAME}.next"));
        fs::copy(&library.shared, &next)?;
        fs::rename(next, shared)?;
        let link = lib.join("libpmemset.so");
        let _ = fs::remove_file(&link);
        symlink(SONAME, link)?;
        fs::write(config.join("libpmemset.pc"), text)
    };
    work().map_err(|error: std::io::Error| format!("{}: {error}", prefix.display()))
}

fn header(compiler: &str, standard: &str, prefix: &Path) -> Result<(), String> {
    let language = if compiler.ends_with("++") { "c++" } else { "c" };
    let mut command = Command::new(compiler);
    command.args([standard, "-fsyntax-only", "-x", language]).args(WARNINGS).arg("-I").arg(prefix.join("include"));
    // In a program, not by itself: a header that is the main file has a warning of its own.
    run_command(command.arg(source().join("tests/header.c"))).map(drop)
}

/// Builds the C program `name`; `more` goes to the linker.
fn compile(name: &str, prefix: &Path, dynamic: bool, more: &[&str]) -> Result<PathBuf, String> {
    let program = source().join(format!("tests/{name}.c"));
    let built = folder().join(format!("{name}-{}", if dynamic { "shared" } else { "static" }));
    let lib = prefix.join("lib");
    let mut cc = Command::new("cc");
    cc.args(["-std=gnu99", "-O1", "-g", "-pthread"]).args(WARNINGS).arg("-I").arg(prefix.join("include")).arg(program);
    if dynamic {
        let mut path = std::ffi::OsString::from("-Wl,-rpath,");
        path.push(&lib);
        cc.arg("-L").arg(&lib).arg("-lpmemset").arg(path);
    } else {
        cc.arg(lib.join("libpmemset.a"));
    }
    run_command(cc.args(more).arg("-o").arg(&built))?;
    Ok(built)
}

/// Makes an empty folder for a program's files.
fn fresh_folder(name: &str) -> Result<PathBuf, String> {
    let path = folder().join("files").join(name);
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path)
}

/// Runs a program that says how many of its cases have passed.
fn cases(mut program: Command, files: &Path) -> Result<(), String> {
    let output =
        program.arg(files).env_remove("PMEM2_FORCE_GRANULARITY").output().map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stdout);
    let good = output.status.success() && said.lines().last().is_some_and(|line| line.ends_with(" passed, 0 failed"));
    if good { Ok(()) } else { Err(format!("{}\n{said}{}", output.status, String::from_utf8_lossy(&output.stderr))) }
}

/// Runs the first example twice, with `preload` before other libraries.
fn example(program: &Path, name: &str, preload: Option<&Path>) -> Result<(), String> {
    let file = fresh_folder(name)?.join("records");
    for wanted in ["new\n", "found: remember me\n"] {
        let mut command = Command::new(program);
        if let Some(library) = preload {
            command.env("LD_PRELOAD", library);
        }
        let output = command.arg(&file).output().map_err(|error| error.to_string())?;
        // What the loader has to complain of, it does there.
        let said = [output.stdout, output.stderr].concat();
        if said != wanted.as_bytes() {
            return Err(format!("it says {:?}, not {wanted:?}", String::from_utf8_lossy(&said)));
        }
    }
    Ok(())
}

/// Links the first example with a library in which every function fails, and runs it with ours before that.
fn preloaded(prefix: &Path) -> Result<(), String> {
    let other = folder().join("other");
    fs::create_dir_all(&other).map_err(|error| error.to_string())?;
    let functions: Vec<String> = names()?.iter().map(|name| format!("int {name}(void) {{ return -1; }}\n")).collect();
    let (code, library) = (other.join("other.c"), other.join(SONAME));
    fs::write(&code, functions.concat()).map_err(|error| error.to_string())?;
    let mut script = std::ffi::OsString::from("-Wl,--version-script=");
    script.push(source().join("libpmemset.map"));
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-fno-builtin"]).arg(format!("-Wl,-soname,{SONAME}")).arg(script);
    run_command(cc.arg(&code).arg("-o").arg(&library))?;
    let program = folder().join("readme-other");
    let mut path = std::ffi::OsString::from("-Wl,-rpath,");
    path.push(&other);
    let mut cc = Command::new("cc");
    cc.arg("-I").arg(prefix.join("include")).arg(source().join("tests/readme.c")).arg(&library).arg(path);
    run_command(cc.arg("-o").arg(&program))?;
    if example(&program, "readme-other", None).is_ok() {
        return Err("the other library is not what it runs with by itself".into());
    }
    example(&program, "readme-preloaded", Some(&prefix.join("lib").join(SONAME)))
}

fn valgrind(prefix: &Path) -> Result<(), String> {
    for program in ["objects", "parts", "events"] {
        let built = compile(program, prefix, true, &[])?;
        let mut command = Command::new("valgrind");
        command.args(["-q", "--error-exitcode=9", "--leak-check=full", "--errors-for-leak-kinds=definite"]).arg(built);
        cases(command, &fresh_folder(&format!("{program}-valgrind"))?)
            .map_err(|error| format!("{program}: {error}"))?;
    }
    Ok(())
}
