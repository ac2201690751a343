//! The policies against simpler rules: a simulation in virtual time, so it is exact on any machine.
//!
//! `cargo bench --features cli --bench policies [-- [--write] [--record]]`
//!
//! `tests/policies.rs` asserts what they gain. `--write` draws `benches/charts/policies-*.svg`, one per scenario, and
//! replaces the table of `benches/results/policies.md`, and `--record` keeps how many requests were lost.

#[path = "../tests/outages/mod.rs"]
mod outages;
mod results;

use std::error::Error;
use std::{env, fs};

use plotters::coord::Shift;
use plotters::prelude::*;

use outages::{Report, Scenario};

const TEXT: RGBColor = RGBColor(119, 128, 138);
/// Of the policies, then of the other rules.
const COLOURS: [RGBColor; 4] =
    [RGBColor(224, 123, 40), RGBColor(91, 141, 184), RGBColor(125, 95, 160), RGBColor(70, 150, 90)];
/// Lines that coincide show beside each other.
const WIDTHS: [u32; 4] = [2, 4, 7, 10];
const SIZE: (u32, u32) = (720, 440);
const TITLE: u32 = 88;
const FONT: &str = "system-ui, sans-serif";
/// Seconds per point of a line: shorter ones are noise.
const STEP: usize = 2;

fn main() -> Result<(), Box<dyn Error>> {
    let scenarios = outages::play();
    let table = outages::table(&scenarios);
    let flag = |name: &str| env::args().any(|argument| argument == name);
    println!("{table}");
    if flag("--write") {
        for scenario in &scenarios {
            let file = format!("benches/charts/policies-{}.svg", scenario.name.replace(' ', "-"));
            fs::write(&file, chart(scenario)?)?;
            eprintln!("drew {file}");
        }
        results::replace("policies", "policies", &table)?;
    }
    if flag("--record") {
        let figure = |scenario: &Scenario, report: &Report| {
            (format!("policies/{}/{}/lost", scenario.name, report.rule), f64::from(report.lost()))
        };
        let of = |scenario: &Scenario| {
            scenario.reports.iter().map(|report| figure(scenario, report)).collect::<Vec<_>>()
        };
        results::record(&scenarios.iter().flat_map(of).collect::<Vec<_>>())?;
    }
    Ok(())
}

/// What is lost above, the level below.
fn chart(scenario: &Scenario) -> Result<String, Box<dyn Error>> {
    let mut svg = String::new();
    let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
    root.draw(&Text::new(scenario.text, (8, 8), text(17)))?;
    let (title, rest) = root.split_vertically(TITLE);
    let mut x = 8;
    for (report, (colour, width)) in scenario.reports.iter().zip(COLOURS.into_iter().zip(WIDTHS)) {
        title.draw(&PathElement::new([(x, 48), (x + 24, 48)], colour.stroke_width(width)))?;
        title.draw(&Text::new(report.rule, (x + 32, 41), text(14)))?;
        x += 70 + 8 * report.rule.len() as i32;
    }
    title.draw(&Text::new("Shaded: the trouble. The axis has seconds.", (8, 66), text(13)))?;
    let panels = rest.split_evenly((2, 1));
    panel(&panels[0], "requests lost, %", scenario, |report, second| 100.0 * report.lost_share(second))?;
    panel(&panels[1], scenario.level, scenario, |report, second| report.level[second])?;
    root.present()?;
    drop((panels, title, rest, root));
    Ok(svg)
}

fn panel(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    caption: &str,
    scenario: &Scenario,
    value: fn(&Report, usize) -> f64,
) -> Result<(), Box<dyn Error>> {
    area.draw(&Text::new(caption, (8, 4), text(14)))?;
    let lines = scenario.reports.iter().map(|report| line(report, value)).collect::<Vec<_>>();
    let seconds = scenario.reports[0].lost.len();
    let most = lines.iter().flatten().fold(1.0_f64, |most, &(_, value)| most.max(value));
    let mut chart = ChartBuilder::on(area)
        .margin_top(28)
        .margin_right(20)
        .x_label_area_size(24)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..seconds as f64, 0.0..most * 1.05)?;
    let trouble = [(scenario.trouble.start as f64, 0.0), (scenario.trouble.end as f64, most * 1.05)];
    chart.draw_series([Rectangle::new(trouble, TEXT.mix(0.12).filled())])?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(TEXT.mix(0.3))
        .axis_style(TEXT)
        .x_labels(9)
        .y_labels(5)
        .x_label_formatter(&|second| format!("{second:.0}"))
        .y_label_formatter(&|value| format!("{value:.0}"))
        .label_style(text(13))
        .draw()?;
    // The policies last, so that they are on top.
    for (line, (colour, width)) in lines.into_iter().zip(COLOURS.into_iter().zip(WIDTHS)).rev() {
        chart.draw_series([PathElement::new(line, colour.stroke_width(width))])?;
    }
    Ok(())
}

fn line(report: &Report, value: fn(&Report, usize) -> f64) -> Vec<(f64, f64)> {
    let seconds: Vec<usize> = (0..report.lost.len()).collect();
    let mean = |seconds: &[usize]| {
        let sum: f64 = seconds.iter().map(|&second| value(report, second)).sum();
        sum / seconds.len() as f64
    };
    seconds.chunks(STEP).map(|seconds| (seconds[0] as f64, mean(seconds))).collect()
}

fn text(size: u32) -> TextStyle<'static> {
    (FONT, size).into_font().color(&TEXT)
}
