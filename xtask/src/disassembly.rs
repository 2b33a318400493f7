//! What the compiler made of the copies: no vector register where no vector state is saved, and the fences are there.

use std::path::Path;

use crate::tools;

/// Checks a release program for a target without vector registers, which stores and persists.
pub(crate) fn check(program: &Path) -> Result<(), String> {
    let arguments = ["--disassemble", "--no-show-raw-insn", "--demangle"].map(str::as_ref);
    let text = tools::output_of("objdump", &[&arguments[..], &[program.as_os_str()]].concat())?;
    verdict(&text)
}

fn verdict(text: &str) -> Result<(), String> {
    let mut function = "";
    for line in text.lines() {
        if line.ends_with(">:") {
            function = line;
        }
        if ["%xmm", "%ymm", "%zmm"].iter().any(|register| line.contains(register)) {
            return Err(format!("{}: in {function}", line.trim()));
        }
    }
    let missing: Vec<&str> = ["sfence", "clwb", "clflushopt", "clflush"]
        .into_iter()
        .filter(|instruction| !text.split_whitespace().any(|word| word == *instruction))
        .collect();
    if missing.is_empty() { Ok(()) } else { Err(format!("not found: {}", missing.join(", "))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        "0 <copy>:\n 1: movnti %rax,(%rdi)\n 2: clwb (%rdi)\n 3: clflushopt (%rdi)\n 4: clflush (%rdi)\n 5: sfence\n";

    #[test]
    fn vector_registers_and_missing_fences_are_found() {
        assert_eq!(verdict(GOOD), Ok(()));
        assert!(verdict(&format!("{GOOD} 6: movups (%rsi),%xmm0\n")).unwrap_err().contains("in 0 <copy>:"));
        assert!(verdict(&GOOD.replace("sfence", "nop")).is_err());
        assert!(verdict(&GOOD.replace("clwb", "nop")).is_err());
    }
}
