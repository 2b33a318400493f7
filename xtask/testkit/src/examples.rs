//! Examples: how many of a library's public items have one that runs.
//!
//! Items are functions, methods, those of traits too, types, traits and macros, as far as they can be reached from
//! outside and are shown in the documentation. What a macro makes is seen where it is written out. An example runs
//! unless its code block says otherwise: `no_run` and `compile_fail` are no examples here.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::house::{House, code, join, uses};

/// Reads the library whose package is in `package`, and fails where fewer than `percent_min` percent of its public
/// items have an example, or fewer than `items_min` are seen.
pub fn are_enough(package: &str, percent_min: usize, items_min: usize) {
    let source = Path::new(package).join("src");
    let house = House::of(&source);
    let texts: Vec<_> = house.modules.keys().map(|module| (module.as_str(), text(&source, module))).collect();
    let shown = public(&house, &texts);
    let without: Vec<_> = shown.iter().filter(|item| !item.has_example).map(Item::path).collect();
    let with = shown.len() - without.len();
    println!("{with} of {} public items have an example", shown.len());
    assert!(shown.len() >= items_min, "only {} items are seen", shown.len());
    assert!(
        with * 100 >= shown.len() * percent_min,
        "{with} of {} have an example, fewer than {percent_min} %: these have none: {without:#?}",
        shown.len()
    );
}

/// Something in a module that others may see, if they see its owner or its module.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Item {
    module: String,
    /// The type or trait that a method is of.
    owner: Option<String>,
    name: String,
    /// A macro that is exported can be seen wherever it is.
    is_macro: bool,
    has_example: bool,
}

impl Item {
    fn path(&self) -> String {
        let owner = self.owner.iter().map(String::as_str);
        [self.module.as_str()].into_iter().chain(owner).chain([self.name.as_str()]).collect::<Vec<_>>().join("::")
    }
}

/// Reads a module as it is, comments and all.
fn text(source: &Path, module: &str) -> String {
    let path: PathBuf = module.split("::").filter(|name| !name.is_empty()).collect();
    let file = source.join(&path).with_extension("rs");
    let folder = source.join(&path);
    let candidates = [file, folder.join("mod.rs"), folder.join("lib.rs")];
    let found = candidates.iter().find(|path| path.is_file()).unwrap_or_else(|| panic!("no file of {module}"));
    shown(&fs::read_to_string(found).unwrap())
}

/// Returns the lines of a file without its tests and its hidden modules.
fn shown(text: &str) -> String {
    let (mut lines, mut hidden, mut inside) = (String::new(), false, false);
    for line in text.lines() {
        if line.starts_with("mod tests {") {
            break;
        }
        if inside {
            inside = line != "}";
        } else if hidden && line.starts_with("pub mod ") {
            (hidden, inside) = (false, line.ends_with('{'));
        } else {
            hidden = line == "#[doc(hidden)]" || hidden && line.starts_with("#[");
            lines.push_str(line);
            lines.push('\n');
        }
    }
    lines
}

/// Returns the items that can be reached from outside.
fn public(house: &House, texts: &[(&str, String)]) -> Vec<Item> {
    let mut modules = BTreeSet::from([String::new()]);
    let mut passed_on = BTreeSet::new();
    // Parents come before their children, in the order of their names.
    for (module, text) in texts {
        if !modules.contains(*module) {
            continue;
        }
        let inner = text.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
        modules.extend(inner.map(|name| join(module, name)));
        for (_, path) in uses(&code(text)).into_iter().filter(|(public, _)| *public) {
            let path = path.split(" as ").next().unwrap();
            let name = path.rsplit("::").next().unwrap().to_owned();
            passed_on.extend(house.resolve(module, path, 0).map(|from| (from, name)));
        }
    }
    let items: Vec<_> = texts.iter().flat_map(|(module, text)| items(module, text)).collect();
    let is_reached = |item: &Item| {
        let named = |name: &str| passed_on.contains(&(item.module.clone(), name.to_owned()));
        item.is_macro || item.owner.is_none() && (modules.contains(&item.module) || named(&item.name) || named("*"))
    };
    let types: BTreeSet<_> = items.iter().filter(|item| is_reached(item)).map(|item| item.name.clone()).collect();
    let is_public = |item: &Item| item.owner.as_ref().map_or_else(|| is_reached(item), |owner| types.contains(owner));
    items.into_iter().filter(is_public).collect()
}

