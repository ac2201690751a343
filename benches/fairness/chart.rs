//! p99 against the number of stalled readers as SVG. Colours as in the charts of `rivals`.

use std::io;
use std::path::Path;

use svg::Document;
use svg::node::element::{Circle, Group, Line, Polyline, Text};

use crate::probe::PATIENCE;
use crate::{Outcome, Subject};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/charts/fairness.svg");
pub(crate) const TITLE: &str = "p99 of a small request, beside readers that stall";

const TEXT: &str = "#77808a";
const OURS: &str = "#e07b28";
const RIVAL: &str = "#5b8db8";

const WIDTH: f64 = 720.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 680.0;
const TOP: f64 = 60.0;
const BOTTOM: f64 = 300.0;
const LINE: f64 = 20.0;
/// Milliseconds at the lower end and at the upper one, on a logarithmic scale.
const LEAST: f64 = 0.1;
const MOST: f64 = 10_000.0;

pub(crate) fn draw(relay: &[Outcome]) -> io::Result<()> {
    svg::save(Path::new(FILE), &chart(relay))?;
    eprintln!("drew {FILE}");
    Ok(())
}

fn chart(relay: &[Outcome]) -> Document {
    let mut layer = Group::new()
        .set("font-family", "system-ui, sans-serif")
        .set("font-size", 13)
        .set("fill", TEXT)
        .add(text(TITLE, 8.0, 22.0).set("font-size", 15).set("font-weight", "bold"))
        .add(text(
            "ms, by the number of readers; the bar is 5 ms, and a request that took 5 s has failed",
            8.0,
            42.0,
        ));
    for ms in [0.1, 1.0, 10.0, 100.0, 1000.0, 10_000.0] {
        let label = text(&ms.to_string(), LEFT - 8.0, y(ms) + 4.0).set("text-anchor", "end");
        layer = layer.add(rule(y(ms)).set("stroke-opacity", 0.4)).add(label);
    }
    layer = layer.add(rule(y(5.0)).set("stroke-dasharray", "2 4"));
    let places = ["0", "16", "200", "2000"];
    for (place, readers) in places.iter().enumerate() {
        layer = layer.add(text(readers, x(place), BOTTOM + 20.0).set("text-anchor", "middle"));
    }
    for (nth, subject) in Subject::PROXIES.into_iter().enumerate() {
        let (colour, dashes) = match subject {
            Subject::Millpond1MiB => (OURS, "7 3"),
            Subject::Haproxy => (RIVAL, "none"),
            Subject::Millpond | Subject::Hub => (OURS, "none"),
        };
        let points = points(relay, subject, &places[1..]);
        let line: String = points.iter().map(|(x, y)| format!("{x:.1},{y:.1} ")).collect();
        let beside = BOTTOM + 46.0 + nth as f64 * LINE;
        for line in [line, format!("{LEFT},{beside} {},{beside}", LEFT + 36.0)] {
            let line = Polyline::new().set("points", line).set("fill", "none").set("stroke", colour);
            layer = layer.add(line.set("stroke-width", 2).set("stroke-dasharray", dashes));
        }
        for (x, y) in points {
            layer = layer.add(Circle::new().set("cx", x).set("cy", y).set("r", 3).set("fill", colour));
        }
        layer = layer.add(text(subject.name(), LEFT + 46.0, beside + 4.0));
    }
    let height = BOTTOM + 46.0 + Subject::PROXIES.len() as f64 * LINE;
    Document::new()
        .set("viewBox", (0, 0, WIDTH, height))
        .set("width", WIDTH)
        .set("height", height)
        .set("role", "img")
        .set("aria-label", TITLE)
        .add(layer)
}

/// Without readers, the median of the controls of all these cases.
fn points(relay: &[Outcome], subject: Subject, readers: &[&str]) -> Vec<(f64, f64)> {
    let of_case = |readers: &&str| {
        let case = format!("{readers} stalled readers");
        relay.iter().find(|outcome| outcome.subject == subject && outcome.case == case)
    };
    let outcomes: Vec<&Outcome> = readers.iter().filter_map(of_case).collect();
    let mut controls: Vec<f64> = outcomes.iter().map(|outcome| outcome.without.worse(0.99)).collect();
    controls.sort_by(f64::total_cmp);
    let control = controls.get(controls.len() / 2).copied();
    let values = control.into_iter().chain(outcomes.iter().map(|outcome| outcome.with.worse(0.99)));
    values.enumerate().map(|(place, ms)| (x(place), y(ms.min(PATIENCE.as_secs_f64() * 1e3)))).collect()
}

fn x(place: usize) -> f64 {
    LEFT + 40.0 + place as f64 * (RIGHT - LEFT - 80.0) / 3.0
}

fn y(ms: f64) -> f64 {
    let share = (ms.clamp(LEAST, MOST) / LEAST).ln() / (MOST / LEAST).ln();
    BOTTOM - share * (BOTTOM - TOP)
}

fn rule(y: f64) -> Line {
    Line::new().set("x1", LEFT).set("y1", y).set("x2", RIGHT).set("y2", y).set("stroke", TEXT)
}

fn text(content: &str, x: f64, y: f64) -> Text {
    Text::new(content).set("x", x).set("y", y)
}
