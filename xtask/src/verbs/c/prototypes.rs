//! Compares the prototypes of the headers with the functions of the Rust code, parameter by parameter.
//!
//! As an ABI has them: which pointer it is does not matter, nor whether it is `const`, nor which enumeration an `int`
//! is.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::source;

/// What a parameter or a result is to the linker's two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Nothing,
    Pointer,
    Int,
    Long,
    Size,
    Bool,
    Descriptor,
}

/// The result, and the parameters.
type Prototype = (Kind, Vec<Kind>);
type Prototypes = BTreeMap<String, Prototype>;

/// Written in C, and compiled against the header; or a program's own.
const IN_C: [&str; 3] = ["pmemset_errormsg", "pmemset_perror", "pmemset_port_panic"];

pub(super) fn check() -> Result<(), String> {
    let mut declared = Prototypes::new();
    for header in ["libpmemset.h", "pmemset_port.h"] {
        let text = read(&source().join("include").join(header))?;
        declared.extend(in_c(&text)?);
    }
    let mut defined = Prototypes::new();
    for folder in ["src", "src/hosted", "src/port"] {
        let folder = source().join(folder);
        for entry in fs::read_dir(&folder).map_err(|error| error.to_string())?.flatten() {
            if entry.path().extension().is_some_and(|end| end == "rs") {
                defined.extend(in_rust(&read(&entry.path())?)?);
            }
        }
    }
    if declared.len() < 45 {
        return Err(format!("only {} prototypes were found", declared.len()));
    }
    differences(&declared, &defined).map_or(Ok(()), Err)
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn differences(declared: &Prototypes, defined: &Prototypes) -> Option<String> {
    let mut wrong = Vec::new();
    for (name, prototype) in declared {
        match defined.get(name) {
            _ if IN_C.contains(&name.as_str()) => {}
            None => wrong.push(format!("{name} is declared and not defined")),
            Some(found) if found != prototype => {
                wrong.push(format!("{name} is declared as {prototype:?} and defined as {found:?}"));
            }
            Some(_) => {}
        }
    }
    let more = defined.keys().filter(|name| !declared.contains_key(*name));
    wrong.extend(more.map(|name| format!("{name} is defined and not declared")));
    (!wrong.is_empty()).then(|| wrong.join("\n"))
}

/// Returns the prototypes of a header.
fn in_c(text: &str) -> Result<Prototypes, String> {
    let mut found = Prototypes::new();
    for statement in plain(text).split(';') {
        // What is before the last brace or attribute of it is another matter.
        let statement = statement.rsplit(['{', '}']).next().unwrap_or_default().trim();
        let Some((before, rest)) = statement.split_once('(') else { continue };
        let (Some(parameters), false) = (rest.strip_suffix(')'), before.starts_with("typedef")) else { continue };
        let Some(at) = before.rfind(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_')) else {
            continue;
        };
        let (result, name) = before.split_at(at + 1);
        if !name.starts_with("pmemset_") {
            continue;
        }
        let parameters = parameters.split(',').map(str::trim).filter(|one| *one != "void" && *one != "...");
        let parameters = parameters.map(c_kind).collect::<Result<_, _>>().map_err(|what| format!("{name}: {what}"))?;
        found.insert(name.to_owned(), (c_kind(result).map_err(|what| format!("{name}: {what}"))?, parameters));
    }
    Ok(found)
}

/// Returns a header's text in one line, without comments, directives, and the words of gcc.
fn plain(text: &str) -> String {
    let mut rest = text;
    let mut bare = String::new();
    while let Some((before, after)) = rest.split_once("/*") {
        bare.push_str(before);
        rest = after.split_once("*/").map_or("", |(_, after)| after);
    }
    bare.push_str(rest);
    let bare = bare.replace("\\\n", " ").replace("__attribute__((format(printf, 1, 2)))", "");
    let lines = bare.lines().filter(|line| !line.starts_with('#'));
    lines.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ").replace("extern \"C\"", "")
}

