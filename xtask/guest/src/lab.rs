//! What a scenario talks to: the host, over the second serial port, and the words on the kernel's command line.

use core::error::Error;
use core::fmt::Display;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};

use lab_machine::{Machine, Scenario};
use rustix::termios::{OptionalActions, tcdrain, tcgetattr, tcsetattr};

/// Why a scenario failed.
pub(crate) type Failure = Box<dyn Error + Send + Sync>;

/// The name of a scenario, and what it does.
pub(crate) type Checks = (&'static str, fn(&mut Lab) -> Result<(), Failure>);

/// The lab, seen from inside a machine.
pub(crate) struct Lab {
    port: File,
    words: BTreeMap<String, String>,
    again: bool,
}

impl Lab {
    /// Opens the way to the host.
    pub(crate) fn open() -> Result<Self, Failure> {
        let port = File::options().read(true).write(true).open("/dev/ttyS1")?;
        let mut settings = tcgetattr(&port)?;
        settings.make_raw();
        tcsetattr(&port, OptionalActions::Now, &settings)?;
        let line = std::fs::read_to_string("/proc/cmdline")?;
        let words = line.split_whitespace().filter_map(|word| word.split_once('='));
        Ok(Self { port, words: words.map(|(key, value)| (key.into(), value.into())).collect(), again: false })
    }

    /// Returns the word `key` of the kernel's command line.
    pub(crate) fn word(&self, key: &str) -> Option<&str> {
        self.words.get(key).map(String::as_str)
    }

    /// Returns the machine that this is.
    pub(crate) fn machine(&self) -> &'static Machine {
        self.word("lab").and_then(Scenario::find).map_or(&Machine::NFIT, |scenario| &scenario.machine)
    }

    /// Returns how often the machine was booted before.
    pub(crate) fn phase(&self) -> u64 {
        self.number("lab.phase")
    }

    /// Returns the last record that the host knows of: acknowledged before the power was cut.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.number("lab.ack")
    }

    /// Returns whether this boot only looks at what the last cut has left.
    pub(crate) fn is_last(&self) -> bool {
        self.number("lab.last") == 1
    }

    pub(crate) fn number(&self, key: &str) -> u64 {
        self.word(key).and_then(|word| word.parse().ok()).unwrap_or(0)
    }

    /// Tells the host something.
    pub(crate) fn say(&mut self, line: impl Display) {
        let line = format!("{line}").replace('\n', "; ");
        let _ = self.port.write_all(format!("{line}\n").as_bytes());
    }

    /// Tells the host something, and returns when that has left the machine.
    pub(crate) fn say_now(&mut self, line: impl Display) -> Result<(), Failure> {
        self.say(line);
        Ok(tcdrain(&self.port)?)
    }

    /// Asks the host to do something and returns its answer.
    ///
    /// `bad REGION OFFSET LENGTH` makes memory bad, `bad-list REGION` lists it, `count DIMM COUNT UNSAFE` sets a count
    /// of unsafe shutdowns, `hint DIMM` tells whether the flush hint was written since the last time, `find REGION
    /// TEXT` tells at which offset of the region the page is that begins with the text.
    pub(crate) fn ask(&mut self, request: impl Display) -> Result<String, Failure> {
        self.say(format!("ask {request}"));
        let (mut line, mut byte) = (Vec::new(), [0]);
        loop {
            self.port.read_exact(&mut byte)?;
            match byte[0] {
                b'\n' => break,
                other => line.push(other),
            }
        }
        let answer = String::from_utf8_lossy(&line).into_owned();
        match answer.strip_prefix("ok") {
            Some(rest) => Ok(rest.trim().to_owned()),
            None => Err(format!("the host answers {answer:?} to {request}").into()),
        }
    }

    /// Has the machine booted once more after this.
    pub(crate) fn again(&mut self) {
        self.again = true;
    }

    /// Tells the host how it ended and leaves the machine, with a status that nothing else ends with.
    pub(crate) fn leave(&mut self, result: &Result<(), Failure>) -> ! {
        match result {
            Ok(()) if self.again => self.say("again"),
            Ok(()) => self.say("done"),
            Err(reason) => self.say(format!("fail check: {reason}")),
        }
        let _ = tcdrain(&self.port);
        // isa-debug-exit: the machine is gone at this write.
        if let Ok(mut ports) = File::options().write(true).open("/dev/port") {
            let status = [u8::from(result.is_err())];
            let _ = std::os::unix::fs::FileExt::write_all_at(&ports, &status, 0xf4);
            let _ = ports.flush();
        }
        loop {
            std::thread::park();
        }
    }
}

/// Fails the scenario unless `condition`; says `what` was to be true.
pub(crate) fn check(condition: bool, what: impl Display) -> Result<(), Failure> {
    if condition { Ok(()) } else { Err(format!("not so: {what}").into()) }
}

/// Fails the scenario unless both are equal.
pub(crate) fn same<T: PartialEq + core::fmt::Debug>(what: &str, found: T, expected: T) -> Result<(), Failure> {
    if found == expected { Ok(()) } else { Err(format!("{what}: found {found:?}, expected {expected:?}").into()) }
}
