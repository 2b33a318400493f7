//! The house: circles of imports among the files of a library, or among its rooms.
//!
//! A file's imports are its `use` lines and the paths in it that begin with `crate` or `super`, but for tests and for
//! documentation. What a module only passes on (`pub use`) is followed to where it is.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Who imports whom, by module path (`set::books`).
type Graph = BTreeMap<String, BTreeSet<String>>;

/// Reads the library whose package is in `package`, and fails where files import each other in a circle, or rooms do;
/// or where fewer files, imports and rooms are seen than there are at least.
pub fn no_circle(package: &str, [files_min, imports_min, rooms_min]: [usize; 3]) {
    let graph = House::of(&Path::new(package).join("src")).graph();
    let (files, imports) = (graph.len(), graph.values().map(BTreeSet::len).sum::<usize>());
    let rooms = rooms(&graph);
    println!("{files} files, {} rooms, {imports} imports", rooms.len());
    let seen = files >= files_min && imports >= imports_min && rooms.len() >= rooms_min;
    assert!(seen, "{files} files, {imports} imports, {rooms:?}");
    assert_eq!(circle(&rooms), None, "rooms");
    assert_eq!(circle(&graph), None, "files");
}

/// The modules of a library.
pub(crate) struct House {
    /// The text of each module.
    pub(crate) modules: BTreeMap<String, String>,
    /// What a module passes on: name, path.
    passed_on: BTreeMap<String, BTreeMap<String, String>>,
}

impl House {
    /// Reads the house below the folder `source`.
    pub(crate) fn of(source: &Path) -> Self {
        let mut modules = BTreeMap::new();
        read(source, source, &mut modules);
        let mut house = Self { modules, passed_on: BTreeMap::new() };
        for (module, text) in &house.modules {
            let mut names = BTreeMap::new();
            for (public, path) in uses(text) {
                let (name, alias) = path.split_once(" as ").unwrap_or((&path, path.rsplit("::").next().unwrap()));
                if public {
                    names.insert(alias.to_owned(), name.to_owned());
                }
            }
            house.passed_on.insert(module.clone(), names);
        }
        house
    }

    /// Returns the module that has what `path` names in `module`; `None` for other crates.
    pub(crate) fn resolve(&self, module: &str, path: &str, depth: usize) -> Option<String> {
        assert!(depth < 16, "{path} is passed on in a circle");
        let mut segments = path.split("::").peekable();
        let mut at = module.to_owned();
        match *segments.peek()? {
            "crate" => at.clear(),
            "self" => {}
            "super" => {
                while segments.next_if_eq(&"super").is_some() {
                    at = at.rsplit_once("::").map(|(parent, _)| parent.to_owned()).unwrap_or_default();
                }
            }
            first if self.modules.contains_key(&join(module, first)) => {}
            _ => return None,
        }
        segments.next_if(|segment| matches!(*segment, "crate" | "self"));
        while let Some(inner) = segments.next_if(|segment| self.modules.contains_key(&join(&at, segment))) {
            at = join(&at, inner);
        }
        match segments.next().and_then(|name| self.passed_on[&at].get(name)) {
            Some(path) => self.resolve(&at, path, depth + 1).or(Some(at)),
            None => Some(at),
        }
    }

    /// Draws who imports whom.
    fn graph(&self) -> Graph {
        let mut graph = Graph::new();
        for (module, text) in &self.modules {
            let own = uses(text).into_iter().filter(|(public, _)| !public).map(|(_, path)| path);
            let inner = self.modules.keys().filter_map(|other| other.strip_prefix(&join(module, "")));
            let inner = inner.filter(|name| !name.contains(':') && starts(text, &format!("{name}::")));
            let named = own.chain(paths(text)).chain(inner.map(str::to_owned));
            let found = named.filter_map(|path| self.resolve(module, &path, 0));
            // The root only passes on.
            graph.insert(module.clone(), found.filter(|other| other != module && !other.is_empty()).collect());
        }
        graph
    }
}

pub(crate) fn join(module: &str, name: &str) -> String {
    if module.is_empty() { name.to_owned() } else { format!("{module}::{name}") }
}

/// Reads the modules of a folder, without tests, comments and texts.
fn read(root: &Path, folder: &Path, modules: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let name = entry.file_stem().unwrap().to_str().unwrap();
        if name == "tests" {
            continue;
        }
        if entry.is_dir() {
            read(root, &entry, modules);
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            let mut path: Vec<_> =
                entry.strip_prefix(root).unwrap().iter().map(|part| part.to_str().unwrap()).collect();
            path.pop();
            path.extend(Some(name).filter(|name| !matches!(*name, "mod" | "lib")));
            modules.insert(path.join("::"), code(&fs::read_to_string(&entry).unwrap()));
        }
    }
}

/// Returns the code of a file that is built into the library: no comments, no texts, nothing for tests.
pub(crate) fn code(text: &str) -> String {
    let mut lines = String::new();
    let mut test = false;
    for line in text.lines() {
        let line = line.split("//").next().unwrap();
        if test && line.trim_start().starts_with("mod ") && line.ends_with('{') {
            // Tests are the last of a file.
            break;
        }
        let gated = line.trim_start().starts_with("#[cfg(") && line.contains("test") && !line.contains("not(test)");
        if !test && !gated {
            let pieces: Vec<_> = line.split('"').step_by(2).collect();
            lines.push_str(&pieces.join(""));
            lines.push('\n');
        }
        test = gated && !line.contains("any(");
    }
    lines
}

