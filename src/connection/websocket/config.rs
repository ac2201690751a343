//! Where to connect, how to ask, and all limits.

use std::fmt;
use std::time::Duration;

use tokio_tungstenite::tungstenite::handshake::client::{Request, generate_key};
use tokio_tungstenite::tungstenite::http::header::{self, HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::http::uri::Authority;
use tokio_tungstenite::tungstenite::http::{self, HeaderMap, Uri};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig as Codec;

use super::error::{WebSocketError, WebSocketErrorKind};
use super::queue::{Limits, Overflow};
use crate::connection::https::Http2Pool;
use crate::net::tls::{TlsConfig, TlsConnector};
use crate::net::{Backoff, Dial, Endpoint, has_wrong_port, setters};
use crate::sync::Arc;

/// Received messages that wait to be taken: enough that the connection's task and the program need not take turns.
const INCOMING_MESSAGES: usize = 64;

/// A buffer for reading what TLS or HTTP/2 has in a buffer of its own. So a small one costs no system call.
const BUFFERED_READ: usize = 1024;

/// What a control frame, which is small, may add to the bytes that wait to be written.
const CONTROL_FRAMES: usize = 1024;

/// Where to connect, how to ask, and all limits of a connection.
///
/// | setting | default | why |
/// |---|---|---|
/// | [`connect_timeout`](field@Self::connect_timeout) | 10 s | as pools have; it covers TCP, TLS, the upgrade and the hook |
/// | [`dial`](field@Self::dial) | 10 s, and 5 s per address | see [`Dial`] |
/// | [`close_timeout`](field@Self::close_timeout) | 5 s | a live server answers at once |
/// | [`ping_interval`](field@Self::ping_interval) | 20 s | proxies close what is silent for 60 s |
/// | [`pong_timeout`](field@Self::pong_timeout) | 10 s | a lost packet is sent again within that time |
/// | [`max_message_size`](field@Self::max_message_size) | 1 MiB | memory that the server decides about |
/// | [`max_frame_size`](field@Self::max_frame_size) | 1 MiB | is reserved when the server announces it |
/// | [`max_outgoing_frame`](field@Self::max_outgoing_frame) | 64 KiB | a long message is written in pieces, with pings in between |
/// | [`buffer_size`](field@Self::buffer_size) | 4 KiB | what a connection at rest holds |
/// | [`queue_messages`](field@Self::queue_messages) | 1024 | |
/// | [`queue_bytes`](field@Self::queue_bytes) | 1 MiB | one connection's share of memory while its server is down |
/// | [`incoming_bytes`](field@Self::incoming_bytes) | 64 KiB | received and not taken; then reading stops |
/// | [`overflow`](field@Self::overflow) | [`Overflow::Wait`] | it loses nothing |
/// | [`backoff`](field@Self::backoff) | 100 ms to 5 s | see [`Backoff`] |
/// | [`http2`](field@Self::http2) | none: a connection of its own, by the upgrade of HTTP/1.1 | every server speaks that, and a WebSocket that has its connection alone is held up by nobody |
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use millpond::connection::websocket::WebSocketConfig;
///
/// let config = WebSocketConfig::new("wss://feed.example.com/v1")?
///     .header("Authorization", "Bearer 7")?
///     .subprotocols(["json.v1"])?
///     .ping_interval(Some(Duration::from_secs(10)));
/// # Ok::<(), millpond::connection::websocket::WebSocketError>(())
/// ```
///
/// Many in few HTTP/2 connections:
///
/// ```no_run
/// use millpond::connection::https::{Http2Pool, Http2PoolConfig};
/// use millpond::connection::websocket::{WebSocketConfig, WebSocketConnection};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = Http2Pool::new("https://feed.example.com", Http2PoolConfig::default())?;
/// let config = |path| WebSocketConfig::new(path).map(|config| config.http2(Some(pool.clone())));
/// let prices = WebSocketConnection::open(&config("wss://feed.example.com/prices")?).await?;
/// let news = WebSocketConnection::open(&config("wss://feed.example.com/news")?).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct WebSocketConfig {
    pub(super) uri: Uri,
    server: Arc<str>,
    pub(super) headers: HeaderMap,
    /// Where to connect instead of the URL's host and port, for example a Unix socket.
    pub endpoint: Option<Endpoint>,
    /// What `wss` uses. `None` trusts the certificates that the system trusts, or with [`http2`](field@Self::http2) is what the
    /// pool uses.
    pub tls: Option<TlsConnector>,
    /// How the stream below is made: who looks the name up, the time per address, keepalive. Its `timeout` counts if it is
    /// shorter than `connect_timeout`.
    pub dial: Dial,
    /// The time for TCP, TLS, the upgrade and, separately, for the hook.
    pub connect_timeout: Duration,
    /// The time for what is queued, for the close handshake, and for the end of the connection.
    pub close_timeout: Duration,
    /// After this long without a byte from the server, it is sent a ping. `None`: never.
    pub ping_interval: Option<Duration>,
    /// After this long without a byte after the ping, the connection is taken for dead. The ping is written after
    /// what was queued before, so a server that reads slowly must within this time take all that the kernel holds for it, which
    /// may be megabytes, and answer.
    pub pong_timeout: Duration,
    /// The largest message that is received.
    pub max_message_size: usize,
    /// The largest frame that is received.
    pub max_frame_size: usize,
    /// A longer message is sent in several frames. Each is copied and masked, so this bounds the memory of writing.
    pub max_outgoing_frame: usize,
    /// The size of the buffer for reading, at most 1 KiB over TLS and HTTP/2, which have buffers of their own, and how much is written at once if there are several messages.
    pub buffer_size: usize,
    /// How many messages may wait to be sent.
    pub queue_messages: usize,
    /// How many bytes may wait to be sent.
    pub queue_bytes: usize,
    /// Nothing is read while so many received bytes wait to be taken, or 64 messages.
    pub incoming_bytes: usize,
    /// What happens to a message for which the queue has no room.
    pub overflow: Overflow,
    /// The pauses between attempts of a [`WebSocketClient`](super::WebSocketClient) to connect.
    pub backoff: Backoff,
    /// WebSockets with the same pool share its HTTP/2 connections, each in a stream of its own (RFC 8441), among other
    /// requests. The pool's server must be the URL's. If it speaks no HTTP/2 (ALPN decides) or does not offer WebSockets
    /// there, each gets a connection of its own as without a pool, to the pool's endpoint and with its TLS. An
    /// [`endpoint`](field@Self::endpoint) or a connector for [`tls`](field@Self::tls) that is not the pool's, or a clone of it, is
    /// refused ([`InvalidRequest`](WebSocketErrorKind::InvalidRequest)): requests and their headers go over no connection with
    /// another identity. How a shared connection is dialed is the pool's matter, [`dial`](field@Self::dial) is for the others.
    /// Without TLS there is no ALPN, and the server must speak HTTP/2.
    ///
    /// With TLS, a shared connection takes less memory than ten of their own (see
    /// [`WebSocketConnection`](super::WebSocketConnection)), and a further WebSocket does not wait for TCP and TLS. But the end
    /// of the connection is the end of all, and beyond [`incoming_bytes`](field@Self::incoming_bytes) the connection keeps
    /// messages that are not taken, as many as the window of a stream allows. The pool's
    /// [`stalled_reader`](field@crate::connection::https::Http2PoolConfig::stalled_reader) bounds for how long: then the
    /// WebSocket ends ([`Stalled`](WebSocketErrorKind::Stalled)), or its messages are stored elsewhere.
    ///
    /// A WebSocket counts as one of the pool's streams until it has ended, and [`Http2Pool::close`] waits for that.
    pub http2: Option<Http2Pool>,
}

