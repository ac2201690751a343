//! Reports beside the metrics: rows whose labels are not bounded, such as the addresses of peers.

use core::fmt;

/// A report, made only when somebody asks for it.
///
/// A metric may have few different labels, because collectors keep each of them for months. What names peers, or lines of
/// code, is a report instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Report {
    /// Connections that are open.
    Connections,
    /// The leak report: which code holds buffers, and what slices pin.
    Holders,
}

impl Report {
    /// A word for it: `connections` or `holders`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Holders => "holders",
        }
    }

    /// The numbers that its rows may have. Rows are ordered by the first, the largest at the top, unless another is asked for.
    ///
    /// | report | number | |
    /// |---|---|---|
    /// | connections | `held_bytes` | bytes of buffers that it holds now |
    /// | | `traffic_bytes` | the sum of the next two |
    /// | | `to_upstream_bytes`, `to_client_bytes` | bytes written so far |
    /// | | `age_seconds` | since it was accepted, or made |
    /// | | `idle_seconds` | since anything moved |
    /// | holders | `storage_bytes` | bytes of the sampled buffers that are held |
    /// | | `pinned_bytes` | the part of them that small slices keep in use |
    /// | | `samples` | the number of these buffers |
    /// | | `sampled_one_in` | one acquire in this many is sampled: multiply by it to estimate all of them |
    /// | | `longest_seconds` | how long the oldest has been held |
    #[must_use]
    pub fn numbers(self) -> &'static [&'static str] {
        match self {
            Self::Connections => &[
                "held_bytes",
                "traffic_bytes",
                "to_upstream_bytes",
                "to_client_bytes",
                "age_seconds",
                "idle_seconds",
            ],
            Self::Holders => {
                &["storage_bytes", "pinned_bytes", "samples", "sampled_one_in", "longest_seconds"]
            }
        }
    }
}

/// A row of a [`Report`].
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Row<'a> {
    /// What it is about: names, and any text.
    pub labels: &'a [(&'static str, &'a dyn fmt::Display)],
    /// Some of the [numbers](Report::numbers) of its report.
    pub numbers: &'a [(&'static str, f64)],
}

impl<'a> Row<'a> {
    /// A row.
    #[must_use]
    pub fn new(
        labels: &'a [(&'static str, &'a dyn fmt::Display)],
        numbers: &'a [(&'static str, f64)],
    ) -> Self {
        Self { labels, numbers }
    }

    /// One of its numbers, or 0.
    #[must_use]
    pub fn number(&self, name: &str) -> f64 {
        self.numbers.iter().find(|(other, _)| *other == name).map_or(0.0, |(_, number)| *number)
    }
}

/// What is called with each row.
pub type VisitRow<'a> = dyn FnMut(Row<'_>) + 'a;
