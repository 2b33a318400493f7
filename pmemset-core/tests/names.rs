//! Names that must not be forgotten. Whoever looks for one of libpmemset 1.0 finds what does it here: every function,
//! type and constant of its header but the numbers of errors is an alias in the documentation. And what is made of
//! other sources and platforms forwards every method that there is.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// What has no counterpart: the header's own, and the size of a union.
const WITHOUT: [&str; 2] = ["PMEMSET_HAS_LIBPMEM2_H_", "PMEMSET_EVENT_CONTEXT_SIZE"];

/// Permissions have no names of their own here: a mode is a number.
fn is_permission(name: &str) -> bool {
    name.starts_with("PMEMSET_SOURCE_FILE_") && name.ends_with("_MODE") && !name.contains("CREATE")
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package is in a workspace")
}

/// Returns the words of `text` that are names of the C library's.
fn names(text: &str) -> BTreeSet<&str> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    let ours =
        |word: &&str| ["pmemset_", "PMEMSET_", "pmem2_vm", "PMEM2_GRAN"].iter().any(|start| word.starts_with(start));
    words.filter(|word| ours(word) || *word == "pmemset").collect()
}

/// Collects the aliases below `folder`.
fn aliases(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            aliases(&path, found);
            continue;
        }
        let text = fs::read_to_string(&path).expect("a source file");
        for alias in text.split("#[doc(alias").skip(1).filter_map(|rest| rest.split(")]").next()) {
            found.extend(alias.split('"').skip(1).step_by(2).map(str::to_owned));
        }
    }
}

#[test]
fn every_name_of_libpmemset_is_an_alias() {
    let header = fs::read_to_string(root().join("examples/libpmemset/include/libpmemset.h")).expect("the C header");
    let mut found = BTreeSet::new();
    for folder in ["pmemset-core/src", "shim-linux/src"] {
        aliases(&root().join(folder), &mut found);
    }
    let names = names(&header);
    assert!(names.len() > 120 && found.len() > 100, "{} names, {} aliases", names.len(), found.len());
    // Numbers of errors are constants of the same name, those that can happen here: found without an alias.
    let missing: Vec<_> = names
        .into_iter()
        .filter(|name| {
            !found.contains(*name) && !is_permission(name) && !name.starts_with("PMEMSET_E_") && !WITHOUT.contains(name)
        })
        .collect();
    assert!(missing.is_empty(), "no item has the alias {missing:?}");
}

/// Returns the methods of the trait in `file`, in its order.
fn methods(file: &str, of: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join("pmemset-core/src").join(file)).expect("a source file");
    let (_, rest) = text.split_once(&format!("pub unsafe trait {of}: ")).expect("the trait");
    let (body, _) = rest.split_once("\n}\n").expect("the end of the trait");
    let signatures =
        body.lines().filter_map(|line| line.strip_prefix("    ")?.trim_start_matches("unsafe ").strip_prefix("fn "));
    signatures.filter_map(|rest| rest.split('(').next()).map(str::to_owned).collect()
}

/// Returns the methods that the macro `name` in `file` forwards.
fn forwarded(file: &str, name: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join("pmemset-core/src").join(file)).expect("a source file");
    let (_, rest) = text.split_once(&format!("macro_rules! {name} {{")).expect("the macro");
    let (_, rest) = rest.split_once("{ $($arms)+ } [").expect("the list");
    let (list, _) = rest.split_once(']').expect("the end of the list");
    list.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn every_method_is_forwarded() {
    for (of, file, name, macros) in [
        ("Source", "source/mod.rs", "forward_source", "source/handles.rs"),
        ("Platform", "platform/mod.rs", "forward_platform", "platform/handles.rs"),
    ] {
        let methods = methods(file, of);
        assert!(methods.len() > 15, "{of}: {methods:?}");
        assert_eq!(forwarded(macros, name), methods);
    }
}
