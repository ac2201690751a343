//! Waits for memory in a pool whose peers stall: a simulation in virtual time, so it is exact on any machine.
//!
//! `cargo bench --features cli --bench fair_queue [-- [--write] [--record]]`
//!
//! Thousands of peers share a pool: well-behaved ones with small and with large requests, and those that stall, drip,
//! cancel and flood. The pool is real; the strict FIFO beside it is a model of what it replaced. `--write` draws
//! `benches/charts/fair-queue.svg` and replaces the section of `benches/results/queue.md`, and `--record` keeps the
//! figures for the claims.

mod results;
#[path = "../tests/simulation/mod.rs"]
mod simulation;

use std::error::Error;
use std::fmt::Write as _;
use std::{env, fmt, fs};

use plotters::coord::Shift;
use plotters::prelude::*;

use simulation::policy::{Pool, StrictFifo};
use simulation::{KINDS, Kind, MILLISECOND, Report, Setting, Time, play};

const FILE: &str = "benches/charts/fair-queue.svg";
const SMALL: usize = 4000;
/// Stalled peers, along the axis of the chart.
const STALLED: [usize; 8] = [0, 4, 8, 16, 64, 256, 1024, 4096];
/// Settings that are drawn.
const DRAWN: [&str; 3] = ["relay, 1 MiB", "relay, 64 MiB", "bus, 256 MiB"];

const TEXT: RGBColor = RGBColor(119, 128, 138);
const OURS: RGBColor = RGBColor(224, 123, 40);
const FIFO: RGBColor = RGBColor(91, 141, 184);
const PANEL: (u32, u32) = (360, 210);
const TITLE: u32 = 64;
const FONT: &str = "system-ui, sans-serif";
/// Milliseconds at the lower end of the axis, where requests are that did not wait.
const NONE: f64 = 0.1;

/// The reports for one number of stalled peers.
struct Point {
    pool: Report,
    fifo: Report,
}

fn main() -> Result<(), Box<dyn Error>> {
    let flag = |name: &str| env::args().any(|argument| argument == name);
    let (mut table, mut whole) = (String::from(WAITS), String::from(WHOLE));
    let (mut figures, mut drawn) = (Vec::new(), Vec::new());
    for setting in Setting::all() {
        eprintln!("{}", setting.name);
        let stalled =
            if DRAWN.contains(&setting.name.as_str()) { &STALLED[..] } else { &STALLED[STALLED.len() - 1..] };
        let points: Vec<_> = stalled.iter().map(|&stalled| Point::of(&setting, stalled)).collect();
        let most = &points[points.len() - 1];
        write_rows(&mut table, &setting, most)?;
        write_whole(&mut whole, &setting, &most.pool)?;
        figures.extend(most.figures(&setting));
        if points.len() > 1 {
            drawn.push((setting.name, points));
        }
    }
    table.push_str(&whole);
    println!("{table}");
    if flag("--write") {
        fs::write(FILE, chart(&drawn)?)?;
        eprintln!("drew {FILE}");
        results::replace("queue", "fair_queue", &table)?;
    }
    if flag("--record") {
        results::record(&figures)?;
    }
    Ok(())
}

impl Point {
    fn of(setting: &Setting, stalled: usize) -> Self {
        let scenario = setting.crowd(SMALL, stalled);
        let fifo = play(&scenario, StrictFifo::new(&setting.config));
        Self { pool: play(&scenario, Pool::new(&setting.config)), fifo }
    }

    /// The p99 of the well-behaved requests, in milliseconds.
    fn figures(&self, setting: &Setting) -> Vec<(String, f64)> {
        let figure = |who: &str, report: &Report, kind| {
            let key = format!("fair_queue/{}/{}/{who}", setting.name, describe(kind));
            (key, milliseconds(report.of(kind).quantile(990)))
        };
        let of = |kind| [figure("pool", &self.pool, kind), figure("strict FIFO", &self.fifo, kind)];
        [Kind::Small, Kind::Large].into_iter().flat_map(of).collect()
    }
}

fn milliseconds(time: Time) -> f64 {
    time as f64 / MILLISECOND as f64
}

const WAITS: &str = "\
| pool | requests | number | median | p99 | longest | in a strict FIFO: p99 | longest |
|---|---|---|---|---|---|---|---|
";

