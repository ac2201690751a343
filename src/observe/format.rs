//! Snapshots as text: [Prometheus' format 0.0.4], [OpenMetrics 1.0] and JSON.
//!
//! A metric's samples must stand together, and sources show them one source after another. So each metric has a text, and
//! these are joined at the end: no sample allocates but by the growth of these texts.
//!
//! [Prometheus' format 0.0.4]: https://prometheus.io/docs/instrumenting/exposition_formats/
//! [OpenMetrics 1.0]: https://prometheus.io/docs/specs/om/open_metrics_spec/

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use crate::metric::{Bucket, Label, Metric, Metrics, Value};

/// A format of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// Prometheus' text format, version 0.0.4.
    Prometheus,
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// An object with a list of samples for each metric. A sample has `labels`, and a `value` or `buckets`, `sum` and `count`.
    Json,
}

impl Format {
    /// The one of Prometheus' two formats that a client prefers, by its `Accept` header. The older one without a preference.
    #[must_use]
    pub fn accepted(accept: &str) -> Self {
        let quality = |wanted: &str| {
            accept
                .split(',')
                .filter_map(|range| {
                    let mut parts = range.split(';').map(str::trim);
                    let is_wanted = parts.next()?.eq_ignore_ascii_case(wanted);
                    let quality = parts.find_map(|part| part.strip_prefix("q="));
                    is_wanted.then(|| quality.map_or(1.0, |quality| quality.parse().unwrap_or(0.0_f32)))
                })
                .fold(0.0, f32::max)
        };
        let open_metrics = quality("application/openmetrics-text");
        if open_metrics > 0.0 && open_metrics >= quality("text/plain") {
            Self::OpenMetrics
        } else {
            Self::Prometheus
        }
    }

    /// The value of the `Content-Type` header.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Json => "application/json",
        }
    }

    /// The text of a snapshot, or of all in a [`Registry`](super::Registry). Metrics are in the order of their names.
    #[must_use]
    pub fn encode(self, metrics: &dyn Metrics) -> String {
        let mut families = BTreeMap::<&str, (&Metric, String)>::new();
        metrics.each(&mut |metric, labels, value| {
            let (metric, text) = families.entry(metric.name).or_insert((metric, String::new()));
            // A write to a string does not fail.
            let _ = self.sample(text, metric, labels, value);
        });
        let mut text = String::with_capacity(families.values().map(|(_, text)| text.len() + 256).sum());
        let _ = self.join(&mut text, families.values());
        text
    }

    fn join<'a>(
        self,
        text: &mut String,
        families: impl Iterator<Item = &'a (&'a Metric, String)>,
    ) -> fmt::Result {
        let mut separator = "";
        if self == Self::Json {
            text.push('{');
        }
        for (metric, samples) in families {
            let name = if self == Self::OpenMetrics { metric.family() } else { metric.name };
            if self == Self::Json {
                write!(text, "{separator}\n\"{name}\":[{samples}]")?;
                separator = ",";
                continue;
            }
            writeln!(text, "# TYPE {name} {}", metric.kind.name())?;
            if let (Self::OpenMetrics, Some(unit)) = (self, metric.unit()) {
                writeln!(text, "# UNIT {name} {unit}")?;
            }
            // The older format knows no escaped quotes here.
            let help = Escaped { text: &metric.help, quotes: self == Self::OpenMetrics };
            writeln!(text, "# HELP {name} {help}")?;
            text.push_str(samples);
        }
        match self {
            Self::Prometheus => Ok(()),
            Self::OpenMetrics => text.write_str("# EOF\n"),
            Self::Json => text.write_str("\n}\n"),
        }
    }

    fn sample(
        self,
        text: &mut String,
        metric: &Metric,
        labels: &[Label<'_>],
        value: Value<'_>,
    ) -> fmt::Result {
        if self == Self::Json {
            return json(text, labels, value);
        }
        let name = metric.name;
        match value {
            Value::Integer(count) => writeln!(text, "{name}{} {count}", Labels(labels, None)),
            Value::Float(number) => writeln!(text, "{name}{} {}", Labels(labels, None), Number(number)),
            Value::Histogram { buckets, sum } => {
                for Bucket { le, count } in buckets {
                    writeln!(text, "{name}_bucket{} {count}", Labels(labels, Some(*le)))?;
                }
                let count = buckets.last().map_or(0, |last| last.count);
                writeln!(text, "{name}_sum{} {}", Labels(labels, None), Number(sum))?;
                writeln!(text, "{name}_count{} {count}", Labels(labels, None))
            }
        }
    }
}

