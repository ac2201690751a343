//! Snapshots in which each number is another one.

use super::*;
use crate::connection::https::{ConnectionLimitState, Http2Statistics};
use crate::connection::{Histogram, Statistics};
use crate::metric::integers;
use crate::policy::BreakerStats;

fn errors(first: u64) -> RequestErrors {
    RequestErrors {
        closed: first,
        incomplete: first + 1,
        go_away: first + 2,
        reset: first + 3,
        ping_timeout: first + 4,
        reader_stalled: first + 5,
        invalid_response: first + 6,
        invalid_request: first + 7,
        tls: first + 8,
        io: first + 9,
        other: first + 10,
    }
}

fn http2() -> Http2State {
    Http2State {
        connections: Vec::new(),
        streams: 101,
        waiting: 102,
        is_connecting: true,
        pings: true,
        statistics: Statistics::default(),
        http2: Http2Statistics { replays: 103, stalled_resets: 104, spills: 105 },
        errors: errors(106),
    }
}

fn requests() -> RequestStats {
    RequestStats {
        informational: 151,
        successes: 152,
        redirections: 153,
        client_errors: 154,
        server_errors: 155,
        failed: 156,
        refused: 157,
        cancelled: 158,
        head_times: Histogram::default(),
    }
}

fn server() -> UpstreamServer {
    let connects = ConnectStats {
        protocol: None,
        connected: 201,
        full_handshakes: 202,
        resumed_handshakes: 203,
        lookup_errors: 204,
        connect_errors: 205,
        tls_errors: 206,
        http_errors: 207,
    };
    let uri = "https://mill.example:8443/".parse().unwrap();
    let breaker = Some(BreakerStats { refused: 401, ..BreakerStats::default() });
    let http2 = Some(http2());
    UpstreamServer { uri, http1: None, http2, requests: requests(), connects, errors: errors(301), breaker }
}

/// Without the small numbers of empty statistics.
fn large(metrics: &dyn Metrics) -> Vec<u64> {
    integers(metrics, "").into_iter().filter(|&number| number > 100).collect()
}

#[test]
fn every_counter_is_shown() {
    assert_eq!(large(&http2()), Vec::from_iter(101..=116));
}

#[test]
fn a_server_shows_the_errors_of_both_pools_once() {
    let expected = (101..=105).chain(151..=158).chain(201..=207).chain(301..=311).chain([401]);
    assert_eq!(large(&server()), Vec::from_iter(expected));
}

#[test]
fn the_connections_of_all_servers_are_shown_beside_them() {
    let connections = ConnectionLimitState { connections: 501, max: Some(502), evicted: 503, refused: 504 };
    let state = UpstreamsState { servers: vec![server()], connections };
    let expected = large(&server()).into_iter().chain(501..=504);
    assert_eq!(large(&state), Vec::from_iter(expected));
}

#[test]
fn all_samples_of_a_server_name_it() {
    server().each(&mut |metric, labels, _| {
        let expected = Label::new("server", "https://mill.example:8443");
        assert_eq!(labels.first(), Some(&expected), "{}", metric.name);
    });
}

#[test]
fn only_pools_have_a_protocol() {
    server().each(&mut |metric, labels, _| {
        let has_protocol = labels.contains(&Label::new("protocol", "http2"));
        assert_eq!(has_protocol, metric.name.contains("_pool_"), "{}", metric.name);
    });
}
