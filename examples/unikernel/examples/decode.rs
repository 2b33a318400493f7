//! Decodes defmt's frames on the host: `decode ELF FRAMES` prints a line for each.

use std::process::ExitCode;

use defmt_decoder::{DecodeError, Table};

fn main() -> ExitCode {
    match decode() {
        Ok(0) => {
            eprintln!("decode: no frame");
            ExitCode::FAILURE
        }
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("decode: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Returns the number of frames.
fn decode() -> Result<usize, Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: decode ELF FRAMES";
    let elf = std::fs::read(arguments.next().ok_or(usage)?)?;
    let frames = std::fs::read(arguments.next().ok_or(usage)?)?;
    let table = Table::parse(&elf)?.ok_or("the program has no defmt table")?;
    let mut decoder = table.new_stream_decoder();
    decoder.received(&frames);
    let mut count = 0;
    loop {
        match decoder.decode() {
            Ok(frame) => {
                println!("{}", frame.display(false));
                count += 1;
            }
            Err(DecodeError::UnexpectedEof) => return Ok(count),
            Err(DecodeError::Malformed) => return Err("a frame that is none".into()),
        }
    }
}
