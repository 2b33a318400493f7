//! A report as programs read it (RFC 8259).

use core::fmt::Write as _;
use std::string::String;

use super::report::{Finding, Report, Subject, Value};

impl Report {
    /// Returns the report as one JSON object.
    ///
    /// `subjects` is a list of objects with `kind`, `name`, `verdict` (`granularity` and `why`; or null), `facts` and
    /// `findings` (`severity`, `what`, `why`, `mend`). Lengths are numbers of bytes. A value that is not known is an
    /// object with the member `unknown`, which is the reason. Names of facts have underscores instead of blanks.
    ///
    /// ```
    /// use pmemset_linux::doctor::Report;
    ///
    /// assert_eq!(Report::default().to_json(), r#"{"good":true,"subjects":[]}"#);
    /// ```
    #[must_use]
    pub fn to_json(&self) -> String {
        report(self)
    }
}

fn report(report: &Report) -> String {
    let mut to = String::new();
    let _ = write!(to, r#"{{"good":{},"subjects":"#, report.is_good());
    list(&mut to, &report.subjects, subject);
    to.push('}');
    to
}

fn subject(to: &mut String, subject: &Subject) {
    let _ = write!(to, r#"{{"kind":"{}","name":"#, subject.kind);
    text(to, &subject.name);
    to.push_str(r#","verdict":"#);
    match &subject.verdict {
        None => to.push_str("null"),
        Some(verdict) => {
            to.push_str(r#"{"granularity":"#);
            match verdict.granularity {
                Some(granularity) => drop(write!(to, r#""{granularity}""#)),
                None => to.push_str("null"),
            }
            to.push_str(r#","why":"#);
            text(to, &verdict.why);
            to.push('}');
        }
    }
    to.push_str(r#","facts":{"#);
    for (index, fact) in subject.facts.iter().enumerate() {
        to.push_str(if index == 0 { "" } else { "," });
        text(to, &fact.name.replace(' ', "_"));
        to.push(':');
        value(to, &fact.value);
    }
    to.push_str(r#"},"findings":"#);
    list(to, &subject.findings, finding);
    to.push('}');
}

fn finding(to: &mut String, finding: &Finding) {
    let _ = write!(to, r#"{{"severity":"{}","what":"#, finding.severity);
    text(to, &finding.what);
    to.push_str(r#","why":"#);
    text(to, &finding.why);
    to.push_str(r#","mend":"#);
    match &finding.mend {
        Some(command) => text(to, command),
        None => to.push_str("null"),
    }
    to.push('}');
}

fn value(to: &mut String, value: &Value) {
    match value {
        Value::Text(said) => text(to, said),
        Value::Bytes(number) | Value::Count(number) => drop(write!(to, "{number}")),
        Value::Flag(flag) => drop(write!(to, "{flag}")),
        Value::Unknown(why) => {
            to.push_str(r#"{"unknown":"#);
            text(to, why);
            to.push('}');
        }
    }
}

fn list<T>(to: &mut String, items: &[T], one: fn(&mut String, &T)) {
    to.push('[');
    for (index, item) in items.iter().enumerate() {
        to.push_str(if index == 0 { "" } else { "," });
        one(to, item);
    }
    to.push(']');
}

/// Writes a string; everything that may not stand in one is escaped.
fn text(to: &mut String, said: &str) {
    to.push('"');
    for character in said.chars() {
        match character {
            '"' | '\\' => to.extend(['\\', character]),
            control if u32::from(control) < 0x20 => drop(write!(to, "\\u{:04x}", u32::from(control))),
            other => to.push(other),
        }
    }
    to.push('"');
}
