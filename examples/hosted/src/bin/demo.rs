//! Maps a set over a file, stores records in it, and, run again, finds them.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::Path;
use std::process::ExitCode;

use hosted::window::Snapshot;
use hosted::{RECORD_BYTES, Record, draw, legend, size};
use pmemset_devdax::{
    AnySource, Coalescing, Config, Extent, Granularity, Linux, LinuxSet, MapConfig, OpenOptions, Part, Platform,
    Reservation, Set, Source,
};

type Error = Box<dyn core::error::Error>;
type DemoSet<'a> = Set<'a, &'a Reservation<'static, Linux>, &'a AnySource>;

/// Address space of the reservation, in units of 64 KiB or of the source's alignment, if that is more.
const WINDOW: usize = 16;
/// What is mapped, in the same units: offset in the source, length, and whether it continues the part before it.
const SEGMENTS: [(usize, usize, bool); 5] = [(0, 2, false), (2, 1, true), (3, 2, true), (5, 2, false), (7, 1, true)];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["store", path, stamp] => stamp.parse().map_err(Error::from).and_then(|stamp| store(path, stamp, false)),
        ["store", path, stamp, "--force"] => {
            stamp.parse().map_err(Error::from).and_then(|stamp| store(path, stamp, true))
        }
        ["svg", path, picture] => picture_of(path, picture),
        ["verify", path, stamp] => stamp.parse().map_err(Error::from).and_then(|stamp| verify(path, stamp)),
        _ => Err("usage: demo store PATH STAMP [--force] | demo verify PATH STAMP | demo svg PATH PICTURE".into()),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("demo: {error}");
            ExitCode::FAILURE
        }
    }
}

fn store(path: &str, stamp: u64, force: bool) -> Result<bool, Error> {
    may_store(Path::new(path), force)?;
    let source = AnySource::open(path, OpenOptions::new().create_if_needed())?;
    with_set(&source, |set, reservation| {
        let window = reservation.extent();
        if matches!(source, AnySource::Dax(_)) && !force && !is_free(set)? {
            return Err(format!("{path} holds something that is not a demo's: --force overwrites it").into());
        }
        describe(set, window, path, &source)?;
        let mut stored = 0;
        for part in set.parts() {
            for slot in 0..slots(&part) {
                let record = Record { number: stored, stamp };
                part.write(slot * RECORD_BYTES, &record.to_bytes())?;
                stored += 1;
            }
        }
        println!("stored   {stored} records, each durable before the next");
        tell_facts(set, window);
        Ok(stored > 0)
    })
}

fn verify(path: &str, stamp: u64) -> Result<bool, Error> {
    let source = AnySource::open(path, OpenOptions::new().do_not_grow())?;
    with_set(&source, |set, _| {
        let (mut found, mut expected) = (0, 0);
        for part in set.parts() {
            for slot in 0..slots(&part) {
                found += u64::from(is_there(&part, slot, Record { number: expected, stamp })?);
                expected += 1;
            }
        }
        println!("verified {found} of {expected} records in a second process");
        Ok(found == expected && expected > 0)
    })
}

/// Draws the window over a source that is there, with a handle to the first part and two to a segment of the last.
fn picture_of(path: &str, picture: &str) -> Result<bool, Error> {
    let source = AnySource::open(path, OpenOptions::new().do_not_grow())?;
    let name = Path::new(path).file_name().ok_or("the path has no name")?.to_string_lossy().into_owned();
    let sources = [(name, source.length_bytes()?)];
    with_set(&source, |set, reservation| {
        let last = set.parts().last().map(|part| part.extent()).ok_or("nothing is mapped")?;
        let pinned = last.slice(0, RECORD_BYTES).ok_or("too short")?;
        let held = (set.first_part()?, set.pin(pinned)?, set.pin(pinned)?);
        let svg = Snapshot::of(set, reservation, &sources, |_| 0).to_svg();
        drop(held);
        fs::write(picture, svg)?;
        println!("picture  {picture}");
        Ok(true)
    })
}

/// Refuses to make a file below /dev, and to overwrite a file that is neither empty nor a demo's.
fn may_store(path: &Path, force: bool) -> Result<(), Error> {
    let shown = path.display();
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let folder = fs::canonicalize(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
            if folder.starts_with("/dev") {
                return Err(format!("there is no device {shown}, and no file is made below /dev").into());
            }
            return Ok(());
        }
        Err(error) => return Err(format!("{shown}: {error}").into()),
        Ok(_) => {}
    }
    // Where a link leads nowhere, a file would be made somewhere else.
    let found = fs::metadata(path).map_err(|error| format!("{shown}: {error}"))?;
    if force || !found.is_file() || found.len() == 0 {
        return Ok(());
    }
    let mut bytes = [0; RECORD_BYTES];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut bytes));
    if read.is_ok() && Record::from_bytes(&bytes).is_some_and(|record| record.number == 0) {
        return Ok(());
    }
    Err(format!("{shown} is not a demo's file, and its first 512 KiB would be lost: --force overwrites it").into())
}

