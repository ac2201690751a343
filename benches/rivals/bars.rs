//! Bars as SVG: a panel for each row, the best on top, ours in colour.
//!
//! The background is the page's own. All colours are of middle lightness, so that they read on white as
//! well as on black: a style that asks for the colour scheme would hear the system's, not the page's.

use std::path::Path;
use std::{fs, io};

use svg::Document;
use svg::node::element::{Group as Layer, Rectangle, Text};

use crate::outcome::{Outcome, Role, Row};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts");
const TEXT: &str = "#77808a";
const OURS: &str = "#e07b28";
const RIVAL: &str = "#5b8db8";
const LIMIT: &str = "#9aa2aa";

const WIDTH: usize = 720;
/// Where the bars begin; the names end before it.
const LEFT: usize = 190;
/// The longest bar, with room for its figure behind it.
const LONGEST: f64 = (WIDTH - LEFT - 80) as f64;
/// A bar of more than this many times our own is cut off, or the others would be too short to compare.
const CUT: f64 = 5.0;
const LINE: usize = 22;
const BAR: usize = 15;

/// Draws `rows` into `benches/charts/FILE`; `unit` is what their figures are.
pub(crate) fn draw(file: &str, title: &str, unit: &str, rows: &[&Row]) -> io::Result<()> {
    fs::create_dir_all(FOLDER)?;
    svg::save(Path::new(FOLDER).join(file), &chart(title, unit, rows))?;
    eprintln!("drew benches/charts/{file}");
    Ok(())
}

fn chart(title: &str, unit: &str, rows: &[&Row]) -> Document {
    let mut layer = Layer::new()
        .set("font-family", "system-ui, sans-serif")
        .set("font-size", 13)
        .set("fill", TEXT)
        .add(text(title, 8, 22).set("font-size", 15).set("font-weight", "bold"));
    let mut top = 34;
    for row in rows {
        layer = layer.add(panel(row, unit, top));
        top += (row.outcomes.len() + 1) * LINE + 12;
    }
    Document::new()
        .set("viewBox", (0, 0, WIDTH, top))
        .set("width", WIDTH)
        .set("height", top)
        .set("role", "img")
        .set("aria-label", title)
        .add(layer)
}

/// One row: a line for each contestant.
fn panel(row: &Row, unit: &str, top: usize) -> Layer {
    let mut outcomes: Vec<_> = row.outcomes.iter().collect();
    outcomes.sort_by(|a, b| a.median().total_cmp(&b.median()));
    let ours = row.ours().map(Outcome::median).fold(0.0, f64::max);
    let end = outcomes.last().map_or(1.0, |outcome| outcome.median()).min(CUT * ours);
    let heading = text(&format!("{}, {unit}", row.label), 8, top + BAR);
    let mut panel = Layer::new().add(heading.set("font-weight", "bold"));
    for (line, outcome) in outcomes.into_iter().enumerate() {
        let y = top + (line + 1) * LINE;
        let (colour, weight) = match outcome.role {
            Role::Ours => (OURS, "bold"),
            Role::Rival => (RIVAL, "normal"),
            Role::Limit => (LIMIT, "normal"),
        };
        let (median, cut) = (outcome.median(), if outcome.median() > end { ", cut" } else { "" });
        let length = (median.min(end) / end * LONGEST).max(1.0);
        let name = text(outcome.name, LEFT - 8, y + BAR - 3).set("text-anchor", "end");
        let figure = text(&format!("{median:.1}{cut}"), LEFT + length as usize + 6, y + BAR - 3);
        let bar = Rectangle::new()
            .set("x", LEFT)
            .set("y", y)
            .set("width", length.round() as usize)
            .set("height", BAR)
            .set("rx", 2)
            .set("fill", colour);
        panel = panel.add(name.set("font-weight", weight)).add(bar).add(figure.set("font-weight", weight));
    }
    panel
}

fn text(content: &str, x: usize, y: usize) -> Text {
    Text::new(content).set("x", x).set("y", y)
}
