//! Building for targets that this machine does not run, and building the standard library itself.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use crate::support::packages;
use crate::support::processes::{self, root};

/// The oldest compiler that builds pmemset, as Cargo.toml says.
pub(crate) const OLDEST: &str = env!("CARGO_PKG_RUST_VERSION");

/// Where a compiler for a target comes from; the first that there is is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Origin {
    /// The user's compiler has the target's libraries.
    Own,
    /// A compiler that comes with the sources of its libraries, and builds them.
    Sources(Sources),
}

/// A compiler with the sources of its own libraries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sources {
    /// The user's, with what the component `rust-src` holds.
    Component,
    /// The user's, with a Debian package of exactly its version: a program that runs it with these sources.
    Package(PathBuf),
    /// Debian's compiler with Debian's sources.
    Debian,
}

/// A compiler for one target.
#[derive(Clone, Debug)]
pub(crate) struct Compiler {
    origin: Origin,
    target: &'static str,
}

impl Compiler {
    /// Returns a compiler for `target`; or why there is none, and the command that would change it.
    pub(crate) fn find(target: &'static str) -> Result<Self, String> {
        let libraries = processes::output_of("rustc", &["--print", "target-libdir", "--target", target]);
        if libraries.is_ok_and(|path| Path::new(path.trim()).is_dir()) {
            return Ok(Self { origin: Origin::Own, target });
        }
        let sources = Sources::find().map_err(|reason| format!("rustup target add {target} ({reason})"))?;
        Ok(Self { origin: Origin::Sources(sources), target })
    }

    /// Returns the same, and installs `needs` too: without a compiler they would be of no use.
    pub(crate) fn with(target: &'static str, needs: &[&str]) -> Result<Self, String> {
        let compiler = Self::find(target)?;
        packages::install(needs).map(|()| compiler)
    }

    /// Returns the same with `cargo clippy`, which Debian has in a package of its own.
    pub(crate) fn with_lints(self) -> Result<Self, String> {
        if self.origin == Origin::Sources(Sources::Debian) {
            packages::install(&[&format!("rust-web-clippy (>= {OLDEST})")])?;
        }
        Ok(self)
    }

    /// Returns `cargo VERB` for this target, run in `folder`; `libraries` are built where they have to be.
    pub(crate) fn cargo(&self, folder: &Path, verb: &str, libraries: &str) -> Command {
        let mut command = match &self.origin {
            Origin::Own => processes::cargo(),
            Origin::Sources(sources) => sources.cargo(),
        };
        command.current_dir(folder).arg(verb).args(["--target", self.target]);
        if self.origin != Origin::Own {
            command.arg(format!("-Zbuild-std={libraries}"));
        }
        command.arg("--target-dir").arg(self.target_dir());
        if let Some(linker) = self.linker() {
            let key = self.target.to_uppercase().replace('-', "_");
            command.env(format!("CARGO_TARGET_{key}_LINKER"), linker);
        }
        command
    }

    /// Returns the file that a release build leaves `program` in.
    pub(crate) fn release_program(&self, program: &str) -> PathBuf {
        self.target_dir().join(self.target).join("release").join(program)
    }

    /// Returns the file that a debug build leaves `program` in.
    pub(crate) fn debug_program(&self, program: &str) -> PathBuf {
        self.target_dir().join(self.target).join("debug").join(program)
    }

    /// A folder for each compiler: their artefacts do not mix.
    fn target_dir(&self) -> PathBuf {
        let name = match &self.origin {
            Origin::Own => "rustup",
            Origin::Sources(Sources::Component | Sources::Package(_)) => "sources",
            Origin::Sources(Sources::Debian) => "debian",
        };
        root().join("target/bare").join(name)
    }

    /// Returns the linker for bare metal; Debian's compiler comes without one, and rustup's links for every target.
    fn linker(&self) -> Option<PathBuf> {
        if self.origin == Origin::Own || self.target.contains("linux") {
            return None;
        }
        let libraries = sysroot().ok()?.join("lib/rustlib");
        let host = fs::read_dir(libraries).ok()?.flatten();
        let lld = host.map(|entry| entry.path().join("bin/rust-lld")).find(|path| path.is_file());
        let binutils = match self.target {
            target if target.starts_with("thumb") => "arm-none-eabi-ld",
            target if target.ends_with("uefi") => "lld-link",
            _ => "ld",
        };
        lld.or_else(|| processes::find_program(binutils))
    }
}

