//! A program that speaks in lines and must end in time: a virtual machine, or a process that is killed.

use core::time::Duration;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};

/// How long a line may take: far longer than any does on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running program. Dropping it kills it.
pub(crate) struct Vm {
    child: Child,
    lines: Receiver<String>,
}

impl Vm {
    /// Starts `command` and reads what it says.
    pub(crate) fn start(command: &mut Command) -> Result<Self, String> {
        let program = command.get_program().display().to_string();
        let spawned = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut child = spawned.map_err(|error| format!("{program}: {error}"))?;
        let output = child.stdout.take().ok_or("no output")?;
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line.trim_end().to_owned()).is_err() {
                    return;
                }
            }
        });
        Ok(Self { child, lines })
    }

    /// Returns the process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns the next line.
    pub(crate) fn line(&mut self) -> Result<String, String> {
        self.lines.recv_timeout(PATIENCE).map_err(|error| match error {
            RecvTimeoutError::Timeout => "says nothing".into(),
            RecvTimeoutError::Disconnected => format!("has ended: {:?}", self.child.wait()),
        })
    }

    /// Kills the program (`SIGKILL`), and returns the lines that had not been read.
    pub(crate) fn cut(mut self) -> Vec<String> {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.lines.iter().collect()
    }

    /// Waits for the end, and returns the exit status and the lines that had not been read.
    pub(crate) fn finish(mut self) -> Result<(Option<i32>, Vec<String>), String> {
        let mut lines = Vec::new();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => lines.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => return Err(format!("does not end:\n{}", lines.join("\n"))),
            }
        }
        let status = self.child.wait().map_err(|error| error.to_string())?;
        Ok((status.code(), lines))
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