fn write_rows(table: &mut String, setting: &Setting, point: &Point) -> fmt::Result {
    for kind in KINDS {
        let (pool, fifo) = (point.pool.of(kind), point.fifo.of(kind));
        if pool.requests() > 0 {
            let waits =
                [pool.quantile(500), pool.quantile(990), pool.longest(), fifo.quantile(990), fifo.longest()];
            let waits = waits.map(|wait| format!("{:.1}", milliseconds(wait))).join(" | ");
            writeln!(table, "| {} | {} | {} | {waits} |", setting.name, describe(kind), pool.requests())?;
        }
    }
    Ok(())
}

const WHOLE: &str = "
| pool | limit | most live | grants to younger requests while a large one was the oldest | most bytes during one such wait |
|---|---|---|---|---|
";

fn write_whole(table: &mut String, setting: &Setting, pool: &Report) -> fmt::Result {
    let mib = |bytes: usize| bytes as f64 / f64::from(1 << 20);
    let Report { most_live, passes, most_passed, .. } = *pool;
    let (limit, live, passed) = (mib(setting.config.memory_limit()), mib(most_live), mib(most_passed));
    writeln!(table, "| {} | {limit} MiB | {live:.2} MiB | {passes} | {passed:.2} MiB |", setting.name)
}

fn describe(kind: Kind) -> &'static str {
    match kind {
        Kind::Small => "small",
        Kind::Large => "large",
        Kind::Stalled => "stalled",
        Kind::StalledMiddle => "stalled, of middle size",
        Kind::Dripper => "held for a second",
        Kind::Canceller => "cancelled within 50 ms",
        Kind::Flood => "200 at once",
    }
}

/// A row of panels per setting: small requests on the left, large ones on the right.
fn chart(drawn: &[(String, Vec<Point>)]) -> Result<String, Box<dyn Error>> {
    let mut svg = String::new();
    let size = (2 * PANEL.0, TITLE + PANEL.1 * drawn.len() as u32);
    let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
    let text = |size: u32| (FONT, size).into_font().color(&TEXT);
    root.draw(&Text::new("Waits for memory beside stalled peers", (8, 8), text(19)))?;
    for (x, colour, name) in [(8, OURS, "the pool's queue"), (190, FIFO, "strict FIFO")] {
        root.draw(&PathElement::new([(x, 44), (x + 24, 44)], colour.stroke_width(2)))?;
        root.draw(&Text::new(name, (x + 32, 37), text(15)))?;
    }
    let panels = root.split_vertically(TITLE).1.split_evenly((drawn.len(), 2));
    for (index, area) in panels.iter().enumerate() {
        let (name, points) = &drawn[index / 2];
        let kind = [Kind::Small, Kind::Large][index % 2];
        let caption = format!("{name}: p99 of {} requests, ms; stalled peers", describe(kind));
        area.draw(&Text::new(caption, (8, 6), text(15)))?;
        panel(area, kind, points)?;
    }
    root.present()?;
    drop((panels, root));
    Ok(svg)
}

fn panel(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    kind: Kind,
    points: &[Point],
) -> Result<(), Box<dyn Error>> {
    let text = (FONT, 14).into_font().color(&TEXT);
    let mut chart = ChartBuilder::on(area)
        .margin_top(30)
        .margin_right(20)
        .x_label_area_size(26)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..STALLED.len() as f64 - 1.0, (NONE..20_000.0).log_scale())?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(TEXT.mix(0.3))
        .axis_style(TEXT)
        .x_labels(STALLED.len())
        .x_label_formatter(&|index| STALLED[index.round() as usize].to_string())
        .y_label_formatter(&|wait| if *wait <= NONE { "none".to_owned() } else { wait.to_string() })
        .label_style(text)
        .draw()?;
    for (colour, report) in [(FIFO, fifo as fn(&Point) -> &Report), (OURS, pool)] {
        let waits = points.iter().map(|point| milliseconds(report(point).of(kind).quantile(990)));
        let line: Vec<_> = waits.enumerate().map(|(index, wait)| (index as f64, wait.max(NONE))).collect();
        chart.draw_series(line.iter().map(|&at| Circle::new(at, 3, colour.filled())))?;
        chart.draw_series([PathElement::new(line, colour.stroke_width(2))])?;
    }
    Ok(())
}

fn pool(point: &Point) -> &Report {
    &point.pool
}

fn fifo(point: &Point) -> &Report {
    &point.fifo
}
