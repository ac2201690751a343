//! The samples of a registry through the facade of the crate `metrics`, for whichever exporter the program has installed.

use std::collections::{HashMap, HashSet};
use std::fmt::{self, Write};

use metrics::{Counter, Gauge, Histogram, Key, Level, Metadata, Unit, with_recorder};

use super::registry::Registry;
use crate::metric::{Bucket, Kind, Label, Metric, Metrics, Value};

/// Publishes the samples of a [`Registry`] to the recorder of the crate [`metrics`](https://docs.rs/metrics), under the same
/// names and labels.
///
/// | here | there |
/// |---|---|
/// | counter | counter, by its growth; one that falls, such as that of a pool that was replaced, begins anew |
/// | counter of seconds | gauge without `_total` in its name: the facade counts integers only |
/// | gauge | gauge; 0 once its pool is gone |
/// | histogram | histogram, by the growth of each bucket |
///
/// A histogram is recorded as values inside the grown buckets whose sum is right. With the same bounds there, which
/// [`all_metrics`](super::all_metrics) lists, its counts are the same as here. The cost there depends on the recorder: most
/// keep each recorded value until the next scrape, which for metrics-exporter-prometheus is that, or `run_upkeep`.
///
/// Install the recorder before the first [`publish`](Self::publish), and keep one publisher for it: a second one counts
/// everything again. Dropped, it leaves all values as they are. Facades cannot take a metric back. Exporters forget it if they
/// have an idle timeout, such as that of metrics-exporter-prometheus.
///
/// # Examples
///
/// ```no_run
/// # use std::time::Duration;
/// use millpond::observe::{Publisher, Registry};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// # let pool = millpond::BufferPool::new(millpond::BufferPoolConfig::proxy());
/// let registry = Registry::new();
/// registry.add("clients", &pool);
///
/// let mut publisher = Publisher::new(registry);
/// let mut ticks = tokio::time::interval(Duration::from_secs(10));
/// loop {
///     ticks.tick().await;
///     publisher.publish();
/// }
/// # }
/// ```
pub struct Publisher {
    registry: Registry,
    /// By name and labels.
    series: HashMap<String, Series>,
    /// The key of a sample. It is kept for its storage.
    key: String,
    described: HashSet<&'static str>,
    round: u64,
}

/// What is published of one sample.
struct Series {
    instrument: Instrument,
    /// When it was last seen.
    round: u64,
}

enum Instrument {
    Counter(Counter, u64),
    Gauge(Gauge),
    Histogram(Histogram, Counted),
}

/// What a histogram has counted at the last round.
#[derive(Default)]
struct Counted {
    /// Cumulative, as they come.
    counts: Vec<u64>,
    sum: f64,
}

static METADATA: Metadata<'static> = Metadata::new("millpond", Level::INFO, Some("millpond"));

impl Publisher {
    /// It publishes nothing by itself.
    #[must_use]
    pub fn new(registry: Registry) -> Self {
        Self { registry, series: HashMap::new(), key: String::new(), described: HashSet::new(), round: 0 }
    }

    /// Takes a snapshot of each pool, and publishes it.
    ///
    /// It allocates for the snapshots, and for samples that are new. Of two samples with the same name and labels the first
    /// counts.
    pub fn publish(&mut self) {
        let Self { registry, series, key, described, round } = self;
        *round += 1;
        registry.each(&mut |metric, labels, value| {
            key.clear();
            // A write to a string does not fail.
            let _ = write!(key, "{}{labels:?}", metric.name);
            if let Some(known) = series.get_mut(key.as_str()) {
                if known.round != *round {
                    known.round = *round;
                    known.instrument.publish(value);
                }
                return;
            }
            let is_new = described.insert(metric.name);
            let mut instrument = Instrument::new(metric, labels, value, is_new);
            instrument.publish(value);
            series.insert(key.clone(), Series { instrument, round: *round });
        });
        series.retain(|_, series| {
            let is_here = series.round == *round;
            if let (Instrument::Gauge(gauge), false) = (&series.instrument, is_here) {
                gauge.set(0.0);
            }
            is_here
        });
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher").field("registry", &self.registry).finish_non_exhaustive()
    }
}

impl Instrument {
    fn new(metric: &'static Metric, labels: &[Label<'_>], value: Value<'_>, is_new: bool) -> Self {
        let labels = labels.iter().map(|label| metrics::Label::new(label.name, label.value.to_string()));
        let key = |name| Key::from_parts(name, labels.collect::<Vec<_>>());
        let unit = match metric.unit() {
            Some("seconds") => Some(Unit::Seconds),
            Some("bytes") => Some(Unit::Bytes),
            _ => None,
        };
        with_recorder(|recorder| match (metric.kind, value) {
            (Kind::Counter, Value::Integer(_)) => {
                if is_new {
                    recorder.describe_counter(metric.name.into(), unit, metric.help.into());
                }
                Self::Counter(recorder.register_counter(&key(metric.name), &METADATA), 0)
            }
            (_, Value::Histogram { .. }) => {
                if is_new {
                    recorder.describe_histogram(metric.name.into(), unit, metric.help.into());
                }
                let histogram = recorder.register_histogram(&key(metric.name), &METADATA);
                Self::Histogram(histogram, Counted::default())
            }
            (_, Value::Integer(_) | Value::Float(_)) => {
                if is_new {
                    recorder.describe_gauge(metric.family().into(), unit, metric.help.into());
                }
                Self::Gauge(recorder.register_gauge(&key(metric.family()), &METADATA))
            }
        })
    }

    fn publish(&mut self, value: Value<'_>) {
        match (self, value) {
            (Self::Counter(counter, published), Value::Integer(count)) => {
                counter.increment(count.checked_sub(*published).unwrap_or(count));
                *published = count;
            }
            (Self::Gauge(gauge), Value::Integer(count)) => gauge.set(count as f64),
            (Self::Gauge(gauge), Value::Float(number)) => gauge.set(number),
            (Self::Histogram(histogram, counted), Value::Histogram { buckets, sum }) => {
                counted.grow(buckets, sum, |value, count| {
                    histogram.record_many(value, usize::try_from(count).unwrap_or(usize::MAX));
                });
            }
            // A metric that changes between integers and floats, or into a histogram.
            _ => {}
        }
    }
}

