//! What is drawn: rates as sparklines, memory as bars, and tables.

use std::collections::VecDeque;
use std::time::Duration;

use millpond::net::Endpoint;
use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Block, Cell, Row, Sparkline, Table as TableWidget, TableState};

use super::Sort;
use super::look::Look;
use super::plain::title;
use super::table::{Table, bytes, short};

/// Looks that are remembered for sparklines: more than a terminal is wide.
const REMEMBERED: usize = 512;

/// Below this width, the parts stand one below another.
const NARROW: u16 = 80;

/// Of the parts at the top, with their borders.
const CHART_ROWS: u16 = 6;

/// The least rows of the table at the bottom, which stays when there is no room for all.
const TABLE_ROWS: u16 = 6;

/// Between two columns.
const SPACING: usize = 2;

/// Of a text that is cut off, at least this many characters are worth showing.
const LEAST_TEXT: usize = 10;

pub(super) enum Shown {
    Connections,
    Holders,
    Classes,
}

/// What is remembered of a look. Of two series, the sum.
struct Moment {
    traffic: f64,
    open: f64,
    waits: f64,
    errors: f64,
    memory: f64,
}

pub(super) struct Screen {
    endpoint: Endpoint,
    every: Duration,
    pub(super) sort: Sort,
    pub(super) shown: Shown,
    pub(super) scrolled: usize,
    pub(super) is_paused: bool,
    look: Option<Look>,
    failure: Option<String>,
    ready: String,
    history: VecDeque<Moment>,
    /// Rates now.
    traffic_rates: [f64; 2],
    error_rates: [f64; 2],
}

impl Screen {
    pub(super) fn new(endpoint: Endpoint, sort: Sort, every: Duration) -> Self {
        Self {
            endpoint,
            every,
            sort,
            shown: Shown::Connections,
            scrolled: 0,
            is_paused: false,
            look: None,
            failure: None,
            ready: String::new(),
            history: VecDeque::new(),
            traffic_rates: [0.0; 2],
            error_rates: [0.0; 2],
        }
    }

    pub(super) fn look(&mut self, look: Look) {
        if let Some(last) = &self.look {
            let elapsed = look.at.duration_since(last.at).as_secs_f64().max(0.001);
            // A source that is gone takes its counts with it.
            let rate = |now: f64, before: f64| (now - before).max(0.0) / elapsed;
            self.traffic_rates = [0, 1].map(|at| rate(look.traffic[at], last.traffic[at]));
            self.error_rates = [0, 1].map(|at| rate(look.errors[at], last.errors[at]));
            self.history.push_back(Moment {
                traffic: self.traffic_rates.iter().sum(),
                open: look.open.iter().sum(),
                waits: look.waits.iter().sum(),
                errors: self.error_rates.iter().sum(),
                memory: look.memory.iter().sum(),
            });
            if self.history.len() > REMEMBERED {
                self.history.pop_front();
            }
        }
        if let Some(ready) = &look.ready {
            self.ready.clone_from(ready);
        }
        self.failure = None;
        self.look = Some(look);
    }

    pub(super) fn fail(&mut self, why: String) {
        self.failure = Some(why);
    }

    /// Whether the connections that it shows have another order than the one that was chosen since.
    pub(super) fn is_reordered(&self) -> bool {
        self.failure.is_none() && self.look.as_ref().is_some_and(|look| look.sort != self.sort)
    }

    pub(super) fn draw(&mut self, frame: &mut Frame<'_>) {
        let [head, body, foot] =
            Layout::vertical([Constraint::Length(1), Constraint::Fill(1), Constraint::Length(1)])
                .areas(frame.area());
        self.draw_head(frame, head);
        self.draw_body(frame, body);
        let keys = " q quit  s order  h other table  p pause  arrows scroll";
        frame.render_widget(Line::from(keys).dim(), foot);
    }

    fn draw_head(&self, frame: &mut Frame<'_>, area: Rect) {
        let state = match &self.failure {
            Some(why) => Span::from(format!("no connection: {why}")).fg(Color::Red),
            None if self.is_paused => Span::from("paused").fg(Color::Yellow),
            None => Span::from(format!("every {:?}", self.every)).dim(),
        };
        let name = format!(" millpond top  {}  ", self.endpoint);
        let ready =
            Span::from(if self.failure.is_none() { format!("  {}", self.ready) } else { String::new() });
        let ready = if self.ready == "ready" { ready.dim() } else { ready.fg(Color::Red) };
        frame.render_widget(Line::from_iter([Span::from(name).bold(), state, ready]), area);
    }

