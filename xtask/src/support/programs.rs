//! Programs of the examples that several verbs build or run.

use std::path::{Path, PathBuf};

use crate::support::processes::{cargo, root, run};

/// Returns the first and the last record in a ring over `files`.
pub(crate) fn ring(files: &[PathBuf]) -> Result<String, String> {
    let mut cargo = cargo();
    cargo.args(["run", "--quiet", "--package", "ring", "--", "0"]).args(files);
    run(&mut cargo).map(|found| found.trim().to_owned())
}

/// Builds the recorder below `folder`, and returns where it is.
pub(crate) fn recorder(folder: &Path) -> Result<PathBuf, String> {
    let mut cargo = cargo();
    cargo.current_dir(root().join("examples/appliance"));
    cargo.args(["build", "--release", "--quiet", "--locked", "--target-dir"]).arg(folder);
    run(&mut cargo)?;
    Ok(folder.join("release/appliance"))
}

/// Decodes defmt's frames in the file `frames`, which `program` has sent: a line for each.
pub(crate) fn decode(program: &Path, frames: &Path) -> Result<String, String> {
    let mut cargo = cargo();
    let manifest = root().join("examples/unikernel/Cargo.toml");
    cargo.args(["run", "--quiet", "--locked", "--example", "decode", "--manifest-path"]).arg(manifest);
    run(cargo.arg("--").arg(program).arg(frames))
}
