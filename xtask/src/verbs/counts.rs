//! `cargo xtask counts`: instructions and system calls of single operations, compared with a checked-in table.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::packages;
use crate::support::processes::{cargo, output_of, root, run as run_command};
use crate::support::tally::{Outcome, Tally};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Write what is found into the table instead of comparing.
    #[arg(long)]
    write: bool,
}

/// Growth by more than this many hundredths is a failure.
const TOLERANCE_HUNDREDTHS: u64 = 3;
/// The function of the program whose instructions are counted.
const COUNTED: &str = "counted_operation";
/// What the names of operations end with for which the kernel chooses the addresses: how much is trimmed, and on
/// kernels before 6.7 how often it is tried, depends on where they are.
const ANYWHERE: &str = "-anywhere";
/// What the paths begin with that separate operations among the system calls.
const MARK: &str = "access(\"pmemset-counts:";

pub(crate) fn run(args: &Args) -> Outcome {
    if args.write {
        let mut depends = depends()?;
        depends.append(&mut kernel());
        let found = Table { instructions: instructions()?, calls: calls_of(&traced()?), depends };
        fs::write(path(), found.text())?;
        println!("written: {}", path().display());
        return Ok(true);
    }
    check().outcome()
}

fn path() -> PathBuf {
    root().join("xtask/bench/counts.txt")
}

fn folder() -> PathBuf {
    root().join("target/counts")
}

/// Compares with the table. Instructions are compared where compiler, processor and valgrind are those of the table.
pub(crate) fn check() -> Tally {
    let mut tally = Tally::default();
    let table = match fs::read_to_string(path()).map_err(|error| error.to_string()).and_then(|text| Table::parse(&text))
    {
        Ok(table) => table,
        Err(reason) => {
            tally.check("the table of counts can be read", Err(reason));
            return tally;
        }
    };
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        tally.skip("counts", "the table is of x86-64 Linux");
        return tally;
    }
    match packages::install(&["strace"]).and_then(|()| traced()) {
        Err(reason) => tally.skip("system calls of single operations", &reason),
        Ok(trace) => {
            let mut calls = table.calls.clone();
            if let Err(reason) = table.is_of(&kernel()) {
                let (anywhere, rest): (Vec<_>, Vec<_>) =
                    calls.into_iter().partition(|(name, _)| name.ends_with(ANYWHERE));
                anywhere.iter().for_each(|(name, _)| tally.skip(&format!("system calls of {name}"), &reason));
                calls = rest.into_iter().collect();
            }
            compare_calls(&mut tally, &calls, &calls_of(&trace));
        }
    }
    let same = packages::install(&["valgrind"]).and_then(|()| table.is_of(&depends()?));
    match same {
        Err(reason) => {
            table.instructions.keys().for_each(|name| tally.skip(&format!("instructions of {name}"), &reason))
        }
        Ok(()) => match instructions() {
            Err(reason) => tally.check("instructions of single operations", Err(reason)),
            Ok(found) => compare_instructions(&mut tally, &table.instructions, &found),
        },
    }
    tally
}

/// What is checked in.
#[derive(Debug, PartialEq, Eq)]
struct Table {
    /// Compiler, processor, valgrind and kernel.
    depends: BTreeMap<String, String>,
    instructions: BTreeMap<String, u64>,
    /// The names of the system calls of each operation, in order.
    calls: BTreeMap<String, Vec<String>>,
}

impl Table {
    fn parse(text: &str) -> Result<Self, String> {
        let mut table = Self { depends: BTreeMap::new(), instructions: BTreeMap::new(), calls: BTreeMap::new() };
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let strange = || format!("{}: {line:?} is not understood", path().display());
            let (kind, rest) = line.split_once(' ').ok_or_else(strange)?;
            let (name, value) = rest.split_once(": ").or(rest.split_once(':')).ok_or_else(strange)?;
            match kind {
                "depends" => drop(table.depends.insert(name.into(), value.into())),
                "instructions" => drop(table.instructions.insert(name.into(), value.parse().map_err(|_| strange())?)),
                "calls" => drop(table.calls.insert(name.into(), value.split_whitespace().map(String::from).collect())),
                _ => return Err(strange()),
            }
        }
        if table.instructions.is_empty() || table.calls.is_empty() {
            Err("there is nothing in it".into())
        } else {
            Ok(table)
        }
    }

    fn text(&self) -> String {
        let mut text = String::from(
            "# Written by `cargo xtask counts --write`: instructions of one operation (callgrind, our code alone, a release\n\
             # build), which depend on compiler, processor and valgrind, and the system calls that it makes (strace).\n",
        );
        self.depends.iter().for_each(|(name, value)| text += &format!("depends {name}: {value}\n"));
        self.instructions.iter().for_each(|(name, count)| text += &format!("instructions {name}: {count}\n"));
        for (name, calls) in &self.calls {
            text += format!("calls {name}: {}", calls.join(" ")).trim_end();
            text.push('\n');
        }
        text
    }

    /// Fails unless counts from here can be compared.
    fn is_of(&self, here: &BTreeMap<String, String>) -> Result<(), String> {
        let other = here.iter().find(|(name, value)| self.depends.get(*name) != Some(value));
        other.map_or(Ok(()), |(name, value)| {
            let before = self.depends.get(name).map_or("unknown", String::as_str);
            Err(format!("{name} here is {value}, the table is of {before} (cargo xtask counts --write)"))
        })
    }
}

