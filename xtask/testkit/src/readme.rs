//! What a README says that a program prints, compared with what it prints.

/// Makes sure that `printed` is what the block of `readme` shows that comes after the line `$ command`.
///
/// `…` stands for what differs from run to run: anything but the end of the line, and not nothing; alone on a line for
/// one line, or several.
///
/// # Errors
///
/// There is no such block, or it is not what is printed.
pub fn check(readme: &str, command: &str, printed: &str) -> Result<(), String> {
    let (_, block) = readme.split_once(&format!("```text\n$ {command}\n")).ok_or(format!("no block of `{command}`"))?;
    let (shown, _) = block.split_once("```").ok_or("the block does not end")?;
    let (lines, output): (Vec<&str>, Vec<&str>) = (shown.lines().collect(), printed.lines().collect());
    let same = !lines.is_empty() && all_fit(&lines, &output);
    same.then_some(()).ok_or_else(|| format!("`{command}` shows\n{shown}and prints\n{printed}"))
}

fn all_fit(shown: &[&str], printed: &[&str]) -> bool {
    match (shown, printed) {
        ([], []) => true,
        (["…", rest @ ..], [_, behind @ ..]) => all_fit(rest, behind) || all_fit(shown, behind),
        ([line, rest @ ..], [first, behind @ ..]) => fits(line, first) && all_fit(rest, behind),
        _ => false,
    }
}

/// Returns whether `line` is `shown`, with something at each `…`.
fn fits(shown: &str, line: &str) -> bool {
    let Some((front, rest)) = shown.split_once('…') else { return shown == line };
    let Some(behind) = line.strip_prefix(front) else { return false };
    let places = behind.char_indices().map(|(place, first)| place + first.len_utf8());
    places.into_iter().any(|place| fits(rest, &behind[place..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const README: &str = "# One\n\n```text\n$ one\n1 of …\n… is …, 2\n```\n\n```text\n$ two\n…\nend\n```\n";

    #[test]
    fn what_differs_is_told() {
        assert_eq!(check(README, "one", "1 of 7\nan ä is b, 2\n"), Ok(()));
        assert_eq!(check(README, "two", "1\n2\nend\n"), Ok(()));
        for (command, printed) in [
            ("one", "1 of \nx is y, 2\n"),
            ("one", "1 of 7\nx is y, 3\n"),
            ("one", "1 of 7\n"),
            ("one", "1 of 7\nx is y, 2\nmore\n"),
            ("one", "2 of 7\nx is y, 2\n"),
            ("three", "1 of 7\nx is y, 2\n"),
            ("two", "end\n"),
            ("two", "1\nend\n2\n"),
        ] {
            assert!(check(README, command, printed).is_err(), "{command}: {printed}");
        }
    }
}