impl WebSocketConfig {
    /// The defaults, for this URL. A URL with a user is refused: add the [header](Self::header) that the server wants.
    ///
    /// # Errors
    ///
    /// [`InvalidUri`](WebSocketErrorKind::InvalidUri) if it is not a URL of `ws` or `wss` with a host, has a user, or its port
    /// is above 65535.
    pub fn new(url: &str) -> Result<Self, WebSocketError> {
        let invalid = || WebSocketError::new(WebSocketErrorKind::InvalidUri, &Arc::from(shown(url)));
        let uri: Uri = url.parse().map_err(|error: http::uri::InvalidUri| invalid().because(error))?;
        let (Some("ws" | "wss"), Some(host)) = (uri.scheme_str(), uri.host().filter(|host| !host.is_empty()))
        else {
            return Err(invalid());
        };
        let authority = uri.authority().map_or("", Authority::as_str);
        if has_wrong_port(authority) {
            return Err(invalid().because("the port is not between 0 and 65535"));
        }
        // Nor does the path.
        let scheme = uri.scheme_str().unwrap_or_default();
        let server = match uri.port_u16() {
            Some(port) => format!("{scheme}://{host}:{port}"),
            None => format!("{scheme}://{host}"),
        };
        let server = Arc::from(server);
        if authority.contains('@') {
            let error = WebSocketError::new(WebSocketErrorKind::InvalidUri, &server);
            return Err(error.because("it has a user; send it in a header, such as Authorization"));
        }
        Ok(Self {
            server,
            uri,
            headers: HeaderMap::new(),
            endpoint: None,
            tls: None,
            dial: Dial::default(),
            connect_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_secs(5),
            ping_interval: Some(Duration::from_secs(20)),
            pong_timeout: Duration::from_secs(10),
            max_message_size: 1 << 20,
            max_frame_size: 1 << 20,
            max_outgoing_frame: 64 << 10,
            buffer_size: 4 << 10,
            queue_messages: 1024,
            queue_bytes: 1 << 20,
            incoming_bytes: 64 << 10,
            overflow: Overflow::default(),
            backoff: Backoff::default(),
            http2: None,
        })
    }

