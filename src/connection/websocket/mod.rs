//! Connections that speak WebSocket: in a pool, or one that is kept up.
//!
//! ```text
//!  Pool ── WebSocketManager ─▶ WebSocketConnection ─┐        ┌─▶ queue ─▶┐
//!                                                   ├─ Link ─┤           Driver ─ Wire ─ TCP, Unix, TLS, HTTP/2 ─▶ server
//!          WebSocketClient, over and over again ────┘        └─◀ queue ◀─┘
//! ```
//!
//! | for | take |
//! |---|---|
//! | requests, each answered by one message | a [`Pool`](super::Pool) with a [`WebSocketManager`], and [`WebSocketConnection::exchange`] |
//! | many conversations at once over one connection | [`WebSocketChannels`], if the server speaks their envelope |
//! | feeds, subscriptions, messages at any time | a [`WebSocketClient`], which connects again |
//! | many of these over few connections | the same with [`WebSocketConfig::http2`](field@WebSocketConfig::http2), if the server speaks RFC 8441 |
//!
//! Handshake, frames and checks are [tungstenite](https://docs.rs/tungstenite/0.30)'s. Its buffers grow with the largest
//! frame and never shrink, so a connection at rest takes new ones after a large frame: `scan` knows when nothing is in them.
//!
//! * **Payloads** are [`Bytes`](bytes::Bytes). A received frame is not copied; the parts of a fragmented message are copied.
//!   A sent payload is copied once, piece by piece, because the protocol has clients mask it. Over HTTP/2 both are copied
//!   once more, to and from its frames.
//! * **Health.** A ping after silence, and an end if nothing comes after it. While too many received messages wait to be
//!   taken, nothing is read, no ping of the server is answered, and its silence does not count. Nor is its end noticed until a
//!   write fails: what it sent before comes first.
//! * **At most once.** A message that was written whole is never sent again.
//! * **Shared connections.** A WebSocket of HTTP/2 is a stream of an [`Http2Pool`](super::https::Http2Pool), with all that it
//!   does: a limit of streams, further connections, GOAWAY, pings. It holds its stream until it has ended. After a GOAWAY it
//!   goes on in its old connection.
//!
//! Absent on purpose: compression (its context is 300 KB per connection).

// | file | idea |
// |---|---|
// | `config` | where to connect, how to ask, and all limits |
// | `wire` | connecting, the upgrade, and the stream below |
// | `http2` | the handshake in a stream of a shared HTTP/2 connection |
// | `http2_stream` | such a stream as a stream of bytes |
// | `scan` | where messages end in a stream of bytes |
// | `span` | the span of a handshake |
// | `driver` | one connection from its handshake to its end: what its task does |
// | `link` | what handles and task share |
// | `queue` | messages that wait, and what happens when there are too many |
// | `connection`, `manager` | connections for pools |
// | `client` | a connection that is kept up, and its resume hook |
// | `channels` | many logical channels in one connection |
// | `message`, `error`, `statistics` | what is sent and received, what goes wrong, and how often |

mod channels;
mod client;
mod config;
mod connection;
mod driver;
mod error;
mod http2;
mod http2_stream;
mod link;
mod manager;
mod message;
mod queue;
mod scan;
mod span;
mod statistics;
mod wire;

/// Text that is known to be UTF-8, shared like [`Bytes`](bytes::Bytes).
pub use tokio_tungstenite::tungstenite::Utf8Bytes;

pub use self::channels::{WebSocketChannel, WebSocketChannels};
pub use self::client::{WebSocketClient, WebSocketSession};
pub use self::config::WebSocketConfig;
pub use self::connection::WebSocketConnection;
pub use self::error::{SendError, WebSocketError, WebSocketErrorKind};
pub use self::link::WebSocketState;
pub use self::manager::WebSocketManager;
pub use self::message::Message;
pub use self::queue::Overflow;
pub use self::statistics::WebSocketStatistics;
