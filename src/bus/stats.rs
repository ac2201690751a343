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
    pub(super) missed_frames: Count,
}

impl Counters {
    pub(super) fn opened(&self) {
        self.opened.add(1);
    }

    /// A connection ended, normally if `error` is `None`.
    pub(super) fn ended(&self, error: Option<ConnectionErrorKind>) {
        let counter = match error {
            None => &self.closed,
            Some(ConnectionErrorKind::Protocol(_)) => &self.protocol,
            Some(ConnectionErrorKind::UnknownType(_)) => &self.unknown_type,
            Some(ConnectionErrorKind::Reset) => &self.reset,
            Some(ConnectionErrorKind::Io(_)) => &self.io_failed,
            Some(ConnectionErrorKind::Aborted | ConnectionErrorKind::Closed) => &self.aborted,
            Some(
                ConnectionErrorKind::FirstByteTimeout
                | ConnectionErrorKind::IdleTimeout
                | ConnectionErrorKind::FrameTimeout
                | ConnectionErrorKind::MemoryTimeout
                | ConnectionErrorKind::WriteTimeout,
            ) => &self.timed_out,
        };
        counter.add(1);
    }

    pub(super) fn snapshot(&self) -> TransportStats {
        let get = Count::get;
        // `opened` is read last: a connection that opens and ends meanwhile must not make `ended` larger than `opened`.
        let mut stats = TransportStats {
            closed: get(&self.closed),
            protocol_errors: get(&self.protocol),
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
            missed_frames: get(&self.missed_frames),
            ..TransportStats::default()
        };
        stats.opened = get(&self.opened);
        stats.open = stats.opened.saturating_sub(stats.ended());
        stats
    }
}

/// A snapshot of the counters of a hub's connections, since the hub was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
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
    /// Ended because of a frame of an unknown type.
    pub unknown_types: u64,
    /// Ended by a timeout of any kind.
    pub timeouts: u64,
    /// Ended by a reset.
    pub resets: u64,
    /// Ended by another I/O error.
    pub io_errors: u64,
    /// Aborted by a shutdown, or because the transport was dropped.
    pub aborted: u64,
    /// Frames received.
    pub received_frames: u64,
    /// Bytes received.
    pub received_bytes: u64,
    /// Frames handed to connections for writing.
    pub sent_frames: u64,
    /// Bytes of those frames, with headers.
    pub sent_bytes: u64,
    /// Frames of unknown types that were dropped.
    pub skipped_frames: u64,
    /// Frames that a peer missed because its queue was full.
    pub missed_frames: u64,
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
            "connections {} open, {} opened, {} closed, {} failed (protocol {}, unknown type {}, timeout {}, \
             reset {}, io {}, aborted {}); frames {} in, {} out, {} skipped, {} missed; bytes {} in, {} out",
            self.open,
            self.opened,
            self.closed,
            self.failed(),
            self.protocol_errors,
            self.unknown_types,
            self.timeouts,
            self.resets,
            self.io_errors,
            self.aborted,
            self.received_frames,
            self.sent_frames,
            self.skipped_frames,
            self.missed_frames,
            self.received_bytes,
            self.sent_bytes,
        )
    }
}
