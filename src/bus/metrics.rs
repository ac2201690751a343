//! The metrics of a hub.

use super::hub::Hub;
use super::stats::TransportStats;
use crate::metric::{Source, metrics};
use crate::sync::Arc;

metrics! {
    "millpond_bus": TransportStats as stats {
        Counter "opened_connections_total" []
            "Connections made, by either side."
            { [] = stats.opened }
        Gauge "connections" []
            "Connections that are open."
            { [] = stats.open }
        Counter "ended_connections_total" [outcome]
            "Connections that ended, by how."
            {
                ["closed"] = stats.closed,
                ["protocol_error"] = stats.protocol_errors,
                ["handshake_failure"] = stats.handshake_failures,
                ["unknown_type"] = stats.unknown_types,
                ["timeout"] = stats.timeouts,
                ["reset"] = stats.resets,
                ["io_error"] = stats.io_errors,
                ["aborted"] = stats.aborted,
            }
        Counter "received_frames_total" []
            "Frames received, whether or not somebody takes them."
            { [] = stats.received_frames }
        Counter "received_bytes_total" []
            "Bytes received, also those that are not frames."
            { [] = stats.received_bytes }
        Counter "sent_frames_total" []
            "Frames handed to connections for writing."
            { [] = stats.sent_frames }
        Counter "sent_bytes_total" []
            "Bytes of these frames, with headers."
            { [] = stats.sent_bytes }
        Counter "lost_frames_total" [reason]
            "Frames that did not arrive: of unknown types, without a subscriber, or missed by a slow subscriber or peer."
            {
                ["unknown_type"] = stats.skipped_frames,
                ["no_subscriber"] = stats.unsubscribed_frames,
                ["slow_subscriber"] = stats.lagged_frames,
                ["slow_peer"] = stats.missed_frames,
            }
        Counter "refused_messages_total" []
            "Messages that could not be published."
            { [] = stats.refused_messages }
    }
}

impl Source for Hub {
    type Snapshot = TransportStats;

    fn watch(&self) -> impl Fn() -> Option<TransportStats> + Send + Sync + 'static {
        let shared = Arc::downgrade(&self.shared);
        move || Some(Self { shared: shared.upgrade()? }.stats())
    }
}

#[cfg(test)]
mod tests {
    use crate::bus::TransportStats;
    use crate::metric::integers;

    #[test]
    fn every_counter_is_shown() {
        let stats = TransportStats {
            opened: 101,
            open: 102,
            closed: 103,
            protocol_errors: 104,
            handshake_failures: 105,
            unknown_types: 106,
            timeouts: 107,
            resets: 108,
            io_errors: 109,
            aborted: 110,
            received_frames: 111,
            received_bytes: 112,
            sent_frames: 113,
            sent_bytes: 114,
            skipped_frames: 115,
            unsubscribed_frames: 116,
            lagged_frames: 117,
            missed_frames: 118,
            refused_messages: 119,
        };
        assert_eq!(integers(&stats, ""), Vec::from_iter(101..=119));
    }
}
