//! The metrics of a relay.

use super::{Relay, RelayStats};
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
    use crate::net::ProxyHeaderError;
    use crate::relay::stats::Counters;
    use crate::relay::{RelayErrorKind, RelayStats, Side};

    #[test]
    fn every_counter_is_shown() {
        let stats = RelayStats {
            accepted: 101,
            active: 102,
            closed: 103,
            connect_errors: 104,
            out_of_resources: 105,
            proxy_header_errors: [106, 107, 108, 109, 110, 111],
            reset: 112,
            io_failed: 113,
            idle_timeouts: 114,
            half_closed_timeouts: 115,
            stalled_timeouts: 116,
            max_lifetimes: 117,
            aborted: 118,
            bytes_to_upstream: 119,
            bytes_to_client: 120,
        };
        assert_eq!(integers(&stats, ""), Vec::from_iter(101..=120));
    }

    #[test]
    fn metrics_and_logs_have_the_same_words() {
        use RelayErrorKind as Kind;
        let side = Side::Client;
        let headers = ProxyHeaderError::ALL.map(Kind::ProxyHeader);
        let others = [
            Kind::Connect,
            Kind::OutOfResources,
            Kind::Reset(side),
            Kind::Io(side),
            Kind::IdleTimeout,
            Kind::HalfClosedTimeout,
            Kind::StalledTimeout(side),
            Kind::MaxLifetime,
        ];
        for kind in headers.into_iter().chain(others) {
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
