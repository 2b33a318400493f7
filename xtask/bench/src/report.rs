//! What a figure has come to, and how it is printed while it grows.

use crate::Options;
use crate::figures::Subject;
use crate::measure::{Contender, Measured, compare};

/// The same done in several ways.
pub(crate) struct Row {
    pub(crate) case: &'static str,
    /// How many, or how many bytes.
    pub(crate) n: usize,
    /// The first one is this library, the others are its peers.
    pub(crate) measured: Vec<Measured>,
}

/// A subject, and what was measured of it.
pub(crate) struct Figure {
    pub(crate) subject: &'static Subject,
    pub(crate) rows: Vec<Row>,
    /// What could not be measured, and why.
    pub(crate) skipped: Vec<String>,
    options: Options,
}

impl Figure {
    pub(crate) fn new(subject: &'static Subject, options: Options) -> Self {
        if !options.json {
            println!("\n{}: {}", subject.name, subject.title);
        }
        Self { subject, rows: Vec::new(), skipped: Vec::new(), options }
    }

    pub(crate) const fn quick(&self) -> bool {
        self.options.quick
    }

    /// Measures and prints one row.
    pub(crate) fn row(&mut self, case: &'static str, n: usize, contenders: Vec<Contender<'_>>) {
        self.row_of(if self.quick() { 5 } else { 21 }, case, n, contenders);
    }

    /// The same with that many samples of each contender.
    pub(crate) fn row_of(&mut self, rounds: usize, case: &'static str, n: usize, contenders: Vec<Contender<'_>>) {
        let row = Row { case, n, measured: compare(self.options, rounds, contenders) };
        if self.options.json {
            row.measured.iter().for_each(|one| println!("{}", row.json(self.subject.name, one)));
        } else {
            println!("{}", row.text(self.subject.unit));
        }
        self.rows.push(row);
    }

    /// Returns the names of all that is compared, this library's first.
    pub(crate) fn names(&self) -> Vec<&'static str> {
        let mut names = Vec::new();
        for one in self.rows.iter().flat_map(|row| &row.measured) {
            if !names.contains(&one.name) {
                names.push(one.name);
            }
        }
        names
    }

    /// Says that something cannot be measured here.
    pub(crate) fn skip(&mut self, what: &str, reason: &str) {
        eprintln!("skipped {what}: {reason}");
        self.skipped.push(format!("{what}: {reason}"));
    }
}

impl Row {
    /// Returns what this library took, by what `peer` took.
    pub(crate) fn ratio(&self, peer: &Measured) -> f64 {
        self.measured.first().map_or(f64::NAN, |ours| ours.median / peer.median)
    }

    fn text(&self, unit: &str) -> String {
        let mut line = format!("  {:<30} {:>14}", self.case, count(self.n, unit));
        for (index, one) in self.measured.iter().enumerate() {
            let ratio = if index == 0 { String::new() } else { format!(" ({:.2})", self.ratio(one)) };
            line += &format!("   {} {}{ratio}", one.name, time(one.median));
        }
        let disturbed: usize = self.measured.iter().map(|one| one.disturbed).sum();
        if disturbed > 0 {
            let samples: usize = self.measured.iter().map(|one| one.samples).sum();
            line += &format!("   [{disturbed} of {samples} disturbed]");
        }
        line
    }

    fn json(&self, figure: &str, one: &Measured) -> String {
        let Measured { name, median, low, high, samples, disturbed } = one;
        format!(
            r#"{{"figure":"{figure}","case":"{}","n":{},"name":"{name}","ns":{median:.2},"low":{low:.2},"high":{high:.2},"samples":{samples},"disturbed":{disturbed},"ratio":{:.4}}}"#,
            self.case,
            self.n,
            self.ratio(one)
        )
    }
}

/// Writes a number with its unit, whole KiB and MiB as such.
pub(crate) fn count(n: usize, unit: &str) -> String {
    match n {
        _ if unit != "B" || n == 0 || !n.is_multiple_of(1024) => format!("{n} {unit}"),
        _ if n.is_multiple_of(1 << 20) => format!("{} MiB", n >> 20),
        _ => format!("{} KiB", n >> 10),
    }
}

/// Writes nanoseconds in the unit that keeps them short.
pub(crate) fn time(ns: f64) -> String {
    match ns {
        _ if ns.is_nan() => "?".into(),
        ..10.0 => format!("{ns:.2} ns"),
        ..1e3 => format!("{ns:.0} ns"),
        ..1e4 => format!("{:.2} µs", ns / 1e3),
        ..1e6 => format!("{:.0} µs", ns / 1e3),
        ..1e7 => format!("{:.2} ms", ns / 1e6),
        _ => format!("{:.0} ms", ns / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        let cases =
            [(1.234, "1.23 ns"), (48.4, "48 ns"), (1234.0, "1.23 µs"), (45_678.0, "46 µs"), (3_456_789.0, "3.46 ms")];
        cases.iter().for_each(|(ns, text)| assert_eq!(time(*ns), *text));
    }

    #[test]
    fn counts_are_short() {
        let cases = [(8, "B", "8 B"), (4096, "B", "4 KiB"), (64 << 20, "B", "64 MiB"), (1024, "parts", "1024 parts")];
        cases.iter().for_each(|(n, unit, text)| assert_eq!(count(*n, unit), *text));
    }

    #[test]
    fn ratios_are_ours_by_theirs() {
        let one = |name, median| Measured { name, median, low: median, high: median, samples: 3, disturbed: 1 };
        let row = Row { case: "x", n: 7, measured: vec![one("pmemset", 6.0), one("peer", 10.0)] };
        assert!(row.text("B").contains("peer 10 ns (0.60)") && row.text("B").ends_with("[2 of 6 disturbed]"));
        let json = row.json("figure", &row.measured[1]);
        assert!(json.contains(r#""name":"peer","ns":10.00"#) && json.ends_with(r#""ratio":0.6000}"#), "{json}");
    }
}
