//! A snapshot of a registry as messages of OTLP.

use std::collections::{BTreeMap, HashMap};
use std::time::{SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyValueKind;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::{self as otlp, metric::Data, number_data_point};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;

use crate::metric::{Bucket, Kind, Label, LabelValue, Metric, Metrics, Value};

/// The most points of a message, which then has about 300 KB. Servers of gRPC refuse messages of 4 MB.
const MAX_POINTS: usize = 2000;

/// The metrics by their names.
type Families = BTreeMap<&'static str, otlp::Metric>;

/// The times of a point.
#[derive(Clone, Copy)]
struct Times {
    begun: u64,
    now: u64,
}

/// Since when each series grows. One that falls was replaced after the snapshot before, and one that is new came after it.
pub(super) struct Starts {
    /// By name and labels.
    series: HashMap<String, Series>,
    /// The time of the last snapshot, or of the start.
    last: u64,
}

struct Series {
    begun: u64,
    /// The count at the last snapshot, and when that was.
    count: f64,
    seen: u64,
}

impl Starts {
    pub(super) fn new() -> Self {
        Self { series: HashMap::new(), last: nanoseconds(SystemTime::now()) }
    }

    /// The samples of `metrics`, cumulative.
    pub(super) fn requests(
        &mut self,
        metrics: &dyn Metrics,
        resource: &ResourceAttributesWithSchema,
    ) -> Vec<ExportMetricsServiceRequest> {
        // A clock may be set back.
        let now = nanoseconds(SystemTime::now()).max(self.last + 1);
        let (mut done, mut families, mut points) = (Vec::new(), Families::new(), 0);
        metrics.each(&mut |metric, labels, value| {
            if points == MAX_POINTS {
                done.push(std::mem::take(&mut families));
                points = 0;
            }
            points += 1;
            let family = families.entry(metric.name).or_insert_with(|| family(metric));
            let begun = if metric.kind == Kind::Gauge { 0 } else { self.begun(metric, labels, value, now) };
            add(family, labels, value, Times { begun, now });
        });
        if points > 0 {
            done.push(families);
        }
        self.series.retain(|_, series| series.seen == now);
        self.last = now;
        done.into_iter().map(|families| request(families, resource)).collect()
    }

    fn begun(&mut self, metric: &Metric, labels: &[Label<'_>], value: Value<'_>, now: u64) -> u64 {
        let count = match value {
            Value::Integer(count) => count as f64,
            Value::Float(number) => number,
            Value::Histogram { buckets, .. } => buckets.last().map_or(0, |last| last.count) as f64,
        };
        let new = Series { begun: self.last, count, seen: now };
        let series = self.series.entry(format!("{}{labels:?}", metric.name)).or_insert(new);
        // Of two samples with the same name and labels the first counts.
        if series.seen != now {
            let begun = if count < series.count { self.last } else { series.begun };
            *series = Series { begun, count, seen: now };
        }
        series.begun
    }
}

fn request(families: Families, resource: &ResourceAttributesWithSchema) -> ExportMetricsServiceRequest {
    let scope = InstrumentationScope { name: "millpond".to_owned(), ..Default::default() };
    let scope_metrics = vec![otlp::ScopeMetrics {
        scope: Some(scope),
        metrics: families.into_values().collect(),
        schema_url: String::new(),
    }];
    let attributes = resource.attributes.0.clone();
    let resource_metrics = vec![otlp::ResourceMetrics {
        resource: Some(Resource { attributes, ..Default::default() }),
        scope_metrics,
        schema_url: resource.schema_url.clone().unwrap_or_default(),
    }];
    ExportMetricsServiceRequest { resource_metrics }
}

fn family(metric: &Metric) -> otlp::Metric {
    let aggregation_temporality = otlp::AggregationTemporality::Cumulative.into();
    let data = match metric.kind {
        Kind::Counter => {
            Data::Sum(otlp::Sum { data_points: Vec::new(), aggregation_temporality, is_monotonic: true })
        }
        Kind::Gauge => Data::Gauge(otlp::Gauge::default()),
        Kind::Histogram => {
            Data::Histogram(otlp::Histogram { data_points: Vec::new(), aggregation_temporality })
        }
    };
    let unit = match metric.unit() {
        Some("seconds") => "s",
        Some("bytes") => "By",
        _ => "",
    };
    otlp::Metric {
        name: metric.name.to_owned(),
        description: metric.help.to_owned(),
        unit: unit.to_owned(),
        metadata: Vec::new(),
        data: Some(data),
    }
}

fn add(family: &mut otlp::Metric, labels: &[Label<'_>], value: Value<'_>, times: Times) {
    let attributes = labels.iter().map(attribute).collect();
    match (&mut family.data, value) {
        (Some(Data::Histogram(histogram)), Value::Histogram { buckets, sum }) => {
            histogram.data_points.push(histogram_point(attributes, buckets, sum, times));
        }
        (
            Some(Data::Sum(otlp::Sum { data_points, .. }) | Data::Gauge(otlp::Gauge { data_points })),
            value,
        ) => {
            let value = match value {
                Value::Integer(count) => {
                    number_data_point::Value::AsInt(i64::try_from(count).unwrap_or(i64::MAX))
                }
                Value::Float(number) => number_data_point::Value::AsDouble(number),
                Value::Histogram { .. } => return,
            };
            data_points.push(otlp::NumberDataPoint {
                attributes,
                start_time_unix_nano: times.begun,
                time_unix_nano: times.now,
                value: Some(value),
                ..Default::default()
            });
        }
        _ => {}
    }
}

/// Each bucket of OTLP counts for itself, and ours up to its bound.
fn histogram_point(
    attributes: Vec<KeyValue>,
    buckets: &[Bucket],
    sum: f64,
    times: Times,
) -> otlp::HistogramDataPoint {
    let mut before = 0;
    let counts = buckets.iter().map(|bucket| {
        let count = bucket.count.saturating_sub(before);
        before = bucket.count;
        count
    });
    otlp::HistogramDataPoint {
        attributes,
        start_time_unix_nano: times.begun,
        time_unix_nano: times.now,
        bucket_counts: counts.collect(),
        count: buckets.last().map_or(0, |last| last.count),
        sum: Some(sum),
        explicit_bounds: buckets.iter().map(|bucket| bucket.le).filter(|le| le.is_finite()).collect(),
        ..Default::default()
    }
}

fn attribute(label: &Label<'_>) -> KeyValue {
    let value = match label.value {
        LabelValue::Text(text) => AnyValueKind::StringValue(text.to_owned()),
        // As in the other formats, where all labels are text.
        LabelValue::Number(number) => AnyValueKind::StringValue(number.to_string()),
    };
    KeyValue {
        key: label.name.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..Default::default()
    }
}

fn nanoseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::Visit;

    static GRAINS: Metric = Metric::new(Kind::Counter, "mill_grains_total", "Grains.", &["sack"]);
    static TURNS: Metric = Metric::new(Kind::Histogram, "mill_turns_seconds", "Turns.", &[]);

    struct Mill {
        sacks: usize,
        grains: u64,
    }

    impl Metrics for Mill {
        fn each(&self, visit: &mut Visit<'_>) {
            for sack in 0..self.sacks {
                visit(&GRAINS, &[Label::new("sack", sack)], Value::Integer(self.grains));
            }
            let buckets = [(1.0, 2), (4.0, 5), (f64::INFINITY, 6)].map(|(le, count)| Bucket { le, count });
            visit(&TURNS, &[], Value::Histogram { buckets: &buckets, sum: 12.5 });
        }
    }

    fn families(sacks: usize) -> Vec<Vec<otlp::Metric>> {
        next(&mut Starts::new(), &Mill { sacks, grains: 7 })
    }

    fn next(starts: &mut Starts, mill: &Mill) -> Vec<Vec<otlp::Metric>> {
        let requests = starts.requests(mill, &ResourceAttributesWithSchema::default());
        let scopes = requests.into_iter().map(|request| request.resource_metrics[0].scope_metrics[0].clone());
        scopes.map(|scope| scope.metrics).collect()
    }

    /// The start and the time of the counter.
    fn times(starts: &mut Starts, grains: u64) -> (u64, u64) {
        let families = next(starts, &Mill { sacks: 1, grains });
        let Some(Data::Sum(sum)) = &families[0][0].data else { panic!("{families:?}") };
        (sum.data_points[0].start_time_unix_nano, sum.data_points[0].time_unix_nano)
    }

    #[test]
    fn a_counter_that_grows_keeps_its_start() {
        let mut starts = Starts::new();
        assert_eq!(times(&mut starts, 7).0, times(&mut starts, 8).0);
    }

    #[test]
    fn a_counter_that_falls_starts_after_the_last_snapshot() {
        let mut starts = Starts::new();
        let (_, before) = times(&mut starts, 7);
        assert_eq!(times(&mut starts, 6).0, before);
    }

    #[test]
    fn a_counter_that_comes_later_starts_after_the_last_snapshot() {
        let mut starts = Starts::new();
        let before = starts.last;
        next(&mut starts, &Mill { sacks: 0, grains: 0 });
        assert!(times(&mut starts, 7).0 > before);
    }

    #[test]
    fn a_bucket_counts_for_itself() {
        let families = families(0);
        let Some(Data::Histogram(histogram)) = &families[0][0].data else { panic!("{families:?}") };
        let point = &histogram.data_points[0];
        assert_eq!(point.bucket_counts, [2, 3, 1]);
        assert_eq!(point.explicit_bounds, [1.0, 4.0]);
        assert_eq!((point.count, point.sum), (6, Some(12.5)));
    }

    #[test]
    fn a_counter_is_cumulative_and_only_grows() {
        let families = families(1);
        let Some(Data::Sum(sum)) = &families[0][0].data else { panic!("{families:?}") };
        assert!(sum.is_monotonic);
        assert_eq!(sum.aggregation_temporality, otlp::AggregationTemporality::Cumulative as i32);
        assert_eq!(sum.data_points[0].value, Some(number_data_point::Value::AsInt(7)));
    }

    #[test]
    fn many_points_are_several_messages() {
        assert_eq!(families(MAX_POINTS - 1).len(), 1);
        assert_eq!(families(MAX_POINTS).len(), 2);
    }
}
