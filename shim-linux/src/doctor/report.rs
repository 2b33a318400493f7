//! A report: subjects, facts about each, and what could be better.

use core::fmt;
use std::borrow::ToOwned;
use std::string::String;
use std::vec::Vec;

use pmemset_core::Granularity;

/// The subjects that were examined: first the path that was asked for, then what it is on.
///
/// `Display` writes the report for people, [`to_json`](Self::to_json) for programs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The subjects.
    pub subjects: Vec<Subject>,
}

impl Report {
    /// Returns whether there is no finding worse than a hint.
    ///
    /// ```
    /// use pmemset_linux::doctor::Report;
    ///
    /// assert!(Report::default().is_good());
    /// ```
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.findings().all(|(_, finding)| finding.severity == Severity::Hint)
    }

    /// Returns the findings, each with its subject.
    ///
    /// ```
    /// use pmemset_linux::doctor;
    ///
    /// for (subject, finding) in doctor::examine_machine().findings() {
    ///     println!("{}: {}", subject.name, finding.what);
    /// }
    /// ```
    pub fn findings(&self) -> impl Iterator<Item = (&Subject, &Finding)> {
        self.subjects.iter().flat_map(|subject| subject.findings.iter().map(move |finding| (subject, finding)))
    }

    /// Appends a subject, unless it is there already.
    #[doc(hidden)]
    pub fn push(&mut self, subject: Subject) {
        if !self.subjects.iter().any(|other| other.kind == subject.kind && other.name == subject.name) {
            self.subjects.push(subject);
        }
    }
}

/// The kind of a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// The machine and its limits for this process.
    Machine,
    /// A region of the nd bus: memory modules, interleaved.
    Region,
    /// A namespace of a region, and the disk that it is.
    Namespace,
    /// A CXL memory device.
    CxlMemory,
    /// A device DAX.
    Device,
    /// A mounted file system, or a directory of it.
    Mount,
    /// A file.
    File,
    /// Something that could not be examined.
    Other,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Machine => "machine",
            Self::Region => "region",
            Self::Namespace => "namespace",
            Self::CxlMemory => "CXL memory",
            Self::Device => "device DAX",
            Self::Mount => "file system",
            Self::File => "file",
            Self::Other => "path",
        })
    }
}

/// Something that was examined, with facts and findings.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Subject {
    /// Its kind.
    pub kind: Kind,
    /// Its path or the kernel's name for it.
    pub name: String,
    /// What a set gets; `None` if that depends on another subject.
    pub verdict: Option<Verdict>,
    /// The facts.
    pub facts: Vec<Fact>,
    /// The findings: what could be better.
    pub findings: Vec<Finding>,
}

impl Subject {
    /// Returns a subject without facts and findings.
    #[doc(hidden)]
    pub fn new(kind: Kind, name: impl Into<String>) -> Self {
        Self { kind, name: name.into(), verdict: None, facts: Vec::new(), findings: Vec::new() }
    }

    /// Returns the value of the fact `name`.
    #[must_use]
    pub fn fact(&self, name: &str) -> Option<&Value> {
        self.facts.iter().find(|fact| fact.name == name).map(|fact| &fact.value)
    }

    /// Appends a fact.
    #[doc(hidden)]
    pub fn note(&mut self, name: &'static str, value: impl Into<Value>) {
        self.facts.push(Fact { name, value: value.into() });
    }

    /// Sets what a set gets, and why.
    #[doc(hidden)]
    pub fn gets(&mut self, granularity: Option<Granularity>, why: impl fmt::Display) {
        self.verdict = Some(Verdict { granularity, why: std::format!("{why}") });
    }

    /// Appends a hint: something that could be better, and the command that improves it.
    #[doc(hidden)]
    pub fn hint(&mut self, what: impl Into<String>, why: impl Into<String>, mend: Option<String>) {
        self.findings.push(Finding { severity: Severity::Hint, what: what.into(), why: why.into(), mend });
    }

    /// Appends an error, and the command that corrects it.
    #[doc(hidden)]
    pub fn error(&mut self, what: impl Into<String>, why: impl Into<String>, mend: Option<String>) {
        self.findings.push(Finding { severity: Severity::Error, what: what.into(), why: why.into(), mend });
    }
}

/// What a set gets.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verdict {
    /// The granularity at which stores become durable; `None`: a set refuses it.
    pub granularity: Option<Granularity>,
    /// The reason.
    pub why: String,
}

/// One thing that is known of a subject.
///
/// ```
/// use pmemset_linux::doctor::{self, Value};
///
/// let report = doctor::examine(&std::env::temp_dir());
/// for fact in report.subjects.iter().flat_map(|subject| &subject.facts) {
///     if let Value::Unknown(reason) = &fact.value {
///         println!("{} is not known: {reason}", fact.name);
///     }
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fact {
    /// Its name, in the kernel's words.
    pub name: &'static str,
    /// Its value.
    pub value: Value,
}

/// The value of a fact.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Value {
    /// A text.
    Text(String),
    /// A length in bytes.
    Bytes(u64),
    /// A number.
    Count(u64),
    /// Yes or no.
    Flag(bool),
    /// Not known, for this reason; never the same as none or zero.
    Unknown(String),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

impl<T: Into<Self>, E: fmt::Display> From<Result<T, E>> for Value {
    fn from(answer: Result<T, E>) -> Self {
        answer.map_or_else(|error| Self::Unknown(std::format!("{error}")), Into::into)
    }
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Severity {
    /// It works, and could be better.
    Hint,
    /// A set refuses it, bytes are lost, or it could not be examined.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Hint => "hint",
            Self::Error => "error",
        })
    }
}

/// Something that could be better.
///
/// ```
/// use pmemset_linux::doctor;
///
/// let report = doctor::examine("/no/such/path".as_ref());
/// let (_, finding) = report.findings().next().unwrap();
/// println!("{}: {}\nwhy: {}", finding.severity, finding.what, finding.why);
/// assert_eq!(finding.mend, None); // no command makes the path
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What was found.
    pub what: String,
    /// Why that is worse than it could be.
    pub why: String,
    /// The command that improves it; `None` if no command does.
    pub mend: Option<String>,
}
