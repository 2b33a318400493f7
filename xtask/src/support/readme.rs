//! What the README of an example shows of a program, compared with what the program says.

use std::fs;

use crate::support::processes::root;

/// Makes sure that `lines` are what the README of `example` shows behind the line `$ command`.
pub(crate) fn compare(example: &str, command: &str, lines: &[String]) -> Result<(), String> {
    let path = root().join("examples").join(example).join("README.md");
    let readme = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    testkit::readme::check(&readme, command, &lines.join("\n"))
}
