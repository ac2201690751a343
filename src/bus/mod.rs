//! A typed message bus over TCP and Unix sockets.
//!
//! ```text
//!  publisher ─▶ PooledBytes ─▶ queue a peer ─▶ gathering write ─▶ socket ─▶ peer
//!  subscriber ◀─ channel a topic ◀─ frame, in the storage it was read into ◀─ socket ◀─ peer
//! ```
//!
//! | file | idea |
//! |---|---|
//! | `transport` | a hub with a listener, or with a connection that is made again |
//! | `hub` | topics, pool, connections |
//! | `topic` | from a frame's type to its subscribers |
//! | `peer` | what waits for a peer, and what it costs |
//! | `connection`, `role` | one connection: reads, writes, one timer |
//! | `serving` | a connection from its first moment to its last |
//! | `client` | a connection that is made again |
//! | `config`, `error`, `stats` | limits and their reasons; what went wrong; what was done |
//!
//! What can be set and what it costs: [`tuning`].

#[doc = include_str!("tuning.md")]
pub mod tuning {}

mod client;
mod config;
mod connection;
mod error;
mod hub;
mod peer;
mod role;
mod serving;
mod stats;
mod topic;
mod transport;

pub use self::config::{TransportConfig, UnknownTypes};
pub use self::error::{ConnectionError, ConnectionErrorKind, PublishError, RecvError};
pub use self::hub::{ConnectionEvent, Hub, Publisher};
pub use self::peer::ConnectionInfo;
pub use self::stats::TransportStats;
pub use self::topic::{FrameSubscriber, Received, Subscriber};
pub use self::transport::{Kind, Tcp, TcpTransport, Transport, Unix, UnixTransport};
