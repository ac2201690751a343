//! A typed message bus over TCP and Unix sockets.
//!
//! ```text
//!  publisher ─▶ PooledBytes ─▶ queue per peer ─▶ gathering write ─▶ socket ─▶ peer
//!  subscriber ◀─ channel per topic ◀─ frame, in the storage it was read into ◀─ socket ◀─ peer
//! ```
//!
//! | file | idea |
//! |---|---|
//! | `transport` | `TcpTransport`, `UnixTransport`: a hub with a listener, or with a connection that reconnects |
//! | `hub` | `Hub`, connection events, shutdown |
//! | `publisher` | `Publisher`: encoding a message once, for every peer |
//! | `subscriber` | `Subscriber`, `FrameSubscriber`: receiving messages and frames |
//! | `topic` | routing from a frame's type to its subscribers |
//! | `channel` | the frames that are kept for subscribers |
//! | `peer` | the write queue of one peer, and the memory that it holds |
//! | `pressure` | what loses when memory is short |
//! | `connection` | one connection: reads, writes, one timer |
//! | `role` | whether a connection is a server's or a client's |
//! | `serving` | a hub that serves any stream |
//! | `client` | the client's reconnect loop |
//! | `config` | limits, and the reason for each default |
//! | `error` | errors of connections, publishers and subscribers |
//! | `stats` | counters of a hub |
//!
//! # Under memory pressure
//!
//! The memory of all connections and subscribers is bounded by the pool's
//! [`memory_limit`](crate::BufferPoolConfigBuilder::memory_limit), and no peer and no subscriber stops the others,
//! however many of them stop, drip, declare much, or never receive:
//!
//! * Small messages pass. The pool keeps a part of the limit for small buffers, and a reader without memory for a read
//!   ahead continues in a small one.
//! * Whoever needs more than there is takes it at once from the channels that keep the most unread bytes: they lose their
//!   oldest frames, and the subscribers learn [how many](RecvError::Lagged).
//! * If that is not enough, it takes it from connections that hold memory and make no progress for the
//!   [`stall_timeout`](TransportConfig::stall_timeout), the largest first. They are closed, with
//!   [`Stalled`](ConnectionErrorKind::Stalled). Progress is a rate: what a connection holds must pass within 16 stall
//!   timeouts. So a peer that drips is closed, and one that just does not is served within a bounded time.
//! * Frames that together exceed the limit do not block each other: if connections with a part of a frame wait for
//!   memory for its rest and nothing moves, those that have held the most for the longest time are closed, after the
//!   stall timeout, with the same kind.
//!
//! All channels together keep an eighth of the limit in any case, and so do all connections: one that holds less than an
//! equal share of it loses nothing. The log says what was dropped or closed, and how much it held.
//!
//! What a connection waits for is never counted as the silence of its peer, and a peer that resets meanwhile leaves the
//! queue.
//!
//! [`tuning`] says what can be set and what it costs.

#[doc = include_str!("tuning.md")]
pub mod tuning {}

mod channel;
mod client;
mod config;
mod connection;
mod error;
mod hub;
mod peer;
mod pressure;
mod publisher;
mod role;
mod serving;
mod stats;
mod subscriber;
mod topic;
mod transport;

pub use self::config::{TransportConfig, UnknownTypes};
pub use self::error::{ConnectionError, ConnectionErrorKind, PublishError, RecvError};
pub use self::hub::{ConnectionEvent, Hub};
pub use self::peer::ConnectionInfo;
pub use self::publisher::Publisher;
pub use self::stats::TransportStats;
pub use self::subscriber::{FrameSubscriber, Received, Subscriber};
pub use self::transport::{Kind, Tcp, TcpTransport, Transport, Unix, UnixTransport};
