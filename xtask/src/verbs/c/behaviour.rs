//! The tables of behaviours in the tests' README: what they name exists, and no number of libpmemset's tests is
//! missing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use super::source;

/// The areas of libpmemset's own tests, and the first and the last number of each.
const AREAS: [(&str, u32, u32); 16] = [
    ("badblock", 0, 7),
    ("config", 0, 5),
    ("deep_flush", 0, 2),
    ("event", 1, 6),
    ("file", 0, 6),
    ("include", 0, 0),
    ("map_config", 0, 5),
    ("memcpy", 0, 5),
    ("memmove", 0, 5),
    ("memset", 0, 5),
    ("new", 0, 4),
    ("part", 0, 45),
    ("perror", 0, 4),
    ("persist", 0, 6),
    ("sds", 0, 6),
    ("source", 0, 27),
];

/// Compares the tables with the programs beside them.
pub(super) fn check() -> Result<(), String> {
    let folder = source().join("tests");
    let read = |name: &str| fs::read_to_string(folder.join(name)).map_err(|error| format!("{name}: {error}"));
    let text = read("README.md")?;
    let mut numbers: BTreeMap<&str, BTreeSet<u32>> = BTreeMap::new();
    for row in text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| ---")) {
        let mut cells = row.trim_matches('|').split(" | ");
        let (Some(what), Some(place)) = (cells.next(), cells.next()) else { continue };
        what.split('·').for_each(|area| add(area.trim(), &mut numbers));
        let mut program: Option<(String, String)> = None;
        for word in place.split('`').skip(1).step_by(2) {
            if word.ends_with(".c") {
                program = Some((word.to_owned(), read(word)?));
            } else if let Some((file, program)) = &program
                && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
                && !program.contains(&format!("CASE({word})"))
            {
                return Err(format!("{file} has no case {word}"));
            }
        }
    }
    for (area, first, last) in AREAS {
        let found = numbers.get(area).cloned().unwrap_or_default();
        if let Some(missing) = (first..=last).find(|number| !found.contains(number)) {
            return Err(format!("nothing is said of {area} {missing}"));
        }
    }
    Ok(())
}

/// Adds what a cell names: `part 8, 10-12`.
fn add<'t>(text: &'t str, numbers: &mut BTreeMap<&'t str, BTreeSet<u32>>) {
    let Some((area, list)) = text.split_once(' ').filter(|(area, _)| AREAS.iter().any(|known| known.0 == *area)) else {
        return;
    };
    for piece in list.split(", ") {
        let (first, last) = piece.split_once('-').unwrap_or((piece, piece));
        if let (Ok(first), Ok(last)) = (first.parse(), last.parse::<u32>()) {
            numbers.entry(area).or_default().extend(first..=last);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_true() {
        check().unwrap();
    }

    #[test]
    fn numbers_are_read() {
        let mut numbers = BTreeMap::new();
        add("part 8, 10-12", &mut numbers);
        add("a case that says nothing", &mut numbers);
        assert_eq!(numbers, [("part", [8, 10, 11, 12].into())].into());
    }
}
