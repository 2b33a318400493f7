//! Compares the numbers of errors in the header with those of the Rust code, and with the names that kernels are told.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use super::source;
use crate::support::processes::root;

type Numbers = BTreeMap<String, i32>;

pub(super) fn check() -> Result<(), String> {
    let read = |path: PathBuf| fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()));
    let header = in_c(&read(source().join("include/libpmemset.h"))?);
    let layer = read(source().join("src/code.rs"))?;
    let defined = [in_rust(&read(root().join("pmemset-core/src/code.rs"))?), in_rust(&layer), named(&layer)];
    if header.len() != 38 || defined[0].len() < 20 || defined[1].len() < 5 || defined[2].len() != 38 {
        return Err(format!(
            "of the header {} were found, of the code {:?}",
            header.len(),
            defined.map(|list| list.len())
        ));
    }
    let wrong: Vec<_> = defined.iter().flatten().filter(|(name, number)| header.get(*name) != Some(number)).collect();
    if wrong.is_empty() { Ok(()) } else { Err(format!("not as in the header: {wrong:?}")) }
}

/// Returns `#define PMEMSET_E_NAME (-200001)`.
fn in_c(text: &str) -> Numbers {
    let defines = text.lines().filter_map(|line| line.strip_prefix("#define PMEMSET_E_")?.split_once(' '));
    let number = |text: &str| text.trim().strip_prefix('(')?.strip_suffix(')')?.parse().ok();
    defines.filter_map(|(name, text)| Some((name.to_owned(), number(text)?))).collect()
}

/// Returns `NAME = -200_001, …` of the core and `const NAME: c_int = -200_001;` of the layer; other numbers are not
/// meant.
fn in_rust(text: &str) -> Numbers {
    let lines = text.lines().filter_map(|line| line.split_once(" = -200_"));
    let found = lines.filter_map(|(before, after)| {
        let name = before.trim().trim_end_matches(": c_int").rsplit(' ').next()?;
        let digits = after.get(..3)?.parse::<i32>().ok()?;
        Some((name.to_owned(), -200_000 - digits))
    });
    found.collect()
}

/// Returns the names of the list `NAMES`, from -200000 downwards.
fn named(text: &str) -> Numbers {
    let list = text.split_once("const NAMES").map_or("", |(_, list)| list);
    let names = list.lines().skip(1).map_while(|line| line.trim().strip_prefix("c\"")?.strip_suffix("\","));
    let numbered = (0..).map(|place: i32| -200_000 - place);
    names.map(str::to_owned).zip(numbered).filter(|(name, _)| name != "?").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_equal() {
        check().unwrap();
    }

    #[test]
    fn numbers_are_read() {
        let wanted: Numbers = [("A_B".to_owned(), -200_004)].into();
        assert_eq!(in_c("#define PMEMSET_E_A_B      (-200004)\n#define PMEMSET_X (1)\n"), wanted);
        assert_eq!(in_rust("    A_B = -200_004, \"PMEMSET_E_\";\n    C = -100_007, \"PMEM2_E_\";\n"), wanted);
        assert_eq!(in_rust("pub(crate) const A_B: c_int = -200_004;\npub(crate) const C: c_int = -2;\n"), wanted);
        let names = "const NAMES: [&CStr; 5] = [\n c\"?\",\n c\"?\",\n c\"?\",\n c\"?\",\n c\"A_B\",\n];\n c\"not\",\n";
        assert_eq!(named(names), wanted);
    }
}
