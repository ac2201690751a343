//! The settings of a pool of HTTP/2 connections, and why each default is what it is.

use std::time::Duration;

use super::super::config::{HealthCheck, HttpsConfig, out_of_range};
use super::super::error::{HttpsError, HttpsErrorKind};
use crate::connection::clock::millis;
use crate::net::{Backoff, setters};
use crate::pool::BufferPool;

/// The settings of an [`Http2Pool`](super::Http2Pool).
///
/// | setting | default | why |
/// |---|---|---|
/// | [`https`](field@Self::https) | windows of 65 536 and 131 072 bytes, no pings | see [`HttpsConfig`] |
/// | [`max_connections`](field@Self::max_connections) | 8 | 800 requests at once, which most servers take |
/// | [`max_streams`](field@Self::max_streams) | 100 | the least that RFC 9113 recommends to servers; nginx allows 128 |
/// | [`grow_at_percent`](field@Self::grow_at_percent) | 80 | the next connection is there before the streams run out |
/// | [`max_waiting`](field@Self::max_waiting) | 1 000 | a queue that is longer than what runs only delays the refusal |
/// | [`wait_timeout`](field@Self::wait_timeout) | 10 s | as long as a connect may take |
/// | [`retry`](field@Self::retry) | 100 ms, doubled up to 5 s | a server that refuses a further connection is not pressed |
/// | [`max_replays`](field@Self::max_replays) | 5 | nginx ends a connection after 1 000 requests, and a request is among the last 100 five times in a row once in 100 000 times |
/// | [`bypass_window`](field@Self::bypass_window) | 500 ms | no round trip before each request on a busy connection |
/// | [`idle_timeout`](field@Self::idle_timeout) | 90 s | a connection at rest costs about 8 KiB here, and more on most servers |
/// | [`max_lifetime`](field@Self::max_lifetime) | 300 s | changes of DNS are seen |
/// | [`max_unread`](field@Self::max_unread) | 32 MiB | two readers of the largest adaptive window, or 512 of the default one |
/// | [`stalled_reader`](field@Self::stalled_reader) | reset after 10 s | bounds the memory without more settings; a reader with other work is back by then, a client that is gone is not |
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Http2PoolConfig {
    /// How to connect, and what each connection is like. The version is always HTTP/2.
    pub https: HttpsConfig,
    /// The most connections that take requests. One that the server has announced to close (GOAWAY) does not count while
    /// it ends. At least 1.
    pub max_connections: usize,
    /// The most streams per connection, at least 1. The server may allow fewer.
    pub max_streams: usize,
    /// The share of the streams of all connections from which on another connection is made.
    pub grow_at_percent: u32,
    /// The most requests that wait for a stream. Before the first connection of a server that may choose HTTP/1.1, as many as
    /// [the pool for that](crate::connection::Builder::max_waiting) allows, if these are more.
    pub max_waiting: usize,
    /// How long a request waits for a stream, the connect included.
    pub wait_timeout: Duration,
    /// The delay after a connect that failed, while there are other connections. Without any, the next request tries again.
    pub retry: Backoff,
    /// How often a request that the server has certainly not processed is sent again.
    pub max_replays: u32,
    /// With a [`health_check`](field@HttpsConfig::health_check): the silence of the server after which a connection is pinged
    /// before the next request on it. Without an answer within [`health_timeout`](field@HttpsConfig::health_timeout), the
    /// request takes another connection.
    pub bypass_window: Duration,
    /// How long a connection without a request is kept.
    pub idle_timeout: Duration,
    /// The age at which a connection takes no more requests. A tenth of it is random.
    pub max_lifetime: Duration,
    /// What happens to a response that is not read while its data waits.
    pub stalled_reader: StalledReader,
    /// The most bytes by which the window of a connection is made larger for responses that are not read. With its own window
    /// it bounds what all responses of a connection hold.
    pub max_unread: u32,
}

/// What happens to a response that is not read while its data waits.
///
/// Its data takes up memory: at most the window of a stream each, 6.4 MB per connection with 100 streams that nobody reads. With
/// [adaptive](super::super::Http2Windows::Adaptive) windows a stream may hold 16 MiB, and a connection at most 48: its window
/// and [`max_unread`](field@Http2PoolConfig::max_unread). The others do not stand still meanwhile: after 20 ms, the window of
/// the connection is made larger by what such responses hold. Beyond `max_unread` they wait until these are reset or spilled.
///
/// A response that has arrived whole is kept in both cases: it holds up nobody.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum StalledReader {
    /// Its stream is reset, and the reader gets an error.
    Reset {
        /// After this time.
        after: Duration,
    },
    /// Its data is copied into buffers of a pool, until the reader is back. Where the pool has no buffer left, the stream is
    /// reset.
    Spill {
        /// After this time. It may be short, such as 50 ms.
        after: Duration,
        /// Whose memory limit bounds all that is spilled. It must have one.
        buffers: BufferPool,
    },
}

impl Default for StalledReader {
    /// Reset after 10 s.
    fn default() -> Self {
        Self::Reset { after: Duration::from_secs(10) }
    }
}

impl StalledReader {
    pub(super) fn after(&self) -> Duration {
        match self {
            Self::Reset { after } | Self::Spill { after, .. } => *after,
        }
    }
}

impl Default for Http2PoolConfig {
    fn default() -> Self {
        Self {
            https: HttpsConfig::default(),
            max_connections: 8,
            max_streams: 100,
            grow_at_percent: 80,
            max_waiting: 1_000,
            wait_timeout: Duration::from_secs(10),
            retry: Backoff::default(),
            max_replays: 5,
            bypass_window: Duration::from_millis(500),
            idle_timeout: Duration::from_secs(90),
            max_lifetime: Duration::from_secs(300),
            stalled_reader: StalledReader::default(),
            max_unread: 32 * 1024 * 1024,
        }
    }
}

impl Http2PoolConfig {
    setters! {
        https: HttpsConfig,
        max_connections: usize,
        max_streams: usize,
        grow_at_percent: u32,
        max_waiting: usize,
        wait_timeout: Duration,
        retry: Backoff,
        max_replays: u32,
        bypass_window: Duration,
        idle_timeout: Duration,
        max_lifetime: Duration,
        stalled_reader: StalledReader,
        max_unread: u32,
    }

    /// Whether a pool can work with these settings.
    pub(in super::super) fn check(&self) -> Result<(), HttpsError> {
        match &self.stalled_reader {
            _ if self.max_connections == 0 => Err(out_of_range("max_connections")),
            _ if self.max_streams == 0 => Err(out_of_range("max_streams")),
            // Buffers without a memory limit never run out.
            StalledReader::Spill { buffers, .. } if !buffers.is_limited() => {
                Err(HttpsError::new(HttpsErrorKind::UnlimitedSpill))
            }
            _ => Ok(()),
        }
    }

    /// Whether a connection on which nothing has come for this time, in milliseconds, is pinged before a request.
    pub(super) fn doubts(&self, silence: u64) -> bool {
        self.https.health_check != HealthCheck::Known && silence >= millis(self.bypass_window)
    }

    /// How often the pool looks after its connections, and while they have streams, after their readers.
    pub(super) fn ticks(&self) -> (Duration, Duration) {
        let at_most = |time: Duration| (time / 4).clamp(Duration::from_millis(1), Duration::from_secs(10));
        let slow = at_most(self.idle_timeout.min(self.max_lifetime));
        (slow, slow.min(at_most(self.stalled_reader.after())))
    }
}
