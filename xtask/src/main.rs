//! Every developer command of pmemset.
//!
//! `verbs/` has one file or folder for each; `support/` has what they share, and knows of none of them.

mod support;
mod verbs;

use std::process::ExitCode;

use clap::Parser;

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "The developer commands of pmemset")]
struct Cli {
    #[command(subcommand)]
    verb: verbs::Verb,
}

fn main() -> ExitCode {
    match Cli::parse().verb.run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_says_what_to_type() {
        let mut cli = <Cli as clap::CommandFactory>::command();
        cli.build();
        for verb in cli.get_subcommands_mut() {
            let (usage, name) = (verb.render_usage().to_string(), verb.get_name().to_owned());
            assert!(usage.starts_with(&format!("Usage: cargo xtask {name}")) || name == "help", "{usage}");
        }
    }
}
