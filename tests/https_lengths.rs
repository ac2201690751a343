//! What a request says of the length of its body, against real servers: the next request must begin where the server expects it.

mod upstream;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderName, Method, Request, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full, StreamBody};
use millpond::connection::Pool;
use millpond::connection::https::{
    HttpsConfig, HttpsError, HttpsErrorKind, RequestBody, Upstreams, UpstreamsConfig,
};
use tokio::time::timeout;
use upstream::{Nginx, Node, PATIENCE};

const GRIST: &str = "grist";

/// A server that answers with the method, the path and the bytes of the body that it has received.
fn counting() -> Node {
    Node::https(
        "let length = 0;
        request.on('data', data => length += data.length);
        request.on('end', () => response.end([request.method, request.url, length].join(' ')));",
    )
}

/// At most one connection to each server.
fn upstreams(config: HttpsConfig) -> Upstreams {
    let http1 =
        || Pool::builder().min_idle(None).max_size(1).retry_connection(false).connection_timeout(PATIENCE);
    Upstreams::new(UpstreamsConfig::default().https(config).http1(http1)).unwrap()
}

/// The server, and a client for each version of HTTP.
fn both() -> (Node, [(&'static str, Upstreams); 2]) {
    let node = counting();
    let client = |alpn| {
        let tls = node.authority.connector(&[alpn]);
        (alpn, upstreams(HttpsConfig::default().tls(Some(tls))))
    };
    let clients = [client("http/1.1"), client("h2")];
    (node, clients)
}

/// A body in pieces, whose length is not known.
fn pieces(pieces: &[&'static str]) -> RequestBody {
    let frames: Vec<_> =
        pieces.iter().map(|piece| Ok::<_, io::Error>(Frame::data((*piece).into()))).collect();
    RequestBody::stream(StreamBody::new(stream::iter(frames)))
}

/// A body whose length is known, although it streams.
fn exact() -> RequestBody {
    RequestBody::stream(Full::new(Bytes::from_static(GRIST.as_bytes())))
}

type Headers = &'static [(HeaderName, &'static str)];
type MakeBody = fn() -> RequestBody;

struct Client<'a> {
    upstreams: &'a Upstreams,
    url: String,
}

impl Client<'_> {
    async fn send(
        &self,
        method: Method,
        headers: &[(HeaderName, &str)],
        body: RequestBody,
    ) -> Result<String, HttpsError> {
        let mut request = Request::builder().method(method).uri(&self.url);
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        let send = async {
            let response = self.upstreams.send(request.body(body).unwrap()).await?;
            let text = response.into_body().collect().await?.to_bytes();
            Ok(String::from_utf8(text.to_vec()).unwrap())
        };
        timeout(PATIENCE, send).await.expect("no answer")
    }

    /// Whether the server takes the next request as it was meant.
    async fn is_in_step(&self) -> bool {
        let answer = self.send(Method::GET, &[], RequestBody::empty()).await;
        answer.unwrap() == "GET /mill 0"
    }
}

#[tokio::test]
async fn a_head_that_contradicts_its_body_is_not_sent() {
    let (node, clients) = both();
    for (alpn, upstreams) in &clients {
        let client = Client { upstreams, url: format!("{}/mill", node.url()) };
        assert!(client.is_in_step().await);
        let cases: [(Method, Headers, MakeBody); 15] = [
            (Method::GET, &[(CONTENT_LENGTH, "22")], RequestBody::empty),
            (Method::HEAD, &[(CONTENT_LENGTH, "22")], RequestBody::empty),
            (Method::DELETE, &[(CONTENT_LENGTH, "5")], RequestBody::empty),
            (Method::POST, &[(CONTENT_LENGTH, "22")], || GRIST.into()),
            (Method::POST, &[(CONTENT_LENGTH, "2")], || GRIST.into()),
            (Method::POST, &[(CONTENT_LENGTH, "0")], || GRIST.into()),
            (Method::POST, &[(CONTENT_LENGTH, "6")], exact),
            (Method::POST, &[(CONTENT_LENGTH, "+5")], || GRIST.into()),
            (Method::POST, &[(CONTENT_LENGTH, "")], RequestBody::empty),
            (Method::POST, &[(CONTENT_LENGTH, "5, 5")], || GRIST.into()),
            (Method::POST, &[(CONTENT_LENGTH, "99999999999999999999")], || pieces(&[GRIST])),
            (Method::POST, &[(CONTENT_LENGTH, "5"), (CONTENT_LENGTH, "5")], || GRIST.into()),
            (Method::POST, &[(TRANSFER_ENCODING, "chunked"), (CONTENT_LENGTH, "5")], || GRIST.into()),
            (Method::POST, &[(TRANSFER_ENCODING, "gzip")], || GRIST.into()),
            (Method::POST, &[(TRANSFER_ENCODING, "chunked"), (TRANSFER_ENCODING, "chunked")], exact),
        ];
        for (method, headers, body) in cases {
            let sent = client.send(method.clone(), headers, body()).await;
            let mut error = sent.expect_err(&format!("{alpn} {method} {headers:?}"));
            assert_eq!(error.kind(), &HttpsErrorKind::InvalidHead, "{alpn} {headers:?} {error:?}");
            assert!(error.is_unprocessed());
            assert!(error.take_request().is_some());
            assert!(client.is_in_step().await, "{alpn} {method} {headers:?}");
        }
        let server = &upstreams.servers()[0];
        assert_eq!(server.connects.connected, 1, "{alpn}");
        assert_eq!(server.errors.invalid_request, 15, "{alpn}");
    }
}

