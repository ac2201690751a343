//! Spans of `tracing`: what their fields say, and one that a long-lived task can afford to hold.
//!
//! A span is for something that happens once per connection, request or connect; there is none per read or write. While no
//! subscriber wants it, a span costs one relaxed load. Integers are signed, since exporters send an unsigned one as text. The
//! page [`spans`](crate::spans) lists all of them.

use std::borrow::Cow;
use std::net::SocketAddr;

use tracing::field::{Empty, display};
use tracing::{Instrument, Span, debug_span};

use super::endpoint::{Endpoint, host_and_port};
use super::error::ErrorKind;
use super::peer::Peer;

/// The target of all spans.
pub(crate) const TARGET: &str = "millpond::span";

/// A span in the size of a pointer. It takes memory only if a subscriber wants it.
#[cfg(any(feature = "connection", feature = "relay"))]
pub(crate) struct SmallSpan(Option<Box<Span>>);

#[cfg(any(feature = "connection", feature = "relay"))]
impl SmallSpan {
    #[cfg(feature = "connection")]
    pub(crate) const NONE: Self = Self(None);

    /// The span, once.
    #[cfg(feature = "connection")]
    pub(crate) fn take(&mut self) -> Span {
        self.0.take().map_or_else(Span::none, |span| *span)
    }

    /// Runs `work` within the span.
    pub(crate) fn in_scope<T>(&self, work: impl FnOnce() -> T) -> T {
        match &self.0 {
            Some(span) => span.in_scope(work),
            None => work(),
        }
    }

    /// The span, if a subscriber wants it.
    pub(crate) fn get(&self) -> Option<&Span> {
        self.0.as_deref()
    }

    /// What makes an event a part of the span.
    #[cfg(feature = "relay")]
    pub(crate) fn id(&self) -> Option<tracing::span::Id> {
        self.get().and_then(Span::id)
    }
}

#[cfg(any(feature = "connection", feature = "relay"))]
impl From<Span> for SmallSpan {
    fn from(span: Span) -> Self {
        Self((!span.is_disabled()).then(|| Box::new(span)))
    }
}

/// Says in a span of what type the error was.
pub(crate) fn failed(span: &Span, error_type: &str) {
    span.record("error.type", error_type);
    span.record("otel.status_code", "ERROR");
}

/// Does `work` within a span, which then says of what type its error was.
///
/// The work is a function, because a future that takes another by value holds it twice, as an argument and as a variable.
pub(crate) async fn traced<T, E, F>(
    span: Span,
    work: impl FnOnce() -> F,
    error_type: impl FnOnce(&E) -> &'static str,
) -> Result<T, E>
where
    F: Future<Output = Result<T, E>>,
{
    let done = work().instrument(span.clone()).await;
    if let Err(error) = &done {
        failed(&span, error_type(error));
    }
    done
}

/// Says in a span which address was connected to.
pub(super) fn connected(span: &Span, address: Option<SocketAddr>) {
    if let Some(address) = address {
        span.record("network.peer.address", display(address.ip()));
        span.record("network.peer.port", i64::from(address.port()));
    }
}

/// The span of a connect to an endpoint: `dns`, `tcp` and `tls` are its children.
pub(crate) fn connect_to(endpoint: &Endpoint) -> Span {
    let (address, port, transport) = server(endpoint);
    debug_span!(
        target: TARGET,
        "connect",
        "server.address" = &*address,
        "server.port" = port.map(i64::from),
        "network.transport" = transport,
        "error.type" = Empty,
        "otel.status_code" = Empty,
    )
}

/// The span of a lookup of a name.
pub(super) fn lookup_of(host: &str) -> Span {
    debug_span!(
        target: TARGET,
        "dns",
        "dns.question.name" = host,
        "error.type" = Empty,
        "otel.status_code" = Empty,
    )
}

/// The span of the attempts to make a TCP connection, at whichever address answers first.
pub(super) fn tcp() -> Span {
    debug_span!(
        target: TARGET,
        "tcp",
        "network.peer.address" = Empty,
        "network.peer.port" = Empty,
        "error.type" = Empty,
        "otel.status_code" = Empty,
    )
}

/// The span of an accepted connection, which begins a trace. What is made within it is a part of the same one.
pub(super) fn accept(peer: &Peer) -> Span {
    let span = debug_span!(
        target: TARGET,
        // The server's own span, if it has one, lasts for all connections.
        parent: None,
        "accept",
        "network.transport" = peer.transport(),
        "network.peer.address" = Empty,
        "network.peer.port" = Empty,
    );
    connected(&span, peer.address());
    span
}

fn server(endpoint: &Endpoint) -> (Cow<'_, str>, Option<u16>, &'static str) {
    match endpoint {
        Endpoint::Unix(path) => (path.to_string_lossy(), None, "unix"),
        Endpoint::Tcp(address) => match host_and_port(address) {
            Ok((host, port)) => (host.into(), Some(port), "tcp"),
            Err(_) => (address.into(), None, "tcp"),
        },
        Endpoint::Invalid { text, .. } => (text.into(), None, "tcp"),
    }
}

/// The type of a failed connect, in the words of OpenTelemetry: few and fixed.
pub(crate) fn error_type(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidEndpoint(_) | ErrorKind::WrongKind => "invalid_endpoint",
        ErrorKind::NotASocket { .. } => "not_a_socket",
        ErrorKind::Lookup => "lookup",
        ErrorKind::LookupTimeout { .. } => "lookup_timeout",
        ErrorKind::ConnectTimeout { .. } => "connect_timeout",
        ErrorKind::OutOfResources => "out_of_resources",
        _ => "connect_error",
    }
}
