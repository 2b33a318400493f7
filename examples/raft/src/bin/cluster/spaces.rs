//! Network namespaces, one for each node, where this process may have them: then cables can be pulled.

use std::process::{Command, ExitCode};

use crate::Outcome;

/// Set in the process that is in a network of its own.
const INSIDE: &str = "PMEMSET_CLUSTER_INSIDE";
/// Set to the reason why there is none.
const OUTSIDE: &str = "PMEMSET_CLUSTER_OUTSIDE";

/// Runs this program again in a network of its own, if that can be; returns how that has ended.
pub(crate) fn enter() -> Option<ExitCode> {
    if std::env::var_os(INSIDE).is_some() {
        return None;
    }
    let program = std::env::current_exe().ok()?;
    let mut outside = Command::new("unshare");
    outside.args(["--net", "--mount", "--"]);
    if let Err(reason) = run(Command::new("unshare").args(["--net", "--mount", "--", "ip", "netns", "list"])) {
        // Environment variables of this process are not to be changed: of the next one they are.
        let mut again = Command::new(program);
        let again = again.args(std::env::args_os().skip(1)).env(INSIDE, "").env(OUTSIDE, reason);
        return Some(code(again));
    }
    Some(code(outside.arg(program).args(std::env::args_os().skip(1)).env(INSIDE, "")))
}

fn code(command: &mut Command) -> ExitCode {
    let status = command.status().ok().and_then(|status| status.code());
    ExitCode::from(status.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

fn run(command: &mut Command) -> Outcome<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("{program}: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if output.status.success() { Ok(()) } else { Err(format!("{program}: {said}")) }
}

fn ip(words: &str) -> Outcome<()> {
    run(Command::new("ip").args(words.split(' '))).map_err(|reason| format!("{reason} (ip {words})"))
}

/// Whether there are namespaces; if not, why, and the last number of the first node's address.
pub(crate) struct Spaces(Outcome<()>, usize);

impl Spaces {
    /// Makes a bridge, and a namespace for each of the three nodes.
    pub(crate) fn make() -> Self {
        Self(
            match std::env::var(OUTSIDE) {
                Ok(reason) => Err(reason),
                Err(_) => build(),
            },
            1,
        )
    }

    /// Makes none: the nodes listen here, at addresses of which the first ends with `first`.
    #[cfg(feature = "picture")]
    pub(crate) fn none(first: usize) -> Self {
        Self(Err("not asked for".to_owned()), first)
    }

    /// Returns why there are none.
    pub(crate) fn missing(&self) -> Option<&str> {
        self.0.as_ref().err().map(String::as_str)
    }

    /// Returns where node `number` listens.
    pub(crate) fn address(&self, number: usize) -> String {
        if self.0.is_ok() {
            return format!("10.77.0.{}:7000", number + 1);
        }
        // Addresses of this run's own, which nobody takes for a connection.
        let id = std::process::id();
        format!("127.{}.{}.{}:7000", 64 + id % 64, id / 64 % 256, self.1 + number)
    }

    /// Returns the command that runs `program` where node `number` is.
    pub(crate) fn command(&self, number: usize, program: &std::path::Path) -> Command {
        if self.0.is_err() {
            return Command::new(program);
        }
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &format!("node{number}")]).arg(program);
        command
    }

    /// Pulls the cable of a node, or plugs it in.
    pub(crate) fn plug(&self, number: usize, in_: bool) -> Outcome<()> {
        match self.0 {
            Ok(()) => ip(&format!("link set to{number} {}", if in_ { "up" } else { "down" })),
            Err(_) => Ok(()),
        }
    }
}

fn build() -> Outcome<()> {
    // Names of this process's own: its mounts are.
    std::fs::create_dir_all("/run/netns").map_err(|error| error.to_string())?;
    run(Command::new("mount").args(["-t", "tmpfs", "netns", "/run/netns"]))?;
    ip("link set lo up")?;
    ip("link add middle type bridge")?;
    ip("addr add 10.77.0.254/24 dev middle")?;
    ip("link set middle up")?;
    for number in 0..3 {
        ip(&format!("netns add node{number}"))?;
        ip(&format!("link add to{number} type veth peer name wire netns node{number}"))?;
        ip(&format!("link set to{number} master middle up"))?;
        ip(&format!("-n node{number} addr add 10.77.0.{}/24 dev wire", number + 1))?;
        ip(&format!("-n node{number} link set wire up"))?;
        ip(&format!("-n node{number} link set lo up"))?;
    }
    Ok(())
}