    setters! {
        endpoint: Option<Endpoint>,
        tls: Option<TlsConnector>,
        dial: Dial,
        connect_timeout: Duration,
        close_timeout: Duration,
        ping_interval: Option<Duration>,
        pong_timeout: Duration,
        max_message_size: usize,
        max_frame_size: usize,
        max_outgoing_frame: usize,
        buffer_size: usize,
        queue_messages: usize,
        queue_bytes: usize,
        incoming_bytes: usize,
        overflow: Overflow,
        backoff: Backoff,
        http2: Option<Http2Pool>,
    }

    /// Adds a header to the request for the upgrade. `Host` replaces the URL's.
    ///
    /// # Errors
    ///
    /// [`InvalidRequest`](WebSocketErrorKind::InvalidRequest) if it is not a header.
    pub fn header(mut self, name: &str, value: &str) -> Result<Self, WebSocketError> {
        let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse::<HeaderValue>()) else {
            return Err(self.invalid().because(format!("the header {name:?} or its value cannot be sent")));
        };
        self.headers.append(name, value);
        Ok(self)
    }

    /// Offers subprotocols, of which the server must choose one. Without names, it offers none.
    ///
    /// # Errors
    ///
    /// As [`header`](Self::header).
    pub fn subprotocols<T: AsRef<str>>(
        self,
        names: impl IntoIterator<Item = T>,
    ) -> Result<Self, WebSocketError> {
        let mut names = names.into_iter().peekable();
        if names.peek().is_none() {
            return Ok(self);
        }
        let names = names.fold(String::new(), |list, name| match list.is_empty() {
            true => name.as_ref().to_owned(),
            false => format!("{list}, {}", name.as_ref()),
        });
        self.header("sec-websocket-protocol", &names)
    }

    pub(super) fn invalid(&self) -> WebSocketError {
        WebSocketError::new(WebSocketErrorKind::InvalidRequest, &self.server)
    }

    /// The server as messages name it.
    pub(super) fn server(&self) -> &Arc<str> {
        &self.server
    }

    pub(super) fn host(&self) -> &str {
        self.uri.host().unwrap_or_default()
    }

    pub(super) fn is_tls(&self) -> bool {
        self.uri.scheme_str() == Some("wss")
    }

    /// As `Host` has it.
    pub(super) fn host_and_port(&self) -> String {
        match self.uri.port_u16() {
            Some(port) => format!("{}:{port}", self.host()),
            None => self.host().to_owned(),
        }
    }

    pub(super) fn port(&self) -> u16 {
        self.uri.port_u16().unwrap_or(if self.is_tls() { 443 } else { 80 })
    }

    pub(super) fn target(&self) -> Endpoint {
        self.endpoint.clone().unwrap_or_else(|| Endpoint::from((self.host(), self.port())))
    }

    /// With a TLS connector where one is needed.
    pub(super) fn completed(mut self) -> Result<Self, WebSocketError> {
        if let Some(pool) = &self.http2 {
            if !pool.serves(self.is_tls(), self.host(), self.port()) {
                let why = format!("the pool of http2 is for {}; give each server its own", pool.server());
                return Err(self.invalid().because(why));
            }
            let (endpoint, tls) = pool.way();
            let is_other_endpoint = self.endpoint.is_some() && self.endpoint != endpoint;
            let is_other_tls = self.is_tls()
                && self.tls.as_ref().is_some_and(|own| tls.as_ref().is_none_or(|tls| !tls.is_same(own)));
            if is_other_endpoint || is_other_tls {
                let why = "the pool of http2 has another endpoint or TLS connector; set it in the pool only";
                return Err(self.invalid().because(why));
            }
            self.endpoint = self.endpoint.take().or(endpoint);
            self.tls = self.tls.take().or(tls);
        }
        if self.is_tls() && self.tls.is_none() {
            let built = TlsConfig::new().build();
            self.tls = Some(built.map_err(|error| WebSocketError::of_tls_config(error, &self.server))?);
        }
        Ok(self)
    }

    pub(super) fn request(&self) -> Result<Request, WebSocketError> {
        let request = Request::builder()
            .uri(self.uri.clone())
            .header(header::HOST, self.host_and_port())
            .header(header::CONNECTION, "Upgrade")
            .header(header::UPGRADE, "websocket")
            .header(header::SEC_WEBSOCKET_VERSION, "13")
            .header(header::SEC_WEBSOCKET_KEY, generate_key())
            .body(());
        let mut request = request.map_err(|error| self.invalid().because(error))?;
        for (name, value) in &self.headers {
            if name == header::HOST {
                request.headers_mut().insert(name, value.clone());
            } else {
                request.headers_mut().append(name, value.clone());
            }
        }
        Ok(request)
    }

    /// The subprotocol that the server chose: one of those that were offered, if any were. Extensions never are.
    pub(super) fn chosen(&self, answer: &HeaderMap) -> Result<Option<Box<str>>, WebSocketError> {
        let bad =
            |why: &str| Err(WebSocketError::new(WebSocketErrorKind::BadHandshake, &self.server).because(why));
        if answer.contains_key(header::SEC_WEBSOCKET_EXTENSIONS) {
            return bad("it wants an extension that was not offered");
        }
        let offered = self.headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
        let offered = offered.filter_map(|list| list.to_str().ok());
        let mut offered = offered.flat_map(|list| list.split(',').map(str::trim)).peekable();
        let chosen = answer.get(header::SEC_WEBSOCKET_PROTOCOL).and_then(|chosen| chosen.to_str().ok());
        match chosen {
            None if offered.peek().is_none() => Ok(None),
            None => bad("it chose none of the subprotocols"),
            Some(chosen) if offered.any(|name| name == chosen) => Ok(Some(chosen.into())),
            Some(_) => bad("it chose a subprotocol that was not offered"),
        }
    }

    /// For a stream that is `buffered` already, or not.
    pub(super) fn codec(&self, buffered: bool) -> Codec {
        let buffer = self.buffer_size.max(512);
        let read = if buffered { buffer.min(BUFFERED_READ) } else { buffer };
        Codec::default()
            .read_buffer_size(read)
            .write_buffer_size(buffer)
            // Only one frame is written beyond what may wait.
            .max_write_buffer_size(self.max_outgoing_frame.max(1).saturating_add(buffer + CONTROL_FRAMES))
            .max_message_size(Some(self.max_message_size))
            .max_frame_size(Some(self.max_frame_size))
    }

    pub(super) fn outgoing(&self) -> Limits {
        Limits { messages: self.queue_messages.max(1), bytes: self.queue_bytes }
    }

    pub(super) fn incoming(&self) -> Limits {
        Limits { messages: INCOMING_MESSAGES, bytes: self.incoming_bytes.max(1) }
    }
}