    fn draw_body(&mut self, frame: &mut Frame<'_>, area: Rect) {
        let Some(look) = &self.look else { return };
        let tables = [&look.upstreams, &look.regions].into_iter().filter(|table| !table.rows.is_empty());
        let tables: Vec<_> = tables.collect();
        let is_narrow = area.width < NARROW;
        let rows = if is_narrow { 2 * CHART_ROWS + 5 } else { CHART_ROWS };
        let mut heights = vec![Constraint::Length(rows)];
        heights.extend(tables.iter().map(|table| Constraint::Max(table_rows(table))));
        heights.push(Constraint::Min(TABLE_ROWS.min(area.height)));
        let areas = Layout::vertical(heights).split(area);
        if let Some(&top) = areas.first() {
            let parts = if is_narrow {
                Layout::vertical([CHART_ROWS, 5, CHART_ROWS].map(Constraint::Length)).split(top)
            } else {
                Layout::horizontal([Constraint::Fill(1); 3]).split(top)
            };
            if let [traffic, numbers, memory] = parts[..] {
                self.draw_traffic(frame, traffic);
                self.draw_numbers(look, frame, numbers);
                self.draw_memory(look, frame, memory);
            }
        }
        for (table, &area) in tables.iter().zip(areas.iter().skip(1)) {
            draw_table(table, table.title, 0, frame, area);
        }
        if let Some(&bottom) = areas.last() {
            let table = match self.shown {
                Shown::Connections => &look.connections,
                Shown::Holders => &look.holders,
                Shown::Classes => &look.classes,
            };
            self.scrolled = self.scrolled.min(table.rows.len().saturating_sub(1));
            draw_table(table, &title(table, look.sort), self.scrolled, frame, bottom);
        }
    }

    fn draw_traffic(&self, frame: &mut Frame<'_>, area: Rect) {
        let block = Block::bordered().title(" Traffic ");
        let [text, line] =
            Layout::vertical([Constraint::Length(2), Constraint::Fill(1)]).areas(block.inner(area));
        frame.render_widget(block, area);
        let [to_upstream, to_client] = self.traffic_rates.map(bytes);
        let lines = [format!("{to_upstream}/s to upstreams"), format!("{to_client}/s to clients")];
        frame.render_widget(Text::from_iter(lines), text);
        self.draw_history(|moment| moment.traffic, Color::Blue, frame, line);
    }

    /// The last looks that fit, the largest as high as the area.
    fn draw_history(&self, of: fn(&Moment) -> f64, color: Color, frame: &mut Frame<'_>, area: Rect) {
        let first = self.history.len().saturating_sub(area.width.into());
        // Rates below 1 are seen, too.
        let points = self.history.iter().skip(first).map(|moment| (of(moment) * 1000.0) as u64);
        frame.render_widget(Sparkline::default().data(points.collect::<Vec<_>>()).fg(color), area);
    }

    fn draw_numbers(&self, look: &Look, frame: &mut Frame<'_>, area: Rect) {
        let [clients, pooled] = look.open.map(short);
        let [for_memory, for_connection] = look.waits.map(short);
        let [of_connections, of_upstreams] = self.error_rates.map(short);
        let wait = if look.waits.iter().any(|wait| *wait > 0.0) {
            Style::new().fg(Color::Yellow)
        } else {
            Style::new()
        };
        let bad = if self.error_rates.iter().any(|rate| *rate > 0.0) {
            Style::new().fg(Color::Red)
        } else {
            Style::new()
        };
        let lines = [
            Line::from(format!("{clients} of clients, {pooled} in pools")),
            Line::styled(format!("waits: {for_memory} memory, {for_connection} pools"), wait),
            Line::styled(format!("errors/s: {of_connections}, upstreams {of_upstreams}"), bad),
        ];
        let block = Block::bordered().title(" Connections ");
        let words = lines.iter().map(Line::width).max().unwrap_or(0) as u16 + SPACING as u16;
        let inner = block.inner(area);
        frame.render_widget(block, area);
        let series: [fn(&Moment) -> f64; 3] =
            [|moment| moment.open, |moment| moment.waits, |moment| moment.errors];
        let series = series.into_iter().zip([Color::Blue, Color::Yellow, Color::Red]);
        let rows = Layout::vertical([Constraint::Length(1); 3]).split(inner);
        for ((line, (of, color)), &row) in lines.into_iter().zip(series).zip(rows.iter()) {
            // In a narrow terminal, the words leave no room for a line.
            let [text, chart] =
                Layout::horizontal([Constraint::Length(words.min(row.width)), Constraint::Fill(1)])
                    .areas(row);
            frame.render_widget(line, text);
            self.draw_history(of, color, frame, chart);
        }
    }

