//! Building for targets that this machine does not run: with a target that rustup has, or with Debian's compiler.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::tools;

/// Where a compiler for a target comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// rustup has the target's libraries.
    Rustup,
    /// Debian's compiler builds them from Debian's source package.
    Debian,
}

/// A compiler for one target.
#[derive(Clone, Debug)]
pub(crate) struct Compiler {
    origin: Origin,
    target: &'static str,
}

impl Compiler {
    /// Returns a compiler for `target`, installing Debian's where rustup has none; or why there is none.
    pub(crate) fn find(target: &'static str) -> Result<Self, String> {
        let libraries = tools::output_of("rustc", &["--print", "target-libdir", "--target", target]);
        if libraries.is_ok_and(|path| Path::new(path.trim()).is_dir()) {
            return Ok(Self { origin: Origin::Rustup, target });
        }
        debian_compiler()
            .map_err(|reason| format!("rustup has no {target} (rustup target add {target}), and {reason}"))?;
        Ok(Self { origin: Origin::Debian, target })
    }

    /// Returns `cargo VERB` for this target, run in `folder`; Debian's builds the libraries `libraries`.
    pub(crate) fn cargo(&self, folder: &Path, verb: &str, libraries: &str) -> Command {
        let mut command = match self.origin {
            Origin::Rustup => tools::cargo(),
            Origin::Debian => debian_cargo(),
        };
        command.current_dir(folder).arg(verb).args(["--target", self.target]);
        if self.origin == Origin::Debian {
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
        let name = match self.origin {
            Origin::Rustup => "rustup",
            Origin::Debian => "debian",
        };
        tools::root().join("target/bare").join(name)
    }

    /// Returns the linker for bare metal; Debian's compiler comes without one, and rustup's links for every target.
    fn linker(&self) -> Option<PathBuf> {
        if self.origin == Origin::Rustup || self.target.contains("linux") {
            return None;
        }
        let sysroot = tools::output_of("rustc", &["--print", "sysroot"]).ok()?;
        let libraries = Path::new(sysroot.trim()).join("lib/rustlib");
        let host = std::fs::read_dir(libraries).ok()?.flatten();
        let lld = host.map(|entry| entry.path().join("bin/rust-lld")).find(|path| path.is_file());
        let binutils = if self.target.starts_with("thumb") { "arm-none-eabi-ld" } else { "ld" };
        lld.or_else(|| tools::find_program(binutils))
    }
}

/// Installs Debian's compiler with the sources of its libraries, or says why it cannot.
pub(crate) fn debian_compiler() -> Result<(), String> {
    tools::install_packages(&["rustc-web", "cargo-web", "rust-web-src"])
}

/// Returns Debian's cargo, freed of what rustup's cargo has put into the environment for this program.
pub(crate) fn debian_cargo() -> Command {
    let mut command = Command::new("/usr/bin/cargo");
    command.env("RUSTC", "/usr/bin/rustc").env("RUSTC_BOOTSTRAP", "1");
    for name in ["CARGO", "RUSTUP_TOOLCHAIN", "RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "LD_LIBRARY_PATH", "RUSTDOC"] {
        command.env_remove(name);
    }
    command
}

/// Runs `command`, and returns the end of what it said if it fails.
pub(crate) fn run(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("{}: {error}", command.get_program().display()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
    let errors = lines.iter().position(|line| line.starts_with("error")).unwrap_or(lines.len().saturating_sub(12));
    Err(format!("{}\n{}", output.status, lines[errors..].iter().take(30).copied().collect::<Vec<_>>().join("\n")))
}
