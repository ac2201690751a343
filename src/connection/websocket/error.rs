//! Why there is no connection, why one ended, or why a message was not sent.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode};
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::error::{CapacityError, ProtocolError};

use super::message::Message;
use crate::connection::error::write_with_sources;
use crate::connection::https::{HttpsError, HttpsErrorKind};
use crate::net;
use crate::net::tls::{TlsConfigError, TlsError};
use crate::policy::retry_after;
use crate::sync::Arc;

/// Why there is no connection, why one ended, or why a message was not sent.
///
/// `{error}` is one line that leaves out the cause. The cause is the [`source`](Error::source), and `{error:?}` shows it, too.
#[derive(Clone)]
pub struct WebSocketError {
    kind: WebSocketErrorKind,
    server: Arc<str>,
    retry_after: Option<Duration>,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

/// The kind of a [`WebSocketError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WebSocketErrorKind {
    /// The URL is not `ws://host[:port]/…` or `wss://…`, or has a user.
    InvalidUri,
    /// A header is not valid, or the [`http2`](field@super::WebSocketConfig::http2) pool is not for this server, endpoint and TLS.
    InvalidRequest,
    /// No connection to the server. The source is a [`net::Error`], or over HTTP/2 an [`HttpsError`].
    Connect,
    /// TLS failed. The source is a [`TlsError`] or a [`TlsConfigError`], or over HTTP/2 an [`HttpsError`].
    Tls,
    /// There was no open connection in this time.
    ConnectTimeout {
        /// The limit.
        after: Duration,
    },
    /// The server answered the upgrade with another status.
    Refused {
        /// The HTTP status.
        status: u16,
    },
    /// The answer to the upgrade is not WebSocket's.
    BadHandshake,
    /// The server broke the protocol.
    Protocol,
    /// The server sent text that is not UTF-8.
    InvalidUtf8,
    /// The server sent a frame or a message above the limit.
    TooLarge {
        /// Its size in bytes, or what of it was announced.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// The connection ended without a close handshake.
    Lost,
    /// The server answered no ping, and sent nothing else, in this time.
    NoPong {
        /// The limit.
        after: Duration,
    },
    /// The messages of a WebSocket in a shared connection were not taken for so long.
    Stalled {
        /// The limit.
        after: Duration,
    },
    /// The server closed the connection.
    ClosedByServer {
        /// Its code, 1005 if it gave none.
        code: u16,
    },
    /// It was closed on this side.
    Closed,
    /// The server did not end the close handshake, or the connection after it, in this time.
    CloseTimeout {
        /// The limit.
        after: Duration,
    },
    /// The hook for new connections failed. Its error is the source.
    Hook,
    /// The queue of outgoing messages is full.
    QueueFull,
    /// The message is larger than the queue of outgoing messages may ever be.
    LargerThanQueue {
        /// The size of the message in bytes.
        size: usize,
        /// The limit of the queue.
        limit: usize,
    },
    /// The server ended the channel.
    ChannelClosed,
    /// More messages of the channel waited to be taken than allowed.
    ChannelOverflow,
    /// As many channels are open as allowed.
    TooManyChannels,
    /// The runtime with the connection's task has ended, or the task panicked.
    TaskEnded,
}

/// The message that was not sent, and why.
#[derive(Clone, Debug)]
pub struct SendError {
    /// The message.
    pub message: Message,
    /// Why it was not sent.
    pub error: WebSocketError,
}

type Kind = WebSocketErrorKind;

impl WebSocketError {
    pub(super) fn new(kind: Kind, server: &Arc<str>) -> Self {
        Self { kind, server: Arc::clone(server), retry_after: None, source: None }
    }

    pub(super) fn because(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(Arc::from(source.into()));
        self
    }

    pub(super) fn of_net(error: net::Error, limit: Duration, server: &Arc<str>) -> Self {
        let kind = if error.is_timeout() { Kind::ConnectTimeout { after: limit } } else { Kind::Connect };
        Self::new(kind, server).because(error)
    }

    pub(super) fn of_tls(error: TlsError, server: &Arc<str>) -> Self {
        Self::new(Kind::Tls, server).because(error)
    }

    pub(super) fn of_tls_config(error: TlsConfigError, server: &Arc<str>) -> Self {
        Self::new(Kind::Tls, server).because(error)
    }

    pub(super) fn of_https(error: HttpsError, server: &Arc<str>) -> Self {
        let kind = match error.kind() {
            HttpsErrorKind::TlsConfig | HttpsErrorKind::Tls(_) => Kind::Tls,
            HttpsErrorKind::HandshakeTimeout { after } | HttpsErrorKind::PoolTimeout { after } => {
                Kind::ConnectTimeout { after: *after }
            }
            _ => Kind::Connect,
        };
        Self::new(kind, server).because(error)
    }