fn compare_instructions(tally: &mut Tally, table: &BTreeMap<String, u64>, found: &BTreeMap<String, u64>) {
    for (name, before) in table {
        let result = match found.get(name) {
            None => Err("was not counted".into()),
            Some(now) if *now > before + before * TOLERANCE_HUNDREDTHS / 100 => {
                Err(format!("{now}, the table says {before} (cargo xtask counts --write, if that is meant)"))
            }
            Some(_) => Ok(()),
        };
        let now = found.get(name).map_or_else(String::new, u64::to_string);
        tally.check(&format!("instructions of {name}: {now}"), result);
    }
}

fn compare_calls(tally: &mut Tally, table: &BTreeMap<String, Vec<String>>, found: &BTreeMap<String, Vec<String>>) {
    for (name, before) in table {
        let result = match found.get(name) {
            None => Err("was not traced".into()),
            Some(now) => {
                let count = |calls: &[String], call: &String| calls.iter().filter(|other| *other == call).count();
                let more = now.iter().find(|call| count(now, call) > count(before, call));
                more.map_or(Ok(()), |call| Err(format!("{call} more often than the table says: {}", now.join(" "))))
            }
        };
        tally.check(&format!("system calls of {name}"), result);
    }
}

/// Builds the program that does the operations, and returns where it is.
fn program() -> Result<PathBuf, String> {
    let mut command = cargo();
    command.args(["build", "--release", "--quiet", "--locked", "--package", "pmemset-bench", "--no-default-features"]);
    // Flags of a user's would count too.
    command.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS").args(["--bin", "counts"]);
    fs::create_dir_all(folder()).map_err(|error| format!("{}: {error}", folder().display()))?;
    run_command(&mut command).map(|_| root().join("target/release/counts"))
}

/// Returns what the numbers of instructions depend on, besides the code.
fn depends() -> Result<BTreeMap<String, String>, String> {
    let program = program()?;
    let processor = output_of("valgrind", &["-q".as_ref(), program.as_os_str(), "processor".as_ref()])?;
    let pairs = [
        ("compiler", output_of("rustc", &["--version"])?),
        ("processor", processor),
        ("valgrind", output_of("valgrind", &["--version"])?),
    ];
    Ok(pairs.into_iter().map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect())
}

/// Counts the instructions of one of each operation.
fn instructions() -> Result<BTreeMap<String, u64>, String> {
    let program = program()?;
    let said = |word: &str| output_of(&program.to_string_lossy(), &[word]);
    let times: u64 = said("times")?.trim().parse().map_err(|_| "no number of times")?;
    let mut found = BTreeMap::new();
    for name in said("list")?.lines() {
        let out = folder().join(format!("callgrind.{name}"));
        let mut valgrind = Command::new("valgrind");
        valgrind.args(["-q", "--tool=callgrind", "--compress-strings=no", "--compress-pos=no"]);
        valgrind.arg(format!("--toggle-collect={COUNTED}")).arg(format!("--callgrind-out-file={}", out.display()));
        // What is in the environment lies on the stack.
        run_command(valgrind.arg(&program).arg(name).env_clear())?;
        let text = fs::read_to_string(&out).map_err(|error| format!("{}: {error}", out.display()))?;
        found.insert(name.to_owned(), count_of(&text, &program)? / times);
    }
    Ok(found)
}

