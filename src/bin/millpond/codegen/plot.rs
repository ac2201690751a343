//! A plot of a plan: one chart per class with one bar per message, each as long as the class.

use std::error::Error;

use millpond::schema::{Plan, PlannedClass};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

const FONT: &str = "sans-serif";
const USED: RGBColor = RGBColor(38, 94, 140);
const UNUSED: RGBColor = RGBColor(244, 190, 150);
const INK: RGBColor = RGBColor(40, 40, 40);
const GRID: RGBColor = RGBColor(222, 222, 222);

/// Sizes in pixels.
const TITLE: u32 = 60;
const CAPTION: u32 = 34;
const ROW: u32 = 24;
const TICKS: u32 = 26;
const BARS: u32 = 560;
const VALUES: u32 = 220;
const MARGIN: u32 = 16;
/// The width of a letter of a name, rounded up generously.
const LETTER: u32 = 9;

/// The text of an SVG file; the same plan always gives the same text.
pub(super) fn svg(title: &str, plan: &Plan) -> Result<String, Box<dyn Error>> {
    let messages = plan.classes().iter().flat_map(|class| &class.messages);
    let longest = messages.map(|message| message.name.len()).max().unwrap_or_default();
    let names = LETTER * longest as u32 + 2 * MARGIN;
    let tall = TITLE + plan.classes().iter().map(height).sum::<u32>() + MARGIN;
    let mut svg = String::new();
    let root = SVGBackend::with_string(&mut svg, (names + BARS + VALUES, tall)).into_drawing_area();
    root.fill(&WHITE)?;
    root.draw(&Text::new(title, (MARGIN as i32, 12), (FONT, 20).into_font().color(&INK)))?;
    let small = (FONT, 15).into_font().color(&INK);
    let idle = format!("at most {} bytes idle", plan.config().max_idle_bytes());
    root.draw(&Text::new(idle, (MARGIN as i32, 37), small.clone()))?;
    for (x, colour, text) in [(names as i32 + 100, USED, "payload"), (names as i32 + 190, UNUSED, "unused")] {
        root.draw(&Rectangle::new([(x, 38), (x + 12, 50)], colour.filled()))?;
        root.draw(&Text::new(text, (x + 18, 37), small.clone()))?;
    }
    let (_, mut rest) = root.split_vertically(TITLE);
    for class in plan.classes() {
        let (area, below) = rest.split_vertically(height(class));
        chart(&area, class, names)?;
        rest = below;
    }
    root.present()?;
    drop((rest, root));
    Ok(svg)
}

fn height(class: &PlannedClass) -> u32 {
    CAPTION + ROW * class.messages.len().max(1) as u32 + TICKS
}

fn chart(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    class: &PlannedClass,
    names: u32,
) -> Result<(), Box<dyn Error>> {
    let text = |size: i32, at| (FONT, size).into_font().color(&INK).pos(at);
    let PlannedClass { size, capacity, messages, .. } = class;
    let (idle, unused) = (class.idle_bytes(), class.waste() * 100.0);
    let caption =
        format!("class of {size} bytes \u{d7} {capacity}: at most {idle} bytes idle, {unused:.1} % unused");
    area.draw(&Text::new(caption, (names as i32, 12), text(16, Pos::new(HPos::Left, VPos::Top))))?;

    let quarters = (0..=4).map(|quarter| size * quarter / 4).collect::<Vec<_>>();
    let mut chart = ChartBuilder::on(area)
        .margin_top(CAPTION)
        .margin_right(VALUES)
        .x_label_area_size(TICKS)
        .y_label_area_size(names)
        .build_cartesian_2d((0..*size).with_key_points(quarters), 0.0..messages.len().max(1) as f64)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .x_label_style((FONT, 13).into_font().color(&INK))
        .set_all_tick_mark_size(4)
        .draw()?;

    // The first message is at the top.
    let rows = || messages.iter().rev().zip(0..);
    let bar = |from, to, row: i32| [(from, f64::from(row) + 0.2), (to, f64::from(row) + 0.8)];
    chart
        .draw_series(rows().map(|(message, row)| Rectangle::new(bar(0, message.size, row), USED.filled())))?;
    chart.draw_series(
        rows().map(|(message, row)| Rectangle::new(bar(message.size, *size, row), UNUSED.filled())),
    )?;
    chart.draw_series(rows().map(|(message, row)| {
        let name = Text::new(message.name.clone(), (-8, 0), text(15, Pos::new(HPos::Right, VPos::Center)));
        EmptyElement::at((0, f64::from(row) + 0.5)) + name
    }))?;
    chart.draw_series(rows().map(|(message, row)| {
        let unused = 100.0 * (size - message.size) as f64 / *size as f64;
        let mut value = format!("{} bytes, {unused:.1} % unused", message.size);
        if message.count > 1 {
            value += &format!(" \u{d7} {}", message.count);
        }
        let value = Text::new(value, (8, 0), text(15, Pos::new(HPos::Left, VPos::Center)));
        EmptyElement::at((*size, f64::from(row) + 0.5)) + value
    }))?;
    Ok(())
}