    pub(super) fn of_handshake(error: tungstenite::Error, server: &Arc<str>) -> Self {
        match error {
            tungstenite::Error::Http(response) => {
                Self::refused(response.status(), response.headers(), server)
            }
            tungstenite::Error::Io(error) => Self::of_io(error, server),
            error => Self::new(Kind::BadHandshake, server).because(error),
        }
    }

    pub(super) fn refused(status: StatusCode, headers: &HeaderMap, server: &Arc<str>) -> Self {
        let asked = headers.get(http::header::RETRY_AFTER);
        let retry_after = asked.and_then(|value| retry_after(value.to_str().ok()?, SystemTime::now()));
        Self { retry_after, ..Self::new(Kind::Refused { status: status.as_u16() }, server) }
    }

    pub(super) fn of_stream(error: tungstenite::Error, server: &Arc<str>) -> Self {
        match error {
            tungstenite::Error::Io(error) => Self::of_io(error, server),
            tungstenite::Error::Utf8(_) => Self::new(Kind::InvalidUtf8, server),
            tungstenite::Error::Capacity(CapacityError::MessageTooLong { size, max_size }) => {
                Self::new(Kind::TooLarge { size, limit: max_size }, server)
            }
            tungstenite::Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
                Self::new(Kind::Lost, server)
            }
            error => Self::new(Kind::Protocol, server).because(error),
        }
    }

    fn of_io(error: io::Error, server: &Arc<str>) -> Self {
        let https = error.get_ref().and_then(|inner| inner.downcast_ref::<HttpsError>());
        let kind = match https.map(HttpsError::kind) {
            Some(HttpsErrorKind::ReaderStalled { after }) => Kind::Stalled { after: *after },
            _ if TlsError::find(&error).is_some() => Kind::Tls,
            _ => Kind::Lost,
        };
        Self::new(kind, server).because(error)
    }

    /// The kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The status of a [refused](WebSocketErrorKind::Refused) upgrade.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self.kind {
            Kind::Refused { status } => Some(status),
            _ => None,
        }
    }

    /// How long the server that refused asked to wait (`Retry-After`, in seconds or as a date), at most ten minutes.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Whether a time limit was exceeded.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self.kind, Kind::ConnectTimeout { .. } | Kind::NoPong { .. } | Kind::CloseTimeout { .. })
    }

    /// The code with which this side closes after the error, if the peer is to be told.
    pub(super) fn close_code(&self) -> Option<u16> {
        match self.kind {
            Kind::Protocol => Some(1002),
            Kind::InvalidUtf8 => Some(1007),
            Kind::TooLarge { .. } => Some(1009),
            Kind::Hook => Some(1008),
            _ => None,
        }
    }
}

/// One line that says what to do, except where the [`source`](Error::source) says it. `{error:?}` shows both.
impl fmt::Display for WebSocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let server = &self.server;
        match self.kind {
            Kind::InvalidUri => {
                write!(
                    f,
                    "{server} is not the URL of a WebSocket (write ws://HOST:PORT/PATH or wss://…, without a user)"
                )
            }
            Kind::InvalidRequest => write!(f, "the settings for {server} are not valid"),
            Kind::Connect => write!(f, "no connection to {server}"),
            Kind::Tls => write!(f, "no TLS connection to {server}"),
            Kind::ConnectTimeout { after } => {
                write!(
                    f,
                    "{server} did not open a connection within {after:?}; raise connect_timeout if it may take longer"
                )
            }
            Kind::Refused { status: status @ (401 | 403) } => {
                write!(
                    f,
                    "{server} refused the upgrade with status {status}; check the credentials and the Origin header"
                )
            }
            Kind::Refused { status: 404 } => {
                write!(f, "{server} refused the upgrade with status 404; check the path")
            }
            Kind::Refused { status: status @ (429 | 503) } => {
                write!(f, "{server} refused the upgrade with status {status}; it is overloaded, try later")
            }
            Kind::Refused { status } => {
                write!(
                    f,
                    "{server} refused the upgrade with status {status}; check that the path is a WebSocket"
                )
            }
            Kind::BadHandshake => {
                write!(
                    f,
                    "{server} did not answer as a WebSocket server does (check the URL, and the subprotocols)"
                )
            }
            Kind::Protocol => write!(f, "{server} broke the WebSocket protocol"),
            Kind::InvalidUtf8 => {
                write!(f, "{server} sent text that is not UTF-8; it must send such bytes as binary")
            }
            Kind::TooLarge { size, limit } => write!(
                f,
                "{server} sent {size} bytes where {limit} are allowed; raise max_message_size and max_frame_size"
            ),
            Kind::Lost => write!(f, "{server} ended the connection without closing it"),
            Kind::NoPong { after } => {
                write!(
                    f,
                    "{server} sent nothing within {after:?} after a ping; the connection is taken for dead"
                )
            }
            Kind::Stalled { after } => write!(
                f,
                "messages of {server} were not taken for {after:?}; take them sooner, or raise stalled_reader"
            ),
            Kind::ClosedByServer { code } => write!(f, "{server} closed the connection with code {code}"),
            Kind::Closed => write!(f, "the connection to {server} was closed on this side"),
            Kind::CloseTimeout { after } => {
                write!(f, "{server} did not end the close handshake within {after:?}")
            }
            Kind::Hook => write!(f, "the hook for new connections to {server} failed"),
            Kind::QueueFull => {
                write!(
                    f,
                    "the queue of messages to {server} is full; raise its limits, or let the overflow policy wait"
                )
            }
            Kind::LargerThanQueue { size, limit } => {
                write!(
                    f,
                    "{size} bytes do not fit into the queue of messages to {server}; raise queue_bytes above {limit}"
                )
            }
            Kind::ChannelClosed => write!(f, "{server} ended the channel"),
            Kind::ChannelOverflow => write!(
                f,
                "{server} sent more on a channel than may wait there; take messages sooner, or raise incoming_bytes"
            ),
            Kind::TooManyChannels => {
                write!(f, "too many channels are open in the connection to {server}; raise max_channels")
            }
            Kind::TaskEnded => {
                write!(f, "the task of the connection to {server} was ended, by its runtime or a panic")
            }
        }
    }
}

