//! A snapshot under the names of its metrics: as lines for people, and for serde.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::{self, Write};

use super::{Label, Metric, Metrics, Value};

/// All samples of a snapshot, or of a registry.
///
/// `{}` displays one line per sample, with the values below each other. A histogram shows how many it counted, and their sum.
/// With the feature `serde` it is a map from the name of each metric to the list of its samples, the same as `/stats` of the
/// admin endpoint. A sample has `labels`, and a `value` or `buckets`, `sum` and `count`. Snapshots of this crate serialize so
/// themselves.
///
/// # Examples
///
/// ```
/// use millpond::metric::Samples;
/// use millpond::{BufferPool, BufferPoolConfig};
///
/// let pool = BufferPool::new(BufferPoolConfig::builder().class(128, 4).build()?);
/// let buffer = pool.acquire(100);
/// let text = Samples(&pool.stats()).to_string();
/// let lent = text.lines().find(|line| line.contains("lent")).unwrap();
/// assert!(lent.starts_with(r#"millpond_buffer_pool_buffers{class="128",state="lent"} "#));
/// assert!(lent.ends_with(" 1"));
/// # drop(buffer);
/// # Ok::<(), millpond::ConfigError>(())
/// ```
#[derive(Clone, Copy)]
pub struct Samples<'a>(
    /// What shows them.
    pub &'a dyn Metrics,
);

impl fmt::Display for Samples<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = Vec::new();
        self.0.each(&mut |metric, labels, value| lines.push((named(metric, labels), shown(value))));
        let width = lines.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
        let mut separator = "";
        for (name, value) in &lines {
            write!(f, "{separator}{name:width$}  {value}")?;
            separator = "\n";
        }
        Ok(())
    }
}

impl fmt::Debug for Samples<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn named(metric: &Metric, labels: &[Label<'_>]) -> String {
    let mut name = metric.name.to_string();
    let mut separator = '{';
    for label in labels {
        // A write to a string does not fail.
        let _ = write!(name, "{separator}{}={:?}", label.name, label.value.to_string());
        separator = ',';
    }
    if separator == ',' {
        name.push('}');
    }
    name
}

fn shown(value: Value<'_>) -> String {
    match value {
        Value::Integer(count) => count.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Histogram { buckets, sum } => {
            format!("{} in all {sum}", buckets.last().map_or(0, |last| last.count))
        }
    }
}

#[cfg(feature = "serde")]
mod serialize {
    use alloc::collections::BTreeMap;

    use serde::{Serialize, Serializer};

    use super::*;
    use crate::metric::Bucket;

    #[derive(Serialize)]
    #[serde(untagged)]
    enum Sample {
        Integer { labels: Labels, value: u64 },
        Float { labels: Labels, value: f64 },
        Histogram { labels: Labels, buckets: Vec<Bucket>, sum: f64, count: u64 },
    }

    type Labels = BTreeMap<&'static str, String>;

    impl Serialize for Samples<'_> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut metrics = BTreeMap::<&str, Vec<Sample>>::new();
            self.0.each(&mut |metric, labels, value| {
                metrics.entry(metric.name).or_default().push(Sample::new(labels, value));
            });
            metrics.serialize(serializer)
        }
    }

    impl Sample {
        fn new(labels: &[Label<'_>], value: Value<'_>) -> Self {
            let labels = labels.iter().map(|label| (label.name, label.value.to_string())).collect();
            // JSON has no infinity.
            let finite = |number: f64| if number.is_finite() { number } else { 0.0 };
            match value {
                Value::Integer(value) => Self::Integer { labels, value },
                Value::Float(value) => Self::Float { labels, value: finite(value) },
                Value::Histogram { buckets, sum } => Self::Histogram {
                    labels,
                    buckets: buckets.iter().copied().filter(|bucket| bucket.le.is_finite()).collect(),
                    sum: finite(sum),
                    count: buckets.last().map_or(0, |last| last.count),
                },
            }
        }
    }
}
