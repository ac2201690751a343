//! Layer 5: sockets, and frames over any reader and writer.
//!
//! | file | idea |
//! |---|---|
//! | `endpoint` | where a stream begins or ends, as text |
//! | `listener`, `stream` | TCP and Unix sockets as one type |
//! | `tlv` | frames read into pooled buffers, over any tokio reader |
//! | `error` | what went wrong, where, and what to do |
//!
//! Absent on purpose: pools of connections, retries, TLS.

mod endpoint;
mod error;
mod listener;
mod stream;
mod tlv;

pub use endpoint::{Endpoint, ParseEndpointError};
pub use error::{Error, ErrorKind};
pub use listener::Listener;
pub use stream::Stream;
pub use tlv::{ReadFrameError, ReadFrameErrorKind, read_frame_pooled, read_frame_pooled_with, write_frame};
