//! What the answers of an admin endpoint say at one moment.

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::Value;

use super::Sort;
use super::table::{Column, Table, bytes, number, short, text, time};

/// One look. Of two series, the first is of clients, or to upstreams.
pub(super) struct Look {
    pub(super) at: Instant,
    /// What the connections are ordered by.
    pub(super) sort: Sort,
    /// What `/readyz` says, if it was asked.
    pub(super) ready: Option<String>,
    /// Bytes so far, to upstreams and to clients.
    pub(super) traffic: [f64; 2],
    /// Connections of clients, and in pools.
    pub(super) open: [f64; 2],
    /// Who waits for memory, and for a connection.
    pub(super) waits: [f64; 2],
    /// So far, of connections and of upstreams.
    pub(super) errors: [f64; 2],
    /// Bytes that are lent, idle and frozen.
    pub(super) memory: [f64; 3],
    pub(super) upstreams: Table,
    pub(super) regions: Table,
    pub(super) connections: Table,
    pub(super) holders: Table,
    pub(super) classes: Table,
}

const UPSTREAMS: &[Column] = &[
    text("upstream"),
    text("breaker"),
    number("in use"),
    number("idle"),
    number("connecting"),
    number("waiting"),
    text("errors"),
];
const REGIONS: &[Column] = &[text("region"), text("state"), number("score")];
const CONNECTIONS: &[Column] = &[
    text("client"),
    number("holds"),
    number("to upstream"),
    number("to client"),
    number("idle"),
    number("age"),
    text("upstream"),
    number("id"),
];
const HOLDERS: &[Column] =
    &[text("code"), number("buffers"), number("bytes"), number("pinned"), number("longest"), text("label")];
const CLASSES: &[Column] = &[
    text("pool, class"),
    number("lent"),
    number("frozen"),
    number("idle"),
    number("bytes"),
    number("acquires"),
];

impl Look {
    pub(super) fn new(at: Instant, sort: Sort, stats: &Value, connections: &Value, holders: &Value) -> Self {
        let samples = Samples(stats);
        let sum = |name: &str| samples.sum(name, |_| true);
        let sums = |one: &str, other: &str| sum(one) + sum(other);
        let written =
            |to: &str| samples.sum("millpond_relay_written_bytes_total", |labels| label(labels, "to") == to);
        // Connects of a relay that failed are errors of its upstream.
        let relayed = |is_connect: bool| {
            samples.sum("millpond_relay_ended_connections_total", |labels| {
                let outcome = label(labels, "outcome");
                outcome != "closed" && (outcome == "connect_error") == is_connect
            })
        };
        let bus = samples.sum("millpond_bus_ended_connections_total", |labels| {
            !["closed", "connected"].contains(&&*label(labels, "outcome"))
        });
        let memory = |state: &str| {
            samples.sum("millpond_buffer_pool_class_bytes", |labels| label(labels, "state") == state)
        };
        Self {
            at,
            sort,
            ready: None,
            traffic: [
                written("upstream") + sum("millpond_bus_sent_bytes_total"),
                written("client") + sum("millpond_bus_received_bytes_total"),
            ],
            open: [
                sums("millpond_relay_connections", "millpond_bus_connections"),
                sums("millpond_connection_pool_connections", "millpond_http2_pool_connections"),
            ],
            waits: [
                sum("millpond_buffer_pool_waiting"),
                sums("millpond_connection_pool_waiting", "millpond_http2_pool_waiting"),
            ],
            errors: [
                relayed(false) + bus,
                relayed(true)
                    + sums(
                        "millpond_connection_pool_connect_errors_total",
                        "millpond_http_request_errors_total",
                    ),
            ],
            memory: ["lent", "idle", "frozen"].map(memory),
            upstreams: upstreams(&samples),
            regions: regions(&samples),
            connections: self::connections(connections),
            holders: self::holders(holders),
            classes: classes(&samples),
        }
    }
}

/// The object of `/stats`.
struct Samples<'a>(&'a Value);

impl<'a> Samples<'a> {
    fn each(&self, name: &str) -> impl Iterator<Item = (&'a Value, f64)> {
        let samples = self.0[name].as_array().into_iter().flatten();
        samples.map(|sample| (&sample["labels"], sample["value"].as_f64().unwrap_or(0.0)))
    }

