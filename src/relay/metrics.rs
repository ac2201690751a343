//! The metrics of a relay.

use super::{Backend, Relay, RelayStats, ServerStanding, ServerState};
use crate::metric::{Report, Source, VisitRow, metrics};
use crate::sync::Arc;

metrics! {
    "millpond_relay": RelayStats as stats {
        Counter "accepted_connections_total" []
            "Connections accepted."
            { [] = stats.accepted }
        Gauge "connections" []
            "Connections that are open."
            { [] = stats.active }
        Counter "ended_connections_total" [outcome]
            "Connections that ended, by how."
            {
                ["closed"] = stats.closed,
                ["connect_error"] = stats.connect_errors,
                ["out_of_resources"] = stats.out_of_resources,
                ["proxy_header_missing"] = stats.proxy_header_errors[0],
                ["proxy_header_malformed"] = stats.proxy_header_errors[1],
                ["proxy_header_too_long"] = stats.proxy_header_errors[2],
                ["proxy_header_checksum"] = stats.proxy_header_errors[3],
                ["proxy_header_truncated"] = stats.proxy_header_errors[4],
                ["proxy_header_timeout"] = stats.proxy_header_errors[5],
                ["tls_timeout"] = stats.handshake_failures[0],
                ["tls_not_tls"] = stats.handshake_failures[1],
                ["tls_left"] = stats.handshake_failures[2],
                ["tls_nothing_in_common"] = stats.handshake_failures[3],
                ["tls_client_certificate"] = stats.handshake_failures[4],
                ["tls_certificate_refused"] = stats.handshake_failures[5],
                ["tls_unknown_name"] = stats.handshake_failures[6],
                ["tls_protocol"] = stats.handshake_failures[7],
                ["tls_local"] = stats.handshake_failures[8],
                ["upstream_tls_error"] = stats.upstream_tls_errors,
                ["refused_denied"] = stats.refused[0],
                ["refused_source_connections"] = stats.refused[1],
                ["refused_source_rate"] = stats.refused[2],
                ["reset"] = stats.reset,
                ["io_error"] = stats.io_failed,
                ["idle_timeout"] = stats.idle_timeouts,
                ["half_closed_timeout"] = stats.half_closed_timeouts,
                ["stalled_timeout"] = stats.stalled_timeouts,
                ["max_lifetime"] = stats.max_lifetimes,
                ["aborted"] = stats.aborted,
            }
        Counter "written_bytes_total" [to]
            "Bytes written to upstreams and to clients."
            {
                ["upstream"] = stats.bytes_to_upstream,
                ["client"] = stats.bytes_to_client,
            }
    }
}

metrics! {
    "millpond_backend": ServerState as state {
        Gauge "state" [upstream, state]
            "The state: 1 for the present one, 0 for the others."
            for upstream in [state.endpoint.to_string()] => {
                [upstream.as_str(), "serving"] = u64::from(state.standing == ServerStanding::Serving),
                [upstream.as_str(), "returning"] = u64::from(state.standing == ServerStanding::Returning),
                [upstream.as_str(), "ejected"] = u64::from(state.standing == ServerStanding::Ejected),
            }
        Gauge "connections" [upstream]
            "Connections to a server that are open or being made."
            for upstream in [state.endpoint.to_string()] => { [upstream.as_str()] = state.connections }
        Counter "connects_total" [upstream, outcome]
            "Connects to a server, by their outcome."
            for upstream in [state.endpoint.to_string()] => {
                [upstream.as_str(), "connected"] = state.connected,
                [upstream.as_str(), "connect_error"] = state.connect_errors,
                [upstream.as_str(), "timeout"] = state.timeouts,
                [upstream.as_str(), "out_of_resources"] = state.out_of_resources,
            }
        Counter "last_resorts_total" [upstream]
            "Connections that went to a server because no other one was left: all were ejected, or had failed."
            for upstream in [state.endpoint.to_string()] => { [upstream.as_str()] = state.last_resorts }
        Counter "ejections_total" [upstream]
            "How often a server was ejected."
            for upstream in [state.endpoint.to_string()] => { [upstream.as_str()] = state.ejections }
        Counter "checks_total" [upstream, outcome]
            "Checks of a server, by their outcome."
            for upstream in [state.endpoint.to_string()] => {
                [upstream.as_str(), "passed"] = state.checks_passed,
                [upstream.as_str(), "failed"] = state.checks_failed,
            }
    }
}

