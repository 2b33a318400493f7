//! Parsers of what `/proc/self` and the nodes' folder say: pure functions over bytes that never panic and take garbage
//! for an error.

use pmemset_core::Extent;

use crate::nd::parse::{self, Garbage, cut, digits, trim};

/// One mapping of a process, as `/proc/self/maps` and `/proc/self/smaps` list it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vma {
    /// Its addresses.
    pub extent: Extent,
    /// Its first byte in the file.
    pub offset: u64,
    /// The major and minor number of the file's file system; zeros where no file is mapped.
    pub device: (u32, u32),
    /// The file's number; 0 where no file is mapped.
    pub inode: u64,
}

/// Parses the line that a mapping begins with, `START-END PERMISSIONS OFFSET MAJOR:MINOR INODE PATH` (`proc(5)`), or
/// what there is of it up to the path.
///
/// # Errors
///
/// [`Garbage`]: anything else.
pub fn vma(line: &[u8]) -> Result<Vma, Garbage> {
    let mut words = trim(line).split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    let mut word = || words.next().ok_or(Garbage);
    let (start, end) = cut(word()?, b'-');
    let address = |text| digits(text, 16).and_then(|address| usize::try_from(address).map_err(|_| Garbage));
    let extent = Extent::between(address(start)?, address(end.ok_or(Garbage)?)?).ok_or(Garbage)?;
    let permissions = word()?;
    if permissions.len() != 4 || !permissions.iter().all(|byte| b"rwxsp-".contains(byte)) {
        return Err(Garbage);
    }
    let offset = digits(word()?, 16)?;
    let (major, minor) = cut(word()?, b':');
    let part = |text| digits(text, 16).and_then(|number| u32::try_from(number).map_err(|_| Garbage));
    let device = (part(major)?, part(minor.ok_or(Garbage)?)?);
    Ok(Vma { extent, offset, device, inode: digits(word()?, 10)? })
}

/// Parses a line of what `/proc/self/smaps` says of a mapping, `NAME: NUMBER kB`; returns name and number of bytes, or
/// `None` for lines of other kinds.
#[must_use]
pub fn amount(line: &[u8]) -> Option<(&[u8], u64)> {
    let (name, rest) = cut(trim(line), b':');
    let number = rest?.trim_ascii().strip_suffix(b" kB")?;
    Some((name, digits(number, 10).ok()?.checked_mul(1024)?))
}

/// Parses a list of numbers, `0-3,8`, and calls `take` with the first and last of each run.
///
/// # Errors
///
/// [`Garbage`]: anything else, also a run that falls.
pub fn list(text: &[u8], take: &mut dyn FnMut(u32, u32)) -> Result<(), Garbage> {
    let number = |text| digits(text, 10).and_then(|number| u32::try_from(number).map_err(|_| Garbage));
    let text = trim(text);
    if text.is_empty() {
        return Ok(());
    }
    for run in text.split(|byte| *byte == b',') {
        let (first, last) = cut(run, b'-');
        let first = number(first)?;
        let last = last.map_or(Ok(first), number)?;
        if last < first {
            return Err(Garbage);
        }
        take(first, last);
    }
    Ok(())
}

/// Returns the distance to the node `to` in a node's `distance`, a number for each node of the list `online`.
///
/// # Errors
///
/// [`Garbage`]: one of them is not what it should be, or the node is not in the list.
pub fn distance(distances: &[u8], online: &[u8], to: u32) -> Result<u32, Garbage> {
    let (mut before, mut place) = (0_u64, None);
    list(online, &mut |first, last| {
        if first <= to && to <= last {
            place = Some(before.saturating_add(u64::from(to.saturating_sub(first))));
        }
        before = before.saturating_add(u64::from(last.saturating_sub(first))).saturating_add(1);
    })?;
    let place = usize::try_from(place.ok_or(Garbage)?).map_err(|_| Garbage)?;
    let mut words = trim(distances).split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    let distance = words.nth(place).ok_or(Garbage)?;
    u32::try_from(parse::number(distance)?).map_err(|_| Garbage)
}

/// What `/proc/self/mountinfo` says of one mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The major and minor number of its file system.
    pub device: (u32, u32),
    /// What it says of huge pages.
    pub huge: Huge,
}

/// What a tmpfs says of huge pages: its option `huge=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Huge {
    /// Nothing, or `never`.
    #[default]
    Never,
    /// `always`: each huge page that has room in the file.
    Always,
    /// `within_size`: those before the end of the file.
    WithinSize,
    /// `advise`: where `madvise(2)` asks for them.
    Advise,
}

/// A reader of `/proc/self/mountinfo` (`proc(5)`), byte by byte: paths have any length.
#[derive(Clone, Copy, Debug, Default)]
pub struct MountLines {
    /// How many fields of the line have ended.
    fields: u32,
    /// How many fields have ended behind the dash, which comes after any number of optional fields.
    behind_dash: Option<u32>,
    /// The beginning of the word.
    word: [u8; 24],
    length_bytes: usize,
    device: Option<(u32, u32)>,
    huge: Huge,
}

impl MountLines {
    /// Takes the next byte; returns the mount when it ends a line. A line that says no device is passed over.
    #[must_use]
    pub fn next(&mut self, byte: u8) -> Option<Mount> {
        if !matches!(byte, b' ' | b',' | b'\n') {
            if let Some(place) = self.word.get_mut(self.length_bytes) {
                *place = byte;
            }
            self.length_bytes = self.length_bytes.saturating_add(1);
            return None;
        }
        self.end_word();
        match byte {
            b',' => return None,
            b' ' => {
                self.fields = self.fields.saturating_add(1);
                self.behind_dash = self.behind_dash.map(|fields| fields.saturating_add(1));
                return None;
            }
            _ => {}
        }
        let line = core::mem::take(self);
        line.device.map(|device| Mount { device, huge: line.huge })
    }

    /// Takes the word that has ended: of the third field, the dash, or of the options of the file system.
    fn end_word(&mut self) {
        // A word that is longer than the room for it is none of these.
        let word = self.word.get(..self.length_bytes).unwrap_or_default();
        match (self.fields, self.behind_dash) {
            (2, None) => self.device = parse::device_number(word).ok(),
            (6.., None) if word == b"-" => self.behind_dash = Some(0),
            (_, Some(3)) => {
                self.huge = match word {
                    b"huge=always" => Huge::Always,
                    b"huge=within_size" => Huge::WithinSize,
                    b"huge=advise" => Huge::Advise,
                    b"huge=never" => Huge::Never,
                    _ => self.huge,
                }
            }
            _ => {}
        }
        self.length_bytes = 0;
    }
}

/// Returns the word of a setting that is in brackets: `always [madvise] never`.
///
/// # Errors
///
/// [`Garbage`]: there is none.
pub fn chosen(text: &[u8]) -> Result<&[u8], Garbage> {
    let (_, behind) = cut(text, b'[');
    match cut(behind.ok_or(Garbage)?, b']') {
        (word, Some(_)) if !word.is_empty() => Ok(word),
        _ => Err(Garbage),
    }
}
