//! A report as people read it.

use core::fmt;

use super::report::{Finding, Kind, Report, Subject, Value};

impl fmt::Display for Report {
    /// Subjects one below the other, an empty line between; no line ends the last one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, subject) in self.subjects.iter().enumerate() {
            let between = if index == 0 { "" } else { "\n\n" };
            write!(f, "{between}{subject}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            // Their names say it.
            Kind::Machine | Kind::Region | Kind::Namespace => write!(f, "{}", Plain(&self.name))?,
            kind => write!(f, "{kind} {}", Plain(&self.name))?,
        }
        match &self.verdict {
            None => {}
            Some(verdict) => match verdict.granularity {
                Some(granularity) => {
                    write!(f, "\n  a set gets {granularity} granularity: {}", Plain(&verdict.why))?;
                }
                None => write!(f, "\n  a set refuses it: {}", Plain(&verdict.why))?,
            },
        }
        for fact in &self.facts {
            write!(f, "\n    {:<22} {}", fact.name, fact.value)?;
        }
        self.findings.iter().try_for_each(|finding| write!(f, "\n{finding}"))
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  {}: {}\n    why: {}", self.severity, Plain(&self.what), Plain(&self.why))?;
        match &self.mend {
            Some(command) => write!(f, "\n    mend: {}", Plain(command)),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{}", Plain(text)),
            Self::Bytes(bytes) => Size(*bytes).fmt(f),
            Self::Count(count) => count.fmt(f),
            Self::Flag(flag) => f.write_str(if *flag { "yes" } else { "no" }),
            Self::Unknown(why) => write!(f, "not known: {}", Plain(why)),
        }
    }
}

/// A length in the largest unit that keeps it a whole number.
#[derive(Clone, Copy, Debug)]
pub struct Size(pub u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u32, &str); 4] = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
        let unit = UNITS.into_iter().find(|(shift, _)| self.0 != 0 && self.0.trailing_zeros() >= *shift);
        let (shift, unit) = unit.unwrap_or((0, "bytes"));
        write!(f, "{} {unit}", self.0 >> shift)
    }
}

/// A text on one line, whatever a file or device may be called.
struct Plain<'t>(&'t str);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            if character.is_control() {
                write!(f, "{}", character.escape_default())?;
            } else {
                write!(f, "{character}")?;
            }
        }
        Ok(())
    }
}
