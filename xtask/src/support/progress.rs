//! Lines about what is under way, on standard error: nothing is silent for long.

use core::cell::RefCell;
use core::time::Duration;
use std::io::{IsTerminal, Write};
use std::process::Command;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// How long something may take before a line tells of it, and between two such lines.
const EVERY: Duration = Duration::from_secs(5);
/// The same where lines stay: in the log of a run that takes half an hour they would be most of it.
const EVERY_LATER: Duration = Duration::from_secs(60);
/// Letters of a line, besides the seconds.
const WIDTH: usize = 72;

thread_local! {
    /// What this thread is about, the whole first, if somebody tells of it.
    static UNDER_WAY: RefCell<Option<Arc<Mutex<Vec<String>>>>> = const { RefCell::new(None) };
}

/// Does `work`, and says every few seconds that `what` is under way; as a piece of what this thread is at already.
pub(crate) fn during<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let Some(pieces) = UNDER_WAY.with_borrow(Clone::clone) else {
        return watching(|| what.to_owned(), work);
    };
    lock(&pieces).push(what.to_owned());
    let result = work();
    lock(&pieces).pop();
    result
}

/// Does `work`, and asks every few seconds what is under way, to say it.
pub(crate) fn watching<T>(what: impl Fn() -> String + Send, work: impl FnOnce() -> T) -> T {
    let (done, wait) = channel::<()>();
    let pieces = Arc::new(Mutex::new(Vec::new()));
    let before = UNDER_WAY.replace(Some(pieces.clone()));
    let result = std::thread::scope(|scope| {
        scope.spawn(move || {
            let begin = Instant::now();
            let stays = !std::io::stderr().is_terminal();
            while wait.recv_timeout(interval(stays, begin.elapsed())) == Err(RecvTimeoutError::Timeout) {
                let line = lock(&pieces).iter().fold(what(), |line, piece| line + ": " + piece);
                tell(&format!("{}: {} s", cut(&line), begin.elapsed().as_secs()));
            }
        });
        let result = work();
        drop(done);
        result
    });
    UNDER_WAY.set(before);
    result
}

/// Returns how long to wait for the next line about something that has taken this long.
fn interval(stays: bool, elapsed: Duration) -> Duration {
    if stays && elapsed >= Duration::from_secs(60) { EVERY_LATER } else { EVERY }
}

/// Returns the beginning of a line.
fn cut(line: &str) -> String {
    match line.char_indices().nth(WIDTH) {
        Some((end, _)) => format!("{}...", line[..end].trim_end()),
        None => line.to_owned(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Shows one line of passing interest: on a terminal the next takes its place.
fn tell(line: &str) {
    let mut out = std::io::stderr().lock();
    let end = if out.is_terminal() { "\x1b[K\r" } else { "\n" };
    let _ = write!(out, "        {line}{end}");
    let _ = out.flush();
}

/// Returns the name of a command and the first three of its arguments.
pub(crate) fn short(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy();
    let arguments = command.get_args().map(|word| word.to_string_lossy().into_owned());
    let dull = |word: &String| ["--quiet", "--locked"].contains(&word.as_str()) || word.starts_with("-Z");
    // Not where the results go.
    let mut words: Vec<String> = arguments.filter(|word| !dull(word)).collect();
    if let Some(at) = words.iter().position(|word| word == "--target-dir") {
        words.drain(at..words.len().min(at + 2));
    }
    words.iter().take(3).fold(program.into_owned(), |line, word| line + " " + word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_short_and_become_rare_where_they_stay() {
        assert_eq!(cut("workspace"), "workspace");
        assert_eq!(cut(&"ä ".repeat(100)), "ä ".repeat(36).trim_end().to_owned() + "...");
        let seconds = |stays, elapsed| interval(stays, Duration::from_secs(elapsed)).as_secs();
        assert_eq!([seconds(true, 0), seconds(true, 59), seconds(true, 60), seconds(false, 60)], [5, 5, 60, 5]);
        let mut command = Command::new("/usr/bin/cargo");
        command.args(["test", "--quiet", "--target-dir", "x", "--workspace", "--no-fail-fast", "--features", "a,b"]);
        assert_eq!(short(&command), "cargo test --workspace --no-fail-fast");
    }

    #[test]
    fn what_is_under_way_is_named_from_the_whole_to_the_piece() {
        let pieces = || UNDER_WAY.with_borrow(|pieces| pieces.as_ref().map(|pieces| lock(pieces).join(": ")));
        assert_eq!(pieces(), None);
        let seen = during("whole", || (pieces(), during("piece", || (pieces(), during("more", pieces))), pieces()));
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(seen, (some(""), (some("piece"), some("piece: more")), some("")));
        assert_eq!(pieces(), None);
    }
}
