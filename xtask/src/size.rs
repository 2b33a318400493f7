//! `cargo xtask size`: what the library costs a controller, compared with a table.

use crate::bare::{Compiler, run as run_command};
use crate::tools::{self, Outcome, Tally, root};

#[derive(clap::Args)]
pub(crate) struct Args {}

/// The Cortex-M example, opt-level s: section, bytes when the table was made.
///
/// All of it: map, look up, read, write and remove, the platform, the source. The set has
/// room for eight segments.
const TABLE: [(&str, u64); 2] = [("text", 14_000), ("data and bss", 644)];
/// Compilers differ; what is more than this many hundredths is a change of the library.
const TOLERANCE_HUNDREDTHS: u64 = 15;
const TARGET: &str = "thumbv7m-none-eabi";

pub(crate) fn run(_args: &Args) -> Outcome {
    let tally = check();
    println!("\n{tally}");
    Ok(tally.good())
}

/// Builds the controller program and compares its sections.
pub(crate) fn check() -> Tally {
    let mut tally = Tally::default();
    let compiler = match tools::install_packages(&["binutils"]).and_then(|()| Compiler::find(TARGET)) {
        Ok(compiler) => compiler,
        Err(reason) => {
            tally.skip("size", &reason);
            return tally;
        }
    };
    let mut cargo = compiler.cargo(&root().join("examples/cortex-m"), "build", "core");
    let measured = run_command(cargo.args(["--release", "--quiet", "--locked"]))
        .and_then(|_| tools::output_of("size", &[compiler.release_program("cortex-m-fram")]))
        .and_then(|output| parse(&output).ok_or_else(|| format!("size said: {output}")));
    match measured {
        Err(reason) => tally.check("size", Err(reason)),
        Ok(measured) => {
            for ((name, expected), bytes) in TABLE.into_iter().zip(measured) {
                let slack = expected * TOLERANCE_HUNDREDTHS / 100;
                let near = bytes.abs_diff(expected) <= slack;
                let result = near.then_some(()).ok_or_else(|| format!("{bytes} bytes, the table says {expected}"));
                tally.check(&format!("controller program, {name}: {bytes} bytes"), result);
            }
        }
    }
    tally
}

/// Reads text, and data plus bss, from what size(1) prints.
fn parse(output: &str) -> Option<[u64; 2]> {
    let mut numbers = output.lines().nth(1)?.split_whitespace().map_while(|word| word.parse::<u64>().ok());
    let (text, data, bss) = (numbers.next()?, numbers.next()?, numbers.next()?);
    Some([text, data + bss])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_of_size_is_read() {
        let output =
            "   text\t   data\t    bss\t    dec\t    hex\tfilename\n  17278\t    560\t     20\t  17858\t   45c2\tx\n";
        assert_eq!(parse(output), Some([17278, 580]));
        assert_eq!(parse(""), None);
    }
}