    fn draw_memory(&self, look: &Look, frame: &mut Frame<'_>, area: Rect) {
        let block = Block::bordered().title(" Memory of buffers ");
        let [bars, chart] =
            Layout::vertical([Constraint::Length(3), Constraint::Fill(1)]).areas(block.inner(area));
        frame.render_widget(block, area);
        let most = look.memory.iter().copied().fold(1.0, f64::max);
        // What is left beside the words.
        let room = f64::from(bars.width.saturating_sub(18));
        let names = [("lent", Color::Blue), ("idle", Color::Yellow), ("frozen", Color::Green)];
        let lines = look.memory.into_iter().zip(names).map(|(number, (name, color))| {
            let bar = "\u{2588}".repeat((number / most * room).round() as usize);
            Line::from_iter([
                Span::from(format!("{name:<7}{:>9}  ", bytes(number))),
                Span::from(bar).fg(color),
            ])
        });
        frame.render_widget(Text::from_iter(lines), bars);
        self.draw_history(|moment| moment.memory, Color::Blue, frame, chart);
    }
}

/// With its border and its head.
fn table_rows(table: &Table) -> u16 {
    u16::try_from(table.rows.len()).unwrap_or(u16::MAX).saturating_add(3)
}

/// The widths of the columns for which there is room, from the left. A text may be cut off.
fn fitting(table: &Table, room: usize) -> Vec<Constraint> {
    let mut left = room;
    let mut widths = Vec::new();
    for (width, column) in table.widths().into_iter().zip(table.columns) {
        let is_cut = width > left;
        if is_cut && (!column.is_text || left < LEAST_TEXT) && !widths.is_empty() {
            break;
        }
        widths.push(Constraint::Length(width.min(left) as u16));
        left = left.saturating_sub(width + SPACING);
        if is_cut {
            break;
        }
    }
    widths
}

fn draw_table(table: &Table, title: &str, scrolled: usize, frame: &mut Frame<'_>, area: Rect) {
    let widths = fitting(table, area.width.saturating_sub(2).into());
    let is_bad = |cell: &str| ["open", "ejected"].contains(&cell);
    let row = |cells: &mut dyn Iterator<Item = &str>| {
        Row::new(cells.zip(table.columns).take(widths.len()).map(|(cell, column)| {
            let side = if column.is_text { Alignment::Left } else { Alignment::Right };
            let style = if is_bad(cell) { Style::new().fg(Color::Red) } else { Style::new() };
            Cell::from(Text::from(cell.to_owned()).alignment(side)).style(style)
        }))
    };
    let head = row(&mut table.columns.iter().map(|column| column.name));
    let rows = table.rows.iter().map(|cells| row(&mut cells.iter().map(String::as_str)));
    let widget = TableWidget::new(rows, &widths)
        .column_spacing(SPACING as u16)
        .header(head.style(Style::new().add_modifier(Modifier::DIM)))
        .block(Block::bordered().title(format!(" {title} ")));
    frame.render_stateful_widget(widget, area, &mut TableState::new().with_offset(scrolled));
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use serde_json::json;

    use super::*;

    #[test]
    fn any_number_of_upstreams_leaves_room_for_the_rest() {
        let samples: Vec<_> =
            (0..65_535).map(|at| json!({ "labels": { "name": at.to_string() }, "value": 1 })).collect();
        let stats = json!({ "millpond_relay_connections": samples });
        let look = Look::new(Instant::now(), Sort::Held, &stats, &json!({}), &json!({}));
        let mut screen = Screen::new("127.0.0.1:1".into(), Sort::Held, Duration::from_secs(1));
        screen.look(look);
        let mut terminal = Terminal::new(TestBackend::new(120, 40)).unwrap();
        terminal.draw(|frame| screen.draw(frame)).unwrap();
        assert!(terminal.backend().to_string().contains("Greediest connections"));
    }
}