impl Counted {
    /// Calls `record` with a value and its count for each bucket that has grown. The values lie in their buckets, all at the
    /// same share of the width, so that their sum is the growth of `sum`. What is beyond that is in the last bucket.
    fn grow(&mut self, buckets: &[Bucket], sum: f64, mut record: impl FnMut(f64, u64)) {
        let fell = buckets.iter().zip(&self.counts).any(|(bucket, counted)| bucket.count < *counted);
        if fell || self.counts.len() != buckets.len() {
            *self = Self { counts: vec![0; buckets.len()], sum: 0.0 };
        }
        let mut rest = sum - self.sum;
        let (mut lowest, mut width) = (0.0, 0.0);
        for (range, count) in grown(buckets, &self.counts) {
            lowest += range.0 * count as f64;
            width += if range.1.is_finite() { (range.1 - range.0) * count as f64 } else { 0.0 };
        }
        let share = ((rest - lowest) / width).clamp(0.0, 1.0);
        for ((lower, upper), count) in grown(buckets, &self.counts) {
            let value = if upper.is_finite() { lower + share * (upper - lower) } else { rest / count as f64 };
            // A bound is part of the bucket that it ends.
            let value = value.max(lower.next_up()).min(upper);
            rest -= value * count as f64;
            record(value, count);
        }
        self.sum = sum;
        self.counts.iter_mut().zip(buckets).for_each(|(counted, bucket)| *counted = bucket.count);
    }
}

/// The bounds of the buckets that have grown, and by how much.
fn grown<'a>(buckets: &'a [Bucket], counted: &'a [u64]) -> impl Iterator<Item = ((f64, f64), u64)> + 'a {
    let (mut lower, mut below) = (0.0_f64, 0);
    buckets.iter().zip(counted).filter_map(move |(bucket, counted)| {
        let range = (lower.min(bucket.le), bucket.le);
        let growth = bucket.count.saturating_sub(*counted);
        let count = growth.saturating_sub(below);
        (lower, below) = (bucket.le, growth);
        (count > 0).then_some((range, count))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: [f64; 4] = [0.001, 0.004, 0.016, f64::INFINITY];

    /// What is recorded of values that were not recorded before, by the index of the bucket, and their sum.
    fn recorded(counted: &mut Counted, values: &[f64]) -> (Vec<(usize, u64)>, f64) {
        let count = |le| values.iter().filter(|value| **value <= le).count() as u64;
        let buckets = BOUNDS.map(|le| Bucket { le, count: count(le) });
        let (mut grown, mut sum) = (Vec::new(), 0.0);
        counted.grow(&buckets, values.iter().sum(), |value, count| {
            let bucket = BOUNDS.iter().position(|le| value <= *le).unwrap();
            grown.push((bucket, count));
            sum += value * count as f64;
        });
        (grown, sum)
    }

    #[track_caller]
    fn assert_recorded(values: &[f64], expected: &[(usize, u64)]) {
        let (grown, sum) = recorded(&mut Counted::default(), values);
        assert_eq!(grown, expected);
        let right: f64 = values.iter().sum();
        assert!((sum - right).abs() < 1e-9, "{sum}, not {right}");
    }

    #[test]
    fn values_stay_in_their_buckets_and_keep_their_sum() {
        assert_recorded(&[], &[]);
        assert_recorded(&[0.000_2, 0.000_9, 0.005], &[(0, 2), (2, 1)]);
        assert_recorded(&[0.001, 0.004, 0.016], &[(0, 1), (1, 1), (2, 1)]);
        assert_recorded(&[0.001_000_1, 0.004_000_1], &[(1, 1), (2, 1)]);
        assert_recorded(&[0.0, 0.002, 3600.0, 1.0], &[(0, 1), (1, 1), (3, 2)]);
        assert_recorded(&[0.016_1, 0.016_1], &[(3, 2)]);
    }

    #[test]
    fn only_what_has_grown_is_recorded() {
        let mut counted = Counted::default();
        recorded(&mut counted, &[0.0005, 0.003, 60.0]);
        let (grown, sum) = recorded(&mut counted, &[0.0005, 0.003, 60.0, 0.003, 0.002, 90.0]);
        assert_eq!(grown, [(1, 2), (3, 1)]);
        assert!((sum - 90.005).abs() < 1e-9, "{sum}");
    }

    #[test]
    fn a_sum_that_cannot_be_right_is_as_near_as_its_buckets_allow() {
        for sum in [0.0, 1000.0, f64::NAN, f64::NEG_INFINITY] {
            let buckets = [(1.0, 0), (4.0, 5)].map(|(le, count)| Bucket { le, count });
            let mut seen = Vec::new();
            Counted::default()
                .grow(&buckets, sum, |value, count| seen.push((value > 1.0 && value <= 4.0, count)));
            assert_eq!(seen, [(true, 5)], "{sum}");
        }
    }
}
