//! What the compiler made of the copies: no vector register where no vector state is saved, streaming stores, and
//! fences, in the program and in what of it has run.

use std::collections::HashSet;
use std::path::Path;

use crate::support::processes;

/// Where the core's copies are.
const STORES: &str = "pmemset_core::arch::store::";

/// Checks a release program for a target without vector registers, which stores and persists.
pub(crate) fn check(program: &Path) -> Result<(), String> {
    verdict(&disassemble(program)?)
}

/// Checks that `program` streamed and fenced, and wrote no line back to store it: what it stored were whole lines.
///
/// `log` is what QEMU has logged (`-d in_asm`): each instruction when it first comes to be run. `without` is the log of
/// a run that stored nothing: what is in both does not count.
pub(crate) fn ran(program: &Path, log: &str, without: &str) -> Result<(), String> {
    verdict_of_run(&disassemble(program)?, log, without)
}

fn disassemble(program: &Path) -> Result<String, String> {
    let arguments = ["--disassemble", "--no-show-raw-insn", "--demangle"].map(str::as_ref);
    processes::output_of("objdump", &[&arguments[..], &[program.as_os_str()]].concat())
}

/// One instruction of a disassembly.
struct Instruction<'t> {
    function: &'t str,
    address: &'t str,
    /// Mnemonic and operands.
    words: Vec<&'t str>,
}

impl Instruction<'_> {
    fn is(&self, mnemonic: &str) -> bool {
        self.words.first() == Some(&mnemonic)
    }

    fn writes_back(&self) -> bool {
        ["clwb", "clflushopt", "clflush"].iter().any(|mnemonic| self.is(mnemonic))
    }
}

fn instructions(text: &str) -> impl Iterator<Item = Instruction<'_>> {
    let mut function = "";
    text.lines().filter_map(move |line| {
        if line.ends_with(">:") {
            function = line;
            return None;
        }
        let (address, rest) = line.trim_start().split_once(':')?;
        Some(Instruction { function, address, words: rest.split_whitespace().collect() })
    })
}

fn verdict(text: &str) -> Result<(), String> {
    let all: Vec<Instruction<'_>> = instructions(text).collect();
    let is_vector = |word: &&str| ["%xmm", "%ymm", "%zmm"].iter().any(|register| word.contains(register));
    if let Some(found) = all.iter().find(|instruction| instruction.words.iter().any(is_vector)) {
        return Err(format!("{}: in {}", found.words.join(" "), found.function));
    }
    let is_there = |routine: &&str| all.iter().any(|one| one.function.contains(&format!("{STORES}{routine}>")));
    let streams = all.iter().any(|one| one.is("movnti") && one.function.contains(STORES));
    if !streams || !["copy", "fill"].iter().all(is_there) {
        return Err("no copy and fill that stream".into());
    }
    let missing: Vec<&str> = ["sfence", "clwb", "clflushopt", "clflush"]
        .into_iter()
        .filter(|mnemonic| !all.iter().any(|instruction| instruction.is(mnemonic)))
        .collect();
    if missing.is_empty() { Ok(()) } else { Err(format!("not found: {}", missing.join(", "))) }
}

/// Returns the addresses in a log of QEMU's.
fn addresses(log: &str) -> HashSet<&str> {
    let lines = log.lines().filter_map(|line| Some(line.strip_prefix("0x")?.split_once(':')?.0));
    lines.map(|address| address.trim_start_matches('0')).collect()
}

fn verdict_of_run(text: &str, log: &str, without: &str) -> Result<(), String> {
    let (with, without) = (addresses(log), addresses(without));
    let only = |address: &str| with.contains(address) && !without.contains(address);
    let ran: Vec<Instruction<'_>> = instructions(text).filter(|one| only(one.address)).collect();
    let in_stores = || ran.iter().filter(|instruction| instruction.function.contains(STORES));
    if !in_stores().any(|instruction| instruction.is("movnti")) {
        return Err("no streaming store has run".into());
    }
    if let Some(found) = in_stores().find(|instruction| instruction.writes_back()) {
        return Err(format!("a line was written back to store it: {}", found.words.join(" ")));
    }
    let fenced = ran.iter().any(|instruction| instruction.is("sfence"));
    fenced.then_some(()).ok_or_else(|| "no fence has run".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "\
0 <pmemset_core::arch::store::copy>:
  1a:\tmovnti %rax,(%rdi)
  1b:\tmov %al,(%rdi)
  1c:\tclwb (%rdi)
  1d:\tret

0 <pmemset_core::arch::store::fill>:
  2a:\tmovnti %rax,(%rdi)
  2b:\tclflushopt (%rdi)
  2c:\tclflush (%rdi)
  2d:\tret

0 <persist>:
  3a:\tsfence
";

    #[test]
    fn vector_registers_and_missing_instructions_are_found() {
        assert_eq!(verdict(GOOD), Ok(()));
        let vector = verdict(&format!("{GOOD}  3b:\tmovups (%rsi),%xmm0\n"));
        assert_eq!(vector.unwrap_err(), "movups (%rsi),%xmm0: in 0 <persist>:");
        for missing in ["sfence", "clwb", "clflushopt", "movnti"] {
            assert!(verdict(&GOOD.replace(missing, "nop")).is_err(), "{missing}");
        }
        assert_eq!(verdict(&GOOD.replace("store::fill", "other::fill")), Err("no copy and fill that stream".into()));
    }

    #[test]
    fn what_ran_has_to_stream_and_to_fence() {
        let log = |addresses: &[&str]| -> String {
            addresses.iter().map(|address| format!("0x000000{address}:  48 movnti\n")).collect()
        };
        let run = |addresses: &[&str]| verdict_of_run(GOOD, &log(addresses), &log(&["1d"]));
        assert_eq!(run(&["1a", "1d", "3a"]), Ok(()));
        assert_eq!(run(&["1b", "1d", "3a"]), Err("no streaming store has run".into()));
        assert_eq!(run(&["1a", "1c", "3a"]), Err("a line was written back to store it: clwb (%rdi)".into()));
        assert_eq!(run(&["1a", "1d"]), Err("no fence has run".into()));
        let always = verdict_of_run(GOOD, &log(&["1a", "3a"]), &log(&["3a"]));
        assert_eq!(always, Err("no fence has run".into()), "that fence runs without a store");
        assert_eq!(verdict_of_run(GOOD, "", ""), Err("no streaming store has run".into()));
    }
}
