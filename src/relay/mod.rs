//! Copies bytes in both directions between two streams: TCP and Unix sockets, TLS, pipes.
//!
//! ```text
//!  client ── readable, and upstream writable? acquire ─▶ read ─▶ write ─▶ upstream     one Pump per direction,
//!         ◀── write ◀── read ◀── acquire, readable, and client writable? ──            two Pumps per Pair
//!                                                 │               ▲
//!                                                 └ all written: the buffer is returned at once
//! ```
//!
//! * **A connection with nothing to relay holds no buffer.** A pump waits until its source is readable and its
//!   destination writable, and only then acquires a buffer. It returns the buffer as soon as all of its bytes are written.
//!   A relay that allocates per read uses as little at rest. The pool adds the limit below and exact counts, and needs no
//!   malloc per read.
//! * **A peer that stalls stops nobody else.** Between sockets the relay never waits for memory. When the pool has none,
//!   a pump relays through 16 KiB on the stack: it peeks at the bytes, writes what the destination takes, and then reads exactly
//!   that many from the source, within one poll. So the other connections are served, however many peers stall, at the
//!   cost of one more system call per piece. When a destination blocks, the unwritten rest moves to the smallest buffer
//!   that holds it. Later pieces are peeked, too, until the destination keeps up again: a direction that stalls holds at
//!   most one buffer, and usually none. Streams that cannot be peeked, such as TLS, wait in the pool's queue.
//! * **The read size is adaptive:** 8 KiB, or 64 KiB once a read has filled its buffer, until eight reads in a row
//!   would have fitted 8 KiB. A 64 KiB reply then takes 6 system calls instead of the 20 of 8 KiB buffers.
//! * **Memory is bounded by the pool's [memory limit](crate::BufferPoolConfigBuilder::memory_limit)** and by nothing
//!   else. When the limit leaves no room for a large buffer, a pump acquires a small one.
//! * **Progress is what the peer took.** The idle timeout counts the time without a byte written, and the kernel accepts
//!   only a few more bytes than the peer has taken ([`Stream::Tcp`](crate::net::Stream::Tcp)). Before the relay closes a
//!   connection as idle, it tries to write once more: a Unix socket may have room long before the kernel reports it.
//!   Waiting for memory of the pool is not idle.
//!
//!   So a peer that reads slowly and steadily is served if it takes 48 KiB per idle timeout over a Unix socket. Over TCP
//!   it depends on when the peer's kernel announces room in its receive buffer: Linux waits until a sixteenth of the
//!   buffer and one segment are free. Segments over loopback have 64 KiB, and the room comes in larger steps: 128 KiB with
//!   the default buffer of 128 KiB, and up to 576 KiB with one that has grown to 6 MiB.
//! * **Silence has three timeouts, and a connection a lifetime.** The idle timeout is for no byte in either direction.
//!   [`half_closed_timeout`](field@RelayConfig::half_closed_timeout) is for no byte in one direction after the end of the other,
//!   and [`stalled_timeout`](field@RelayConfig::stalled_timeout) for bytes that wait for a side that takes none, even if that
//!   side sends. [`max_lifetime`](field@RelayConfig::max_lifetime) ends a connection however busy it is, with a reset, as
//!   Envoy's `max_downstream_connection_duration`: a relay does not know where a message ends, so it has no better moment.
//!   A connection has one timer for all of them, which no byte resets.
//! * **Clients keep their address through a chain of proxies.** A proxy that [`RelayConfig::accept_proxy`] names must send a
//!   [PROXY header](crate::net::ProxyHeader), which is haproxy's `expect-proxy layer4` with a list. The client that it names takes the
//!   proxy's place in logs, spans and reports. From all others no header is read. [`BackendConfig::send_proxy`] tells it to
//!   the servers, before anything else and without waiting for the client. A header holds no buffer while it comes.
//! * **A server that fails costs no client its connection.** A [`Backend`] has several servers. If one cannot be reached, the
//!   next is tried within the connect timeout. [`ServerPolicy`] says how a server is chosen, when one is ejected, and how it gets
//!   its share back. Once a byte may have been sent to a server, the connection stays with it.
//! * **The pool's configuration decides when idle memory is freed**: see
//!   [`spawn_decay`](crate::BufferPool::spawn_decay).
//! * **Half-closes are relayed.** When one direction ends, the relay shuts down that direction only. The other
//!   continues.
//! * **Resets and read errors are relayed at once:** when a side resets or a read from it fails, the relay resets the
//!   other side. When a write to a side fails, that direction ends, and the relay first delivers what that side has
//!   already sent (a server that answers early and closes).
//! * **A side that is not read from is watched.** 100 ms after the end of its stream, or after the client's bytes began to
//!   wait for the upstream or for memory, a socket gets a [watch](crate::net::HangUp) for its hang-up, at the cost of
//!   one descriptor. A reset ends the connection. So does the close of a Unix peer after its end of stream, without a
//!   reset: what it sent has been delivered. A TCP peer that closes without a reset cannot be distinguished from one
//!   that waits for an answer.
//! * **Truncated data never ends with a clean close.** When a connection times out or is aborted, bytes may be lost. So a
//!   side gets a reset unless the other has ended its direction and all of its bytes were delivered. See
//!   [`AsyncStream::reset_on_close`] for streams without resets.
//!
//! | default | | why |
//! |---|---|---|
//! | connections | 10 000 | at two descriptors per connection it stays below 20 480, a common limit; a watch takes one more, and is retried if none is left |
//! | idle timeout | 5 min | longer than the keep-alive of common clients, shorter than the timeouts of NAT tables |
//! | half-closed timeout | as idle | a client that has sent its request may wait for a slow answer as long as any. 30 s to 60 s free the places of TCP clients that are gone, whose close looks the same |
//! | stalled timeout | as idle | a paused download is a stall. If places are scarce, 60 s is what nginx gives an answer; the rates above are then per 60 s |
//! | maximum lifetime | none | it cuts healthy connections. Set it to move clients to new servers in the end |
//! | connect timeout | 10 s | three SYN retries (1 s, 2 s, 4 s) fit |
//! | PROXY header | 5 s | the protocol asks for at least 3 s, in which TCP sends lost bytes again |
//! | servers | | see [`ServerPolicy`] and [`BackendConfig`] |
//! | TLS handshake | 10 s | two round trips; three retransmissions (1 s, 2 s, 4 s) fit. The same for the first message of a client that is routed by its name |
//! | lists, limits per source | none | who connects, and how often, only the operator knows. Clients after a NAT or a proxy without PROXY headers are one source |
//! | drain timeout | 8 s | below the 10 s after which container runtimes kill; service managers wait longer |
//! | keepalive | 60 s, then 6 probes 10 s apart | finds a dead peer in 2 min, for 2 packets per idle minute and side |
//!
//! # Refused clients
//!
//! The [lists](RelayConfig::access) and the [limits of a source](RelayConfig::source_limits) concern the client: whom the
//! PROXY header of a trusted proxy names, and else who has connected. A refused client costs a task for a moment, no buffer and
//! no connection to a server. It is reset: after a close without a reset the kernel would keep its socket for a minute, and the
//! client would take it for an answer of no bytes. It counts as failed, with its reason as the cause. The limits keep 33 bytes
//! per slot of a table, 76 at most per source: those with open connections, and at most 65 536 whose rate is not yet free again.
//!
//! # Events
//!
//! Each connection of [`Relay::serve`] ends with one `tracing` event, with the target `millpond::relay::connection`:
//!
//! | message | level | when |
//! |---|---|---|
//! | `connection failed` | `WARN` | one side failed, or a timeout or the maximum lifetime expired |
//! | `connection aborted` | `WARN` | it was still open when the drain timeout expired, or when `serve` was dropped |
//! | `connection closed` | `DEBUG` | both directions ended |
//!
//! | field | |
//! |---|---|
//! | `id` | the number of the connection, from 1 |
//! | `client` | its address, or `unix pid N`, the process that connected; whom a [PROXY header](RelayConfig::accept_proxy) names |
//! | `proxy` | the address of the trusted proxy that sent this header |
//! | `upstream` | the endpoint of the server, the last one that was tried |
//! | `bytes_to_upstream`, `bytes_to_client` | bytes written in each direction |
//! | `duration_ms` | milliseconds since the accept, with three decimals |
//! | `ended_by` | of a failed or aborted one: `client`, `upstream`, or `relay` |
//! | `cause` | of a failed or aborted one: `connect_error`, `out_of_resources`, `proxy_header_…` with what is wrong with the header (`missing`, `malformed`, `too_long`, `checksum`, `truncated` or `timeout`), `tls_…` with why the handshake of the client failed (`timeout`, `not_tls`, `left`, `nothing_in_common`, `client_certificate`, `certificate_refused`, `unknown_name`, `protocol` or `local`), `upstream_tls_error`, `refused_denied`, `refused_source_connections`, `refused_source_rate`, `reset`, `io_error`, `idle_timeout`, `half_closed_timeout`, `stalled_timeout`, `max_lifetime` or `aborted`, as in the [metric](crate::observe::all_metrics) |
//! | `error` | of a failed or aborted one: the error with its causes, for people |
//!
//! It belongs to the [span](crate::spans) `relay` of the connection. Nothing limits their rate. A subscriber of a public server
//! should: `millpond proxy` writes 10 failures per second and counts the others.
//!
//! With the target `millpond::relay`, one event says that an upstream is down, when the first connect to it fails (`WARN`, with the
//! `upstream` and the `error`), and one that it is up again, when a connect succeeds (`INFO`). Checks count as connects. Another
//! says that a server beside others is ejected (`WARN`, with the `upstream`, and for how many `seconds`, unless it is until checks
//! succeed).
//!
//! | file | what it does | go there to |
//! |---|---|---|
//! | `pump` | copies one direction: a state machine that holds at most one buffer | buffer or flush differently |
//! | `pair` | runs one connection: two streams, two pumps, one timer, one watch; `conclude` sees which side ended or failed | find which side closed a connection |
//! | `serve` | the steps of an accepted client from the accept to the relay | add a step |
//! | `accepted` | what is known of it, counted and logged at its end | change what is logged |
//! | `reach` | connects to a server, and to the next one if that fails | change the failover |
//! | `backend`, `backend_config` | the handle to a group of servers, and its settings | add a setting of the servers' side |
//! | `group` | which server is next, by `policy::Servers`, and what the log says of it | change what is logged of a server |
//! | `checks` | connects to each server in every interval | check otherwise |
//! | `server` | one server and its counters | count more of it |
//! | `admission` | who is refused, by the lists and the limits of its source | refuse for another reason |
//! | `proxy_header` | the PROXY header of a trusted proxy, and the one to the server | say more of the client |
//! | `tls`, `no_tls` | TLS towards clients and servers, and the backend of the name that a client wants | route by more than names |
//! | `client_tls`, `server_tls` | their settings | add one |
//! | `handshake` | why the handshake of a client failed | add a cause |
//! | `config` | timeouts and limits | add a setting |
//! | `error` | why a connection failed, and on which side | add a cause |
//! | `connections` | the list of open connections, and what each holds and moves | report more of them |
//! | `stats` | counters of connections and bytes | add a counter |
//! | `timeouts` | which timeout of a connection expires when | add a timeout |
//! | `metrics` | the table of their metrics | add its row |
//!
//! Outside this module: `net/serve.rs` accepts the connections, and `net/sources` counts those of each source.
//! `bin/millpond/cli.rs` declares the options of `millpond proxy`, and `bin/millpond/proxy.rs` applies them.
//!
//! Absent on purpose: inspection of the bytes beyond the server name, retries once a byte was relayed.