    fn sum(&self, name: &str, wanted: impl Fn(&Value) -> bool) -> f64 {
        // The sum of nothing would be -0.
        self.each(name).filter(|(labels, _)| wanted(labels)).fold(0.0, |sum, (_, value)| sum + value)
    }
}

/// A label, or nothing. A control character could change the terminal.
fn label(labels: &Value, name: &str) -> String {
    labels[name].as_str().unwrap_or_default().replace(char::is_control, " ")
}

/// With the name of its source: two may have regions of the same name.
fn region(labels: &Value) -> String {
    format!("{} ({})", label(labels, "region"), label(labels, "name"))
}

#[derive(Default)]
struct Upstream {
    in_use: f64,
    idle: f64,
    connecting: f64,
    waiting: f64,
    errors: BTreeMap<String, f64>,
    breaker: String,
}

fn upstreams(samples: &Samples<'_>) -> Table {
    let mut found = BTreeMap::<String, Upstream>::new();
    let mut each = |name: &str, count: &dyn Fn(&mut Upstream, &Value, f64)| {
        for (labels, value) in samples.each(name) {
            let server = label(labels, "server");
            let name = label(labels, "name");
            // Two sources may have the same server: regions, for example.
            let key = if server.is_empty() { name } else { format!("{server} ({name})") };
            count(found.entry(key).or_default(), labels, value);
        }
    };
    for pool in ["millpond_connection_pool", "millpond_http2_pool"] {
        each(&format!("{pool}_connections"), &|of, labels, value| match &*label(labels, "state") {
            "idle" | "at_rest" => of.idle += value,
            _ => of.in_use += value,
        });
        each(&format!("{pool}_connecting"), &|of, _, value| of.connecting += value);
        each(&format!("{pool}_waiting"), &|of, _, value| of.waiting += value);
    }
    each("millpond_relay_connections", &|of, _, value| of.in_use += value);
    // A server of `Upstreams` says by its phase why a connect failed, so its pool need not.
    for (name, kind) in [
        ("millpond_relay_ended_connections_total", "outcome"),
        ("millpond_connection_pool_connect_errors_total", "reason"),
        ("millpond_http_connects_total", "outcome"),
        ("millpond_http_request_errors_total", "kind"),
    ] {
        each(name, &|of, labels, value| {
            let kind = label(labels, kind);
            let is_told_below = name.ends_with("connect_errors_total") && !label(labels, "server").is_empty();
            if value > 0.0 && !["closed", "connected"].contains(&&*kind) && !is_told_below {
                *of.errors.entry(kind.replace('_', " ")).or_default() += value;
            }
        });
    }
    for name in ["millpond_breaker_state", "millpond_connection_pool_breaker_state"] {
        each(name, &|of, labels, value| {
            if value > 0.0 && (of.breaker.is_empty() || label(labels, "state") != "closed") {
                of.breaker = label(labels, "state").replace('_', "-");
            }
        });
    }
    let rows = found.into_iter().map(|(key, of)| {
        let errors = of.errors.iter().map(|(kind, count)| format!("{} {kind}", short(*count)));
        let errors = errors.collect::<Vec<_>>().join(", ");
        let numbers = [of.in_use, of.idle, of.connecting, of.waiting].map(short);
        let or = |text: String, other: &str| if text.is_empty() { other.to_owned() } else { text };
        [key, or(of.breaker, "-")].into_iter().chain(numbers).chain([or(errors, "0")]).collect()
    });
    Table { title: "Upstreams", columns: UPSTREAMS, rows: rows.collect(), note: String::new() }
}

fn regions(samples: &Samples<'_>) -> Table {
    let mut found = BTreeMap::<String, (String, Option<f64>)>::new();
    for (labels, _) in samples.each("millpond_region_state").filter(|(_, value)| *value > 0.0) {
        found.entry(region(labels)).or_default().0 = label(labels, "state");
    }
    for (labels, value) in samples.each("millpond_region_score_seconds") {
        found.entry(region(labels)).or_default().1 = Some(value);
    }
    let score = |score: Option<f64>| score.map_or_else(|| "-".to_owned(), time);
    let rows = found.into_iter().map(|(key, (state, known))| vec![key, state, score(known)]);
    Table { title: "Regions", columns: REGIONS, rows: rows.collect(), note: String::new() }
}

