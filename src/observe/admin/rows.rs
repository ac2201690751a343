//! The leading rows of a report, as JSON.

use std::cmp::Ordering;
use std::fmt::Write;

use crate::metric::{Report, Row};
use crate::observe::format::Escaped;
use crate::observe::registry::Registry;

const DEFAULT_TOP: usize = 20;
const MAX_TOP: usize = 1000;

/// What a client asks for: `?by=held_bytes&top=20`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question {
    pub(super) report: Report,
    /// One of its numbers.
    by: &'static str,
    top: usize,
}

impl Question {
    pub(super) fn new(report: Report) -> Self {
        Self { report, by: report.numbers().first().copied().unwrap_or_default(), top: DEFAULT_TOP }
    }

    /// Reads a query. Names that have no meaning here are no error.
    pub(super) fn read(mut self, query: Option<&str>) -> Result<Self, String> {
        for (name, value) in query.unwrap_or_default().split('&').filter_map(|part| part.split_once('=')) {
            match name {
                "by" => {
                    let numbers = self.report.numbers();
                    let by = numbers.iter().find(|number| **number == value);
                    self.by = by.ok_or_else(|| format!("by is one of {}\n", numbers.join(", ")))?;
                }
                "top" => {
                    let top = value.parse().ok().filter(|top| (1..=MAX_TOP).contains(top));
                    self.top = top.ok_or_else(|| format!("top is a number from 1 to {MAX_TOP}\n"))?;
                }
                _ => {}
            }
        }
        Ok(self)
    }

    pub(super) fn answer(self, registry: &Registry) -> String {
        let (mut total, mut leaders) = (0_usize, Leaders { top: self.top, rows: Vec::new(), least: None });
        let off = registry.report(self.report, &mut |name, row| {
            total += 1;
            // Of equals, those lead that lead by the first numbers.
            let numbers = self.report.numbers();
            let mut key = [row.number(self.by), 0.0, 0.0];
            key.iter_mut().skip(1).zip(numbers).for_each(|(place, number)| *place = row.number(number));
            leaders.offer(key, name, row);
        });
        let off: Vec<_> =
            off.iter().map(|name| format!("\"{}\"", Escaped { text: name, quotes: true })).collect();
        let mut text =
            format!("{{\"total\":{total},\"by\":\"{}\",\"off\":[{}],\"rows\":[", self.by, off.join(","));
        let mut separator = "";
        for Kept { labels, numbers, .. } in leaders.end() {
            let _ = write!(text, "{separator}\n{{{labels}");
            for (number, value) in numbers {
                // JSON has no infinity.
                let value = if value.is_finite() { value } else { 0.0 };
                let _ = write!(text, ",\"{number}\":{value}");
            }
            text.push('}');
            separator = ",";
        }
        text + "]}\n"
    }
}

/// The first rows by their keys. Of a row that cannot be among them, nothing is kept.
struct Leaders {
    top: usize,
    /// Up to twice as many.
    rows: Vec<Kept>,
    /// That of the last row to lead, once there are enough.
    least: Option<Key>,
}

struct Kept {
    key: Key,
    /// Its labels, with the name of the source, as members of a JSON object.
    labels: String,
    numbers: Vec<(&'static str, f64)>,
}

type Key = [f64; 3];

impl Leaders {
    fn offer(&mut self, key: Key, name: &str, row: Row<'_>) {
        if self.least.is_some_and(|least| descending(&key, &least).is_ge()) {
            return;
        }
        self.rows.push(Kept { key, labels: labels(name, row), numbers: row.numbers.to_vec() });
        if self.rows.len() >= 2 * self.top {
            self.sort();
            self.least = self.rows.last().map(|last| last.key);
        }
    }

    fn sort(&mut self) {
        self.rows.sort_by(|one, other| descending(&one.key, &other.key));
        self.rows.truncate(self.top);
    }

    fn end(mut self) -> Vec<Kept> {
        self.sort();
        self.rows
    }
}

fn descending(one: &Key, other: &Key) -> Ordering {
    other.partial_cmp(one).unwrap_or(Ordering::Equal)
}

fn labels(name: &str, row: Row<'_>) -> String {
    let mut text = String::with_capacity(128);
    // A write to a string does not fail.
    let _ = write!(text, "\"name\":\"{}\"", Escaped { text: &name, quotes: true });
    for (label, value) in row.labels {
        let _ = write!(text, ",\"{label}\":\"{}\"", Escaped { text: value, quotes: true });
    }
    text
}