mod accepted;
mod admission;
mod backend;
mod backend_config;
mod checks;
#[cfg(feature = "tls")]
mod client_tls;
mod config;
mod connections;
mod error;
mod group;
mod handshake;
mod metrics;
#[cfg(not(feature = "tls"))]
mod no_tls;
mod pair;
mod proxy_header;
mod pump;
mod reach;
mod serve;
mod server;
#[cfg(feature = "tls")]
mod server_tls;
mod stats;
mod timeouts;
#[cfg(feature = "tls")]
mod tls;

use std::fmt;

use crate::net::{AsyncStream, Places, Sources};
use crate::pool::BufferPool;
use crate::sync::{Arc, Mutex};

use self::connections::{Activity, Open};
#[cfg(not(feature = "tls"))]
use self::no_tls as tls;
use self::pair::Pair;
use self::stats::Counters;

pub use self::backend::Backend;
pub use self::backend_config::BackendConfig;
#[cfg(feature = "tls")]
pub use self::client_tls::NameRoutes;
pub use self::config::RelayConfig;
pub use self::connections::RelayConnection;
pub use self::error::{Refusal, RelayError, RelayErrorKind, Side};
pub use self::handshake::HandshakeFailure;
pub use self::server::{Server, ServerState};
pub use self::stats::RelayStats;
pub use crate::policy::{Balance, ServerPolicy, ServerStanding};

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
#[derive(Clone)]
pub struct Relay {
    shared: Arc<Shared>,
}

