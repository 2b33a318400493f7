//! Writes `BENCHMARKS.md` and its pictures.

use core::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::Options;
use crate::picture::{self, Light};
use crate::report::{Figure, time};

/// Where pictures go, seen from the page.
const PICTURES: &str = "xtask/bench/pictures";

/// Writes the page and the pictures below `folder`.
///
/// # Errors
///
/// What cannot be written or drawn.
pub(crate) fn write(folder: &Path, options: Options, figures: &[Figure]) -> Result<(), Box<dyn core::error::Error>> {
    let pictures = folder.join(PICTURES);
    fs::create_dir_all(&pictures)?;
    let mut page = String::from("# Benchmarks\n\n");
    head(&mut page, options, figures)?;
    for figure in figures {
        if !figure.rows.is_empty() {
            for light in [Light::Light, Light::Dark] {
                let name = format!("{}-{}.svg", figure.subject.name, light.name());
                fs::write(pictures.join(name), picture::draw(figure, light)?)?;
            }
        }
        section(&mut page, figure)?;
    }
    fs::write(folder.join("BENCHMARKS.md"), page)?;
    Ok(())
}

fn head(page: &mut String, options: Options, figures: &[Figure]) -> core::fmt::Result {
    let quick = if options.quick { " --quick" } else { "" };
    writeln!(page, "Written by `cargo xtask bench{quick}`, {}.\n", said("date", &["-u", "+%Y-%m-%d %H:%M UTC"]))?;
    writeln!(page, "- Machine: {}", machine())?;
    writeln!(page, "- System: Linux {}; {}", said("uname", &["-r"]), said("rustc", &["--version"]))?;
    let (samples, disturbed) = figures
        .iter()
        .flat_map(|figure| &figure.rows)
        .flat_map(|row| &row.measured)
        .fold((0, 0), |(samples, disturbed), one| (samples + one.samples, disturbed + one.disturbed));
    writeln!(page, "- Disturbed: {disturbed} of {samples} samples (something else had the processor)\n")?;
    page.push_str(
        "Each number is the median of samples that were taken in turn from all that are compared, in one process; in brackets, \
         the ends of the first and the last quarter of the samples. × is what pmemset takes, by what the peer takes: below 1, \
         pmemset is faster. Times hold for this machine, ratios carry further.\n",
    );
    Ok(())
}

fn section(page: &mut String, figure: &Figure) -> core::fmt::Result {
    let subject = figure.subject;
    let mut title = subject.title.to_owned();
    title[..1].make_ascii_uppercase();
    writeln!(page, "\n## {title}\n\n{}\n", subject.about)?;
    figure.skipped.iter().try_for_each(|reason| writeln!(page, "Not measured: {reason}.\n"))?;
    if figure.rows.is_empty() {
        return Ok(());
    }
    let picture = |light: Light| format!("{PICTURES}/{}-{}.svg", subject.name, light.name());
    writeln!(page, "<picture>")?;
    writeln!(page, "  <source media=\"(prefers-color-scheme: dark)\" srcset=\"{}\">", picture(Light::Dark))?;
    writeln!(page, "  <img alt=\"{}\" src=\"{}\">", subject.title, picture(Light::Light))?;
    writeln!(page, "</picture>\n")?;
    let peers = figure.names();
    let heads: Vec<String> =
        peers.iter().map(|name| if name.contains('<') { format!("`{name}`") } else { (*name).to_owned() }).collect();
    writeln!(page, "| case | {} | {} | disturbed |", subject.unit, heads.join(" | "))?;
    writeln!(page, "| --- | ---: |{} ---: |", " ---: |".repeat(peers.len()))?;
    for row in &figure.rows {
        write!(page, "| {} | {} |", row.case, row.n)?;
        for peer in &peers {
            match row.measured.iter().position(|one| one.name == *peer) {
                None => write!(page, " |")?,
                Some(index) => {
                    let one = &row.measured[index];
                    let ratio = if index == 0 { String::new() } else { format!(" ×{:.2}", row.ratio(one)) };
                    write!(page, " {} ({} … {}){ratio} |", time(one.median), time(one.low), time(one.high))?;
                }
            }
        }
        let disturbed: usize = row.measured.iter().map(|one| one.disturbed).sum();
        let samples: usize = row.measured.iter().map(|one| one.samples).sum();
        writeln!(page, " {disturbed} of {samples} |")?;
    }
    Ok(())
}

fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map_or_else(|_| "?".into(), |output| String::from_utf8_lossy(output.stdout.trim_ascii()).into_owned())
}

fn machine() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("?", |(_, name)| name);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib =
        memory.lines().find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse::<u64>().ok());
    let guest = if cpuinfo.contains(" hypervisor") { ", a virtual machine" } else { "" };
    format!("{model}, {cores} processors, {} GiB{guest}", kib.unwrap_or(0) >> 20)
}
