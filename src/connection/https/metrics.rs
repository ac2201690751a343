//! The metrics of pools of HTTP connections.

use std::fmt;

use super::connects::ConnectStats;
use super::http2::{Http2ConnectionState, Http2State};
use super::request_errors::RequestErrors;
use super::requests::RequestStats;
use super::upstreams::{UpstreamServer, UpstreamsState};
use crate::connection::metrics::Buckets;
use crate::metric::{Label, Metrics, Row, Visit, VisitRow, each_labelled, metrics};

metrics! {
    "millpond_http2_pool": Http2State as state {
        Gauge "connections" [state]
            "HTTP/2 connections: at rest, in use, or closed after their last stream."
            {
                ["at_rest"] = state.count(|one| one.is_at_rest),
                ["in_use"] = state.count(|one| !one.is_at_rest && !one.is_draining),
                ["draining"] = state.count(|one| !one.is_at_rest && one.is_draining),
            }
        Gauge "connecting" []
            "Connects that are under way: one at most."
            { [] = u64::from(state.is_connecting) }
        Gauge "streams" []
            "Streams that are open."
            { [] = state.streams }
        Gauge "waiting" []
            "Requests that wait for a stream."
            { [] = state.waiting }
        Counter "replays_total" []
            "Requests that were sent again, because the server had not processed them."
            { [] = state.http2.replays }
        Counter "unread_responses_total" [action]
            "Responses that nobody read, and what was done to them."
            {
                ["reset"] = state.http2.stalled_resets,
                ["spilled"] = state.http2.spills,
            }
    } then &state.statistics, &state.errors
}

impl Http2State {
    fn count(&self, is: impl Fn(&Http2ConnectionState) -> bool) -> usize {
        self.connections.iter().filter(|one| is(one)).count()
    }

    /// Its connections, for [`Report::Connections`](crate::metric::Report::Connections).
    pub(super) fn show(&self, upstream: &dyn fmt::Display, visit: &mut VisitRow<'_>) {
        self.connections.iter().for_each(|connection| connection.show(upstream, visit));
    }
}

impl Http2ConnectionState {
    fn show(&self, upstream: &dyn fmt::Display, visit: &mut VisitRow<'_>) {
        let address = self.remote_address.map(|address| address.to_string()).unwrap_or_default();
        visit(Row::new(
            &[("id", &self.id), ("upstream", upstream), ("address", &address)],
            &[
                ("traffic_bytes", self.bytes_sent.saturating_add(self.bytes_received) as f64),
                ("to_upstream_bytes", self.bytes_sent as f64),
                ("to_client_bytes", self.bytes_received as f64),
                ("age_seconds", self.age.as_secs_f64()),
                ("idle_seconds", self.since_last_use.as_secs_f64()),
            ],
        ));
    }
}

metrics! {
    "millpond_http": RequestStats as stats {
        Counter "requests_total" [outcome]
            "Requests: by the class of the status of their response, or failed, refused by this side or cancelled before it."
            {
                ["1xx"] = stats.informational,
                ["2xx"] = stats.successes,
                ["3xx"] = stats.redirections,
                ["4xx"] = stats.client_errors,
                ["5xx"] = stats.server_errors,
                ["error"] = stats.failed,
                ["refused"] = stats.refused,
                ["cancelled"] = stats.cancelled,
            }
        Histogram "request_seconds" []
            "How long requests took until the head of their response, the wait for a connection included."
            { [] = Buckets::of(&stats.head_times).value() }
    }
}

metrics! {
    "millpond_http": RequestErrors as errors {
        Counter "request_errors_total" [kind]
            "Requests that failed on a connection, and bodies of responses that did."
            for one in errors.by_name() => { [one.0] = one.1 }
    }
}

metrics! {
    "millpond_http": ConnectStats as stats {
        Counter "connects_total" [outcome]
            "Connects to a server: those that were made, and those that failed, by phase."
            {
                ["connected"] = stats.connected,
                ["lookup_error"] = stats.lookup_errors,
                ["connect_error"] = stats.connect_errors,
                ["tls_error"] = stats.tls_errors,
                ["http_error"] = stats.http_errors,
            }
        Counter "tls_handshakes_total" [kind]
            "TLS handshakes that began a session, and those that resumed one."
            {
                ["full"] = stats.full_handshakes,
                ["resumed"] = stats.resumed_handshakes,
            }
    }
}

metrics! {
    "millpond_upstreams": UpstreamsState as state {
        Gauge "connections" []
            "Connections to all servers that are open or being made."
            { [] = state.connections.connections }
        Gauge "max_connections" []
            "The most of them, absent without a limit."
            for max in state.connections.max.as_slice() => { [] = *max }
        Counter "evicted_connections_total" []
            "Idle connections that were closed to make room for one to another server."
            { [] = state.connections.evicted }
        Counter "refused_connects_total" []
            "Connects that were refused because no connection was idle."
            { [] = state.connections.refused }
    } then &state.servers
}

/// The two pools with the label `protocol`, and all with `server`.
impl Metrics for UpstreamServer {
    fn each(&self, visit: &mut Visit<'_>) {
        let uri = self.uri.to_string();
        each_labelled(Label::new("server", uri.trim_end_matches('/')), &Pools(self), visit);
    }
}

struct Pools<'a>(&'a UpstreamServer);

impl Metrics for Pools<'_> {
    fn each(&self, visit: &mut Visit<'_>) {
        let server = self.0;
        if let Some(http1) = &server.http1 {
            each_labelled(Label::new("protocol", "http1"), http1, visit);
        }
        if let Some(http2) = &server.http2 {
            each_labelled(Label::new("protocol", "http2"), &WithoutErrors(http2), visit);
        }
        server.requests.each(visit);
        server.connects.each(visit);
        server.errors.each(visit);
        server.breaker.each(visit);
    }
}

/// A server has the errors of both pools together.
struct WithoutErrors<'a>(&'a Http2State);

impl Metrics for WithoutErrors<'_> {
    fn each(&self, visit: &mut Visit<'_>) {
        self.0.each(&mut |metric, labels, value| {
            if !RequestErrors::METRICS.contains(metric) {
                visit(metric, labels, value);
            }
        });
    }
}

#[cfg(test)]
mod tests;
