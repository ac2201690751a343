//! The settings of HTTPS connections, and why each default is what it is.

use std::time::Duration;

use super::error::{HttpsError, HttpsErrorKind};
use crate::net::tls::TlsConnector;
use crate::net::{Dial, Endpoint, setters};

/// RFC 9113, section 6.9.1.
const MAX_WINDOW: u32 = u32::MAX >> 1;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(9);

/// The settings of an [`HttpsConnectionManager`](super::HttpsConnectionManager).
///
/// | setting | default | why |
/// |---|---|---|
/// | [`version`](field@Self::version) | negotiated | the server knows what it speaks best |
/// | [`tls`](field@Self::tls) | the system's roots, TLS 1.2 and 1.3 | what the administrator of the machine trusts |
/// | [`endpoint`](field@Self::endpoint) | the URI's host and port | |
/// | [`dial`](field@Self::dial) | 9 s, and 5 s per address | a get waits for 10 s by default, and is to learn which address did not answer |
/// | [`handshake_timeout`](field@Self::handshake_timeout) | 9 s | the same |
/// | [`max_requests`](field@Self::max_requests) | no limit | the pool limits a connection's age |
/// | [`health_check`](field@Self::health_check) | what is known without asking | a request per checkout costs a round trip |
/// | [`health_timeout`](field@Self::health_timeout) | 1 s | less than a pool gives a test, so that the pool's error sink gets this error |
/// | [`windows`](field@Self::windows) | 65 536 per stream, 131 072 per connection | bounds what a stalled reader holds |
/// | [`ping`](field@Self::ping) | off | some servers close connections that ping often |
/// | [`max_header_bytes`](field@Self::max_header_bytes) | 64 KiB, of which HTTP/1.1 uses 16 | the h2 crate would accept 16 MiB |
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HttpsConfig {
    /// Which version of HTTP to speak.
    pub version: HttpVersion,
    /// TLS settings. `None` means the default ones. Unless they name protocols for
    /// [ALPN](crate::net::tls::TlsConfig::alpn), what `version` needs is offered.
    pub tls: Option<TlsConnector>,
    /// Where to connect to, if not to the URI's host and port: another address, or a Unix socket. The certificate must be
    /// for the URI's host anyway.
    pub endpoint: Option<Endpoint>,
    /// How to connect.
    pub dial: Dial,
    /// The time that the TLS handshake may take, and again the start of HTTP/2.
    pub handshake_timeout: Duration,
    /// Requests after which a connection is closed. Where requests share it, it takes no more after them, and ends with those
    /// under way. At least 1.
    pub max_requests: Option<u64>,
    /// What is asked before a request, if the connection was idle for longer than the pool's `bypass_window`. It says whether
    /// the connection can take this request.
    pub health_check: HealthCheck,
    /// The time that a health check may take; where requests share a connection, it begins anew with whatever the server sends.
    /// A [`Pool`](crate::connection::Pool) gives it 2 s at most, and no more than half
    /// of its [`connection_timeout`](crate::connection::Builder::connection_timeout).
    pub health_timeout: Duration,
    /// HTTP/2: how many bytes a server may send before they are read.
    pub windows: Http2Windows,
    /// HTTP/2: whether the connection itself pings a silent server at intervals, also while requests run. It is independent of
    /// [`health_check`](field@Self::health_check).
    pub ping: Option<Ping>,
    /// The size of a response's header list that is still accepted. Over HTTP/1.1 it is the size of the whole head, of which no
    /// more than 16 KiB and 100 header lines are accepted in any case. What exceeds a limit is
    /// [`InvalidResponse`](super::HttpsErrorKind::InvalidResponse).
    pub max_header_bytes: u32,
}

/// Which version of HTTP to speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HttpVersion {
    /// What the server chooses by ALPN. HTTP/1.1 if it chooses nothing, or without TLS.
    #[default]
    Negotiated,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, without TLS by prior knowledge.
    Http2,
}

