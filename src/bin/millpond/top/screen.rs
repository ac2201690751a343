//! What is drawn: rates as sparklines, memory as bars, and tables.

use std::collections::VecDeque;
use std::time::Duration;

use millpond::net::Endpoint;
use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Block, Cell, Paragraph, Row, Sparkline, Table as TableWidget, TableState};

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

pub(super) struct Screen {
    endpoint: Endpoint,
    every: Duration,
    pub(super) sort: Sort,
    pub(super) shown: Shown,
    pub(super) scrolled: usize,
    pub(super) is_paused: bool,
    look: Option<Look>,
    failure: Option<String>,
    /// Bytes per second, both ways, of each look; and rates now.
    traffic: VecDeque<u64>,
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
            traffic: VecDeque::new(),
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
            self.traffic.push_back(self.traffic_rates.iter().sum::<f64>() as u64);
            if self.traffic.len() > REMEMBERED {
                self.traffic.pop_front();
            }
        }
        self.failure = None;
        self.look = Some(look);
    }

    pub(super) fn fail(&mut self, why: String) {
        self.failure = Some(why);
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
        frame.render_widget(Line::from_iter([Span::from(name).bold(), state]), area);
    }

    fn draw_body(&mut self, frame: &mut Frame<'_>, area: Rect) {
        let Some(look) = &self.look else { return };
        let tables = [&look.upstreams, &look.regions].into_iter().filter(|table| !table.rows.is_empty());
        let tables: Vec<_> = tables.collect();
        let is_narrow = area.width < NARROW;
        let rows = if is_narrow { 2 * CHART_ROWS + 4 } else { CHART_ROWS };
        let mut heights = vec![Constraint::Length(rows)];
        heights.extend(tables.iter().map(|table| Constraint::Max(table.rows.len() as u16 + 3)));
        heights.push(Constraint::Min(TABLE_ROWS.min(area.height)));
        let areas = Layout::vertical(heights).split(area);
        if let Some(&top) = areas.first() {
            let parts = if is_narrow {
                Layout::vertical([CHART_ROWS, 5, CHART_ROWS - 1].map(Constraint::Length)).split(top)
            } else {
                Layout::horizontal([Constraint::Fill(1); 3]).split(top)
            };
            if let [traffic, numbers, memory] = parts[..] {
                self.draw_traffic(frame, traffic);
                self.draw_numbers(look, frame, numbers);
                draw_memory(look, frame, memory);
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
            draw_table(table, &title(table, self.sort), self.scrolled, frame, bottom);
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
        let first = self.traffic.len().saturating_sub(line.width.into());
        let points: Vec<u64> = self.traffic.iter().skip(first).copied().collect();
        frame.render_widget(Sparkline::default().data(&points).fg(Color::Blue), line);
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
        frame.render_widget(Paragraph::new(Text::from_iter(lines)).block(block), area);
    }
}

fn draw_memory(look: &Look, frame: &mut Frame<'_>, area: Rect) {
    let block = Block::bordered().title(" Memory of buffers ");
    let most = look.memory.iter().copied().fold(1.0, f64::max);
    // What is left beside the words.
    let room = f64::from(block.inner(area).width.saturating_sub(18));
    let names = [("lent", Color::Blue), ("idle", Color::Yellow), ("frozen", Color::Green)];
    let lines = look.memory.into_iter().zip(names).map(|(number, (name, color))| {
        let bar = "\u{2588}".repeat((number / most * room).round() as usize);
        Line::from_iter([Span::from(format!("{name:<7}{:>9}  ", bytes(number))), Span::from(bar).fg(color)])
    });
    frame.render_widget(Paragraph::new(Text::from_iter(lines)).block(block), area);
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