/// Returns whether all that will be overwritten is zeros, or a demo's.
fn is_free(set: &DemoSet<'_>) -> Result<bool, Error> {
    let mut zeros = true;
    for (index, part) in set.parts().enumerate() {
        for slot in 0..slots(&part) {
            let mut bytes = [0; RECORD_BYTES];
            part.read(slot * RECORD_BYTES, &mut bytes)?;
            if index == 0 && slot == 0 && Record::from_bytes(&bytes).is_some_and(|record| record.number == 0) {
                return Ok(true);
            }
            zeros &= bytes == [0; RECORD_BYTES];
        }
    }
    Ok(zeros)
}

/// Returns how many records are stored in a part: 5,000 at most, so that a large device does not take long.
fn slots(part: &Part<&DemoSet<'_>>) -> usize {
    (part.extent().length_bytes() / RECORD_BYTES).min(5000)
}

fn is_there(part: &Part<&DemoSet<'_>>, slot: usize, expected: Record) -> Result<bool, Error> {
    let mut bytes = [0; RECORD_BYTES];
    part.read(slot * RECORD_BYTES, &mut bytes)?;
    Ok(Record::from_bytes(&bytes) == Some(expected))
}

/// Maps the segments into a reservation with a hole before the first part, and takes everything apart afterwards.
fn with_set(
    source: &AnySource,
    work: impl for<'r> FnOnce(&DemoSet<'r>, &'r Reservation<'static, Linux>) -> Result<bool, Error>,
) -> Result<bool, Error> {
    let unit = source.alignment_bytes().max(64 << 10);
    let mut reservation = Reservation::with_capacity(Linux::new(), WINDOW * unit, 32)?;
    let outcome = {
        let set: DemoSet<'_> = Set::with_capacity(&reservation, Config::new(Granularity::Page), 16);
        let hole = set.map(source, &MapConfig::new().length(SEGMENTS[0].1 * unit))?.extent();
        for (offset, length, continues) in SEGMENTS {
            set.set_coalescing(if continues { Coalescing::Full } else { Coalescing::None });
            set.map(source, &MapConfig::new().offset((offset * unit) as u64).length(length * unit))?;
        }
        set.remove_range(hole.start(), hole.length_bytes())?;
        let outcome = work(&set, &reservation);
        while let Some(part) = set.first_part()? {
            set.remove(part)?;
        }
        outcome
    };
    reservation.close().map_err(|refused| refused.to_string())?;
    outcome
}

fn describe(set: &DemoSet<'_>, window: Extent, path: &str, source: &AnySource) -> Result<(), Error> {
    let parts: Vec<Extent> = set.parts().map(|part| part.extent()).collect();
    let granularity = set.granularity().ok_or("nothing is mapped")?;
    let reason = match source {
        AnySource::File(file) => {
            let facts = file.facts()?;
            // The file system counts blocks of its own to a file, too.
            let allocated = match facts.allocated_bytes {
                bytes if bytes < facts.length_bytes => format!("{} allocated", size(bytes)),
                _ => "all allocated".to_owned(),
            };
            println!("source   {path}: {}, {allocated}", size(facts.length_bytes));
            facts.granularity?.to_string()
        }
        AnySource::Dax(device) => {
            println!("source   {path}: device DAX, {}", size(source.length_bytes()?));
            device.durability().to_string()
        }
    };
    println!("stores   {granularity:?} granularity: {reason}");
    match granularity {
        Granularity::Page => println!("flush    msync(2) of the pages touched"),
        Granularity::CacheLine => println!("flush    {}, then a fence", set.platform().cpu().method()),
        Granularity::Byte => println!("flush    a fence"),
    }
    println!("window   {window}  {}, aligned to {}", size(window.length_bytes() as u64), size(alignment(window)));
    println!("  [{}]", draw(window, &parts, 64));
    print!("{}", legend(&parts));
    println!("segments {} in {} parts", set.segment_count(), parts.len());
    Ok(())
}

/// Tells what the kernel did with the first segment, which has been stored to.
fn tell_facts(set: &DemoSet<'_>, window: Extent) {
    let Some(facts) = set.facts(window).next() else { return };
    println!("mapped   {facts}");
    if let Some(hindrance) = facts.hindrance {
        println!("         no huge pages: {hindrance}");
    }
}

/// Returns the largest power of two that the window starts on.
fn alignment(window: Extent) -> u64 {
    1 << window.start().trailing_zeros()
}
