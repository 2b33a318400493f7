//! The snapshot of a set, and its picture: SVG that follows the reader's light or dark.

use core::fmt::Write as _;

use pmemset_linux::{Extent, Linux, Platform, Reservation, Set, Source};

use crate::size;

/// A segment, as [`Snapshot`] keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Its addresses.
    pub extent: Extent,
    /// Which source of the snapshot it maps.
    pub source: usize,
    /// Its first byte there.
    pub offset: u64,
    /// Handles and calls that use it.
    pub pins: u32,
}

/// An address window and what a set has in it, at one moment if nobody maps or removes meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// All addresses.
    pub window: Extent,
    /// The parts, ascending.
    pub parts: Vec<Extent>,
    /// Their segments, ascending.
    pub segments: Vec<Piece>,
    /// What nobody has.
    pub holes: Vec<Extent>,
    /// Name and length in bytes of each source.
    pub sources: Vec<(String, u64)>,
}

impl Snapshot {
    /// Takes the snapshot of a set in a reservation; `place` tells which of `sources` a handle stands for.
    pub fn of<'r, S: Source<Space = <Linux as Platform>::Space> + Clone>(
        set: &Set<'_, &'r Reservation<'static, Linux>, S>,
        reservation: &'r Reservation<'static, Linux>,
        sources: &[(String, u64)],
        place: impl Fn(&S) -> usize,
    ) -> Self {
        let segments = set.segments(reservation.extent()).map(|segment| Piece {
            extent: segment.extent,
            source: place(&segment.source),
            offset: segment.offset,
            pins: segment.pins,
        });
        Self {
            window: reservation.extent(),
            segments: segments.collect(),
            parts: set.extents().collect(),
            holes: reservation.holes().collect(),
            sources: sources.to_vec(),
        }
    }

    /// Draws it: the window above, the sources below, and what of which lies where; addresses count from the window's
    /// first.
    #[must_use]
    pub fn to_svg(&self) -> String {
        let mut longest = self.window.length_bytes() as u64;
        // A source that is longer than the window is drawn as far as it is mapped.
        for piece in &self.segments {
            longest = longest.max(piece.offset + piece.extent.length_bytes() as u64);
        }
        let scale = Scale { longest };
        let height = SOURCES + self.sources.len() as u64 * SOURCE + 8;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
             height=\"{height}\" role=\"img\">\n<title>Address window of a set</title>\n{STYLE}\
             <rect class=\"ground\" width=\"{WIDTH}\" height=\"{height}\"/>\n"
        );
        let (parts, segments) = (self.parts.len(), self.segments.len());
        let window = size(self.window.length_bytes() as u64);
        text(&mut svg, LEFT, 26, "head", &format!("address window: {window}, {segments} segments in {parts} parts"));
        for (name, length) in &self.sources {
            let y = self.row(name);
            let (width, shown) = (scale.width(*length), size(*length));
            let _ = writeln!(svg, "<rect class=\"hole\" x=\"{LEFT}\" y=\"{y}\" width=\"{width}\" height=\"{BAR}\"/>");
            text(&mut svg, LEFT, y + BAR + 18, "", &format!("source {name}: {shown}"));
        }
        for hole in &self.holes {
            self.block(&mut svg, &scale, *hole, "hole", &["free", &size(hole.length_bytes() as u64)]);
        }
        for piece in &self.segments {
            self.segment(&mut svg, &scale, piece);
        }
        for (index, part) in self.parts.iter().enumerate() {
            let (x, width) = (scale.x(self.place_of(part.start())), scale.width(part.length_bytes() as u64));
            let _ = writeln!(svg, "<path class=\"part\" d=\"M{x} {0}v-6h{width}v6\"/>", WINDOW - 4);
            let name = format!("part {}", index + 1);
            let label = format!("{name}: {}", size(part.length_bytes() as u64));
            let label = if fits(&label, width) { label } else { name };
            if fits(&label, width) {
                text(&mut svg, x + width / 2, WINDOW - 16, "mid", &label);
            }
        }
        svg.push_str("</svg>\n");
        svg
    }

    /// A segment, what it maps, and the band between them.
    fn segment(&self, svg: &mut String, scale: &Scale, piece: &Piece) {
        let length = piece.extent.length_bytes() as u64;
        let (top, width) = (scale.x(self.place_of(piece.extent.start())), scale.width(length));
        let part = self.parts.iter().position(|part| part.overlaps(piece.extent)).unwrap_or(0) % 2;
        if let Some((name, _)) = self.sources.get(piece.source) {
            let (low, y, end) = (scale.x(piece.offset), self.row(name), WINDOW + BAR);
            let _ = writeln!(
                svg,
                "<path class=\"band p{part}\" d=\"M{top} {end}h{width}L{} {y}h-{width}z\"/>\n\
                 <rect class=\"p{part}\" x=\"{low}\" y=\"{y}\" width=\"{width}\" height=\"{BAR}\"/>",
                low + width
            );
            inside(svg, low, y, width, &["from", &size(piece.offset)]);
        }
        let pins = match piece.pins {
            0 => String::new(),
            1 => "1 pin".to_owned(),
            more => format!("{more} pins"),
        };
        self.block(svg, scale, piece.extent, &format!("p{part}"), &[&size(length), &pins]);
    }

    /// A stretch of the window.
    fn block(&self, svg: &mut String, scale: &Scale, extent: Extent, class: &str, lines: &[&str]) {
        let (x, width) = (scale.x(self.place_of(extent.start())), scale.width(extent.length_bytes() as u64));
        let _ = writeln!(svg, "<rect class=\"{class}\" x=\"{x}\" y=\"{WINDOW}\" width=\"{width}\" height=\"{BAR}\"/>");
        inside(svg, x, WINDOW, width, lines);
    }

    const fn place_of(&self, address: usize) -> u64 {
        (address - self.window.start()) as u64
    }

    /// Returns the top of a source's bar.
    fn row(&self, name: &str) -> u64 {
        let index = self.sources.iter().position(|(other, _)| other == name).unwrap_or(0);
        SOURCES + index as u64 * SOURCE
    }
}

