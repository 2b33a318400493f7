//! Measures pmemset beside its peers in one process, and writes down what it found.
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]

mod figures;
mod measure;
mod page;
mod peers;
mod picture;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;

use figures::FIGURES;
use report::Figure;

/// How long to measure, and how to print.
#[derive(Clone, Copy, Debug)]
struct Options {
    quick: bool,
    json: bool,
}

fn main() -> ExitCode {
    let mut options = Options { quick: false, json: false };
    let (mut names, mut folder) = (Vec::new(), None);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--quick" => options.quick = true,
            "--json" => options.json = true,
            "--write" => folder = arguments.next().map(PathBuf::from),
            name if FIGURES.iter().any(|figure| figure.name == name) => names.push(argument),
            other => {
                let known: Vec<&str> = FIGURES.iter().map(|figure| figure.name).collect();
                eprintln!("there is no figure {other}: {}", known.join(", "));
                return ExitCode::FAILURE;
            }
        }
    }
    let mut done = Vec::new();
    for subject in FIGURES.iter().filter(|figure| names.is_empty() || names.iter().any(|name| name == figure.name)) {
        let mut figure = Figure::new(subject, options);
        (subject.run)(&mut figure);
        done.push(figure);
    }
    let Some(folder) = folder else { return ExitCode::SUCCESS };
    match page::write(&folder, options, &done) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", folder.display());
            ExitCode::FAILURE
        }
    }
}