/// The message and its sources.
impl fmt::Debug for WebSocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_with_sources(self, f)
    }
}

impl Error for WebSocketError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl Error for SendError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}

impl From<SendError> for WebSocketError {
    fn from(error: SendError) -> Self {
        error.error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(3);

    fn error(kind: Kind) -> WebSocketError {
        WebSocketError::new(kind, &Arc::from("ws://mill.example"))
    }

    #[test]
    fn a_message_is_one_line_that_names_the_server() {
        for kind in [
            Kind::InvalidUri,
            Kind::InvalidRequest,
            Kind::Connect,
            Kind::Tls,
            Kind::ConnectTimeout { after: LIMIT },
            Kind::Refused { status: 500 },
            Kind::BadHandshake,
            Kind::Protocol,
            Kind::InvalidUtf8,
            Kind::TooLarge { size: 2, limit: 1 },
            Kind::Lost,
            Kind::NoPong { after: LIMIT },
            Kind::ClosedByServer { code: 1001 },
            Kind::Closed,
            Kind::CloseTimeout { after: LIMIT },
            Kind::Hook,
            Kind::QueueFull,
            Kind::LargerThanQueue { size: 2, limit: 1 },
            Kind::ChannelClosed,
            Kind::ChannelOverflow,
            Kind::TooManyChannels,
            Kind::TaskEnded,
        ] {
            let text = error(kind).to_string();
            assert!(text.contains("ws://mill.example") && !text.contains('\n'), "{text}");
        }
    }

    #[test]
    fn its_debug_output_is_the_message_and_its_sources() {
        let error = error(Kind::Connect).because(io::Error::other("the mill stands still"));
        assert_eq!(format!("{error:?}"), format!("{error}: the mill stands still"));
    }

    #[test]
    fn a_refusal_says_what_to_check() {
        for (status, hint) in [
            (401, "credentials"),
            (403, "credentials"),
            (404, "the path"),
            (429, "try later"),
            (503, "try later"),
            (200, "is a WebSocket"),
        ] {
            let text = error(Kind::Refused { status }).to_string();
            assert!(text.contains(&status.to_string()) && text.contains(hint), "{text}");
        }
    }

    #[test]
    fn time_limits_are_timeouts_and_named() {
        for (kind, is_timeout) in [
            (Kind::ConnectTimeout { after: LIMIT }, true),
            (Kind::NoPong { after: LIMIT }, true),
            (Kind::CloseTimeout { after: LIMIT }, true),
            (Kind::Lost, false),
        ] {
            let error = error(kind);
            assert_eq!(error.is_timeout(), is_timeout, "{error}");
            assert_eq!(error.to_string().contains("3s"), is_timeout, "{error}");
        }
    }

    #[test]
    fn the_server_is_told_what_it_did() {
        for (kind, code) in [
            (Kind::Protocol, Some(1002)),
            (Kind::InvalidUtf8, Some(1007)),
            (Kind::Hook, Some(1008)),
            (Kind::TooLarge { size: 2, limit: 1 }, Some(1009)),
            (Kind::Lost, None),
        ] {
            assert_eq!(error(kind).close_code(), code, "{kind:?}");
        }
    }

    #[test]
    fn a_message_that_was_not_sent_says_why() {
        let error = error(Kind::Lost).because(io::Error::other("the mill stands still"));
        let unsent = SendError { message: Message::text("grist"), error };
        assert_eq!(unsent.to_string(), unsent.error.to_string());
        assert_eq!(unsent.source().unwrap().to_string(), "the mill stands still");
        assert_eq!(WebSocketError::from(unsent).kind(), Kind::Lost);
    }
}
