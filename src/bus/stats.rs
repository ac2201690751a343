//! Counters of a hub's connections, and their snapshot.

use std::fmt;

use super::error::ConnectionErrorKind;
use crate::sync::Count;

/// Counted by all connections, once per poll and not once per frame.
#[derive(Default)]
pub(super) struct Counters {
    opened: Count,
    closed: Count,
    protocol: Count,
    handshake: Count,
    unknown_type: Count,
    timed_out: Count,
    reset: Count,
    io_failed: Count,
    aborted: Count,
    pub(super) received_frames: Count,
    pub(super) received_bytes: Count,
    pub(super) sent_frames: Count,
    pub(super) sent_bytes: Count,
    pub(super) skipped_frames: Count,
    pub(super) unsubscribed_frames: Count,
    pub(super) missed_frames: Count,
    pub(super) refused_messages: Count,
}

impl Counters {
    pub(super) fn opened(&self) {
        self.opened.add(1);
    }

    /// A connection ended, normally if `error` is `None`.
    pub(super) fn ended(&self, error: Option<ConnectionErrorKind>) {
        let counter = match error {
            None => &self.closed,
            Some(ConnectionErrorKind::HandshakeRefused) => &self.handshake,
            Some(kind @ (ConnectionErrorKind::Protocol(_) | ConnectionErrorKind::WrongProtocol(_))) => {
                if kind.is_handshake() { &self.handshake } else { &self.protocol }
            }
            Some(ConnectionErrorKind::UnknownType(_)) => &self.unknown_type,
            Some(ConnectionErrorKind::Reset) => &self.reset,
            Some(ConnectionErrorKind::Io(_)) => &self.io_failed,
            Some(ConnectionErrorKind::Aborted | ConnectionErrorKind::Closed) => &self.aborted,
            Some(
                ConnectionErrorKind::FirstByteTimeout
                | ConnectionErrorKind::IdleTimeout
                | ConnectionErrorKind::FrameTimeout
                | ConnectionErrorKind::MemoryTimeout
                | ConnectionErrorKind::Stalled
                | ConnectionErrorKind::WriteTimeout,
            ) => &self.timed_out,
        };
        counter.add(1);
    }

    /// The counters, without those of the channels.
    pub(super) fn snapshot(&self) -> TransportStats {
        let get = Count::get;
        // `opened` is read last: a connection that opens and ends meanwhile must not make `ended` larger than `opened`.
        let mut stats = TransportStats {
            closed: get(&self.closed),
            protocol_errors: get(&self.protocol),
            handshake_failures: get(&self.handshake),
            unknown_types: get(&self.unknown_type),
            timeouts: get(&self.timed_out),
            resets: get(&self.reset),
            io_errors: get(&self.io_failed),
            aborted: get(&self.aborted),
            received_frames: get(&self.received_frames),
            received_bytes: get(&self.received_bytes),
            sent_frames: get(&self.sent_frames),
            sent_bytes: get(&self.sent_bytes),
            skipped_frames: get(&self.skipped_frames),
            unsubscribed_frames: get(&self.unsubscribed_frames),
            missed_frames: get(&self.missed_frames),
            refused_messages: get(&self.refused_messages),
            ..TransportStats::default()
        };
        stats.opened = get(&self.opened);
        stats.open = stats.opened.saturating_sub(stats.ended());
        stats
    }
}

/// A snapshot of the counters of a hub's connections, since the hub was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransportStats {
    /// Connections made, by either side.
    pub opened: u64,
    /// Connections open now.
    pub open: u64,
    /// Closed by either side between two frames.
    pub closed: u64,
    /// Ended because of bytes that are not frames.
    pub protocol_errors: u64,
    /// Ended because the two sides do not agree on a schema's digest: this side refused the handshake, or the server did.
    pub handshake_failures: u64,
    /// Ended because of a frame of an unknown type.
    pub unknown_types: u64,
    /// Ended by a timeout of any kind, also because they stalled while others waited for memory.
    pub timeouts: u64,
    /// Ended by a reset.
    pub resets: u64,
    /// Ended by another I/O error.
    pub io_errors: u64,
    /// Aborted by a shutdown, or because the transport was dropped.
    pub aborted: u64,
    /// Frames received, whether or not somebody takes them.
    pub received_frames: u64,
    /// Bytes received, also those that are not frames.
    pub received_bytes: u64,
    /// Frames handed to connections for writing.
    pub sent_frames: u64,
    /// Bytes of those frames, with headers.
    pub sent_bytes: u64,
    /// Received frames of unknown types that were [skipped](super::UnknownTypes::Skip).
    pub skipped_frames: u64,
    /// Received frames that were dropped because they had no subscriber, or the hub was closed.
    pub unsubscribed_frames: u64,
    /// Received frames that subscribers missed because they were too slow, counted once per subscriber: the sum of all
    /// [`Lagged`](super::RecvError::Lagged), whether or not they were received.
    pub lagged_frames: u64,
    /// Published frames that a peer missed: its queue was full, or it ended before they were handed to it.
    pub missed_frames: u64,
    /// Messages that could not be published: each [`PublishError`](super::PublishError).
    pub refused_messages: u64,
}

impl TransportStats {
    /// Connections that have ended, for any reason.
    pub(super) fn ended(&self) -> u64 {
        self.closed + self.failed()
    }

    /// Connections that ended with an error.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.protocol_errors
            + self.handshake_failures
            + self.unknown_types
            + self.timeouts
            + self.resets
            + self.io_errors
            + self.aborted
    }
}

/// One line for a log.
impl fmt::Display for TransportStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "connections {} open, {} opened, {} closed, {} failed (protocol {}, handshake {}, unknown type {}, \
             timeout {}, reset {}, io {}, aborted {}); frames {} in, {} skipped, {} without subscriber, \
             {} missed by subscribers; {} out, {} missed by peers, {} messages refused; \
             bytes {} in, {} out",
            self.open,
            self.opened,
            self.closed,
            self.failed(),
            self.protocol_errors,
            self.handshake_failures,
            self.unknown_types,
            self.timeouts,
            self.resets,
            self.io_errors,
            self.aborted,
            self.received_frames,
            self.skipped_frames,
            self.unsubscribed_frames,
            self.lagged_frames,
            self.sent_frames,
            self.missed_frames,
            self.refused_messages,
            self.received_bytes,
            self.sent_bytes,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::TransportStats;

    #[test]
    fn every_counter_is_displayed() {
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
        let line = stats.to_string();
        for counter in 101..=119 {
            assert!(line.contains(&counter.to_string()), "{counter} in {line}");
        }
    }
}
