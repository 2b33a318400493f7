//! How long a write takes until a majority has it, on several kinds of storage, drawn.

use std::error::Error;
use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use plotters::prelude::*;

use pmemset_raft::Write;
use pmemset_raft::wire::{self, Request, Response};

use crate::Outcome;
use crate::nodes::{Cluster, PATIENCE};
use crate::spaces::Spaces;

/// Writes to each cluster, and as many before them that do not count.
const WRITES: usize = 1000;
const WARM_UP: usize = 100;

/// A cluster, and how long its writes have taken.
struct Contender {
    name: &'static str,
    cluster: Cluster,
    stream: Option<TcpStream>,
    latencies: Vec<Duration>,
}

/// Measures three clusters at once, a write to each in turn, and draws the distribution.
pub(crate) fn draw(path: &Path, folder: &Path) -> Outcome<()> {
    let memory = Path::new("/dev/shm").join(format!("pmemset-latency-{}", std::process::id()));
    let places = [
        ("pmemset-log, file on disk (msync)", folder.join("log"), None),
        ("plain file on disk (fdatasync)", folder.join("plain"), Some("fdatasync")),
        ("pmemset-log, file on tmpfs (nothing to wait for)", memory.clone(), None),
    ];
    let mut contenders = Vec::new();
    for (place, (name, folder, word)) in places.into_iter().enumerate() {
        fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
        let cluster = Cluster::found(&folder, Spaces::none(1 + place * 10), word.as_slice())?;
        contenders.push(Contender { name, cluster, stream: None, latencies: Vec::new() });
    }
    for number in 0..WARM_UP + WRITES {
        for contender in &mut contenders {
            let took = contender.write(number as u64)?;
            if number >= WARM_UP {
                contender.latencies.push(took);
            }
        }
        if (number + 1) % 100 == 0 {
            eprintln!("        {} writes to each", number + 1);
        }
    }
    for contender in &mut contenders {
        contender.latencies.sort();
        println!(
            "        {}: {:.0?} at the median, {:.0?} for 99 of 100",
            contender.name,
            contender.at(50),
            contender.at(99)
        );
    }
    let drawn = picture(&contenders).map_err(|error| error.to_string());
    drop(contenders);
    let _ = fs::remove_dir_all(memory);
    let _ = fs::remove_dir_all(folder);
    fs::write(path, drawn?).map_err(|error| error.to_string())
}

impl Contender {
    /// Writes once; what no leader takes is tried again with another, and not counted.
    fn write(&mut self, number: u64) -> Outcome<Duration> {
        let (begin, mut write) = (Instant::now(), Write { client: 1, number, key: number % 100, value: number });
        while begin.elapsed() < PATIENCE {
            if let Some(mut stream) = self.stream.take().or_else(|| self.connect()) {
                let sent = Instant::now();
                if matches!(wire::ask(&mut stream, 0, Request::Write(write)), Ok(Response::Written)) {
                    self.stream = Some(stream);
                    return Ok(sent.elapsed());
                }
            }
            write.client += 1;
            std::thread::sleep(Duration::from_millis(100));
        }
        Err(format!("{}: no leader takes a write", self.name))
    }

    fn connect(&self) -> Option<TcpStream> {
        self.cluster.directory().connect(self.cluster.leader().ok()?).ok()
    }

    fn at(&self, percent: usize) -> Duration {
        self.latencies.get(self.latencies.len() * percent / 100).copied().unwrap_or_default()
    }
}

fn picture(contenders: &[Contender]) -> Result<String, Box<dyn Error>> {
    // Told apart by most people who see colours otherwise (after Okabe and Ito).
    const COLOURS: [RGBColor; 3] = [RGBColor(0, 114, 178), RGBColor(213, 94, 0), RGBColor(0, 140, 100)];
    const INK: RGBColor = RGBColor(36, 41, 47);
    let milliseconds = |latency: &Duration| latency.as_secs_f64() * 1e3;
    let ends = contenders.iter().flat_map(|contender| [contender.at(0), contender.at(99)]);
    let (low, high) =
        ends.fold((f64::MAX, f64::MIN), |(low, high), end| (low.min(milliseconds(&end)), high.max(milliseconds(&end))));
    let (low, high) = (10_f64.powf(low.log10().floor()), 10_f64.powf(high.log10().ceil()));
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, (900, 480)).into_drawing_area();
        root.fill(&WHITE)?;
        let font = |size: i32| ("sans-serif", size).into_font().color(&INK);
        root.draw(&Text::new("A write to a key, until a majority of three has it", (16, 12), font(17)))?;
        let (_, below) = root.split_vertically(44);
        let mut chart = ChartBuilder::on(&below)
            .margin(16)
            .x_label_area_size(44)
            .y_label_area_size(56)
            .build_cartesian_2d((low..high).log_scale(), 0_f64..100_f64)?;
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .x_desc("milliseconds")
            .y_desc("of 100 writes, this many were as fast")
            .label_style(font(13))
            .draw()?;
        for (contender, colour) in contenders.iter().zip(COLOURS) {
            let count = contender.latencies.len() as f64;
            let points = contender.latencies.iter().enumerate();
            let points = points.map(|(place, latency)| (milliseconds(latency).min(high), place as f64 * 100.0 / count));
            chart
                .draw_series(LineSeries::new(points, colour.stroke_width(2)))?
                .label(contender.name)
                .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 20, y)], colour.stroke_width(2)));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerRight)
            .background_style(WHITE)
            .border_style(INK)
            .label_font(font(13))
            .draw()?;
        root.present()?;
    }
    Ok(text)
}