/// Returns what a module declares as public.
fn items(module: &str, text: &str) -> Vec<Item> {
    let (mut found, mut docs, mut attributes) = (Vec::new(), Vec::new(), String::new());
    let (mut of_impl, mut of_trait) = (None, None);
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let short = line.trim_start();
        if let Some(doc) = short.strip_prefix("///") {
            docs.push(doc.trim());
            continue;
        }
        if short.starts_with("#[") {
            attributes.push_str(short);
            continue;
        }
        if short.starts_with("//") {
            continue;
        }
        if line.starts_with("impl") || line.starts_with("unsafe impl") {
            let rest = lines.clone().take_while(|_| !line.contains('{'));
            let header = [line].into_iter().chain(rest).take(8).collect::<Vec<_>>().join(" ");
            of_impl = type_of(header.split('{').next().unwrap());
        }
        let declared = declaration(short);
        let owner = match (&of_impl, &of_trait) {
            (Some(name), _) if line.starts_with("    pub ") => Some(name),
            (None, Some(name)) if line.starts_with("    ") => Some(name),
            _ => None,
        };
        let counts = match declared {
            Some((kind, _, true)) => kind != "macro_rules!",
            Some((kind, _, false)) => {
                kind == "fn" && of_trait.is_some() && line.len() - short.len() == 4
                    || kind == "macro_rules!" && attributes.contains("macro_export")
            }
            None => false,
        };
        if let Some((kind, name, _)) = declared.filter(|_| counts && !attributes.contains("doc(hidden)")) {
            let (owner, name) = (owner.cloned(), name.to_owned());
            let is_macro = kind == "macro_rules!";
            found.push(Item { module: module.to_owned(), owner, name, is_macro, has_example: has_example(&docs) });
        }
        if let Some(("trait", name, true)) = declared.filter(|_| line == short) {
            of_trait = Some(name.to_owned());
        }
        if line == "}" || line == short && line.ends_with("{}") {
            (of_impl, of_trait) = (None, None);
        }
        docs.clear();
        attributes.clear();
    }
    found
}

/// Returns what a line declares: its keyword, its name, and whether it is public.
fn declaration(line: &str) -> Option<(&str, &str, bool)> {
    let is_public = line.starts_with("pub ");
    let mut words = line.split_whitespace().skip_while(|word| matches!(*word, "pub" | "const" | "unsafe" | "async"));
    let kind = words
        .next()
        .filter(|word| matches!(*word, "fn" | "struct" | "enum" | "union" | "trait" | "type" | "macro_rules!"))?;
    let name = words.next()?;
    let end = name.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(name.len());
    Some((kind, &name[..end], is_public)).filter(|(_, name, _)| !name.is_empty())
}

/// Returns the type that an `impl` gives methods of its own; `None` where it implements a trait.
fn type_of(header: &str) -> Option<String> {
    let rest = header.strip_prefix("unsafe ").unwrap_or(header).strip_prefix("impl")?;
    let mut depth = 0;
    let mut before = ' ';
    let end = rest.char_indices().find(|(_, character)| {
        depth += match character {
            '<' => 1,
            '>' if before != '-' => -1,
            _ => 0,
        };
        before = *character;
        depth == 0
    });
    let (at, _) = end?;
    let rest = rest[at..].trim_start_matches('>').trim();
    let name = rest.split(['<', ' ']).next()?;
    (!rest.contains(" for ")).then(|| name.rsplit("::").next().unwrap_or(name).to_owned())
}

/// Returns whether a docstring has a code block that runs.
fn has_example(docs: &[&str]) -> bool {
    let fences = docs.iter().filter_map(|line| line.strip_prefix("```"));
    fences.step_by(2).any(|kind| matches!(kind, "" | "rust"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
/// A type.
///
/// ```
/// assert!(true);
/// ```
#[derive(Debug)]
pub struct Type<T>(T);

impl<T: Fn() -> u8> Type<T> {
    /// Runs.
    ///
    /// ```no_run
    /// loop {}
    /// ```
    #[must_use]
    pub const fn new() -> Self {}

    /// Nobody's.
    fn own() {}
}

impl<T> Drop for Type<T> {
    fn drop(&mut self) {}
}

/// A trait.
pub trait Trait {
    /// One.
    ///
    /// ```text
    /// no code
    /// ```
    ///
    /// ```
    /// let code = 1;
    /// ```
    fn method(&self) {
        fn inner() {}
    }
}

#[doc(hidden)]
pub mod hidden {
    pub fn function() {}
}

#[doc(hidden)]
pub fn also() {}

/// Exported.
#[macro_export]
macro_rules! exported {
    () => {};
}

macro_rules! own {
    () => {};
}

#[cfg(test)]
mod tests {
    pub fn test() {}
}
";

    #[test]
    fn items_are_found_with_their_examples() {
        let found = items("a", &shown(TEXT));
        let found: Vec<_> = found.iter().map(|item| (item.path(), item.has_example)).collect();
        let expected = [
            ("a::Type", true),
            ("a::Type::new", false),
            ("a::Trait", false),
            ("a::Trait::method", true),
            ("a::exported", false),
        ];
        assert_eq!(found, expected.map(|(path, has_example)| (path.to_owned(), has_example)));
    }

    #[test]
    fn the_owner_of_a_method_is_its_type() {
        for (header, expected) in [
            ("impl Type ", Some("Type")),
            ("impl<'m, P: Platform<Space = A>, F: Fn() -> u8> super::Type<'m, P> ", Some("Type")),
            ("unsafe impl<T> Send for Type<T> ", None),
        ] {
            assert_eq!(type_of(header).as_deref(), expected, "{header}");
        }
    }
}
