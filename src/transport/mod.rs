//! Layer 5: sockets, and frames over any reader and writer.
//!
//! | file | idea |
//! |---|---|
//! | `bus` | typed messages between processes: `TcpTransport`, `UnixTransport` |
//! | `endpoint` | where a stream begins or ends, as text |
//! | `listener`, `stream` | TCP and Unix sockets as one type |
//! | `frame_reader` | frames out of any tokio reader: the one reader that lends |
//! | `codec` | the framings under `tokio_util` |
//! | `write_queue` | what waits to be written: gathered, in batches |
//! | `serve` | accepting, and ending well |
//! | `tlv` | one TLV frame, read or written |
//! | `error` | what went wrong, where, and what to do |
//!
//! What can be set and what it costs: [`tuning`].
//!
//! Absent on purpose: pools of connections, TLS.

#[doc = include_str!("tuning.md")]
pub mod tuning {}

mod bus;
mod codec;
mod endpoint;
mod error;
mod frame_reader;
mod listener;
mod serve;
mod stream;
mod tlv;
mod write_queue;

pub use bus::{
    ConnectionError, ConnectionErrorKind, ConnectionEvent, ConnectionInfo, FrameSubscriber, Hub, Keepalive,
    PublishError, Publisher, Received, Reconnect, RecvError, Subscriber, Tcp, TcpTransport, Transport,
    TransportConfig, TransportStats, Unix, UnixTransport, UnknownTypes,
};
pub use codec::{Codec, CodecError};
pub use endpoint::{Endpoint, ParseEndpointError};
pub use error::{Error, ErrorKind};
pub use frame_reader::{FrameReader, ReadFrameError, ReadFrameErrorKind};
pub use listener::Listener;
pub use serve::DrainReport;
pub use stream::Stream;
pub use tlv::{read_frame_pooled, read_frame_pooled_with, write_frame};
pub use write_queue::WriteQueue;
