//! Each format, by its exact text.

use super::*;
use crate::metric::{Kind, Visit};

static GROUND: Metric =
    Metric::new(Kind::Counter, "mill_ground_bytes_total", "A \"sack\" \\ of\nrye.", &["grain"]);
static STONES: Metric = Metric::new(Kind::Gauge, "mill_stones", "Stones.", &[]);
static GRIND: Metric = Metric::new(Kind::Histogram, "mill_grind_seconds", "Times.", &["stone"]);

/// Shows one after another what must stand together.
struct Mills;

impl Metrics for Mills {
    fn each(&self, visit: &mut Visit<'_>) {
        for grain in ["rye", "wh\"e\\a\nt\r"] {
            visit(&GROUND, &[Label::new("grain", grain)], Value::Integer(u64::MAX));
            visit(&STONES, &[], Value::Float(f64::NAN));
        }
        let buckets = [(0.000_016, 1), (1.0, 2), (f64::INFINITY, 3)].map(|(le, count)| Bucket { le, count });
        visit(&GRIND, &[Label::new("stone", 7_usize)], Value::Histogram { buckets: &buckets, sum: 12.5 });
    }
}

#[test]
fn prometheus() {
    let expected = r#"# TYPE mill_grind_seconds histogram
# HELP mill_grind_seconds Times.
mill_grind_seconds_bucket{stone="7",le="0.000016"} 1
mill_grind_seconds_bucket{stone="7",le="1.0"} 2
mill_grind_seconds_bucket{stone="7",le="+Inf"} 3
mill_grind_seconds_sum{stone="7"} 12.5
mill_grind_seconds_count{stone="7"} 3
# TYPE mill_ground_bytes_total counter
# HELP mill_ground_bytes_total A "sack" \\ of\nrye.
mill_ground_bytes_total{grain="rye"} 18446744073709551615
mill_ground_bytes_total{grain="wh\"e\\a\nt "} 18446744073709551615
# TYPE mill_stones gauge
# HELP mill_stones Stones.
mill_stones NaN
mill_stones NaN
"#;
    assert_eq!(Format::Prometheus.encode(&Mills), expected);
}

#[test]
fn open_metrics() {
    let text = Format::OpenMetrics.encode(&Mills);
    let expected = r#"# TYPE mill_ground_bytes counter
# UNIT mill_ground_bytes bytes
# HELP mill_ground_bytes A \"sack\" \\ of\nrye.
mill_ground_bytes_total{grain="rye"} 18446744073709551615
"#;
    assert!(text.contains(expected), "{text}");
    assert!(text.ends_with("\n# EOF\n"), "{text}");
}

#[test]
fn json() {
    let read: serde_json::Value = serde_json::from_str(&Format::Json.encode(&Mills)).unwrap();
    let expected = serde_json::json!({
        "mill_grind_seconds": [{
            "labels": { "stone": "7" },
            "buckets": [{ "le": 0.000_016, "count": 1 }, { "le": 1, "count": 2 }],
            "sum": 12.5,
            "count": 3,
        }],
        "mill_ground_bytes_total": [
            { "labels": { "grain": "rye" }, "value": u64::MAX },
            { "labels": { "grain": "wh\"e\\a\nt " }, "value": u64::MAX },
        ],
        "mill_stones": [{ "labels": {}, "value": 0 }, { "labels": {}, "value": 0 }],
    });
    assert_eq!(read, expected);
}

/// `/stats` and serde are one format. A number without a fraction may be an integer in one of them.
#[cfg(feature = "serde")]
#[test]
fn json_is_what_serde_makes_of_the_samples() {
    use serde_json::Value as Json;

    fn as_floats(json: Json) -> Json {
        match json {
            Json::Number(number) => number.as_f64().unwrap().into(),
            Json::Array(list) => list.into_iter().map(as_floats).collect(),
            Json::Object(map) => map.into_iter().map(|(key, value)| (key, as_floats(value))).collect(),
            other => other,
        }
    }

    struct Printable;
    impl Metrics for Printable {
        fn each(&self, visit: &mut Visit<'_>) {
            Mills.each(&mut |metric, labels, value| {
                let is_printable = |label: &Label<'_>| !label.value.to_string().contains(char::is_control);
                if labels.iter().all(is_printable) {
                    visit(metric, labels, value);
                }
            });
        }
    }
    let read: Json = serde_json::from_str(&Format::Json.encode(&Printable)).unwrap();
    let serialized = serde_json::to_value(crate::metric::Samples(&Printable)).unwrap();
    assert_eq!(as_floats(serialized), as_floats(read));
}

#[test]
fn nothing_is_valid_in_each_format() {
    let nothing: Vec<Mills> = Vec::new();
    assert_eq!(Format::Prometheus.encode(&nothing), "");
    assert_eq!(Format::OpenMetrics.encode(&nothing), "# EOF\n");
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&Format::Json.encode(&nothing)).unwrap(),
        serde_json::json!({})
    );
}

#[test]
fn a_client_gets_the_format_that_it_prefers() {
    for (accept, expected) in [
        ("", Format::Prometheus),
        ("*/*", Format::Prometheus),
        ("text/html, */*;q=0.8", Format::Prometheus),
        ("application/openmetrics-text", Format::OpenMetrics),
        // Prometheus 2.42 and 3
        (
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            Format::OpenMetrics,
        ),
        (
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            Format::OpenMetrics,
        ),
        ("Application/OpenMetrics-Text; version=1.0.0; q=0.2, text/plain; q=0.5", Format::Prometheus),
        ("application/openmetrics-text;q=0", Format::Prometheus),
        ("application/openmetrics-text;q=x", Format::Prometheus),
        (";;;,,,q=", Format::Prometheus),
    ] {
        assert_eq!(Format::accepted(accept), expected, "{accept}");
    }
}
