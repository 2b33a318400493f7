//! The library for C programs on Linux: built, its symbols looked at, installed.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::{WARNINGS, folder, source};
use crate::support::processes::{self, output_of, run as run_command};

pub(super) const SONAME: &str = "libpmemset.so.1";
const NODE: &str = "LIBPMEMSET_1.0";

/// What is built.
pub(super) struct Library {
    pub(super) shared: PathBuf,
    pub(super) archive: PathBuf,
}

impl Library {
    /// Builds it, once in a run: stages beside each other have one.
    pub(super) fn get() -> Result<&'static Self, String> {
        static BUILT: OnceLock<Result<Library, String>> = OnceLock::new();
        BUILT.get_or_init(|| Self::build(&folder())).as_ref().map_err(Clone::clone)
    }

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
pub(super) fn names() -> Result<Vec<String>, String> {
    let script = fs::read_to_string(source().join("libpmemset.map")).map_err(|error| error.to_string())?;
    let names = script.lines().filter_map(|line| line.trim().strip_suffix(';'));
    Ok(names.filter(|name| name.starts_with("pmemset_")).map(str::to_owned).collect())
}

pub(super) fn exports(library: &Library) -> Result<(), String> {
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
pub(super) fn undefined(library: &Library) -> Result<(), String> {
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
pub(super) fn install(library: &Library, prefix: &Path) -> Result<(), String> {
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
