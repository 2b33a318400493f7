//! The programs for UEFI firmware: building them.

use std::path::PathBuf;

use crate::support::processes::{root, run};
use crate::support::toolchains::Compiler;

/// What they are built for.
pub(crate) const TARGET: &str = "x86_64-unknown-uefi";

/// Builds a program, and returns its file.
pub(crate) fn program(compiler: &Compiler, name: &str, features: &[&str]) -> Result<PathBuf, String> {
    let mut cargo = compiler.cargo(&root().join("examples/uefi"), "build", "core");
    run(cargo.args(["--release", "--quiet", "--locked", "--bin", name]).args(features))?;
    Ok(compiler.release_program(&format!("{name}.efi")))
}

/// The one that counts its starts.
pub(crate) const STARTS: &str = "uefi-starts";
