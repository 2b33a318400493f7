//! Draws a figure: a line for each row, a dot for each contender, time on a logarithmic axis.

use core::error::Error;

use plotters::prelude::*;

use crate::report::{Figure, count, time};

/// What the picture lies on.
#[derive(Clone, Copy)]
pub(crate) enum Light {
    Light,
    Dark,
}

impl Light {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    const fn ground(self) -> RGBColor {
        match self {
            Self::Light => RGBColor(255, 255, 255),
            Self::Dark => RGBColor(13, 17, 23),
        }
    }

    const fn ink(self) -> RGBColor {
        match self {
            Self::Light => RGBColor(36, 41, 47),
            Self::Dark => RGBColor(201, 209, 217),
        }
    }

    const fn faint(self) -> RGBColor {
        match self {
            Self::Light => RGBColor(216, 222, 228),
            Self::Dark => RGBColor(48, 54, 61),
        }
    }

    /// Returns the colour of a contender; the first is this library's.
    fn colour(self, contender: usize) -> RGBColor {
        // Told apart by most people who see colours otherwise (after Okabe and Ito).
        const LIGHT: [RGBColor; 6] = [
            RGBColor(0, 114, 178),
            RGBColor(213, 94, 0),
            RGBColor(0, 140, 100),
            RGBColor(170, 80, 140),
            RGBColor(90, 90, 90),
            RGBColor(150, 120, 0),
        ];
        const DARK: [RGBColor; 6] = [
            RGBColor(86, 180, 233),
            RGBColor(230, 159, 0),
            RGBColor(0, 190, 140),
            RGBColor(220, 140, 190),
            RGBColor(160, 160, 160),
            RGBColor(240, 228, 66),
        ];
        let colours = match self {
            Self::Light => LIGHT,
            Self::Dark => DARK,
        };
        colours[contender % colours.len()]
    }
}

const WIDTH: u32 = 900;
const ROW: u32 = 22;
const TOP: u32 = 64;
const BOTTOM: u32 = 40;
const LABELS: u32 = 290;

/// Returns the picture as SVG.
///
/// # Errors
///
/// What the drawing library says.
pub(crate) fn draw(figure: &Figure, light: Light) -> Result<String, Box<dyn Error>> {
    let names = figure.names();
    let rows = u32::try_from(figure.rows.len())?;
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, (WIDTH, TOP + rows * ROW + BOTTOM)).into_drawing_area();
        root.fill(&light.ground())?;
        let font = |size: i32| ("sans-serif", size).into_font();
        let mut title = figure.subject.title.to_owned();
        title[..1].make_ascii_uppercase();
        root.draw(&Text::new(title, (12, 10), font(17).color(&light.ink())))?;
        let mut x = 12;
        for (index, name) in names.iter().enumerate() {
            root.draw(&Circle::new((x + 5, 46), 5, light.colour(index).filled()))?;
            root.draw(&Text::new((*name).to_owned(), (x + 15, 39), font(13).color(&light.ink())))?;
            x += 15 + 8 * i32::try_from(name.len())? + 16;
        }
        let ends = figure.rows.iter().flat_map(|row| &row.measured).flat_map(|one| [one.low, one.high]);
        let (low, high) = ends.fold((f64::MAX, f64::MIN), |(low, high), ns| (low.min(ns), high.max(ns)));
        let (low, high) = (10_f64.powf(low.log10().floor()), 10_f64.powf(high.log10().ceil()));
        let left = i32::try_from(LABELS)?;
        let right = i32::try_from(WIDTH - 24)?;
        let to_x = |ns: f64| -> i32 {
            let share = (ns.log10() - low.log10()) / (high.log10() - low.log10()).max(1e-9);
            left + scaled(share, right - left)
        };
        let foot = i32::try_from(TOP + rows * ROW)?;
        let mut mark = low;
        while mark <= high * 1.001 {
            let line = vec![(to_x(mark), i32::try_from(TOP)?), (to_x(mark), foot)];
            root.draw(&PathElement::new(line, light.faint()))?;
            root.draw(&Text::new(time(mark), (to_x(mark) - 14, foot + 8), font(12).color(&light.ink())))?;
            mark *= 10.0;
        }
        for (index, row) in figure.rows.iter().enumerate() {
            let y = i32::try_from(TOP + ROW * u32::try_from(index)? + ROW / 2)?;
            let label = format!("{}, {}", row.case, count(row.n, figure.subject.unit));
            root.draw(&Text::new(label, (12, y - 5), font(13).color(&light.ink())))?;
            root.draw(&PathElement::new(vec![(left, y), (right, y)], light.faint()))?;
            // Ours is drawn last, over the others.
            for (place, one) in row.measured.iter().enumerate().rev() {
                let colour = light.colour(names.iter().position(|name| *name == one.name).unwrap_or(0));
                root.draw(&PathElement::new(vec![(to_x(one.low), y), (to_x(one.high), y)], colour.stroke_width(3)))?;
                // A peer that took as long is a ring around ours.
                let radius = if place == 0 { 4 } else { 6 };
                root.draw(&Circle::new((to_x(one.median), y), radius, colour.filled()))?;
            }
        }
        root.present()?;
    }
    Ok(text)
}

#[expect(clippy::cast_possible_truncation, reason = "pixels of a picture")]
fn scaled(share: f64, length: i32) -> i32 {
    (share * f64::from(length)).round() as i32
}
