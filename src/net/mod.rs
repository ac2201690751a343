//! Sockets as they are, and frames over any reader and writer.
//!
//! ```text
//!  Endpoint ─▶ Listener ─▶ Stream ─▶ FrameReader ─▶ frames in pooled buffers
//!           └─▶ Stream::connect  ◀── FrameWriter ◀─ frames to write
//! ```
//!
//! | file | idea |
//! |---|---|
//! | `endpoint` | where a stream begins or ends, as text |
//! | `listener`, `stream` | TCP and Unix sockets as one type |
//! | `async_stream` | the trait through which bytes move: readiness, reset on close |
//! | `halves` | a reader and a writer, such as two pipes, as one stream |
//! | `keepalive`, `backoff` | how a dead peer is found, and when a client connects again |
//! | `frame_reader` | frames out of any tokio reader: it borrows only while there is something to read |
//! | `frame_writer` | frames into any tokio writer: gathered, large payloads not copied |
//! | `codec` | the framings under `tokio_util` |
//! | `write_queue` | the bytes that wait to be written |
//! | `serve` | accepting connections, and draining them |
//! | `tlv` | one TLV frame, read or written |
//! | `settings` | one style of configuration |
//! | `error` | what went wrong, where, and what to do |
//!
//! Absent on purpose: pools of connections, and what the frames mean.

mod async_stream;
mod backoff;
mod codec;
mod endpoint;
mod error;
mod frame_reader;
mod frame_writer;
mod halves;
mod keepalive;
mod listener;
mod serve;
mod settings;
mod stream;
mod tlv;
mod write_queue;

pub use self::async_stream::{AsyncStream, Peekable};
pub use self::backoff::Backoff;
pub use self::codec::{Codec, CodecError};
pub use self::endpoint::{Endpoint, ParseEndpointError};
pub use self::error::{Error, ErrorKind};
pub use self::frame_reader::{FrameReader, ReadFrameError, ReadFrameErrorKind};
pub use self::frame_writer::{FrameWriter, WriteFrameError, WriteFrameErrorKind};
pub use self::halves::Halves;
pub use self::keepalive::Keepalive;
pub use self::listener::Listener;
pub use self::serve::DrainReport;
#[cfg(any(feature = "bus", feature = "relay"))]
pub(crate) use self::settings::setters;
pub use self::stream::Stream;
pub use self::tlv::{read_frame_pooled, read_frame_pooled_with, write_frame};
pub use self::write_queue::{PushError, WriteQueue};
