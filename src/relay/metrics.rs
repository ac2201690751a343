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
                ["reset"] = stats.reset,
                ["io_error"] = stats.io_failed,
                ["idle_timeout"] = stats.idle_timeouts,
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
    use crate::metric::integers;
    use crate::relay::RelayStats;

    #[test]
    fn every_counter_is_shown() {
        let stats = RelayStats {
            accepted: 101,
            active: 102,
            closed: 103,
            connect_errors: 104,
            reset: 105,
            io_failed: 106,
            idle_timeouts: 107,
            aborted: 108,
            bytes_to_upstream: 109,
            bytes_to_client: 110,
        };
        assert_eq!(integers(&stats, ""), Vec::from_iter(101..=110));
    }
}
