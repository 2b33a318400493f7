//! Three nodes, clients that write and read, and all that can go wrong with nodes: `cluster [--minutes N] [--seed N]`.
//!
//! Prints a line for each check: `ok`, `FAILED` or `skipped`.

mod clients;
mod faults;
#[cfg(feature = "picture")]
mod latency;
mod nodes;
mod random;
mod spaces;
mod verdict;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clients::Clients;
use nodes::Cluster;
use random::Random;

/// What a step of the driver may end with: the reason why it could not be made.
type Outcome<T> = Result<T, String>;

struct Arguments {
    minutes: f64,
    seed: u64,
    folder: PathBuf,
    picture: Option<PathBuf>,
}

fn arguments() -> Outcome<Arguments> {
    let memory = PathBuf::from("/dev/shm");
    let parent = if memory.is_dir() { memory } else { std::env::temp_dir() };
    let folder = parent.join(format!("pmemset-cluster-{}", std::process::id()));
    let mut all = Arguments { minutes: 2.0, seed: random::any(), folder, picture: None };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
        let wrong = |error: &dyn core::fmt::Display| format!("{word} {value}: {error}");
        match word.as_str() {
            "--minutes" => all.minutes = value.parse().map_err(|error| wrong(&error))?,
            "--seed" => all.seed = value.parse().map_err(|error| wrong(&error))?,
            "--folder" => all.folder = PathBuf::from(value),
            "--picture" => all.picture = Some(PathBuf::from(value)),
            _ => return Err(format!("{word}: there are --minutes, --seed, --folder and --picture")),
        }
    }
    Ok(all)
}

fn main() -> ExitCode {
    let arguments = match arguments() {
        Ok(arguments) => arguments,
        Err(reason) => {
            eprintln!("{reason}");
            return ExitCode::from(2);
        }
    };
    if let Some(path) = &arguments.picture {
        return draw(path, &arguments.folder);
    }
    if let Some(code) = spaces::enter() {
        return code;
    }
    println!("        seed {}", arguments.seed);
    let good = match run(&arguments) {
        Ok(good) => good,
        Err(reason) => {
            println!("FAILED  cluster: {reason}");
            false
        }
    };
    if good {
        let _ = std::fs::remove_dir_all(&arguments.folder);
        return ExitCode::SUCCESS;
    }
    println!("        seed {}; the nodes' memory is in {}", arguments.seed, arguments.folder.display());
    ExitCode::FAILURE
}

#[cfg(feature = "picture")]
fn draw(path: &std::path::Path, folder: &std::path::Path) -> ExitCode {
    match latency::draw(path, folder) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("{}: {reason}", path.display());
            ExitCode::FAILURE
        }
    }
}

#[cfg(not(feature = "picture"))]
fn draw(path: &std::path::Path, _: &std::path::Path) -> ExitCode {
    eprintln!("{}: built without the feature `picture`", path.display());
    ExitCode::FAILURE
}

fn run(arguments: &Arguments) -> Outcome<bool> {
    let mut random = Random::new(arguments.seed);
    let mut cluster = Cluster::found(&arguments.folder, spaces::Spaces::make(), &[])?;
    let clients = Clients::start(&cluster, random.next());
    let time = Duration::from_secs_f64(arguments.minutes * 60.0);
    let harm = faults::all(&mut cluster, &clients, &mut random, time)?;
    cluster.heal()?;
    clients.reach_the_healed()?;
    let histories = clients.stop()?;
    let values = cluster.settle()?;
    Ok(verdict::judge(&harm, &histories, &values, cluster.spaces()))
}
