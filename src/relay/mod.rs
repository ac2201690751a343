//! Bytes between any two streams: TCP and Unix sockets, TLS, pipes.
//!
//! ```text
//!  client ── readable? acquire ─▶ read ─▶ write ─▶ upstream     one Pump per direction,
//!         ◀── write ◀── read ◀─ acquire, readable? ──           two Pumps per Pair
//!                          │         ▲
//!                          └ written ┘ the buffer returns to the pool at once
//! ```
//!
//! * **A connection with nothing to read holds no buffer.** A pump waits until its source is readable, and only
//!   then acquires a buffer. The buffer returns as soon as it is written. A reader that stalls keeps one buffer of
//!   its sender's, and nothing more is read for it.
//! * **A buffer has the size that the last reads call for:** 8 KiB, or 64 KiB once a read has filled its buffer,
//!   until eight reads in a row would have fitted 8 KiB. A 64 KiB reply then takes 6 system calls instead of the 20
//!   of 8 KiB buffers.
//! * **Memory is bounded by the pool's [memory limit](crate::BufferPoolConfigBuilder::memory_limit)** and by nothing
//!   else. When there is no room for a large buffer a pump takes a small one, and when there is none for that it
//!   waits, first come, first served. A stalled reader keeps its buffer until the idle timeout, so the limit should
//!   exceed what such readers may hold, 64 KiB each.
//! * **Idle memory is freed by the pool's configuration**: see [`spawn_decay`](crate::BufferPool::spawn_decay).
//! * The end of one direction is passed on as the end of that direction. The other continues.
//! * A side that resets, or fails to be read, resets the other at once. A side that cannot be written to ends
//!   that direction, and what it still sent is delivered first (a server that answers early and closes).
//!   A pump that is blocked in a write sees a reset of its source only after the write, or at the idle timeout.
//! * Bytes under way are lost when a connection times out or is aborted, and the side that lacks them gets a reset: a
//!   good end would pass a part for the whole. See [`AsyncStream::reset_on_close`] for streams without resets.
//!
//! | default | | why |
//! |---|---|---|
//! | connections | 10 000 | with two descriptors each it stays below the 20 480 that many systems allow |
//! | idle timeout | 5 min | longer than the keep-alive of common clients, shorter than NAT tables remember |
//! | connect timeout | 10 s | three SYN retries (1 s, 2 s, 4 s) fit |
//! | drain timeout | 10 s | what service managers grant before they kill, or less |
//!
//! | file | idea |
//! |---|---|
//! | `pump` | one direction, as a state machine that holds at most one buffer |
//! | `pair` | one connection: two streams, two pumps, one timer |
//! | `serve` | every connection that a listener accepts |
//! | `config`, `error`, `stats` | limits; why a connection failed; what was done |
//!
//! Absent on purpose: any look into the bytes, retries, balancing.

mod config;
mod error;
mod pair;
mod pump;
mod serve;
mod stats;

use crate::net::AsyncStream;
use crate::pool::BufferPool;
use crate::sync::Arc;

use self::pair::Pair;
use self::stats::Counters;

pub use self::config::RelayConfig;
pub use self::error::{RelayError, RelayErrorKind, Side};
pub use self::stats::RelayStats;

/// Relays connections through the buffers of one pool. Cheap to clone: clones share the pool and the counters.
///
/// # Examples
///
/// ```no_run
/// use millpond::relay::{Relay, RelayConfig};
/// use millpond::net::Listener;
/// use millpond::{BufferPool, BufferPoolConfig};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = BufferPool::new(BufferPoolConfig::proxy().to_builder().memory_limit(64 << 20).build()?);
/// pool.spawn_decay(); // frees idle buffers, also while nothing is relayed
/// let relay = Relay::new(pool, RelayConfig::default());
/// let listener = Listener::bind("127.0.0.1:7000").await?;
/// let stop = async { tokio::time::sleep(std::time::Duration::from_secs(3600)).await };
/// let report = relay.serve(listener, "unix:///run/app.sock", stop).await;
/// println!("{report}");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Relay {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config: RelayConfig,
    pool: BufferPool,
    counters: Counters,
}

/// Bytes that went each way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Transferred {
    /// From the client to the upstream.
    pub to_upstream: u64,
    /// From the upstream to the client.
    pub to_client: u64,
}

impl Relay {
    /// A relay that takes its buffers from `pool`. [`BufferPoolConfig::proxy`](crate::BufferPoolConfig::proxy) has the
    /// classes that a relay asks for. Another pool serves as well, at a worse fit.
    #[must_use]
    pub fn new(pool: BufferPool, config: RelayConfig) -> Self {
        Self { shared: Arc::new(Shared { config, pool, counters: Counters::default() }) }
    }

    /// The pool that its buffers belong to.
    #[must_use]
    pub fn pool(&self) -> &BufferPool {
        &self.shared.pool
    }

    /// What it did.
    #[must_use]
    pub fn stats(&self) -> RelayStats {
        self.shared.counters.snapshot()
    }

    /// Relays one connection until both directions have ended.
    ///
    /// # Errors
    ///
    /// [`RelayError`], after both sides were closed.
    ///
    /// # Cancel safety
    ///
    /// Cancelled, it closes both sides, and its buffers return to the pool.
    ///
    /// # Examples
    ///
    /// ```
    /// use millpond::net::Peekable;
    /// use millpond::relay::{Relay, RelayConfig};
    /// use millpond::{BufferPool, BufferPoolConfig};
    /// use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let relay = Relay::new(BufferPool::new(BufferPoolConfig::proxy()), RelayConfig::default());
    /// let ((mut client, here), (there, mut upstream)) = (duplex(64), duplex(64));
    /// let relayed = tokio::spawn(async move { relay.relay(Peekable::new(here), Peekable::new(there)).await });
    ///
    /// client.write_all(b"hello").await?;
    /// client.shutdown().await?;
    /// let mut received = String::new();
    /// upstream.read_to_string(&mut received).await?;
    /// assert_eq!(received, "hello");
    /// drop((client, upstream));
    /// assert_eq!(relayed.await??.to_upstream, 5);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn relay(
        &self,
        client: impl AsyncStream,
        upstream: impl AsyncStream,
    ) -> Result<Transferred, RelayError> {
        Pair::new(client, upstream, &self.shared).run().await
    }
}