const WIDTH: u64 = 912;
const LEFT: u64 = 24;
const WINDOW: u64 = 76;
const BAR: u64 = 46;
const SOURCES: u64 = 190;
const SOURCE: u64 = 84;

const STYLE: &str = "<style>\
text{font:12px sans-serif;fill:#24292f}.head{font-size:15px}.mid{text-anchor:middle}.ground{fill:#fff}\n\
rect,path{stroke:#57606a;stroke-width:1}.ground{stroke:none}.hole{fill:none;stroke-dasharray:3 3}\n\
.part{fill:none}.p0{fill:#9ecae9}.p1{fill:#f6c48f}.band{opacity:.3;stroke:none}\n\
@media (prefers-color-scheme:dark){text{fill:#e6edf3}.ground{fill:#0d1117}rect,path{stroke:#8b949e}\n\
.p0{fill:#1f567d}.p1{fill:#7d4a14}.band{opacity:.45}}</style>\n";

/// Bytes to units of the picture.
struct Scale {
    longest: u64,
}

impl Scale {
    fn width(&self, bytes: u64) -> u64 {
        let room = u128::from(WIDTH - 2 * LEFT);
        let width = u128::from(bytes.min(self.longest)) * room / u128::from(self.longest.max(1));
        u64::try_from(width).unwrap_or(0)
    }

    fn x(&self, bytes: u64) -> u64 {
        LEFT + self.width(bytes)
    }
}

/// Returns whether a text of 12 units' height has room.
fn fits(label: &str, width: u64) -> bool {
    label.chars().count() as u64 * 13 / 2 + 6 <= width
}

/// Writes lines into the middle of a bar, if all have room.
fn inside(svg: &mut String, x: u64, y: u64, width: u64, lines: &[&str]) {
    if lines.iter().all(|line| fits(line, width)) {
        for (line, at) in lines.iter().zip([y + 20, y + 36]) {
            text(svg, x + width / 2, at, "mid", line);
        }
    }
}

fn text(svg: &mut String, x: u64, y: u64, class: &str, what: &str) {
    if what.is_empty() {
        return;
    }
    let what = what.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(svg, "<text class=\"{class}\" x=\"{x}\" y=\"{y}\">{what}</text>");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns where each text is: its line, and from where to where, about.
    fn labels(svg: &str) -> Vec<(u64, u64, u64, &str)> {
        let one = |line: &'static str, text: &str| text.split_once(line).unwrap().1.split_once('"').unwrap().0.parse();
        let texts = svg.lines().filter(|line| line.starts_with("<text"));
        let placed = texts.map(|line| {
            let (x, y): (u64, u64) = (one(" x=\"", line).unwrap(), one(" y=\"", line).unwrap());
            let words = line.split_once('>').unwrap().1.trim_end_matches("</text>");
            let width = words.chars().count() as u64 * 13 / 2;
            let from = if line.contains("\"mid\"") { x - width / 2 } else { x };
            (y, from, from + width, words)
        });
        placed.collect()
    }

    #[test]
    fn labels_have_room_beside_each_other() {
        let window = Extent::new(0x10_0000, 0x10_0000).unwrap();
        let piece = |start: usize, length: usize, source: usize, offset: u64, pins: u32| {
            let extent = window.slice(start << 12, length << 12).unwrap();
            Piece { extent, source, offset, pins }
        };
        let segments =
            vec![piece(0, 1, 0, 0, 0), piece(1, 2, 1, 4096, 7), piece(100, 20, 1, 0, 3), piece(130, 126, 0, 8192, 1)];
        let snapshot = Snapshot {
            window,
            parts: segments.iter().map(|piece| piece.extent).collect(),
            holes: vec![window.slice(3 << 12, 97 << 12).unwrap(), window.slice(120 << 12, 10 << 12).unwrap()],
            segments,
            sources: vec![("a<b".to_owned(), 1 << 40), ("c".to_owned(), 1 << 17)],
        };
        let svg = snapshot.to_svg();
        let labels = labels(&svg);
        for (index, (y, from, to, words)) in labels.iter().enumerate() {
            assert!(*to <= WIDTH, "{words} ends at {to}");
            for (_, left, right, other) in labels[index + 1..].iter().filter(|label| label.0 == *y) {
                assert!(to < left || right < from, "{words} and {other} overlap");
            }
        }
        let said: Vec<&str> = labels.iter().map(|label| label.3).collect();
        for expected in
            ["source a&lt;b: 1024 GiB", "source c: 128 KiB", "3 pins", "1 pin", "388 KiB", "part 4: 504 KiB"]
        {
            assert!(said.contains(&expected), "{expected}: {said:?}");
        }
        // Two pages of 256 have no room for words.
        assert!(!said.contains(&"7 pins"));
        assert_eq!(svg.matches("<path class=\"band").count(), 4);
    }
}