/// The servers, each with the label `upstream`, its endpoint.
impl Source for Backend {
    type Snapshot = Vec<ServerState>;

    fn watch(&self) -> impl Fn() -> Option<Vec<ServerState>> + Send + Sync + 'static {
        let group = Arc::downgrade(&self.group);
        move || Some(group.upgrade()?.states())
    }
}

impl Source for Relay {
    type Snapshot = RelayStats;

    fn watch(&self) -> impl Fn() -> Option<RelayStats> + Send + Sync + 'static {
        let shared = Arc::downgrade(&self.shared);
        move || Some(shared.upgrade()?.counters.snapshot())
    }

    fn reports(&self) -> impl Fn(Report, &mut VisitRow<'_>) -> bool + Send + Sync + 'static {
        let shared = Arc::downgrade(&self.shared);
        move |report, visit| {
            if let (Report::Connections, Some(shared)) = (report, shared.upgrade()) {
                shared.open.snapshots().for_each(|connection| connection.show(visit));
            }
            true
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::metric::{Metrics, Value, integers};
    use crate::net::{Endpoint, ProxyHeaderError};
    use crate::relay::stats::Counters;
    use crate::relay::{HandshakeFailure, RelayErrorKind, RelayStats, ServerStanding, ServerState, Side};
    use crate::sync::Arc;

    #[test]
    fn every_counter_is_shown() {
        let stats = RelayStats {
            accepted: 101,
            active: 102,
            closed: 103,
            connect_errors: 104,
            out_of_resources: 105,
            proxy_header_errors: [106, 107, 108, 109, 110, 111],
            handshake_failures: [112, 113, 114, 115, 116, 117, 118, 119, 120],
            upstream_tls_errors: 121,
            refused: [122, 123, 124],
            reset: 125,
            io_failed: 126,
            idle_timeouts: 127,
            half_closed_timeouts: 128,
            stalled_timeouts: 129,
            max_lifetimes: 130,
            aborted: 131,
            bytes_to_upstream: 132,
            bytes_to_client: 133,
        };
        assert_eq!(integers(&stats, ""), Vec::from_iter(101..=133));
    }

    #[test]
    fn every_number_of_a_server_is_shown() {
        let state = ServerState {
            endpoint: Arc::new(Endpoint::from("127.0.0.1:1")),
            standing: ServerStanding::Returning,
            connections: 101,
            connected: 102,
            connect_errors: 103,
            timeouts: 104,
            out_of_resources: 105,
            last_resorts: 106,
            ejections: 107,
            checks_passed: 108,
            checks_failed: 109,
        };
        let expected: Vec<u64> = [0, 0, 1].into_iter().chain(101..=109).collect();
        assert_eq!(integers(&state, ""), expected);
    }

    #[test]
    fn metrics_and_logs_have_the_same_words() {
        use RelayErrorKind as Kind;
        let side = Side::Client;
        let headers = ProxyHeaderError::ALL.map(Kind::ProxyHeader);
        let handshakes = HandshakeFailure::ALL.map(Kind::Handshake);
        let refusals = crate::relay::Refusal::ALL.map(Kind::Refused);
        let others = [
            Kind::Connect,
            Kind::OutOfResources,
            Kind::UpstreamTls,
            Kind::Reset(side),
            Kind::Io(side),
            Kind::IdleTimeout,
            Kind::HalfClosedTimeout,
            Kind::StalledTimeout(side),
            Kind::MaxLifetime,
        ];
        for kind in headers.into_iter().chain(handshakes).chain(refusals).chain(others) {
            let (counters, mut words) = (Counters::default(), Vec::new());
            counters.ended(Some(kind));
            counters.snapshot().each(&mut |metric, labels, value| {
                if metric.name.ends_with("ended_connections_total") && matches!(value, Value::Integer(1)) {
                    words.push(labels[0].value.to_string());
                }
            });
            assert_eq!(words, [kind.cause()]);
        }
    }
}
