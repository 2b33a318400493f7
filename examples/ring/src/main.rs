//! Checks rings of records in files from outside: `ring SKIP_BYTES FILE...` treats the files, one behind the other and
//! without the first `SKIP_BYTES` bytes, as one ring, and prints the numbers of the first and the last record in it.

use std::io::Write as _;
use std::process::ExitCode;

use ring::{RECORD_BYTES, Record, recover, slot_of};

fn main() -> ExitCode {
    match check() {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(reason) => {
            let _ = writeln!(std::io::stderr(), "ring: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn check() -> Result<String, String> {
    let mut arguments = std::env::args().skip(1);
    let skip = arguments.next().and_then(|text| text.parse().ok()).ok_or("usage: ring SKIP_BYTES FILE...")?;
    let mut bytes = Vec::new();
    for path in arguments {
        bytes.extend(std::fs::read(&path).map_err(|error| format!("{path}: {error}"))?);
    }
    let (slots, _) = bytes.get(skip..).ok_or("nothing behind SKIP_BYTES")?.as_chunks::<RECORD_BYTES>();
    let slot = |number: u64| slots.get(usize::try_from(number).unwrap_or(usize::MAX)).copied().unwrap_or([0; 64]);
    let count = slots.len() as u64;
    let found = recover(count, slot).ok_or("no record")?;
    if !found.whole {
        return Err(format!("{found:?}: records are missing"));
    }
    for number in found.first..=found.last {
        if Record::from_bytes(&slot(slot_of(number, count))) != Some(Record::sample(number)) {
            return Err(format!("record {number} is not what was written"));
        }
    }
    Ok(format!("{} {}", found.first, found.last))
}
