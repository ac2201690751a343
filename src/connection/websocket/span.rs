//! The span of a handshake, with the connect before it.

use tracing::field::Empty;
use tracing::{Span, debug_span};

use super::config::WebSocketConfig;
use super::error::{WebSocketError, WebSocketErrorKind};
use crate::net::SPAN_TARGET;

pub(super) fn span_of(config: &WebSocketConfig) -> Span {
    debug_span!(
        target: SPAN_TARGET,
        "websocket",
        "otel.kind" = "client",
        "server.address" = config.host(),
        "server.port" = config.port(),
        "url.path" = config.uri.path(),
        "network.protocol.version" = Empty,
        "error.type" = Empty,
        "otel.status_code" = Empty,
    )
}

/// The type of an error, in the words of the other spans.
pub(super) fn error_type(error: &WebSocketError) -> &'static str {
    use WebSocketErrorKind as Kind;
    match error.kind() {
        Kind::Connect => "connect_error",
        Kind::ConnectTimeout { .. } => "connect_timeout",
        Kind::Tls => "tls",
        Kind::InvalidUri | Kind::InvalidRequest => "invalid_request",
        Kind::Refused { .. } => "refused",
        Kind::BadHandshake | Kind::Protocol => "invalid_response",
        Kind::Lost | Kind::Closed => "closed",
        _ => "_OTHER",
    }
}
