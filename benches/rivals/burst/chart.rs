//! Lines over time as SVG: a panel for each allocator. Colours as in the charts of `showdown`.

use std::path::Path;
use std::{fs, io};

use svg::Document;
use svg::node::element::{Group, Line, Polyline, Text};

use crate::allocator::{self, Allocator};
use crate::subject::LAST_SECOND;
use crate::variant::{Keeper, Variant};
use crate::{Measured, Results, report};

pub(crate) const FILE_NAME: &str = "burst.svg";
pub(crate) const TITLE: &str = "Resident memory after a burst of 1 GiB";
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts");

const TEXT: &str = "#77808a";
const OURS: &str = "#e07b28";
const RIVAL: &str = "#5b8db8";
const LIMIT: &str = "#9aa2aa";

/// Dashes.
const TRAFFIC: &str = "7 3";

const WIDTH: usize = 720;
const HEIGHT: f64 = 150.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 700.0;
/// Where the lines begin: before the burst, and at it.
const BEFORE: f64 = -3.0;
const BURST: f64 = -1.0;
/// MiB at the upper end; the burst and what a process needs beside it.
const TOP: f64 = 1152.0;
const LINE: f64 = 20.0;

pub(crate) fn draw(results: &Results) -> io::Result<()> {
    fs::create_dir_all(FOLDER)?;
    svg::save(Path::new(FOLDER).join(FILE_NAME), &chart(results))?;
    eprintln!("drew benches/charts/{FILE_NAME}");
    Ok(())
}

fn chart(results: &Results) -> Document {
    let mut layer = Group::new()
        .set("font-family", "system-ui, sans-serif")
        .set("font-size", 13)
        .set("fill", TEXT)
        .add(text(TITLE, 8.0, 22.0).set("font-size", 15).set("font-weight", "bold"));
    let mut top = 34.0;
    for allocator in allocator::ALL {
        let lines: Vec<_> = results.iter().filter(|(variant, _)| variant.allocator == allocator).collect();
        layer = layer.add(panel(allocator, &lines, top));
        top += HEIGHT + 64.0 + lines.len() as f64 * LINE;
    }
    Document::new()
        .set("viewBox", (0, 0, WIDTH, top))
        .set("width", WIDTH)
        .set("height", top)
        .set("role", "img")
        .set("aria-label", TITLE)
        .add(layer)
}

/// The lines of one allocator, and under them what they are.
fn panel(allocator: Allocator, lines: &[&(&Variant, Measured)], top: f64) -> Group {
    let heading = format!("{}, MiB resident; seconds after the burst", allocator.name());
    let mut panel = Group::new().add(text(&heading, 8.0, top + 15.0).set("font-weight", "bold"));
    let base = top + 30.0 + HEIGHT;
    for mib in [0, 512, 1024] {
        let y = base - f64::from(mib) / TOP * HEIGHT;
        let label = text(&mib.to_string(), LEFT - 8.0, y + 4.0).set("text-anchor", "end");
        panel = panel.add(rule((LEFT, y), (RIGHT, y)).set("stroke-opacity", 0.4)).add(label);
    }
    for second in report::SECONDS {
        let x = x(second as f64);
        let label = text(&second.to_string(), x, base + 16.0).set("text-anchor", "middle");
        panel = panel.add(rule((x, base), (x, base + 4.0))).add(label);
    }
    let settings = lines.iter().filter(|(variant, _)| variant.setting.is_some()).map(|(variant, _)| variant);
    let settings: Vec<_> = settings.collect();
    // The first last, so that the plain pool lies on top of what it shares a way with.
    for (index, (variant, measured)) in lines.iter().enumerate().rev() {
        let nth = settings.iter().position(|other| other.setting == variant.setting);
        let (colour, dashes) = stroke(variant, nth);
        let y = base + 36.0 + index as f64 * LINE;
        let stroked = |points: String| {
            let line = Polyline::new().set("points", points).set("fill", "none").set("stroke", colour);
            line.set("stroke-width", 2).set("stroke-dasharray", dashes)
        };
        panel = panel
            .add(stroked(points(measured, base)))
            .add(stroked(format!("{LEFT},{y} {},{y}", LEFT + 36.0)))
            .add(text(&variant.name(), LEFT + 46.0, y + 4.0));
    }
    panel
}

/// Colour and dashes. The pool that gives back is ours; `nth` tells those with a setting apart.
fn stroke(variant: &Variant, nth: Option<usize>) -> (&'static str, &'static str) {
    match (variant.keeper, nth) {
        (Keeper::Pool, _) => (LIMIT, "none"),
        (Keeper::Nobody, _) => (RIVAL, if variant.traffic { TRAFFIC } else { "none" }),
        (Keeper::DecayAndReturn, _) => (OURS, "14 3"),
        (Keeper::Decay, None) => (OURS, if variant.traffic { TRAFFIC } else { "none" }),
        (Keeper::Decay, Some(0)) => (OURS, "2 3"),
        (Keeper::Decay, Some(1)) => (OURS, "10 3 2 3"),
        (Keeper::Decay, Some(_)) => (OURS, "10 3 2 3 2 3"),
    }
}

fn points(measured: &Measured, base: f64) -> String {
    let after = measured.after.iter().enumerate().map(|(second, &kib)| (second as f64, kib));
    [(BEFORE, measured.before), (BURST, measured.burst)]
        .into_iter()
        .chain(after)
        .map(|(second, kib)| format!("{:.1},{:.1} ", x(second), base - kib as f64 / 1024.0 / TOP * HEIGHT))
        .collect()
}

fn x(second: f64) -> f64 {
    LEFT + (second - BEFORE) / (f64::from(LAST_SECOND) - BEFORE) * (RIGHT - LEFT)
}

fn rule(from: (f64, f64), to: (f64, f64)) -> Line {
    Line::new().set("x1", from.0).set("y1", from.1).set("x2", to.0).set("y2", to.1).set("stroke", TEXT)
}

fn text(content: &str, x: f64, y: f64) -> Text {
    Text::new(content).set("x", x).set("y", y)
}
