//! Many requests on few HTTP/2 connections to one server.
//!
//! ```text
//!  Http2Pool::send ──┬─ a stream is free ─▶ the less loaded of two random ones ─▶ Response<Http2Body>
//!                    │                                 ▲                               │
//!                    └─▶ queue, by urgency ────────────┤                               │ both bodies have ended
//!                          │ asks for                  │                               ▼
//!                          ▼                           └──────── first waiter ◀──── permit
//!                        connect: a task, one at a time
//! ```
//!
//! | file | idea |
//! |---|---|
//! | `pool` | the pool and the body of a response, as their users see them |
//! | `config` | the settings, and why each default is what it is |
//! | `shared` | connections, streams and waiters behind one lock: who gets which stream, and when a connection is made or ends |
//! | `member` | one connection, and the streams on it |
//! | `queue` | who waits: a queue per urgency, each with its share |
//! | `urgency` | how urgent a request is (RFC 9218) |
//! | `permit` | the permission for a stream, given back exactly once |
//! | `reader` | a response that is read, or is not: then it is reset or spilled |
//! | `tunnel` | a stream for another protocol |
//! | `connecting` | the tasks of the pool |
//! | `state` | snapshots |
//!
//! Invariants: a stream is in the table of its connection as long as its permit exists, and there is no counter beside it. No
//! stream is free while somebody waits. At most one connect is under way, and it belongs to nobody who could be cancelled.
//! Nothing that takes other locks is dropped or woken under the lock. The numbers of connections and of streams are never used
//! again in a pool, so a late end of a stream cannot hit another one, on the same connection or on its successor.
//!
//! * **Connections.** A new one takes requests once the server's settings are there, so that no stream is beyond its limit.
//!   At [a configurable load](field@Http2PoolConfig::grow_at_percent) the pool opens another one. One that is not needed
//!   for the idle timeout is closed, even if requests are spread over it.
//! * **Ends.** After a GOAWAY a connection takes no more requests, and those that run come to their end. What the server has
//!   certainly not processed is sent again: streams above the last one of a GOAWAY, and refused ones. A response that is
//!   reset without an error before its end is an error. A connection that cannot send its GOAWAY within 5 s of its last
//!   stream, because the server does not read, is closed without.
//! * **Health checks** are off by default ([`HttpsConfig::health_check`](field@super::HttpsConfig::health_check)). With one, a
//!   connection on which nothing has come for the [bypass window](field@Http2PoolConfig::bypass_window) is pinged before the
//!   next request. The driver sends the ping and knows its deadline, so cancelled requests neither repeat nor prolong it.
//!   Without an answer, the connection takes no more requests; streams that are open may yet come to their end.
//! * **Pings** are off by default, too ([`HttpsConfig::ping`](field@super::HttpsConfig::ping)): servers such as gRPC's end
//!   connections that ping often. If a server does so with `ENHANCE_YOUR_CALM`, none of its connections is pinged any more,
//!   neither for health checks nor for adaptive windows.
//! * **Readers.** A response whose reader stays away for 20 ms holds a part of the connection's window, and two would hold all
//!   of it by default. So the window is made larger by as much, and smaller again when they read: the others do not notice.
//!   What bounds the memory is [`max_unread`](field@Http2PoolConfig::max_unread), and how long it is held the deadline: see
//!   [`StalledReader`]. Only the body counts: the future of [`Http2Pool::send`]
//!   must be polled or dropped.
//!
//! # Why one lock, and the engine's waiters but not its slots
//!
//! A request over HTTP/2 costs more than 10 µs, and takes the lock twice, briefly, so nothing here is
//! lock-free. The queue is the engine's (`core::Waiters`), once per urgency. Its slots are not: a slot has one user, a
//! connection here has a hundred.
//!
//! # Memory
//!
//! A connection at rest, 10 ms after its last stream, holds 8 KiB of heap with TLS, whatever it has carried: rustls 7, the
//! wire and the driver's task the rest. One in use holds 42: h2 needs 28 for its buffers (16 to write, 8 to read, 4 for header
//! lists, all of them fixed in its source), and 190 with a hundred streams at once. `multiplexed` says how h2 is dropped and
//! made anew.
//!
//! What the system counts is more, because glibc keeps what was in use at once. In release builds on 2 cores, 10 s after the
//! last response, KiB per connection:
//!
//! | | new | after 1 MiB each | with `malloc_trim` |
//! |---|---|---|---|
//! | `https_memory`: 100 connections, one after the other | 25 | 19 | 13 |
//! | `http2_memory`: 100 connections at once | 28 | 163 | 24 |
//!
//! `MILLPOND_REST=10 cargo test --release --features https --test http2_memory -- --nocapture` measures it.
//!
//! Why it is that much after responses at once, by a list of all live allocations and of the resident pages: the peak is 15 MB
//! for 100 connections. 10.5 MB of it are frames that h2 has read and nobody has taken yet: the window of a stream is 64 KiB,
//! and h2 reads it into buffers of 32 and 64 KiB. 1.6 MB are h2's buffers for writing. All of that is freed at rest. But
//! rustls's buffers for reading, 4 KiB per connection, stay, and each large record moves them elsewhere: they lie between all
//! that was freed, and glibc returns memory only from the upper end of its heap.
//!
//! What was tried: TLS records by rustls's interface without buffers, and buffers of our own that exist only while bytes are
//! under way. Then a connection at rest takes 4 KiB of heap instead of 8, and 36 to 80 resident after responses at once. That
//! is 400 lines in place of tokio-rustls, and was left out for their sake. A rest after 100 ms instead of 10 had 100
//! connections with an h2 at the same time, although they were used one after the other: 37 KiB. jemalloc 5.3 keeps 7 KiB for
//! the first row, but 370 for the second: it gives memory back only while the process allocates. Smaller
//! [windows](super::Http2Windows) lower the peak. So a process that has such bursts has to call `malloc_trim` now and then,
//! from a timer of its own. [`BufferPool::decay`](crate::BufferPool::decay) shows the call.
//!
//! Absent on purpose: server push, extended CONNECT but for [WebSockets](crate::connection::websocket), and several servers in
//! one pool.

mod config;
mod connecting;
mod member;
mod permit;
mod pool;
mod queue;
mod reader;
mod shared;
mod state;
#[cfg(feature = "websocket")]
mod tunnel;
mod urgency;

pub use self::config::{Http2PoolConfig, StalledReader};
pub use self::pool::{Http2Body, Http2Pool};
pub use self::state::{Http2ConnectionState, Http2State, Http2Statistics};
#[cfg(feature = "websocket")]
pub(in crate::connection) use self::tunnel::TunnelPermit;
pub use self::urgency::Urgency;