/// The rows of a report.
fn rows(report: &Value) -> impl Iterator<Item = &Value> {
    report["rows"].as_array().into_iter().flatten()
}

fn maybe(number: &Value, factor: f64, write: fn(f64) -> String) -> String {
    number.as_f64().map_or_else(|| "-".to_owned(), |number| write(number * factor))
}

fn connections(report: &Value) -> Table {
    let rows: Vec<_> = rows(report)
        .map(|one| {
            let client = label(one, "client");
            let client = if client.is_empty() { format!("{} itself", label(one, "name")) } else { client };
            let number = |name: &str, write| maybe(&one[name], 1.0, write);
            vec![
                client,
                number("held_bytes", bytes),
                number("to_upstream_bytes", bytes),
                number("to_client_bytes", bytes),
                number("idle_seconds", time),
                number("age_seconds", time),
                label(one, "upstream"),
                label(one, "id"),
            ]
        })
        .collect();
    let total = report["total"].as_u64().unwrap_or(0);
    let note = match rows.len() {
        0 => "no connection is open".to_owned(),
        shown if (shown as u64) < total => format!("the first {shown} of {total}"),
        _ => String::new(),
    };
    Table { title: "Greediest connections", columns: CONNECTIONS, rows, note }
}

fn holders(report: &Value) -> Table {
    let rows: Vec<_> = rows(report)
        .map(|one| {
            let factor = one["sampled_one_in"].as_f64().unwrap_or(1.0);
            let number = |name: &str, write| maybe(&one[name], factor, write);
            vec![
                label(one, "caller"),
                number("samples", short),
                number("storage_bytes", bytes),
                number("pinned_bytes", bytes),
                maybe(&one["longest_seconds"], 1.0, time),
                label(one, "label"),
            ]
        })
        .collect();
    let off: Vec<_> = report["off"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let note = match (off.is_empty(), rows.is_empty()) {
        (false, _) => format!("off for {}: --sample-one-in of millpond proxy turns it on", off.join(", ")),
        (true, true) => "no sampled buffer is held".to_owned(),
        (true, false) => "estimates from samples".to_owned(),
    };
    Table { title: "Who holds buffers", columns: HOLDERS, rows, note: note.replace(char::is_control, " ") }
}

fn classes(samples: &Samples<'_>) -> Table {
    let mut found = BTreeMap::<(String, u64, String), [f64; 5]>::new();
    let mut each = |name: &str, place: &dyn Fn(&Value) -> Option<usize>| {
        for (labels, value) in samples.each(name) {
            let class = label(labels, "class");
            // In the order of their sizes.
            let key = (label(labels, "name"), class.parse().unwrap_or(u64::MAX), class);
            let numbers = found.entry(key).or_default();
            if let Some(number) = place(labels).and_then(|place| numbers.get_mut(place)) {
                *number += value;
            }
        }
    };
    each("millpond_buffer_pool_buffers", &|labels| {
        ["lent", "frozen", "idle"].iter().position(|state| *state == label(labels, "state"))
    });
    each("millpond_buffer_pool_class_bytes", &|_| Some(3));
    each("millpond_buffer_pool_acquires_total", &|_| Some(4));
    let rows = found.into_iter().map(|((name, _, class), [lent, frozen, idle, held, acquires])| {
        vec![
            format!("{name}, {class}"),
            short(lent),
            short(frozen),
            short(idle),
            bytes(held),
            short(acquires),
        ]
    });
    Table { title: "Buffers by class", columns: CLASSES, rows: rows.collect(), note: String::new() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn look(stats: Value, connections: Value, holders: Value) -> Look {
        Look::new(Instant::now(), Sort::Held, &stats, &connections, &holders)
    }

    fn sample(labels: Value, value: u32) -> Value {
        json!({ "labels": labels, "value": value })
    }

    #[test]
    fn an_answer_without_anything_is_empty_and_not_negative() {
        let look = look(json!({}), json!({}), json!([1]));
        assert_eq!(short(look.open[1]), "0");
        assert!(look.upstreams.rows.is_empty());
        assert_eq!(look.connections.note, "no connection is open");
    }

    #[test]
    fn no_text_of_an_answer_commands_the_terminal() {
        let text = "a\u{1b}[2Jb\u{9b}c\r\n";
        let stats = json!({ "millpond_relay_connections": [sample(json!({ "name": text }), 1)] });
        let rows = json!({ "rows": [{ "client": text, "upstream": text, "caller": text, "label": text }], "off": [text] });
        let look = look(stats, rows.clone(), rows);
        let tables = [&look.upstreams, &look.connections, &look.holders];
        let texts = tables.iter().flat_map(|table| table.rows.iter().flatten().chain([&table.note]));
        let wrong: Vec<_> = texts.filter(|text| text.contains(char::is_control)).collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    }

    #[test]
    fn a_server_has_its_connections_errors_and_breaker() {
        let of = |state: &str| json!({ "name": "pools", "server": "https://a.example", "state": state });
        let reason = |name: &str, reason: &str| json!({ "name": "pools", "server": "https://a.example", name: reason });
        let stats = json!({
            "millpond_connection_pool_connections": [sample(of("idle"), 4), sample(of("in_use"), 3)],
            "millpond_http2_pool_connections": [sample(of("at_rest"), 1)],
            "millpond_connection_pool_waiting": [sample(of(""), 2)],
            "millpond_connection_pool_connect_errors_total": [sample(reason("reason", "error"), 5)],
            "millpond_http_connects_total":
                [sample(reason("outcome", "tls_error"), 5), sample(reason("outcome", "connected"), 9)],
            "millpond_http_request_errors_total": [sample(reason("kind", "reset"), 1200)],
            "millpond_breaker_state": [sample(json!({ "name": "pools", "server": "https://a.example", "state": "half_open" }), 1)],
            "millpond_connection_pool_breaker_state": [sample(of("closed"), 1), sample(of("open"), 0)],
        });
        let rows = look(stats, json!({}), json!({})).upstreams.rows;
        let expected =
            ["https://a.example (pools)", "half-open", "3", "5", "0", "2", "1.20 k reset, 5 tls error"];
        assert_eq!(rows, [expected]);
    }

    #[test]
    fn a_server_of_two_sources_has_two_rows() {
        let of = |name: &str| json!({ "name": name, "server": "https://a.example", "state": "idle" });
        let stats = json!({ "millpond_connection_pool_connections": [sample(of("north"), 1), sample(of("south"), 2)] });
        let rows = look(stats, json!({}), json!({})).upstreams.rows;
        assert_eq!([&*rows[0][3], &*rows[1][3]], ["1", "2"]);
    }

    #[test]
    fn a_connect_that_failed_is_an_error_of_the_upstream() {
        let of = |outcome: &str| json!({ "name": "proxy", "outcome": outcome });
        let ended = [sample(of("closed"), 100), sample(of("reset"), 3), sample(of("connect_error"), 5)];
        let stats = json!({ "millpond_relay_ended_connections_total": ended });
        assert_eq!(look(stats, json!({}), json!({})).errors, [3.0, 5.0]);
    }

    #[test]
    fn a_region_of_which_nothing_is_known_has_no_score() {
        let of = json!({ "name": "pools", "region": "north", "state": "ejected" });
        let rows =
            look(json!({ "millpond_region_state": [sample(of, 1)] }), json!({}), json!({})).regions.rows;
        assert_eq!(rows, [["north (pools)", "ejected", "-"]]);
    }

    #[test]
    fn samples_are_multiplied_by_their_rate() {
        let row =
            json!({ "samples": 3, "sampled_one_in": 1000, "storage_bytes": 8192, "longest_seconds": 2 });
        let rows = look(json!({}), json!({}), json!({ "rows": [row] })).holders.rows;
        assert_eq!(rows[0][1..5], ["3.00 k", "8.19 MB", "-", "2.0 s"]);
    }
}