fn c_kind(text: &str) -> Result<Kind, String> {
    let words: Vec<&str> = text.split_whitespace().filter(|word| *word != "const").collect();
    Ok(match (text.contains('*') || text.starts_with("pmemset_port_report"), words.first().copied()) {
        (true, _) => Kind::Pointer,
        (_, Some("void")) => Kind::Nothing,
        (_, Some("int" | "unsigned" | "enum")) => Kind::Int,
        (_, Some("uint64_t")) => Kind::Long,
        (_, Some("size_t" | "uintptr_t")) => Kind::Size,
        (_, Some("bool")) => Kind::Bool,
        (_, Some("struct")) if words.get(1) == Some(&"pmemset_part_descriptor") => Kind::Descriptor,
        _ => return Err(format!("`{text}` is not known")),
    })
}

/// Returns the functions for C in a file of Rust.
fn in_rust(text: &str) -> Result<Prototypes, String> {
    const MARK: &str = "#[unsafe(no_mangle)]";
    let mut found = Prototypes::new();
    for item in text.split(MARK).skip(1) {
        let (_, item) = item.split_once("extern \"C\" fn ").ok_or("no function is marked")?;
        let (name, rest) = item.split_once('(').ok_or("no parameters")?;
        let (parameters, rest) = rest.split_once(')').ok_or("no end of the parameters")?;
        let (result, _) = rest.split_once('{').ok_or("no body")?;
        let parameters = parameters.split(',').map(str::trim).filter(|one| !one.is_empty());
        let types = parameters.map(|one| one.split_once(':').map_or(one, |(_, kind)| kind.trim()));
        let types = types.map(rust_kind).collect::<Result<_, _>>().map_err(|what| format!("{name}: {what}"))?;
        let result = result.trim().trim_start_matches("->").trim();
        found.insert(name.to_owned(), (rust_kind(result).map_err(|what| format!("{name}: {what}"))?, types));
    }
    Ok(found)
}

fn rust_kind(text: &str) -> Result<Kind, String> {
    Ok(match text {
        "" => Kind::Nothing,
        "c_int" | "c_uint" => Kind::Int,
        "u64" => Kind::Long,
        "usize" => Kind::Size,
        "bool" => Kind::Bool,
        "Descriptor" => Kind::Descriptor,
        "Option<Callback>" | "Option<Report>" => Kind::Pointer,
        _ if text.starts_with("*mut ") || text.starts_with("*const ") => Kind::Pointer,
        _ => return Err(format!("`{text}` is not known")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "/* int pmemset_no(void); */\n#define X(a) pmemset_x(a)\ntypedef int pmemset_f(int a);\n\
        struct s { int a; };\nint pmemset_a(struct pmemset **set,\n\t\tenum e g);\n\
        struct pmemset_part_descriptor pmemset_b(const char *format, ...);\nvoid pmemset_c(void);\n";
    const CODE: &str = "#[unsafe(no_mangle)]\npub unsafe extern \"C\" fn pmemset_a(\n    set: *mut *mut Set,\n    g: c_int,\n) \
        -> c_int {\n}\n#[unsafe(no_mangle)]\npub extern \"C\" fn pmemset_b(format: *const c_char) -> Descriptor {\n}\n\
        #[unsafe(no_mangle)]\npub extern \"C\" fn pmemset_c() {\n}\n";

    #[test]
    fn equal_prototypes_are_equal() {
        let (declared, defined) = (in_c(HEADER).unwrap(), in_rust(CODE).unwrap());
        assert_eq!(declared.len(), 3);
        assert_eq!(differences(&declared, &defined), None);
    }

    #[test]
    fn differences_are_told() {
        let declared = in_c(HEADER).unwrap();
        for (from, to, wanted) in [
            ("g: c_int", "g: usize", "pmemset_a is declared as"),
            ("    g: c_int,\n", "", "pmemset_a is declared as"),
            ("-> Descriptor", "", "pmemset_b is declared as"),
            (
                "fn pmemset_c",
                "fn pmemset_d",
                "pmemset_c is declared and not defined\npmemset_d is defined and not declared",
            ),
        ] {
            let found = differences(&declared, &in_rust(&CODE.replace(from, to)).unwrap()).unwrap();
            assert!(found.starts_with(wanted), "{found}");
        }
        assert!(in_rust(&CODE.replace("c_int", "Unknown")).is_err() && in_c("float pmemset_a(int a);").is_err());
    }
}
