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
//! | `connection` | one connection: reads, writes, one timer |
//! | `role` | whether a connection is a server's or a client's |
//! | `serving` | a hub that serves any stream |
//! | `client` | the client's reconnect loop |
//! | `config` | limits, and the reason for each default |
//! | `error` | errors of connections, publishers and subscribers |
//! | `stats` | counters of a hub |
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
