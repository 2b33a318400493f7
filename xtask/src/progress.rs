//! Lines about what is under way, on standard error: nothing is silent for long.

use core::time::Duration;
use std::io::{IsTerminal, Write};
use std::process::Command;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Instant;

/// How long something may take before a line tells of it, and between two such lines.
const EVERY: Duration = Duration::from_secs(5);

/// Does `work`, and says every few seconds that `what` is under way.
pub(crate) fn during<T>(what: &str, work: impl FnOnce() -> T) -> T {
    watching(|| what.to_owned(), work)
}

/// Does `work`, and asks every few seconds what is under way, to say it.
pub(crate) fn watching<T>(what: impl Fn() -> String + Send, work: impl FnOnce() -> T) -> T {
    let (done, wait) = channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let begin = Instant::now();
            while wait.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                tell(&format!("{}: {} s", what(), begin.elapsed().as_secs()));
            }
        });
        let result = work();
        drop(done);
        result
    })
}

/// Shows one line of passing interest: on a terminal the next takes its place.
fn tell(line: &str) {
    let mut out = std::io::stderr().lock();
    let end = if out.is_terminal() { "\x1b[K\r" } else { "\n" };
    let _ = write!(out, "        {line}{end}");
    let _ = out.flush();
}

/// Returns the name of a command and the first of its arguments.
pub(crate) fn short(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy();
    let arguments = command.get_args().map(|word| word.to_string_lossy().into_owned());
    let dull = |word: &String| ["--quiet", "--locked"].contains(&word.as_str()) || word.starts_with("-Z");
    // Not where the results go.
    let mut words: Vec<String> = arguments.filter(|word| !dull(word)).collect();
    if let Some(at) = words.iter().position(|word| word == "--target-dir") {
        words.drain(at..words.len().min(at + 2));
    }
    words.iter().take(7).fold(program.into_owned(), |line, word| line + " " + word)
}