/// Without headers, which may be secret.
impl fmt::Debug for WebSocketConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocketConfig").field("server", &self.server).finish_non_exhaustive()
    }
}

/// What messages show of a URL that is refused: no path and no query, which may hold a token, and no host after a user, whose
/// password may hold anything.
fn shown(url: &str) -> &str {
    let scheme = url.find("://").map_or(0, |at| at + 3);
    let host = if url.contains('@') {
        Some(0)
    } else {
        url.get(scheme..).and_then(|rest| rest.find(['/', '?', '#']))
    };
    host.and_then(|len| url.get(..scheme + len)).unwrap_or(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> WebSocketConfig {
        WebSocketConfig::new("ws://mill.example/grist").unwrap()
    }

    /// The values of a header of the upgrade.
    fn values(config: &WebSocketConfig, name: &str) -> Vec<String> {
        let request = config.request().unwrap();
        request.headers().get_all(name).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn a_host_of_its_own_replaces_that_of_the_url() {
        assert_eq!(values(&config(), "host"), ["mill.example"]);
        assert_eq!(values(&config().header("Host", "pond.example").unwrap(), "host"), ["pond.example"]);
    }

    #[test]
    fn headers_of_the_same_name_are_all_sent() {
        let config = config().header("grist", "wheat").unwrap().header("grist", "rye").unwrap();
        assert_eq!(values(&config, "grist"), ["wheat", "rye"]);
    }

    #[test]
    fn subprotocols_are_offered_in_their_order() {
        let config = config().subprotocols(["wheat", "rye"]).unwrap();
        assert_eq!(values(&config, "sec-websocket-protocol"), ["wheat, rye"]);
    }

    fn choice(offered: &[&str], answer: &str) -> Option<Option<Box<str>>> {
        let mut headers = HeaderMap::new();
        if !answer.is_empty() {
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, answer.parse().unwrap());
        }
        config().subprotocols(offered).unwrap().chosen(&headers).ok()
    }

    #[test]
    fn the_server_chooses_one_of_the_subprotocols_that_were_offered() {
        assert_eq!(choice(&["a", "b"], "b"), Some(Some("b".into())));
        assert_eq!(choice(&[], ""), Some(None));
        assert_eq!(choice(&["a", "b"], "c"), None);
        assert_eq!(choice(&["a", "b"], ""), None);
        assert_eq!(choice(&[], "a"), None);
    }

    #[test]
    fn what_is_no_header_is_refused() {
        for (name, value) in [("two words", "grist"), ("grist", "two\nlines")] {
            let error = config().header(name, value).unwrap_err();
            assert_eq!(error.kind(), WebSocketErrorKind::InvalidRequest, "{name}: {value}");
        }
    }

    #[test]
    fn a_header_that_is_none_is_not_blamed_on_the_url() {
        let error = config().header("bad name", "x").unwrap_err();
        assert_eq!(
            format!("{error:?}"),
            "the settings for ws://mill.example are not valid: the header \"bad name\" or its value cannot be sent"
        );
    }

    #[test]
    fn a_user_in_the_url_is_refused() {
        let error = WebSocketConfig::new("ws://miller:secret@mill.example/").unwrap_err();
        assert_eq!(error.kind(), WebSocketErrorKind::InvalidUri);
        let said = format!("{error:?}");
        assert!(said.contains("has a user") && !said.contains("secret"), "{said}");
    }

    #[test]
    fn nothing_secret_of_a_url_that_is_refused_is_shown() {
        for url in [
            "http://miller:secret@mill.example/",
            "wss://miller:secret@mill example/",
            "wss://miller:secret?s@mill.example/",
            "http://mill.example/feed?token=secret",
            "http://mill.example/secret",
        ] {
            let error = WebSocketConfig::new(url).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
        }
    }

    #[test]
    fn its_debug_output_names_the_server_and_no_header() {
        let said = format!("{:?}", config().header("authorization", "secret").unwrap());
        assert!(said.contains("mill.example") && !said.contains("secret"), "{said}");
    }
}