#[tokio::test]
async fn a_head_that_fits_its_body_is_sent() {
    let (node, clients) = both();
    for (alpn, upstreams) in &clients {
        let client = Client { upstreams, url: format!("{}/mill", node.url()) };
        let cases: [(Method, Headers, MakeBody, &str); 11] = [
            (Method::GET, &[(CONTENT_LENGTH, "0")], RequestBody::empty, "GET /mill 0"),
            (Method::HEAD, &[(CONTENT_LENGTH, "0")], RequestBody::empty, ""),
            (Method::POST, &[(CONTENT_LENGTH, "0")], RequestBody::empty, "POST /mill 0"),
            (Method::POST, &[(CONTENT_LENGTH, "5")], || GRIST.into(), "POST /mill 5"),
            (Method::POST, &[(CONTENT_LENGTH, "005")], || GRIST.into(), "POST /mill 5"),
            (Method::GET, &[(CONTENT_LENGTH, "5")], || GRIST.into(), "GET /mill 5"),
            (Method::POST, &[(CONTENT_LENGTH, "5")], exact, "POST /mill 5"),
            (Method::POST, &[(CONTENT_LENGTH, "5")], || pieces(&["gr", "ist"]), "POST /mill 5"),
            (Method::POST, &[(TRANSFER_ENCODING, "Chunked")], || pieces(&["gr", "ist"]), "POST /mill 5"),
            (Method::POST, &[(TRANSFER_ENCODING, "chunked")], RequestBody::empty, "POST /mill 0"),
            (Method::POST, &[], || pieces(&["gr", "ist"]), "POST /mill 5"),
        ];
        for (method, headers, body, expected) in cases {
            let answer = client.send(method, headers, body()).await;
            assert_eq!(answer.unwrap(), expected, "{alpn} {headers:?}");
            assert!(client.is_in_step().await, "{alpn} {headers:?}");
        }
    }
}

#[tokio::test]
async fn a_stream_that_is_not_as_long_as_announced_fails() {
    let (node, clients) = both();
    for (alpn, upstreams) in &clients {
        let client = Client { upstreams, url: format!("{}/mill", node.url()) };
        for (length, parts) in [("22", ["gr", "ist"]), ("4", ["gr", "ist"]), ("1", ["gr", "ist"])] {
            let sent = client.send(Method::POST, &[(CONTENT_LENGTH, length)], pieces(&parts)).await;
            let error = sent.expect_err(&format!("{alpn} {length}"));
            assert_eq!(error.kind(), &HttpsErrorKind::InvalidRequest, "{alpn} {length} {error:?}");
            assert!(client.is_in_step().await, "{alpn} {length}");
        }
    }
}

#[tokio::test]
async fn what_a_stream_has_beyond_its_length_is_never_the_next_request() {
    let (node, clients) = both();
    for (alpn, upstreams) in &clients {
        let client = Client { upstreams, url: format!("{}/mill", node.url()) };
        let body = pieces(&[GRIST, "GET /smuggled HTTP/1.1\r\nhost: mill.example\r\n\r\n"]);
        let answer = client.send(Method::POST, &[(CONTENT_LENGTH, "5")], body).await;
        assert_eq!(answer.unwrap(), "POST /mill 5", "{alpn}");
        assert!(client.is_in_step().await, "{alpn}");
    }
}

#[tokio::test]
async fn a_stream_that_is_not_as_long_as_it_says_itself_fails() {
    let (node, clients) = both();
    for (alpn, upstreams) in &clients {
        let client = Client { upstreams, url: format!("{}/mill", node.url()) };
        for len in [4, 22] {
            let body = RequestBody::stream(Saying { len, grist: Some(Bytes::from_static(GRIST.as_bytes())) });
            let error = client.send(Method::POST, &[], body).await.expect_err(&format!("{alpn} {len}"));
            assert_eq!(error.kind(), &HttpsErrorKind::InvalidRequest, "{alpn} {len} {error:?}");
            assert!(client.is_in_step().await, "{alpn} {len}");
        }
    }
}

/// A body that says that it is this long.
struct Saying {
    len: u64,
    grist: Option<Bytes>,
}

impl Body for Saying {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Poll::Ready(self.grist.take().map(|grist| Ok(Frame::data(grist))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.len)
    }
}

#[tokio::test]
async fn a_proxy_before_nginx_keeps_requests_apart() {
    let nginx = Nginx::start();
    let upstreams = upstreams(HttpsConfig::default());
    let request = |length: Option<&str>| {
        let mut request = Request::get(format!("{}/", nginx.http1()));
        if let Some(length) = length {
            request = request.header(CONTENT_LENGTH, length);
        }
        request.body(RequestBody::empty()).unwrap()
    };
    for _ in 0..3 {
        let response = upstreams.send(request(None)).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        response.into_body().collect().await.unwrap();
        let error = upstreams.send(request(Some("22"))).await.unwrap_err();
        assert_eq!(error.kind(), &HttpsErrorKind::InvalidHead);
    }
    assert_eq!(nginx.accepts(), 1);
}

#[tokio::test]
async fn connect_is_not_sent_over_http1() {
    let nginx = Nginx::start();
    let upstreams = upstreams(HttpsConfig::default());
    let connect = || Request::connect(nginx.http1()).body(RequestBody::empty()).unwrap();
    for _ in 0..2 {
        let mut error =
            timeout(Duration::from_secs(20), upstreams.send(connect())).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), &HttpsErrorKind::InvalidHead, "{error:?}");
        assert!(error.is_unprocessed());
        assert!(error.take_request().is_some());
    }
    assert_eq!(nginx.accepts(), 1);
}
