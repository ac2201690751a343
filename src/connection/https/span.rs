//! The spans of requests, and of the connects that these wait for.

use http::{Request, Response, Uri, Version};
use tracing::field::{Empty, display};
use tracing::{Instrument, Span, debug_span};

#[cfg(feature = "otlp")]
pub(in super::super) use super::context::inject;
use super::error::{HttpsError, HttpsErrorKind};
use super::origin::Origin;
use super::request_body::RequestBody;
use crate::net::{self, SPAN_TARGET, span_failed};

/// Without a propagator there is nothing to tell the server.
#[cfg(not(feature = "otlp"))]
pub(in super::super) fn inject(_: &Span, _: &mut http::HeaderMap) {}

/// Sends a request in a span that lasts until the head of the response, and tells the server of it.
///
/// The server is the one that the request's URI names, or `origin`.
pub(super) fn traced<B, F>(
    mut request: Request<RequestBody>,
    origin: Option<&Origin>,
    send: impl FnOnce(Request<RequestBody>) -> F,
) -> impl Future<Output = Result<Response<B>, HttpsError>>
where
    F: Future<Output = Result<Response<B>, HttpsError>>,
{
    let span = span_of(&request, origin);
    inject(&span, request.headers_mut());
    async move {
        let mut asked = Asked { span, has_ended: false };
        let sent = send(request).instrument(asked.span.clone()).await;
        asked.has_ended = true;
        match &sent {
            _ if asked.span.is_disabled() => {}
            Ok(response) => answered(&asked.span, response),
            Err(error) => span_failed(&asked.span, error_type(error)),
        }
        sent
    }
}

/// A request that was sent. Dropped before its end, it was cancelled.
struct Asked {
    span: Span,
    has_ended: bool,
}

impl Drop for Asked {
    fn drop(&mut self) {
        if !self.has_ended {
            span_failed(&self.span, "cancelled");
        }
    }
}

fn answered<B>(span: &Span, response: &Response<B>) {
    let status = response.status();
    span.record("http.response.status_code", i64::from(status.as_u16()));
    span.record("network.protocol.version", version(response.version()));
    if status.is_client_error() || status.is_server_error() {
        span_failed(span, status.as_str());
    }
}

fn span_of(request: &Request<RequestBody>, origin: Option<&Origin>) -> Span {
    let method = method_name(request.method().as_str());
    let span = debug_span!(
        target: SPAN_TARGET,
        "request",
        "otel.kind" = "client",
        "otel.name" = if method == "_OTHER" { "HTTP" } else { method },
        "http.request.method" = method,
        "server.address" = Empty,
        "server.port" = Empty,
        "url.full" = Empty,
        "http.response.status_code" = Empty,
        "network.protocol.version" = Empty,
        "error.type" = Empty,
        "otel.status_code" = Empty,
    );
    if !span.is_disabled() {
        let uri = request.uri();
        let scheme = uri.scheme_str().or_else(|| origin.map(Origin::scheme)).unwrap_or("http");
        let host = uri.host().or_else(|| origin.map(Origin::host)).unwrap_or_default();
        let default = if scheme == "https" { 443 } else { 80 };
        let port = match uri.host() {
            Some(_) => uri.port_u16(),
            None => origin.map(Origin::port),
        };
        let port = port.unwrap_or(default);
        span.record("server.address", host);
        span.record("server.port", i64::from(port));
        span.record("url.full", display(UrlWithoutSecrets { scheme, host, port, default, uri }));
    }
    span
}

/// The URL without the user, and without what the query says: both may be secrets.
struct UrlWithoutSecrets<'a> {
    scheme: &'a str,
    host: &'a str,
    port: u16,
    default: u16,
    uri: &'a Uri,
}

impl std::fmt::Display for UrlWithoutSecrets<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { scheme, host, port, default, uri } = self;
        write!(f, "{scheme}://{host}")?;
        if port != default {
            write!(f, ":{port}")?;
        }
        f.write_str(if uri.path().is_empty() { "/" } else { uri.path() })?;
        if uri.query().is_some() { f.write_str("?REDACTED") } else { Ok(()) }
    }
}

/// The method, if it is one that everybody knows: a client can make others up.
pub(crate) fn method_name(method: &str) -> &'static str {
    const KNOWN: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
    KNOWN.into_iter().find(|known| *known == method).unwrap_or("_OTHER")
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        _ => "1.1",
    }
}

/// The type of an error, in the words of OpenTelemetry: few and fixed.
pub(super) fn error_type(error: &HttpsError) -> &'static str {
    use HttpsErrorKind as Kind;
    match error.kind() {
        Kind::Net(kind) => net::error_type(*kind),
        Kind::Tls(_) => "tls",
        Kind::HandshakeTimeout { .. } => "handshake_timeout",
        Kind::InvalidUri | Kind::InvalidRequest | Kind::InvalidHead => "invalid_request",
        Kind::InvalidResponse | Kind::WrongVersion => "invalid_response",
        Kind::Closed | Kind::Incomplete => "closed",
        Kind::GoAway(_) | Kind::Reset(_) => "reset",
        Kind::BreakerOpen { .. } => "breaker_open",
        Kind::PingTimeout => "ping_timeout",
        Kind::PoolFull | Kind::TooManyServers => "pool_full",
        Kind::PoolTimeout { .. } => "pool_timeout",
        Kind::PoolClosed => "pool_closed",
        Kind::Io(_) => "io",
        _ => "_OTHER",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let uri: Uri = text.parse().unwrap();
        let port = uri.port_u16().unwrap_or(80);
        UrlWithoutSecrets { scheme: "http", host: uri.host().unwrap(), port, default: 80, uri: &uri }
            .to_string()
    }

    #[test]
    fn a_url_in_a_span_has_no_secrets() {
        assert_eq!(shown("http://miller:flour@mill.test:80/a?key=grain"), "http://mill.test/a?REDACTED");
        assert_eq!(shown("http://[::1]:8080"), "http://[::1]:8080/");
    }

    #[test]
    fn a_method_that_nobody_knows_has_no_name() {
        assert_eq!(method_name("PATCH"), "PATCH");
        assert_eq!(method_name("GRIND"), "_OTHER");
    }
}