impl Sources {
    /// Returns a compiler with the sources of its own libraries, installing what is missing.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub(crate) fn find() -> Result<Self, String> {
        static FOUND: Mutex<Option<Result<Sources, String>>> = Mutex::new(None);
        let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
        found.get_or_insert_with(Self::search).clone()
    }

    fn search() -> Result<Self, String> {
        let own = release(&processes::output_of("rustc", &["--version"])?)?;
        if sysroot()?.join("lib/rustlib/src/rust/library").is_dir() {
            return Ok(Self::Component);
        }
        let debian = ["rustc-web", "cargo-web", "rust-web-src"].map(|package| format!("{package} (>= {OLDEST})"));
        let debian = debian.each_ref().map(String::as_str);
        if !packages::are_installed(&debian) {
            packages::refresh();
        }
        for package in ["rust-web-src", "rust-src"] {
            let folder = PathBuf::from(format!("/usr/src/rustc-{own}"));
            let need = format!("{package} (= {own})");
            if packages::is_listed(&need) && packages::install(&[&need]).is_ok() && folder.join("library").is_dir() {
                return with_sources(&own, &folder).map(Self::Package);
            }
        }
        packages::install(&debian).map_err(|reason| {
            format!("there are no sources of rustc {own}, nor another compiler with its own: {reason}")
        })?;
        Ok(Self::Debian)
    }

    /// Returns a cargo that takes `-Zbuild-std`.
    pub(crate) fn cargo(&self) -> Command {
        let mut command = match self {
            Self::Component => processes::cargo(),
            Self::Package(compiler) => {
                let mut command = processes::cargo();
                command.env("RUSTC", compiler);
                command
            }
            Self::Debian => {
                // Freed of what rustup's cargo has put into the environment for this program.
                let mut command = Command::new("/usr/bin/cargo");
                for name in ["CARGO", "RUSTUP_TOOLCHAIN", "LD_LIBRARY_PATH", "RUSTDOC"] {
                    command.env_remove(name);
                }
                command.env("RUSTC", "/usr/bin/rustc");
                // Its `cargo clippy` is a program of its own, which rustup has another of.
                let mut path = std::ffi::OsString::from("/usr/bin:");
                path.push(std::env::var_os("PATH").unwrap_or_default());
                command.env("PATH", path);
                command
            }
        };
        command.env("RUSTC_BOOTSTRAP", "1").env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
        command
    }

    /// Returns the compiler itself.
    pub(crate) fn rustc(&self) -> Command {
        let mut command = match self {
            Self::Component => Command::new("rustc"),
            Self::Package(compiler) => Command::new(compiler),
            Self::Debian => {
                let mut command = Command::new("/usr/bin/rustc");
                command.env_remove("LD_LIBRARY_PATH");
                command
            }
        };
        command.env("RUSTC_BOOTSTRAP", "1");
        command
    }
}

/// Returns the folder of the user's compiler.
fn sysroot() -> Result<PathBuf, String> {
    processes::output_of("rustc", &["--print", "sysroot"]).map(|path| path.trim().into())
}

/// Reads `1.95.0` from what `rustc --version` prints. One that is no release has no sources but its own.
fn release(text: &str) -> Result<String, String> {
    let word = text.split_whitespace().nth(1).ok_or_else(|| format!("rustc --version says {text:?}"))?;
    Ok(word.to_owned())
}

/// Makes a folder like that of the user's compiler, but with sources, and a program that runs the compiler with it.
fn with_sources(version: &str, sources: &Path) -> Result<PathBuf, String> {
    let sysroot = sysroot()?;
    let folder = root().join("target/bare").join(format!("sysroot-{version}"));
    let libraries = folder.join("lib/rustlib");
    let program = folder.join("rustc");
    let make = || {
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(libraries.join("src/rust"))?;
        for entry in fs::read_dir(sysroot.join("lib/rustlib"))?.flatten().filter(|entry| entry.file_name() != "src") {
            symlink(entry.path(), libraries.join(entry.file_name()))?;
        }
        symlink(sources.join("library"), libraries.join("src/rust/library"))?;
        let compiler = sysroot.join("bin/rustc");
        let script = format!("#!/bin/sh\nexec '{}' --sysroot '{}' \"$@\"\n", compiler.display(), folder.display());
        fs::write(&program, script)?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))
    };
    make().map_err(|error: std::io::Error| format!("{}: {error}", folder.display()))?;
    Ok(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_read() {
        assert_eq!(release("rustc 1.95.0 (59807616e 2026-04-14)").as_deref(), Ok("1.95.0"));
        assert_eq!(release("rustc 1.97.0-nightly (1234 2026-05-19)").as_deref(), Ok("1.97.0-nightly"));
        assert!(release("").is_err());
    }
}
