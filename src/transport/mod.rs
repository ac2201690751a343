//! Layer 5: sockets, and frames over any reader and writer.
//!
//! | file | idea |
//! |---|---|
//! | `endpoint` | where a stream begins or ends, as text |
//! | `listener`, `stream` | TCP and Unix sockets as one type |
//! | `frame_reader` | frames out of any tokio reader: the one reader that lends |
//! | `codec` | the framings under `tokio_util` |
//! | `tlv` | one TLV frame, read or written |
//! | `error` | what went wrong, where, and what to do |
//!
//! Absent on purpose: pools of connections, retries, TLS.

mod codec;
mod endpoint;
mod error;
mod frame_reader;
mod listener;
mod stream;
mod tlv;

pub use codec::{Codec, CodecError};
pub use endpoint::{Endpoint, ParseEndpointError};
pub use error::{Error, ErrorKind};
pub use frame_reader::{FrameReader, ReadFrameError, ReadFrameErrorKind};
pub use listener::Listener;
pub use stream::Stream;
pub use tlv::{read_frame_pooled, read_frame_pooled_with, write_frame};