/// Adds up what `program` itself has run, not the C library, of which a machine has several versions of a function.
fn count_of(text: &str, program: &Path) -> Result<u64, String> {
    let program = program.to_string_lossy();
    let (mut ours, mut called, mut sum) = (false, false, 0);
    for line in text.lines() {
        if let Some(object) = line.strip_prefix("ob=") {
            ours = object == program;
        } else if line.starts_with("calls=") {
            // The next line is what those calls have cost, which is told where they are.
            called = true;
        } else if line.starts_with(|c: char| c.is_ascii_digit() || "+-*".contains(c)) {
            let cost = line.split(' ').nth(1).and_then(|cost| cost.parse::<u64>().ok());
            let cost = cost.ok_or_else(|| format!("callgrind said {line:?}"))?;
            sum += if ours && !called { cost } else { 0 };
            called = false;
        }
    }
    if sum == 0 { Err(format!("callgrind has seen nothing of {COUNTED}")) } else { Ok(sum) }
}

/// Returns the series of the kernel: `6.18`.
fn kernel() -> BTreeMap<String, String> {
    let release = output_of("uname", &["-r"]).unwrap_or_default();
    let series: Vec<&str> = release.trim().split('.').take(2).collect();
    [("kernel".to_owned(), series.join("."))].into()
}

/// Runs each operation once under strace.
fn traced() -> Result<String, String> {
    let (program, out) = (program()?, folder().join("strace"));
    let mut strace = Command::new("strace");
    run_command(strace.arg("-o").arg(&out).arg(program).arg("calls"))?;
    fs::read_to_string(&out).map_err(|error| format!("{}: {error}", out.display()))
}

fn calls_of(trace: &str) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut current = None;
    for line in trace.lines() {
        if let Some(rest) = line.strip_prefix(MARK) {
            let name = rest.split('"').next().unwrap_or_default();
            current = (!name.is_empty()).then(|| found.entry(name.to_owned()).or_default());
        } else if let (Some(calls), Some((call, _))) = (&mut current, line.split_once('(')) {
            calls.push(call.to_owned());
        }
    }
    for (_, calls) in found.iter_mut().filter(|(name, _)| name.ends_with(ANYWHERE)) {
        calls.retain(|call| call != "munmap");
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "# comment\ndepends compiler: rustc 1.95.0\ninstructions map: 100\ncalls look-up:\ncalls map: mmap fstat\n";

    #[test]
    fn the_table_is_read_and_written() {
        let table = Table::parse(TEXT).unwrap();
        assert_eq!(Table::parse(&table.text()).as_ref(), Ok(&table));
        assert_eq!(table.calls["look-up"], Vec::<String>::new());
        assert!(Table::parse("").is_err() && Table::parse("instructions map").is_err());
        let here = |compiler: &str| [("compiler".to_owned(), compiler.to_owned())].into();
        assert!(table.is_of(&here("rustc 1.95.0")).is_ok() && table.is_of(&here("rustc 1.96.0")).is_err());
        assert!(Table::parse(&fs::read_to_string(path()).unwrap()).is_ok(), "the one that is checked in");
    }

    #[test]
    fn costs_of_other_objects_and_of_calls_are_left_out() {
        let text =
            "events: Ir\nob=/p\nfn=a\n0 5\ncob=/libc\ncfn=memcpy\ncalls=2 0\n0 900\n+3 7\nob=/libc\nfn=memcpy\n0 900\n";
        assert_eq!(count_of(text, Path::new("/p")), Ok(12));
        assert!(count_of("ob=/libc\n0 900\n", Path::new("/p")).is_err());
    }

    #[test]
    fn growth_is_found() {
        let good = |now: u64| {
            let mut tally = Tally::default();
            let table = |count| [("map".to_owned(), count)].into();
            compare_instructions(&mut tally, &table(1000), &table(now));
            tally.good()
        };
        assert!(good(1030) && good(1) && !good(1031));
    }

    #[test]
    fn more_system_calls_are_found() {
        let trace = "execve(\"x\") = 0\naccess(\"pmemset-counts:map\", F_OK) = -1\nmmap(0, 1) = 5\nfstat(3) = 0\n\
                     access(\"pmemset-counts:\", F_OK) = -1\nmunmap(1) = 0\n";
        let found = calls_of(trace);
        assert_eq!(found["map"], ["mmap", "fstat"]);
        let anywhere = calls_of(&trace.replace("counts:map", "counts:map-anywhere").replace("fstat(", "munmap("));
        assert_eq!(anywhere["map-anywhere"], ["mmap"]);
        let good = |table: &[&str]| {
            let mut tally = Tally::default();
            let table = [("map".to_owned(), table.iter().map(|call| String::from(*call)).collect())].into();
            compare_calls(&mut tally, &table, &found);
            tally.good()
        };
        assert!(good(&["mmap", "fstat"]) && good(&["fstat", "mmap", "msync"]) && !good(&["mmap"]));
    }
}
