//! Snapshots of a pool of HTTP/2 connections.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use super::super::connection::ConnectTimings;
use super::super::request_errors::RequestErrors;
use crate::connection::Statistics;

/// What a pool of HTTP/2 connections has at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Http2State {
    /// Its connections, in no order.
    pub connections: Vec<Http2ConnectionState>,
    /// Streams on all of them.
    pub streams: usize,
    /// Requests that wait for a stream.
    pub waiting: usize,
    /// Whether a connect is under way. There is at most one.
    pub is_connecting: bool,
    /// Whether connections are pinged: to keep them alive, as a health check, or for adaptive windows. Not where these are off,
    /// nor after a server has complained.
    pub pings: bool,
    /// What has happened since the pool was made. A get is what a request does for its stream. A connection is closed, for
    /// one of these reasons, when it takes no more requests: broken, because the server has announced its end, or closed it;
    /// invalid, because it did not answer a health check; surplus also after its last request
    /// ([`max_requests`](field@super::super::HttpsConfig::max_requests)), and after a reload of the TLS settings.
    pub statistics: Statistics,
    /// And what only happens over HTTP/2.
    pub http2: Http2Statistics,
    /// Requests that failed, and bodies of responses that did.
    pub errors: RequestErrors,
}

/// One HTTP/2 connection at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Http2ConnectionState {
    /// The generation of the connection: higher for each that is made.
    pub id: u64,
    /// The address of the server. None over a Unix socket.
    pub remote_address: Option<SocketAddr>,
    /// Streams that are open: at least one body has not ended.
    pub streams: usize,
    /// The most streams, by the pool's settings and the server's.
    pub max_streams: usize,
    /// Whether it takes no more requests, and is closed after the last stream.
    pub is_draining: bool,
    /// Whether it is at rest: no state of the protocol is in memory.
    pub is_at_rest: bool,
    /// Whether the server takes requests for other protocols, such as WebSocket (RFC 8441).
    pub allows_extended_connect: bool,
    /// Whether TLS resumed an earlier session. Not without TLS.
    pub is_resumed: bool,
    /// How long the phases of its connect took.
    pub timings: ConnectTimings,
    /// The time since it was made.
    pub age: Duration,
    /// The time since a request last began or ended: a request ends when both bodies have. Before the first one, the age.
    pub since_last_use: Duration,
    /// Requests so far.
    pub requests: u64,
    /// Requests that have failed, and bodies of responses that have. By kind, [`Http2State::errors`] counts those of all
    /// connections.
    pub errors: u64,
    /// Bytes received, before encryption, heads included.
    pub bytes_received: u64,
    /// Bytes sent, before encryption, heads included.
    pub bytes_sent: u64,
}

/// What happens in a pool of HTTP/2 connections alone, since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Http2Statistics {
    /// Requests that were sent again, because the server had not processed them.
    pub replays: u64,
    /// Responses that were reset because nobody read them.
    pub stalled_resets: u64,
    /// Responses that were spilled because nobody read them.
    pub spills: u64,
}

impl fmt::Display for Http2State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "connections={} streams={} connecting={} waiting={} {} replays={} request_errors={}",
            self.connections.len(),
            self.streams,
            u8::from(self.is_connecting),
            self.waiting,
            self.statistics,
            self.http2.replays,
            self.errors.total(),
        )
    }
}
