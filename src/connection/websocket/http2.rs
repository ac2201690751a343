//! The handshake over HTTP/2: an extended CONNECT (RFC 8441).

use h2::ext::Protocol;
use http::header;
use http::{Method, Request, Uri, Version};
use tracing::Span;

use super::config::WebSocketConfig;
use super::error::WebSocketError;
use super::http2_stream::Http2Stream;
use crate::connection::https::{Http2Pool, inject};

/// Asks for a WebSocket in a stream of one of the pool's connections. Returns the subprotocol that the server chose, too, or
/// nothing if the server does not offer this.
pub(super) async fn open(
    pool: &Http2Pool,
    config: &WebSocketConfig,
) -> Result<Option<(Http2Stream, Option<Box<str>>)>, WebSocketError> {
    let server = config.server();
    // Before the stream is opened: a later reload may come too late for its connection.
    let identity = pool.way().1.map(|tls| tls.identity());
    let mut request = request(config)?;
    inject(&Span::current(), request.headers_mut());
    let opened = pool.open(request).await;
    let opened = opened.map_err(|error| WebSocketError::of_https(error, server))?;
    let Some(tunnel) = opened else { return Ok(None) };
    let (head, incoming) = tunnel.response.into_parts();
    let stream = Http2Stream::new(incoming, tunnel.send, tunnel.permit, identity);
    if !head.status.is_success() {
        return Err(WebSocketError::refused(head.status, &head.headers, server));
    }
    let chosen = config.chosen(&head.headers)?;
    Ok(Some((stream, chosen)))
}

fn request(config: &WebSocketConfig) -> Result<Request<()>, WebSocketError> {
    let mut headers = config.headers.clone();
    let host = headers.remove(header::HOST);
    let host = host.as_ref().and_then(|host| host.to_str().ok());
    let path = config.uri.path_and_query().map_or("/", |path| path.as_str());
    let uri = Uri::builder()
        .scheme(if config.is_tls() { "https" } else { "http" })
        .authority(host.map_or_else(|| config.host_and_port(), str::to_owned))
        .path_and_query(path)
        .build();
    let mut request = Request::new(());
    *request.method_mut() = Method::CONNECT;
    *request.uri_mut() = uri.map_err(|error| config.invalid().because(error))?;
    *request.version_mut() = Version::HTTP_2;
    headers.insert(header::SEC_WEBSOCKET_VERSION, header::HeaderValue::from_static("13"));
    *request.headers_mut() = headers;
    request.extensions_mut().insert(Protocol::from_static("websocket"));
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_the_form_of_an_extended_connect() {
        for (url, host, expected) in [
            ("wss://mill.example", None, "https://mill.example/"),
            ("wss://mill.example:8443/a?b=c", None, "https://mill.example:8443/a?b=c"),
            ("ws://[::1]:80/a", None, "http://[::1]:80/a"),
            ("wss://mill.example/a", Some("other.example"), "https://other.example/a"),
        ] {
            let mut config = WebSocketConfig::new(url).unwrap();
            if let Some(host) = host {
                config = config.header("host", host).unwrap();
            }
            let request = request(&config).unwrap();
            assert_eq!(request.uri().to_string(), expected);
            assert_eq!(request.method(), Method::CONNECT);
            assert!(!request.headers().contains_key(header::HOST), "{url}");
        }
    }
}
