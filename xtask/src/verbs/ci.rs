//! `cargo xtask ci`: everything that has to pass before a change lands, the tests among it.

use std::path::PathBuf;
use std::process::Command;

use crate::support::counting::FEATURES;
use crate::support::processes::{self, find_program, root, run as run_command};
use crate::support::stage::{self, Stage};
use crate::support::tally::{Outcome, Tally};
use crate::support::toolchains::{Compiler, OLDEST};
use crate::verbs::fresh;
use crate::verbs::test;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Stages by name; all of them if none is given.
    stages: Vec<String>,
}

/// `max_width` of rustfmt.toml.
const COLUMNS: usize = 120;

/// The stage of the new machine.
const NEW: &str = "new machine";

/// The crates that others depend on.
const PUBLISHED: [&str; 3] = ["pmemset-core", "pmemset-linux", "pmemset-devdax"];

/// All tests; those that a new machine may leave out, for want of a file system, a program or a permission; the others.
const WHOLE: &[&str] = &["--workspace"];
const OF_MACHINES: &[&str] = &["--package", "pmemset-linux"];
const OTHERS: &[&str] = &["--workspace", "--exclude", "pmemset-linux"];

/// A workspace of its own: its folder, the arguments of each build that this machine can do, and the target of the
/// rest.
struct Apart {
    folder: &'static str,
    here: &'static [&'static [&'static str]],
    elsewhere: Option<&'static str>,
}

/// For C programs on Linux, and for kernels.
const LIBRARY: &[&[&str]] = &[&["--all-targets"], &["--no-default-features", "--features", "port"]];

const APART: [Apart; 8] = [
    Apart { folder: "examples/libpmemset", here: LIBRARY, elsewhere: None },
    Apart { folder: "examples/unikernel", here: &[&["--examples"]], elsewhere: Some("x86_64-unknown-none") },
    Apart { folder: "examples/uefi", here: &[], elsewhere: Some("x86_64-unknown-uefi") },
    Apart { folder: "examples/appliance", here: &[&[]], elsewhere: None },
    Apart { folder: "examples/cortex-m", here: &[], elsewhere: Some("thumbv7m-none-eabi") },
    Apart { folder: "examples/raft", here: &[&["--all-targets"]], elsewhere: None },
    Apart { folder: "xtask/foreign", here: &[], elsewhere: Some("aarch64-unknown-none") },
    Apart { folder: "xtask/fuzz", here: &[&[]], elsewhere: None },
];

pub(crate) fn run(args: &Args) -> Outcome {
    // What takes long begins first; the order of results is that of their ends.
    let new = (args.stages.is_empty() || args.stages.iter().any(|name| name == NEW)) && fresh::is_committed();
    let mut stages = vec![Stage::new(NEW, move || new_machine(new))];
    stages.push(Stage::new("workspace", move || test::workspace(if new { OF_MACHINES } else { WHOLE }, None)));
    stages.push(Stage::new("lints", lints));
    let mut others = test::thorough(true);
    let lab = others.pop();
    stages.append(&mut others);
    stages.extend([
        Stage::new("documentation", documentation),
        Stage::new("features", features),
        Stage::new("packages", package),
        Stage::new("oldest compiler", oldest),
        Stage::new("dependencies", dependencies),
        Stage::new("format", format),
    ]);
    stages.extend(lab);
    if let Some(unknown) = args.stages.iter().find(|name| !stages.iter().any(|stage| stage.name() == **name)) {
        let names: Vec<&str> = stages.iter().map(Stage::name).collect();
        return Err(format!("there is no stage {unknown}: {}", names.join(", ")).into());
    }
    stages.retain(|stage| args.stages.is_empty() || args.stages.iter().any(|name| name == stage.name()));
    Ok(stage::run(stages))
}

/// Runs the demo and every test on a new machine. If they run nowhere else (`only`), they count, and if there can be no
/// such machine, they run here.
fn new_machine(only: bool) -> Tally {
    let mut tally = Tally::default();
    match fresh::quick(&mut tally) {
        // What is left out there is not left out: the stage of the workspace runs it here.
        Some(tests) if only => tally.passed += tests.passed,
        None if only => tally.add(&test::workspace(OTHERS, None)),
        _ => {}
    }
    tally
}

fn format() -> Tally {
    let mut tally = Tally::default();
    let folders = APART.iter().map(|apart| apart.folder);
    for folder in ["."].into_iter().chain(folders) {
        let mut cargo = processes::cargo();
        cargo.current_dir(root().join(folder)).args(["fmt", "--check"]).args((folder == ".").then_some("--all"));
        tally.run(&format!("format of {folder}"), || {
            run_command(&mut cargo).map(drop).map_err(|_| format!("`cargo fmt` in {folder} changes something"))
        });
    }
    tally.run("comments are no wider than code", comments);
    tally
}

/// rustfmt leaves comments as they are.
fn comments() -> Result<(), String> {
    let list = run_command(Command::new("git").current_dir(root()).args(["ls-files", "*.rs"]))?;
    let mut wide = Vec::new();
    for file in list.lines() {
        let text = std::fs::read_to_string(root().join(file)).map_err(|error| format!("{file}: {error}"))?;
        wide.extend(wide_comments(&text).map(|number| format!("{file}:{number}")));
    }
    if wide.is_empty() { Ok(()) } else { Err(format!("wider than {COLUMNS} columns: {}", wide.join(", "))) }
}

/// Returns the numbers of the lines that are comments, wider than code, and could be broken at a space.
fn wide_comments(text: &str) -> impl Iterator<Item = usize> {
    let wide = |line: &str| {
        line.strip_prefix("//").is_some_and(|comment| comment.trim_start_matches(['/', '!']).trim().contains(' '))
    };
    text.lines()
        .enumerate()
        .filter(move |(_, line)| line.chars().count() > COLUMNS && wide(line.trim_start()))
        .map(|(index, _)| index + 1)
}

fn lints() -> Tally {
    const DENY: [&str; 3] = ["--", "-D", "warnings"];
    let mut tally = Tally::default();
    let mut cargo = processes::cargo();
    // What cannot be linked here can be looked at.
    let features = format!("{FEATURES},pmemset-core/defmt");
    cargo.args(["clippy", "--locked", "--workspace", "--all-targets", "--features", &features]).args(DENY);
    tally.run("lints of the workspace", || run_command(&mut cargo).map(drop));
    for apart in &APART {
        let folder = root().join(apart.folder);
        for arguments in apart.here {
            let mut cargo = processes::cargo();
            // One folder for all of them: what two of them depend on is looked at once.
            cargo.current_dir(&folder).args(["clippy", "--locked", "--target-dir"]).arg(target_dir("lints"));
            // Nothing is linked: libFuzzer need not be built.
            cargo.args(*arguments).args(DENY).env("CUSTOM_LIBFUZZER_PATH", "/none/libfuzzer.a");
            let name = ["lints of", apart.folder].iter().chain(*arguments).copied().collect::<Vec<_>>().join(" ");
            tally.run(&name, || run_command(&mut cargo).map(drop));
        }
        if let Some(target) = apart.elsewhere {
            let name = format!("lints of {} for {target}", apart.folder);
            match Compiler::find(target).and_then(Compiler::with_lints) {
                Err(reason) => tally.skip(&name, &reason),
                Ok(compiler) => {
                    let mut cargo = compiler.cargo(&folder, "clippy", "core");
                    cargo.args(["--locked", "--bins"]).args(DENY);
                    tally.run(&name, || run_command(&mut cargo).map(drop));
                }
            }
        }
    }
    tally
}

/// Documentation with the features that are tested, and of each published crate as it comes.
fn documentation() -> Tally {
    let mut tally = Tally::default();
    let mut check = |name: &str, arguments: &[&str]| {
        let mut cargo = processes::cargo();
        cargo.args(["doc", "--locked", "--no-deps"]).args(arguments).env("RUSTDOCFLAGS", "-D warnings");
        tally.run(&format!("documentation of {name}"), || run_command(&mut cargo).map(drop));
    };
    check("the workspace", &["--workspace", "--features", FEATURES]);
    for package in PUBLISHED {
        check(&format!("{package} as it comes"), &["--package", package]);
    }
    tally
}

/// Each published crate without features, and with each of its features alone.
fn features() -> Tally {
    let mut tally = Tally::default();
    for package in PUBLISHED {
        let manifest = std::fs::read_to_string(root().join(package).join("Cargo.toml")).unwrap_or_default();
        for feature in [""].into_iter().chain(feature_names(&manifest)) {
            let mut cargo = processes::cargo();
            cargo.args(["check", "--locked", "--package", package, "--no-default-features", "--features", feature]);
            cargo.env("RUSTFLAGS", "-D warnings").arg("--target-dir").arg(target_dir("features"));
            let with = if feature.is_empty() { "no feature" } else { feature };
            tally.run(&format!("{package} with {with}"), || run_command(&mut cargo).map(drop));
        }
    }
    tally
}

/// Returns the names in the section `[features]` of a manifest, without `default`.
fn feature_names(manifest: &str) -> impl Iterator<Item = &str> {
    let section = manifest.split_once("\n[features]\n").map_or("", |(_, rest)| rest);
    let section = section.split("\n[").next().unwrap_or_default();
    section
        .lines()
        .filter_map(|line| line.split_once(" = "))
        .map(|(name, _)| name)
        .filter(|name| *name != "default" && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_'))
}

/// What would be published, built from the packages themselves.
fn package() -> Tally {
    let mut tally = Tally::default();
    // What a registry has under a version never changes for cargo: each run brings one of its own.
    let folder = target_dir(&format!("package-{}", std::process::id()));
    let mut cargo = processes::cargo();
    cargo.args(["package", "--locked", "--allow-dirty", "--target-dir"]).arg(&folder);
    cargo.args(PUBLISHED.iter().flat_map(|package| ["--package", package]));
    tally.run("packages build by themselves", || run_command(&mut cargo).map(drop));
    let _ = std::fs::remove_dir_all(folder);
    tally
}

/// Everything compiles with the oldest compiler that Cargo.toml names.
fn oldest() -> Tally {
    let mut tally = Tally::default();
    let name = format!("everything compiles with Rust {OLDEST}");
    let mut rustup = Command::new("rustup");
    rustup.env("RUSTUP_AUTO_INSTALL", "0").env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO").env_remove("RUSTC");
    let there = rustup.args(["run", OLDEST, "cargo"]).arg("--version").output();
    if !there.is_ok_and(|output| output.status.success()) {
        tally.skip(&name, &format!("it is not here (rustup toolchain install --profile minimal {OLDEST})"));
        return tally;
    }
    let mut cargo = Command::new("rustup");
    cargo.env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO").env_remove("RUSTC").current_dir(root());
    cargo.args(["run", OLDEST, "cargo", "check", "--locked", "--workspace", "--all-targets", "--features", FEATURES]);
    tally.run(&name, || run_command(cargo.arg("--target-dir").arg(target_dir("oldest"))).map(drop));
    tally
}

/// Licences of what is depended on, and advisories, where cargo-deny is there.
fn dependencies() -> Tally {
    let mut tally = Tally::default();
    let names = [("licences of the dependencies", "licenses"), ("advisories about the dependencies", "advisories")];
    for (name, check) in names {
        if find_program("cargo-deny").is_none() {
            tally.skip(name, "no cargo-deny (cargo install cargo-deny)");
            continue;
        }
        let mut cargo = processes::cargo();
        match run_command(cargo.args(["deny", "check", check])) {
            // The list of advisories comes over the network.
            Err(reason) if reason.contains("failed to fetch advisory database") => {
                tally.skip(name, "no list of them here")
            }
            result => tally.check(name, result.map(drop)),
        }
    }
    tally
}

fn target_dir(name: &str) -> PathBuf {
    root().join("target/ci").join(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_are_read() {
        let manifest = "[package]\nname = \"x\"\n\n[features]\ndefault = []\n## Says it.\nstd = [\"rustix/std\"]\n\
                        _fuzz = []\n\n[dependencies]\nother = \"1\"\n";
        assert_eq!(feature_names(manifest).collect::<Vec<_>>(), ["std", "_fuzz"]);
        assert_eq!(feature_names("[package]\nname = \"x\"\n").count(), 0);
        let core = std::fs::read_to_string(root().join("pmemset-core/Cargo.toml")).unwrap();
        assert!(feature_names(&core).any(|name| name == "sim"));
    }

    #[test]
    fn tests_that_may_be_left_out_run_here() {
        let begin = ["println!(\"", "SKIPPED "].concat();
        let list = run_command(Command::new("git").current_dir(root()).args(["ls-files", "*.rs"])).unwrap();
        // A new machine is a Debian, which has dpkg.
        let others = |file: &&str| !file.starts_with("shim-linux/") && !file.ends_with("support/packages.rs");
        for file in list.lines().filter(others) {
            assert!(!std::fs::read_to_string(root().join(file)).unwrap_or_default().contains(&begin), "{file}");
        }
        assert!([OF_MACHINES, OTHERS].iter().all(|words| words.ends_with(&["pmemset-linux"])));
    }

    #[test]
    fn wide_comments_are_found() {
        let [fits, wide] = [110, 120].map(|length| format!("    /// {} {}", "a".repeat(length - 10), "b".repeat(3)));
        let link = format!("//! [x]:{}", "y".repeat(120));
        let text = format!("{fits}\n{wide}\n{link}\nlet x = \"{}\";\n", "a b".repeat(50));
        assert_eq!(wide_comments(&text).collect::<Vec<_>>(), [2]);
        let setting = std::fs::read_to_string(root().join("rustfmt.toml")).unwrap();
        assert!(setting.contains(&format!("max_width = {COLUMNS}\n")));
    }

    #[test]
    fn every_workspace_apart_is_checked() {
        let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
        let line = manifest.lines().find(|line| line.starts_with("exclude")).unwrap();
        assert_eq!(line.matches('/').count(), APART.len());
        assert!(APART.iter().all(|apart| line.contains(&format!("\"{}\"", apart.folder))));
    }
}