fn json(text: &mut String, labels: &[Label<'_>], value: Value<'_>) -> fmt::Result {
    let separator = if text.is_empty() { "" } else { "," };
    write!(text, "{separator}{{\"labels\":{{")?;
    for (at, label) in labels.iter().enumerate() {
        let separator = if at == 0 { "" } else { "," };
        write!(text, "{separator}\"{}\":\"{}\"", label.name, Escaped { text: &label.value, quotes: true })?;
    }
    // JSON has no infinity.
    let finite = |number: f64| if number.is_finite() { number } else { 0.0 };
    match value {
        Value::Integer(count) => write!(text, "}},\"value\":{count}}}"),
        Value::Float(number) => write!(text, "}},\"value\":{}}}", finite(number)),
        Value::Histogram { buckets, sum } => {
            text.write_str("},\"buckets\":[")?;
            let mut separator = "";
            for Bucket { le, count } in buckets.iter().filter(|bucket| bucket.le.is_finite()) {
                write!(text, "{separator}{{\"le\":{le},\"count\":{count}}}")?;
                separator = ",";
            }
            let count = buckets.last().map_or(0, |last| last.count);
            write!(text, "],\"sum\":{},\"count\":{count}}}", finite(sum))
        }
    }
}

/// In braces, if there are any; with the bound of a bucket.
struct Labels<'a>(&'a [Label<'a>], Option<f64>);

impl fmt::Display for Labels<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = '{';
        for label in self.0 {
            write!(f, "{separator}{}=\"{}\"", label.name, Escaped { text: &label.value, quotes: true })?;
            separator = ',';
        }
        if let Some(le) = self.1 {
            write!(f, "{separator}le=\"{}\"", Number(le))?;
            separator = ',';
        }
        if separator == ',' { f.write_char('}') } else { Ok(()) }
    }
}

/// A number as Go writes it, as far as Prometheus' parsers compare texts.
struct Number(f64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            f64::INFINITY => f.write_str("+Inf"),
            f64::NEG_INFINITY => f.write_str("-Inf"),
            number if number.fract() == 0.0 => write!(f, "{number}.0"),
            number => number.fmt(f),
        }
    }
}

/// A text with escapes for backslashes, ends of lines, and quotes where they need one.
pub(super) struct Escaped<'a> {
    pub(super) text: &'a dyn fmt::Display,
    pub(super) quotes: bool,
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping { to: f, quotes: self.quotes }, "{}", self.text)
    }
}

struct Escaping<'a, 'f> {
    to: &'a mut fmt::Formatter<'f>,
    quotes: bool,
}

impl Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let is_plain = |byte: u8| matches!(byte, b' '..=b'~') && ![b'"', b'\\'].contains(&byte);
        if text.bytes().all(is_plain) {
            return self.to.write_str(text);
        }
        text.chars().try_for_each(|character| match character {
            '\n' => self.to.write_str("\\n"),
            '\\' => self.to.write_str("\\\\"),
            '"' if self.quotes => self.to.write_str("\\\""),
            // Not all formats have an escape for these.
            control if control.is_control() => self.to.write_char(' '),
            other => self.to.write_char(other),
        })
    }
}

#[cfg(test)]
mod tests;
