//! The tables of all metrics: their names follow Prometheus' conventions, and `src/observe/all_metrics.md` lists them.
//!
//! `UPDATE_METRICS=1 cargo test --all-features --test metric_tables` writes that page anew.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::{env, fs};

use millpond::metric::{Kind, Metric};
use millpond::observe::tables;

/// Where the metrics come from, and how their names begin.
const PARTS: &[(&str, &str)] = &[
    ("A [`BufferPool`](crate::BufferPool)", "millpond_buffer_pool_"),
    (
        "A [`Breaker`](crate::policy::Breaker), and that of each server of [`Upstreams`](crate::connection::https::Upstreams)",
        "millpond_breaker_",
    ),
    (
        "Each of several [`Regions`](crate::policy::Regions), as those of a [`RegionPool`](crate::connection::RegionPool)",
        "millpond_region_",
    ),
    ("A [`RetryBudget`](crate::policy::RetryBudget)", "millpond_retries_"),
    ("A [`Relay`](crate::relay::Relay)", "millpond_relay_"),
    ("A server of a [`Backend`](crate::relay::Backend)", "millpond_backend_"),
    ("A [`Hub`](crate::bus::Hub)", "millpond_bus_"),
    (
        "A [`Pool`](crate::connection::Pool), an [`Http2Pool`](crate::connection::https::Http2Pool), and the two of each \
         server of [`Upstreams`](crate::connection::https::Upstreams)",
        "millpond_connection_pool_",
    ),
    ("An [`Http2Pool`](crate::connection::https::Http2Pool), also of a server", "millpond_http2_pool_"),
    ("[`Upstreams`](crate::connection::https::Upstreams), all servers together", "millpond_upstreams_"),
    ("A server of [`Upstreams`](crate::connection::https::Upstreams)", "millpond_http_"),
    ("A [`LimitLayer`](crate::resilience::LimitLayer)", "millpond_concurrency_limit_"),
    ("A [`RateLimitLayer`](crate::resilience::RateLimitLayer)", "millpond_rate_limit_"),
    ("A [`ByteLimitLayer`](crate::resilience::ByteLimitLayer)", "millpond_byte_limit_"),
    ("A [`DeadlineLayer`](crate::resilience::DeadlineLayer)", "millpond_deadline_"),
    ("A [`FallbackLayer`](crate::resilience::FallbackLayer)", "millpond_fallback_"),
    ("An [`Otlp`](crate::observe::otlp::Otlp)", "millpond_otlp_"),
];

#[test]
fn the_page_lists_all_metrics() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/observe/all_metrics.md");
    if env::var_os("UPDATE_METRICS").is_some() {
        fs::write(path, page()).unwrap();
    }
    assert!(fs::read_to_string(path).unwrap() == page(), "UPDATE_METRICS=1 writes {path} anew");
}

fn page() -> String {
    let mut page = String::from(
        "All metrics, one table per source. Each sample has the label `name`, too. Those of a server of `Upstreams` have \
         `server`, its scheme, host and port, and those of its pools `protocol`: `http1` or `http2`. A server takes up to \
         20 KB of a scrape, and `max_servers` bounds their number. Those of the pools of a `RegionPool` have `region`.\n\n\
         A histogram has buckets at the powers of four from 16 µs to 67 s. In OpenMetrics, a counter's name is without \
         `_total` in the lines of its type, unit and help.\n",
    );
    for (title, prefix) in PARTS {
        write!(page, "\n# {title}\n\n| metric | kind | labels | meaning |\n|---|---|---|---|\n").unwrap();
        for metric in tables().filter(|metric| metric.name.starts_with(prefix)) {
            let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
            let (name, kind, help) = (metric.name, metric.kind.name(), metric.help);
            writeln!(page, "| `{name}` | {kind} | {} | {help} |", labels.join(", ")).unwrap();
        }
    }
    page
}

#[test]
fn each_metric_belongs_to_one_part_of_the_page() {
    for metric in tables() {
        let parts = PARTS.iter().filter(|(_, prefix)| metric.name.starts_with(prefix)).count();
        assert_eq!(parts, 1, "{}", metric.name);
    }
}

#[test]
fn names_are_unique() {
    let mut seen = BTreeSet::new();
    for metric in tables() {
        assert!(seen.insert(metric.family()), "{}", metric.name);
    }
    assert!(seen.len() > 40, "{}", seen.len());
}

fn is_lower_case(name: &str) -> bool {
    name.split('_').all(|word| {
        !word.is_empty() && word.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit())
    })
}

#[test]
fn names_are_lower_case() {
    for metric in tables() {
        assert!(is_lower_case(metric.name), "{}", metric.name);
    }
}

#[test]
fn only_counters_end_in_total() {
    for metric in tables() {
        assert_eq!(metric.name.ends_with("_total"), metric.kind == Kind::Counter, "{}", metric.name);
    }
}

#[test]
fn no_name_ends_like_a_part_of_a_histogram() {
    for metric in tables() {
        let is_reserved = ["_bucket", "_sum", "_count", "_created", "_info"]
            .iter()
            .any(|ending| metric.family().ends_with(ending));
        assert!(!is_reserved, "{}", metric.name);
    }
}

/// A name with a unit in its middle, or another one than the base unit, misleads.
#[test]
fn a_unit_is_a_base_unit_at_the_end() {
    let other = ["ms", "micros", "milliseconds", "microseconds", "kb", "kib", "mib", "percent"];
    for metric in tables() {
        let words = || metric.family().split('_');
        let units = words().filter(|word| ["seconds", "bytes"].contains(word)).count();
        assert_eq!(units, usize::from(metric.unit().is_some()), "{}", metric.name);
        assert!(!words().any(|word| other.contains(&word)), "{}", metric.name);
    }
}

#[test]
fn histograms_have_a_unit() {
    for metric in tables().filter(|metric| metric.kind == Kind::Histogram) {
        assert!(metric.unit().is_some(), "{}", metric.name);
    }
}

#[test]
fn a_help_is_one_sentence() {
    let is_sentence = |metric: &Metric| {
        let help = metric.help;
        help.starts_with(|first: char| first.is_ascii_uppercase())
            && help.find(". ").is_none()
            && help.ends_with('.')
            && !help.contains(['|', '"', '\\', '\n'])
    };
    for metric in tables() {
        assert!(is_sentence(metric), "{}: {}", metric.name, metric.help);
    }
}

#[test]
fn labels_are_lower_case_and_free() {
    for metric in tables() {
        for label in metric.labels {
            let is_taken = ["le", "name", "server", "protocol", "instance", "job"].contains(label);
            assert!(is_lower_case(label) && !is_taken, "{}: {label}", metric.name);
        }
    }
}
