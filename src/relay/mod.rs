//! Bytes between any two of TCP and Unix sockets.
//!
//! ```text
//!  client ── readable? borrow ─▶ read ─▶ write ─▶ upstream      one Pump a direction,
//!         ◀── write ◀── read ◀─ borrow, readable? ──            two Pumps a Pair
//!                          │         ▲
//!                          └ written ┘ the loan goes back at once
//! ```
//!
//! * **A connection that has nothing to say holds no buffer.** A pump waits for readability, and only
//!   then borrows; the loan goes back as soon as it is written. A reader that stalls keeps its sender's
//!   one loan, and nothing more is read for it.
//! * **A loan has the size the last read calls for:** 8 KiB, or 64 KiB once a read has filled its loan,
//!   until eight reads in a row would have fitted 8 KiB. A 64 KiB reply takes 6 system calls so, not the
//!   20 of 8 KiB buffers.
//! * **Loans never exceed the budget.** When it is used up, pumps wait in line, first come first served.
//!   Readers that stall keep their loans until the idle timeout, so a budget wants to be larger than what
//!   such readers may hold: 64 KiB each.
//! * The end of one direction is passed on as the end of that direction; the other goes on.
//! * A side that resets, or fails to read, resets the other at once. A side that cannot be written to ends
//!   that direction; what it still sent is delivered first (a server that answers early and closes).
//!   A pump that is blocked in a write sees a reset of its reader's side when the write is over, or not at
//!   all before the idle timeout.
//! * Bytes under way when a connection times out or is cut are lost, and who lacks them gets a reset: a good
//!   end would pass a part for the whole. Only TCP has resets; a Unix peer sees an end.
//!
//! | default | | why |
//! |---|---|---|
//! | buffer budget | 64 MiB | 1024 peers with a full loan each, a size to be named in a unit file |
//! | connections | 10 000 | with two descriptors each it stays below the 20 480 many systems allow |
//! | idle timeout | 5 min | longer than the keep-alive of common clients, shorter than NAT tables forget |
//! | connect timeout | 10 s | three SYN retries (1 s, 2 s, 4 s) fit |
//! | drain timeout | 10 s | what service managers grant before they kill, or less |
//!
//! Absent on purpose: any look into the bytes, retries, balancing.

mod config;
mod error;
mod pair;
mod pump;
mod serve;
mod stats;

use crate::net::Stream;
use crate::pool::BufferPool;
use crate::sync::Arc;

pub use crate::net::DrainReport;

use self::pair::Pair;
use self::pump::Lender;
use self::stats::Counters;

pub use self::config::RelayConfig;
pub use self::error::{RelayError, RelayErrorKind, Side};
pub use self::stats::RelayStats;

/// Relays connections through one pool, under one budget. Cheap to clone; clones share both.
///
/// # Examples
///
/// ```no_run
/// use millpond::relay::{Relay, RelayConfig};
/// use millpond::net::Listener;
/// use millpond::{BufferPool, BufferPoolConfig};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let relay = Relay::new(BufferPool::new(BufferPoolConfig::proxy()), RelayConfig::default());
/// let listener = Listener::bind(&"tcp://127.0.0.1:7000".parse()?).await?;
/// let stop = async { tokio::time::sleep(std::time::Duration::from_secs(3600)).await };
/// let report = relay.serve(listener, "unix:///run/app.sock".parse()?, stop).await;
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
    lender: Lender,
    counters: Counters,
}

/// Bytes that went each way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Transferred {
    /// From the client to the upstream.
    pub to_upstream: u64,
    /// From the upstream to the client.
    pub to_client: u64,
}

impl Relay {
    /// Lends out of `pool`. [`BufferPoolConfig::proxy`](crate::BufferPoolConfig::proxy) has the classes a
    /// relay asks for; another pool serves as well, at a worse fit.
    #[must_use]
    pub fn new(pool: BufferPool, config: RelayConfig) -> Self {
        let lender = Lender::new(pool, config.buffer_budget);
        Self { shared: Arc::new(Shared { config, lender, counters: Counters::default() }) }
    }

    /// The pool it lends from.
    #[must_use]
    pub fn pool(&self) -> &BufferPool {
        self.shared.lender.pool()
    }

    /// What it did and holds.
    #[must_use]
    pub fn stats(&self) -> RelayStats {
        self.shared.counters.snapshot(self.shared.lender.bytes_on_loan())
    }

    /// Relays one connection until both directions have ended.
    ///
    /// # Errors
    ///
    /// [`RelayError`], after both sides were closed.
    ///
    /// # Cancel safety
    ///
    /// Cancelled, it closes both sides; loans go back.
    pub async fn relay(&self, client: Stream, upstream: Stream) -> Result<Transferred, RelayError> {
        Pair::new(client, upstream, &self.shared).run().await
    }
}
