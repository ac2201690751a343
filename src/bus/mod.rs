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
//! | `channel` | the frames kept for subscribers |
//! | `peer` | the write queue of one peer, and the memory that it holds |
//! | `pressure` | which frames are dropped and which connections are closed when memory is short |
//! | `connection` | one connection: reads, writes, one timer |
//! | `role` | whether a connection is a server's or a client's |
//! | `serving` | a hub that serves any stream |
//! | `client` | the client's reconnect loop |
//! | `config` | limits, and the reason for each default |
//! | `error` | errors of connections, publishers and subscribers |
//! | `stats` | counters of a hub |
//! | `metrics` | the table of its metrics |
//!
//! # Under memory pressure
//!
//! The memory of all connections and subscribers is bounded by the pool's
//! [`memory_limit`](crate::BufferPoolConfigBuilder::memory_limit). No peer and no subscriber stops the others, even if many
//! of them stop reading, send a few bytes at a time, declare long frames, or never receive:
//!
//! * Small messages pass. The pool [reserves](crate::fairness) a part of the limit for small buffers, and a reader that
//!   gets no large buffer continues with a small one.
//! * When a connection or a publisher needs memory and there is none, the channels that keep the most unread bytes lose
//!   their oldest frames at once. The subscribers learn [how many](RecvError::Lagged).
//! * If that is not enough, connections that hold memory and make no progress for the
//!   [`stall_timeout`](TransportConfig::stall_timeout) are closed, the largest first, with
//!   [`Stalled`](ConnectionErrorKind::Stalled). Progress is a rate: the bytes that a connection holds must pass within 16
//!   stall timeouts. A slower peer is closed, and a faster one finishes within a bounded time.
//! * Frames that together exceed the limit do not block each other. If connections that hold a part of a frame wait for
//!   memory for the rest, and none makes progress for the stall timeout, those that have held the most for the longest
//!   time are closed, with the same kind. The oldest frame is exempt: its peer finishes it, or stalls.
//!
//! An eighth of the limit always remains for all channels together, and another for all connections together. A channel
//! or connection that holds less than an equal share of it loses nothing. The log says what was dropped or closed, and
//! how much it held.
//!
//! The time that a connection waits for memory does not count as silence of its peer. A peer that resets its connection
//! meanwhile leaves the queue.
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
mod metrics;
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
