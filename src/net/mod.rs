//! TCP and Unix sockets, and frames over any reader and writer.
//!
//! ```text
//!  Endpoint ─▶ Listener ─▶ Stream ─▶ FrameReader ─▶ frames in pooled buffers
//!           └─▶ Stream::connect  ◀── FrameWriter ◀─ frames to write
//! ```
//!
//! | file | idea |
//! |---|---|
//! | `endpoint` | addresses as text: `tcp://` and `unix://` (a new kind of address begins here) |
//! | `unix_path` | what the path of a Unix endpoint names: a socket file, an abstract name, or an obstacle |
//! | `listener` | binding and accepting, the accept queue, sockets that are shared or were handed over |
//! | `listener_config` | how to listen |
//! | `socket_file` | the socket file of a Unix listener: stale ones, mode and owner, removal |
//! | `serve` | the accept loop: what the system runs out of, drain at shutdown |
//! | `places` | the connection limit, which several accept loops may share |
//! | `open` | the tasks of an accept loop's connections |
//! | `runtimes` | runtimes that share the connections: each to the one with the fewest |
//! | `source_limits` | how many connections one source may have, and open per second |
//! | `sources` | a table of who has how many, in bounded memory |
//! | `span` | the spans of accepts and connects, and what others need for theirs |
//! | `stream` | a TCP or Unix connection as one type |
//! | `connect` | connecting: all addresses of a name, and what the system has run out of |
//! | `dial` | the settings of a client's connect, and what connecting cost |
//! | `dns` | a resolver that knows how long answers are valid |
//! | `resolve` | the addresses of names: bounded lookups, kept answers |
//! | `access_list` | who may connect |
//! | `async_stream` | the trait through which a relay reads and writes: readiness, peeking, reset on close |
//! | `hang_up` | a watch for the hang-up of a peer that is not read from |
//! | `halves` | a reader and a writer, such as two pipes, as one stream |
//! | `peer_set` | networks, and the clients of Unix sockets |
//! | `proxy_protocol` | who the client of a proxy is, in the first bytes of a connection |
//! | `keepalive` | how a dead TCP peer is detected |
//! | `read_from` | one read into a pooled buffer, within the memory limit |
//! | `buf_reader` | a buffered reader over any tokio reader, without a buffer at rest |
//! | `frame_reader` | frames out of any tokio reader: it holds a buffer only while there is something to read |
//! | `frame_writer` | frames into any tokio writer: gathering writes, large payloads not copied |
//! | `write_queue` | the frames that wait to be written: which bytes are copied, which are shared |
//! | `codec` | the framings as codecs of `tokio_util` |
//! | `tlv` | one TLV frame at a time, read or written |
//! | `tls` | TLS for clients and servers, over any stream (feature `tls`) |
//! | `error` | why listening or connecting failed, where, and what to do |
//!
//! Absent on purpose: pools of connections (`connection`), and what the frames
//! mean (the bus).

mod access_list;
mod async_stream;
mod buf_reader;
mod codec;
mod connect;
mod dial;
#[cfg(feature = "dns")]
mod dns;
mod endpoint;
mod error;
mod frame_reader;
mod frame_writer;
mod halves;
mod hang_up;
mod keepalive;
mod listener;
mod listener_config;
mod open;
mod peer;
mod peer_set;
mod places;
mod proxy_protocol;
mod read_from;
mod resolve;
mod runtimes;
mod serve;
mod socket_file;
#[cfg(feature = "relay")]
mod source_limits;
#[cfg(feature = "relay")]
mod sources;
mod span;
mod stream;
#[cfg(feature = "tls")]
pub mod tls;
mod tlv;
mod unix_path;
mod write_queue;

pub use self::access_list::AccessList;
pub use self::async_stream::{AsyncStream, Peekable};
pub use self::buf_reader::PooledBufReader;
pub use self::codec::{Codec, CodecError};
pub use self::dial::{Dial, Dialed};
#[cfg(feature = "dns")]
pub use self::dns::Dns;
#[cfg(any(feature = "https", feature = "websocket"))]
pub(crate) use self::endpoint::has_wrong_port;
pub use self::endpoint::{Endpoint, ParseEndpointError};
pub use self::error::{Error, ErrorKind};
pub use self::frame_reader::{FrameReader, ReadFrameError, ReadFrameErrorKind};
pub use self::frame_writer::{FrameWriter, WriteFrameError, WriteFrameErrorKind};
pub use self::halves::Halves;
pub use self::hang_up::HangUp;
pub use self::keepalive::Keepalive;
pub use self::listener::Listener;
pub use self::listener_config::ListenerConfig;
pub use self::peer::Peer;
pub use self::peer_set::{ParsePeerRangeError, PeerRange, PeerSet};
#[cfg(feature = "relay")]
pub(crate) use self::places::Places;
pub use self::proxy_protocol::{ProxyHeader, ProxyHeaderError, ProxyVersion};
pub use self::resolve::{Resolve, Resolving};
pub use self::runtimes::Runtimes;
pub use self::serve::DrainReport;
#[cfg(feature = "relay")]
pub(crate) use self::source_limits::SourceLimit;
#[cfg(feature = "relay")]
pub use self::source_limits::SourceLimits;
#[cfg(feature = "relay")]
pub(crate) use self::sources::{SourcePermit, Sources};
#[cfg(any(feature = "connection", feature = "relay", feature = "tls"))]
pub(crate) use self::span::TARGET as SPAN_TARGET;
#[cfg(feature = "tls")]
pub(crate) use self::span::traced;
#[cfg(any(feature = "connection", feature = "relay"))]
pub(crate) use self::span::{SmallSpan, failed as span_failed};
#[cfg(feature = "https")]
pub(crate) use self::span::{connect_to, error_type};
pub use self::stream::Stream;
pub use self::tlv::{read_frame_pooled, read_frame_pooled_with, write_frame};
pub use self::write_queue::{PushError, WriteQueue};
pub use crate::policy::Backoff;
#[cfg(any(
    feature = "admin",
    feature = "bus",
    feature = "https",
    feature = "relay",
    feature = "websocket"
))]
pub(crate) use crate::policy::setters;
