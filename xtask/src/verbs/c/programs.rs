//! C programs as tests: compiled, and run in folders of their own.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::library::{SONAME, names};
use super::{WARNINGS, folder, source};
use crate::support::processes::run as run_command;

pub(super) fn header(compiler: &str, standard: &str, prefix: &Path) -> Result<(), String> {
    let language = if compiler.ends_with("++") { "c++" } else { "c" };
    let mut command = Command::new(compiler);
    command
        .arg(format!("-std={standard}"))
        .args(["-fsyntax-only", "-x", language])
        .args(WARNINGS)
        .arg("-I")
        .arg(prefix.join("include"));
    // In a program, not by itself: a header that is the main file has a warning of its own.
    command.arg("-I").arg(source().join("include")).arg(source().join("tests/header.c"));
    run_command(command.arg(source().join("tests/port/header.c"))).map(drop)
}

/// Has clang read the programs, with every warning an error.
pub(super) fn taken_without_warnings(programs: &[&str], prefix: &Path) -> Result<(), String> {
    let mut clang = Command::new("clang");
    clang.args(["-std=gnu99", "-fsyntax-only"]).args(WARNINGS).arg("-I").arg(prefix.join("include"));
    clang.args(programs.iter().chain(&["media", "machine"]).map(|name| source().join(format!("tests/{name}.c"))));
    clang.arg("-I").arg(source().join("include"));
    run_command(clang.arg(source().join("tests/port/host.c"))).map(drop)
}

/// What is checked while a program runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Check {
    Nothing,
    /// By gcc's sanitizers of addresses and undefined behaviour: those of the program, and what libc does for the
    /// library.
    Accesses,
}

/// Builds the C program `name`; `more` goes to the linker.
pub(super) fn compile(name: &str, prefix: &Path, dynamic: bool, more: &[&str]) -> Result<PathBuf, String> {
    compile_with(name, prefix, dynamic, more, Check::Nothing)
}

/// The same, with checks.
pub(super) fn compile_with(
    name: &str,
    prefix: &Path,
    dynamic: bool,
    more: &[&str],
    check: Check,
) -> Result<PathBuf, String> {
    let program = source().join(format!("tests/{name}.c"));
    let kind = match (check, dynamic) {
        (Check::Accesses, _) => "checked",
        (Check::Nothing, true) => "shared",
        (Check::Nothing, false) => "static",
    };
    let built = folder().join(format!("{name}-{kind}"));
    let lib = prefix.join("lib");
    let mut cc = Command::new("cc");
    cc.args(["-std=gnu99", "-O1", "-g", "-pthread"]).args(WARNINGS).arg("-I").arg(prefix.join("include")).arg(program);
    if check == Check::Accesses {
        cc.args(["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]);
    }
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
pub(super) fn fresh_folder(name: &str) -> Result<PathBuf, String> {
    let path = folder().join("files").join(name);
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path)
}

/// Runs a program that says how many of its cases have passed.
pub(super) fn cases(mut program: Command, files: &Path) -> Result<(), String> {
    let output =
        program.arg(files).env_remove("PMEM2_FORCE_GRANULARITY").output().map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stdout);
    let good = output.status.success() && said.lines().last().is_some_and(|line| line.ends_with(" passed, 0 failed"));
    if good { Ok(()) } else { Err(format!("{}\n{said}{}", output.status, String::from_utf8_lossy(&output.stderr))) }
}

/// Runs the first example twice, with `preload` before other libraries.
pub(super) fn example(program: &Path, name: &str, preload: Option<&Path>) -> Result<(), String> {
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
pub(super) fn preloaded(prefix: &Path) -> Result<(), String> {
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

/// Runs the program `name` under valgrind; `more` goes to the linker.
pub(super) fn valgrind(name: &str, prefix: &Path, more: &[&str]) -> Result<(), String> {
    let built = compile(name, prefix, true, more)?;
    let mut command = Command::new("valgrind");
    command.args(["-q", "--error-exitcode=9", "--leak-check=full", "--errors-for-leak-kinds=definite"]).arg(built);
    cases(command, &fresh_folder(&format!("{name}-valgrind"))?).map_err(|error| format!("{name}: {error}"))
}

/// Looks whether each error of the header is one that a program expects, or that the tests' list says why not.
pub(super) fn errors_are_met() -> Result<(), String> {
    let read = |path: PathBuf| fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()));
    let tests = source().join("tests");
    let mut programs = String::new();
    for folder in [tests.clone(), tests.join("port")] {
        for entry in fs::read_dir(&folder).map_err(|error| error.to_string())?.flatten() {
            if entry.path().extension().is_some_and(|end| end == "c" || end == "h") {
                programs.push_str(&read(entry.path())?);
            }
        }
    }
    let list = read(tests.join("README.md"))?;
    let header = read(source().join("include/libpmemset.h"))?;
    let names = header.lines().filter_map(|line| line.strip_prefix("#define PMEMSET_E_")?.split_whitespace().next());
    let names: Vec<&str> = names.collect();
    let words: BTreeSet<&str> =
        programs.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').collect();
    let met = |name: &&&str| words.contains(format!("PMEMSET_E_{name}").as_str());
    let listed = |name: &&&str| list.contains(&format!("`{name}`"));
    let missing: Vec<&&str> = names.iter().filter(|name| !met(name) && !listed(name)).collect();
    if names.len() == 38 && missing.is_empty() { Ok(()) } else { Err(format!("of {}: {missing:?}", names.len())) }
}
