//! Labels that are added, and what the tests of the tables use.

use alloc::string::{String, ToString};

use super::*;

/// The integers that a snapshot shows of the metrics whose names begin so, in order of their size.
pub(crate) fn integers(metrics: &dyn Metrics, name: &str) -> Vec<u64> {
    let mut integers = Vec::new();
    metrics.each(&mut |metric, _, value| {
        if let Value::Integer(integer) = value
            && metric.name.starts_with(name)
        {
            integers.push(integer);
        }
    });
    integers.sort_unstable();
    integers
}

static STONES: Metric = Metric::new(Kind::Gauge, "mill_stones", "Stones.", &["a"]);

struct Stones(usize);

impl Metrics for Stones {
    fn each(&self, visit: &mut Visit<'_>) {
        let all = ["1", "2", "3", "4", "5", "6", "7", "8", "9"].map(|value| Label::new("a", value));
        visit(&STONES, &all[..self.0], Value::Integer(0));
    }
}

fn labelled(labels: usize) -> Vec<String> {
    let mut seen = Vec::new();
    each_labelled(Label::new("first", 7_usize), &Stones(labels), &mut |_, labels, _| {
        seen = labels.iter().map(|label| label.value.to_string()).collect();
    });
    seen
}

#[test]
fn a_label_comes_before_the_others() {
    assert_eq!(labelled(0), ["7"]);
    assert_eq!(labelled(2), ["7", "1", "2"]);
}

#[test]
fn there_are_eight_labels_at_most() {
    assert_eq!(labelled(7), ["7", "1", "2", "3", "4", "5", "6", "7"]);
    assert_eq!(labelled(9), labelled(7));
}

static WAIT: Metric = Metric::new(Kind::Histogram, "mill_wait_seconds", "Waits.", &[]);

struct Mill;

impl Metrics for Mill {
    fn each(&self, visit: &mut Visit<'_>) {
        visit(&STONES, &[Label::new("a", "a \"b\""), Label::new("b", 7_usize)], Value::Integer(3));
        visit(&STONES, &[], Value::Float(0.25));
        let buckets = [(1.0, 2), (f64::INFINITY, 5)].map(|(le, count)| Bucket { le, count });
        visit(&WAIT, &[], Value::Histogram { buckets: &buckets, sum: 12.5 });
    }
}

#[test]
fn samples_are_shown_on_lines_with_their_values_below_each_other() {
    let expected = r#"
mill_stones{a="a \"b\"",b="7"}  3
mill_stones                     0.25
mill_wait_seconds               5 in all 12.5"#;
    assert_eq!(alloc::format!("\n{}", Samples(&Mill)), expected);
}

#[test]
fn nothing_is_shown_as_nothing() {
    assert_eq!(Samples(&Vec::<Mill>::new()).to_string(), "");
}

#[test]
fn the_unit_is_the_end_of_a_name() {
    for (kind, name, family, unit) in [
        (Kind::Counter, "mill_ground_bytes_total", "mill_ground_bytes", Some("bytes")),
        (Kind::Counter, "mill_turns_total", "mill_turns", None),
        (Kind::Gauge, "mill_wait_seconds", "mill_wait_seconds", Some("seconds")),
        (Kind::Gauge, "mill_seconds_total", "mill_seconds_total", None),
        (Kind::Gauge, "mill_kilobytes", "mill_kilobytes", None),
    ] {
        let metric = Metric::new(kind, name, "Help.", &[]);
        assert_eq!((metric.family(), metric.unit()), (family, unit), "{name}");
    }
}
