//! The vocabulary of all numbers that this crate reports: what a metric is, and how a snapshot shows its values.
//!
//! ```text
//!  BufferPool, Relay, Hub, Pool, Upstreams ── Source::watch ─▶ snapshot ── Metrics::each ─▶ (Metric, labels, Value) ─▶ exporters
//! ```
//!
//! Each layer has a table beside its stats, in a file `metrics.rs`. It names the metrics after Prometheus' conventions:
//! base units (`_seconds`, `_bytes`), `_total` for counters, and labels whose values are few. Nothing here counts: the
//! numbers are those of the snapshots. [`Samples`] shows any snapshot by these names, as lines or through serde. The lines of
//! text that the snapshots themselves display are for logs: a choice of the same numbers, in words.
//!
//! # Examples
//!
//! ```
//! use millpond::metric::{Metrics, Value};
//! use millpond::{BufferPool, BufferPoolConfig};
//!
//! let pool = BufferPool::new(BufferPoolConfig::messages());
//! drop(pool.acquire(100));
//! let mut acquires = 0;
//! pool.stats().each(&mut |metric, _labels, value| {
//!     if let ("millpond_buffer_pool_acquires_total", Value::Integer(count)) = (metric.name, value) {
//!         acquires += count;
//!     }
//! });
//! assert_eq!(acquires, 1);
//! ```
//!
//! Metrics of your own:
//!
//! ```
//! use millpond::metric::{Kind, Label, Metric, Metrics, Value, Visit};
//!
//! struct Mill {
//!     grain_bytes: u64,
//! }
//!
//! static GROUND: Metric =
//!     Metric::new(Kind::Counter, "mill_ground_bytes_total", "Bytes of grain that were ground.", &["grain"]);
//!
//! impl Metrics for Mill {
//!     fn each(&self, visit: &mut Visit<'_>) {
//!         visit(&GROUND, &[Label::new("grain", "rye")], Value::Integer(self.grain_bytes));
//!     }
//! }
//! ```
//!
//! What has no bounded set of labels is no metric: a [`Report`] has rows for it.
//!
//! Absent on purpose: counters, allocation, I/O, and formats for other programs (`observe`).

mod report;
mod samples;
mod table;
#[cfg(test)]
mod tests;
mod value;

pub use self::report::{Report, Row, VisitRow};
pub use self::samples::Samples;
pub(crate) use self::table::{metrics, show};
#[cfg(test)]
pub(crate) use self::tests::integers;
pub use self::value::{Bucket, Label, LabelValue, Value};

use alloc::vec::Vec;

/// A metric: what its samples have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metric {
    /// Whether it only grows, goes up and down, or counts in buckets.
    pub kind: Kind,
    /// The whole name, such as `millpond_relay_written_bytes_total`.
    pub name: &'static str,
    /// A sentence.
    pub help: &'static str,
    /// The names of its labels. Exporters may add others, such as the name of the pool.
    pub labels: &'static [&'static str],
}

/// What the value of a metric does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// It only grows. Its name ends in `_total`.
    Counter,
    /// It goes up and down.
    Gauge,
    /// It counts in buckets.
    Histogram,
}

impl Metric {
    /// The most labels that a sample may have, those of exporters included.
    pub const MAX_LABELS: usize = 8;

    /// A metric. Its name should end in its unit, and that of a counter in `_total` after it.
    #[must_use]
    pub const fn new(
        kind: Kind,
        name: &'static str,
        help: &'static str,
        labels: &'static [&'static str],
    ) -> Self {
        Self { kind, name, help, labels }
    }

    /// The name without a counter's `_total`.
    #[must_use]
    pub fn family(&self) -> &'static str {
        match self.kind {
            Kind::Counter => self.name.strip_suffix("_total").unwrap_or(self.name),
            Kind::Gauge | Kind::Histogram => self.name,
        }
    }

    /// The unit, which is the end of its name: `seconds` or `bytes`.
    #[must_use]
    pub fn unit(&self) -> Option<&'static str> {
        let last = self.family().rsplit('_').next();
        last.filter(|last| ["seconds", "bytes"].contains(last))
    }
}

impl Kind {
    /// The name that Prometheus has for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// What is called with each sample: its metric, its labels and its value.
pub type Visit<'a> = dyn FnMut(&'static Metric, &[Label<'_>], Value<'_>) + 'a;

/// A snapshot that can show its values.
pub trait Metrics {
    /// Calls `visit` with each sample. It allocates nothing itself.
    fn each(&self, visit: &mut Visit<'_>);
}

impl<T: Metrics> Metrics for Vec<T> {
    fn each(&self, visit: &mut Visit<'_>) {
        self.iter().for_each(|one| one.each(visit));
    }
}

/// Nothing shows nothing.
impl<T: Metrics> Metrics for Option<T> {
    fn each(&self, visit: &mut Visit<'_>) {
        self.iter().for_each(|one| one.each(visit));
    }
}

/// Something of which snapshots can be taken for as long as it is used.
pub trait Source {
    /// What it reports.
    type Snapshot: Metrics + 'static;

    /// A function that takes a snapshot, and returns `None` once the last handle has been dropped. It keeps no pool open and
    /// no connection alive.
    fn watch(&self) -> impl Fn() -> Option<Self::Snapshot> + Send + Sync + 'static;

    /// A function that shows the rows of a report. It keeps nothing open or alive either.
    ///
    /// It returns false if this source could make this report and is configured not to. The default has no rows.
    fn reports(&self) -> impl Fn(Report, &mut VisitRow<'_>) -> bool + Send + Sync + 'static {
        |_, _| true
    }
}

/// Shows the samples of `metrics` with one label more, the first.
///
/// A sample has at most [`Metric::MAX_LABELS`] labels; further ones are left out.
pub fn each_labelled(first: Label<'_>, metrics: &dyn Metrics, visit: &mut Visit<'_>) {
    metrics.each(&mut |metric, labels, value| {
        let mut all = [first; Metric::MAX_LABELS];
        let places = all.iter_mut().skip(1).zip(labels);
        let used = 1 + places.map(|(place, label)| *place = *label).count();
        visit(metric, all.get(..used).unwrap_or(&all), value);
    });
}