/// Returns what is imported, and whether it is passed on.
pub(crate) fn uses(text: &str) -> Vec<(bool, String)> {
    let mut found = Vec::new();
    for statement in text.split(';') {
        let line = statement.lines().rfind(|line| {
            let line = line.trim_start();
            line.starts_with("use ") || line.starts_with("pub") && line.contains(" use ")
        });
        let Some(line) = line else { continue };
        let start = statement.find(line).unwrap();
        let whole = statement[start..].split_whitespace().collect::<Vec<_>>().join(" ");
        let Some((visibility, tree)) = whole.split_once("use ") else { continue };
        expand("", tree, &mut |path| found.push((visibility.starts_with("pub"), path)));
    }
    found
}

/// Calls `each` with every path of a tree of imports.
fn expand(prefix: &str, tree: &str, each: &mut dyn FnMut(String)) {
    let Some((head, rest)) = tree.split_once('{') else {
        let path = format!("{prefix}{}", tree.trim());
        return each(path.trim_end_matches("::self").to_owned());
    };
    let inner = rest.trim_end().strip_suffix('}').unwrap_or(rest);
    let (mut depth, mut start) = (0, 0);
    for (at, character) in inner.char_indices().chain([(inner.len(), ',')]) {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                if !inner[start..at].trim().is_empty() {
                    expand(&format!("{prefix}{}", head.trim()), &inner[start..at], each);
                }
                start = at + 1;
            }
            _ => {}
        }
    }
}

/// Returns whether a path in the code, outside of imports, begins with `start`.
fn starts(text: &str, start: &str) -> bool {
    let imports = |line: &str| line.starts_with("use ") || line.starts_with("pub") && line.contains(" use ");
    let lines = text.lines().filter(|line| !imports(line.trim_start()));
    lines
        .flat_map(|line| line.match_indices(start).map(move |(at, _)| line[..at].chars().next_back()))
        .any(|before| before.is_none_or(|before| !before.is_alphanumeric() && !matches!(before, '_' | '$' | ':')))
}

/// Returns the paths that begin with `crate` or `super`, outside of imports and of macros that others call.
fn paths(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("crate::").chain(text.match_indices("super::")) {
        let before = text[..at].chars().next_back();
        let restricts = text[..at].ends_with("(in ");
        if restricts || before.is_some_and(|before| before.is_alphanumeric() || matches!(before, '_' | '$' | ':')) {
            continue;
        }
        let end = text[at..].find(|c: char| !c.is_alphanumeric() && !matches!(c, '_' | ':'));
        let path = text[at..].split_at(end.unwrap_or(text.len() - at)).0;
        // A tree of imports is `uses`' to take apart.
        if !path.ends_with(':') {
            found.push(path.to_owned());
        }
    }
    found
}

/// Returns a circle, if there is one.
fn circle(graph: &Graph) -> Option<Vec<String>> {
    fn visit(graph: &Graph, at: &str, path: &mut Vec<String>, done: &mut BTreeSet<String>) -> Option<Vec<String>> {
        if let Some(start) = path.iter().position(|on| on == at) {
            return Some(path[start..].iter().cloned().chain([at.to_owned()]).collect());
        }
        if !done.insert(at.to_owned()) {
            return None;
        }
        path.push(at.to_owned());
        let found = graph.get(at).into_iter().flatten().find_map(|next| visit(graph, next, path, done));
        path.pop();
        found
    }
    let mut done = BTreeSet::new();
    graph.keys().find_map(|module| visit(graph, module, &mut Vec::new(), &mut done))
}

/// Returns who imports whom among the modules of the root.
fn rooms(graph: &Graph) -> Graph {
    let room = |module: &str| module.split("::").next().unwrap().to_owned();
    let mut rooms = Graph::new();
    for (module, others) in graph.iter().filter(|(module, _)| !module.is_empty()) {
        let own = rooms.entry(room(module)).or_default();
        own.extend(others.iter().map(|other| room(other)).filter(|other| *other != room(module)));
    }
    rooms
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_circle_is_found() {
        let house = |texts: &[(&str, &str)]| {
            let modules = texts.iter().map(|(module, text)| ((*module).to_owned(), code(text))).collect();
            let mut house = House { modules, passed_on: BTreeMap::new() };
            for (module, text) in &house.modules {
                let names = uses(text).into_iter().filter(|(public, _)| *public);
                let names = names.map(|(_, path)| (path.rsplit("::").next().unwrap().to_owned(), path)).collect();
                house.passed_on.insert(module.clone(), names);
            }
            circle(&house.graph())
        };
        let facade = ("", "pub use a::{A, Other};\npub use b::B;\n");
        assert_eq!(house(&[facade, ("a", "use crate::B;\n"), ("b", "struct B;\n")]), None);
        assert_eq!(
            house(&[facade, ("a", "use crate::B;\n"), ("b", "//! See `crate::A`.\n#[cfg(test)]\nuse crate::A;\n")]),
            None
        );
        let both = [facade, ("a", "use crate::{B, c};\n"), ("b", "fn b() -> super::A {}\n")];
        assert_eq!(house(&both), Some(["a", "b", "a"].map(String::from).to_vec()));
        let deep = [facade, ("a", "use self::inner::{One, Two};\n"), ("a::inner", "use super::A;\n")];
        assert_eq!(house(&deep), Some(["a", "a::inner", "a"].map(String::from).to_vec()));
    }
}