/// What a pool asks the server before a request, if the connection was idle (`is_valid`). A [`Ping`] is sent at intervals
/// instead, by the connection itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum HealthCheck {
    /// The server has not closed it, as far as this machine knows. It sends nothing.
    #[default]
    Known,
    /// The server answers `HEAD` for this path with a status below 500.
    ///
    /// [`Http2Pool`](super::Http2Pool), and [`Upstreams`](super::Upstreams) over HTTP/2, ping instead, as with
    /// [`Ping`](Self::Ping): what is in doubt is the connection, and other requests on it show what the server answers.
    Head(String),
    /// HTTP/2: the server answers a PING frame. It is no request: it takes no stream, no `max_requests` counts it, and it is
    /// not in the server's log. A reverse proxy answers it itself, so it says nothing about the servers it forwards to. Some
    /// servers end connections that ping often (`ENHANCE_YOUR_CALM`).
    ///
    /// HTTP/1.1 has no such frame, and the server chooses what it speaks, so over HTTP/1.1 it works like
    /// [`Known`](Self::Known). It does not fall back to `HEAD`, because a server sees that as a request, and only the program
    /// knows a path that is cheap.
    ///
    /// In an [`Http2Pool`](super::Http2Pool), and in [`Upstreams`](super::Upstreams) over HTTP/2, requests on a connection that
    /// was silent share one ping. If it is not answered, they take another connection, and those that were sent before run on.
    Ping,
}

/// HTTP/2: how many bytes a server may send before they are read.
///
/// Adaptive windows have no fixed size, so it is one choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Http2Windows {
    /// As many as this.
    Fixed {
        /// Per stream, from 1 to 2³¹ - 1.
        stream: u32,
        /// Per connection, from 1 to 2³¹ - 1. Two streams that nobody reads use up the default; [`Http2Pool`](super::Http2Pool)
        /// then makes it larger. With less than 131 070, a connection at rest may keep its buffers.
        connection: u32,
    },
    /// As many as the product of bandwidth and delay needs, up to 16 MiB. It is measured by at most 10 pings per second while
    /// data arrives. In an [`Http2Pool`](super::Http2Pool) they stay as they are after the server has complained of that.
    Adaptive,
}

/// HTTP/2: when a connection pings a silent server by itself. A [`HealthCheck`] asks before a request instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ping {
    /// Silence before a ping.
    pub interval: Duration,
    /// How long the server may be silent after a ping before the connection is closed. Whatever it sends counts.
    pub timeout: Duration,
    /// Whether a connection without a request is pinged, too.
    pub while_idle: bool,
}

impl Default for HttpsConfig {
    fn default() -> Self {
        Self {
            version: HttpVersion::default(),
            tls: None,
            endpoint: None,
            dial: Dial::default().timeout(CONNECT_TIMEOUT),
            handshake_timeout: CONNECT_TIMEOUT,
            max_requests: None,
            health_check: HealthCheck::default(),
            health_timeout: Duration::from_secs(1),
            windows: Http2Windows::default(),
            ping: None,
            max_header_bytes: 64 * 1024,
        }
    }
}

impl HttpsConfig {
    setters! {
        version: HttpVersion,
        tls: Option<TlsConnector>,
        endpoint: Option<Endpoint>,
        dial: Dial,
        handshake_timeout: Duration,
        max_requests: Option<u64>,
        health_check: HealthCheck,
        health_timeout: Duration,
        windows: Http2Windows,
        ping: Option<Ping>,
        max_header_bytes: u32,
    }

    /// Whether the settings are within their ranges.
    pub(super) fn check(&self) -> Result<(), HttpsError> {
        let is_window = |window| (1..=MAX_WINDOW).contains(&window);
        match self.windows {
            Http2Windows::Fixed { stream, connection } if !is_window(stream) || !is_window(connection) => {
                Err(out_of_range("windows"))
            }
            _ if self.max_requests == Some(0) => Err(out_of_range("max_requests")),
            _ => Ok(()),
        }
    }

    /// Whether HTTP/2 connections that requests share are pinged.
    pub(super) fn may_ping(&self) -> bool {
        self.ping.is_some()
            || self.health_check != HealthCheck::Known
            || self.windows == Http2Windows::Adaptive
    }
}

pub(super) fn out_of_range(setting: &'static str) -> HttpsError {
    HttpsError::new(HttpsErrorKind::OutOfRange(setting))
}

impl Default for Http2Windows {
    fn default() -> Self {
        Self::Fixed { stream: 65_536, connection: 131_072 }
    }
}

impl Default for Ping {
    fn default() -> Self {
        Self { interval: Duration::from_secs(30), timeout: Duration::from_secs(10), while_idle: true }
    }
}

impl Ping {
    setters! {
        interval: Duration,
        timeout: Duration,
        while_idle: bool,
    }
}