struct Shared {
    config: Mutex<Arc<RelayConfig>>,
    pool: BufferPool,
    counters: Counters,
    open: Open,
    /// For the connections of all `serve`s.
    places: Arc<Places>,
    sources: Sources,
}

/// Bytes relayed in each direction of one connection.
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
    /// Creates a relay that acquires its buffers from `pool`.
    ///
    /// [`BufferPoolConfig::proxy`](crate::BufferPoolConfig::proxy) has exactly the size classes that a relay uses. Any
    /// other pool works too, and may waste memory.
    #[must_use]
    pub fn new(pool: BufferPool, config: RelayConfig) -> Self {
        let places = Arc::new(Places::new(config.max_connections));
        let (config, counters, open) = (Mutex::new(Arc::new(config)), Counters::default(), Open::default());
        Self {
            shared: Arc::new(Shared { config, pool, counters, open, places, sources: Sources::default() }),
        }
    }

    /// The settings for new connections.
    #[must_use]
    pub fn config(&self) -> Arc<RelayConfig> {
        Arc::clone(&self.shared.config.lock())
    }

    /// Replaces the settings, for a reload. A connection keeps those from its accept.
    ///
    /// A shutdown waits for the drain timeout that is set when it begins.
    pub fn replace_config(&self, config: RelayConfig) {
        self.shared.places.set_most(config.max_connections);
        *self.shared.config.lock() = Arc::new(config);
    }

    /// The pool that this relay acquires buffers from.
    #[must_use]
    pub fn pool(&self) -> &BufferPool {
        &self.shared.pool
    }

    /// A snapshot of the connections and bytes of [`serve`](Self::serve).
    ///
    /// Connections of [`relay`](Self::relay) add to the bytes only.
    #[must_use]
    pub fn stats(&self) -> RelayStats {
        self.shared.counters.snapshot()
    }

    /// The open connections of [`serve`](Self::serve), in no order: who holds memory, who moves bytes, and who does not.
    ///
    /// It takes a lock for about 20 ns per connection, and connections begin and end after that. Until it is called, a connection
    /// only writes its numbers into a cell of its own, without locked instructions.
    ///
    /// # Examples
    ///
    /// ```
    /// use millpond::relay::{Relay, RelayConfig};
    /// use millpond::{BufferPool, BufferPoolConfig};
    ///
    /// let relay = Relay::new(BufferPool::new(BufferPoolConfig::proxy()), RelayConfig::default());
    /// let mut connections = relay.connections();
    /// connections.sort_by_key(|connection| std::cmp::Reverse(connection.held_bytes));
    /// for greedy in connections.iter().take(10) {
    ///     println!("{} from {} holds {} bytes", greedy.id, greedy.client, greedy.held_bytes);
    /// }
    /// ```
    #[must_use]
    pub fn connections(&self) -> Vec<RelayConnection> {
        self.shared.open.snapshots().collect()
    }

    /// Relays one connection until both directions have ended.
    ///
    /// # Errors
    ///
    /// Returns a [`RelayError`] if a side fails or a timeout expires. Both sides are closed by then.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes both sides and returns the buffers to the pool. A side that lacks bytes gets a reset.
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
        let config = self.config();
        Pair::new(client, upstream, &self.shared, &config, &Activity::new()).run().await
    }
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared { pool, counters, .. } = &*self.shared;
        f.debug_struct("Relay")
            .field("config", &self.config())
            .field("pool", pool)
            .field("counters", counters)
            .finish_non_exhaustive()
    }
}
