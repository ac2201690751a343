//! The collector: one connection, and requests by gRPC or HTTP.
//!
//! A gRPC call with one message each way is an HTTP/2 request: a prefix of five bytes before each message, and the status in
//! the trailers.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CONTENT_TYPE, RETRY_AFTER, TE};
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Limited};
use prost::Message;
use tokio::time::timeout;
use tracing::Dispatch;
use tracing::instrument::WithSubscriber;

use super::config::{OtlpConfig, OtlpError, OtlpProtocol, place};
use super::queue::cut;
use crate::connection::ManageConnection;
use crate::connection::https::{
    HttpVersion, HttpsConfig, HttpsConnection, HttpsConnectionManager, HttpsError, RequestBody,
};

/// An answer has a few bytes, or the text of an error.
const MAX_ANSWER: usize = 64 << 10;

/// The most of what `Retry-After` may say.
const MAX_PAUSE: Duration = Duration::from_secs(3600);

/// gRPC's prefix of a message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// What is exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    Traces,
    Metrics,
}

impl Signal {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Traces => "traces",
            Self::Metrics => "metrics",
        }
    }

    fn path(self, protocol: OtlpProtocol) -> &'static str {
        match (protocol, self) {
            (OtlpProtocol::Grpc, Self::Traces) => {
                "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
            }
            (OtlpProtocol::Grpc, Self::Metrics) => {
                "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
            }
            (OtlpProtocol::HttpProtobuf, Self::Traces) => "/v1/traces",
            (OtlpProtocol::HttpProtobuf, Self::Metrics) => "/v1/metrics",
        }
    }
}

/// Why an export failed.
#[derive(Debug)]
pub(super) struct ExportError {
    text: String,
    /// Whether the same message may succeed later.
    pub(super) may_retry: bool,
    /// How long the collector wants to be left alone.
    pub(super) pause: Duration,
}

pub(super) struct Collector {
    manager: HttpsConnectionManager,
    connection: Option<HttpsConnection>,
    protocol: OtlpProtocol,
    /// The part of the path before that of a signal.
    base: String,
    headers: HeaderMap,
    timeout: Duration,
}

impl Collector {
    pub(super) fn new(config: &OtlpConfig) -> Result<Self, OtlpError> {
        let endpoint = config.endpoint_or_default();
        // What does not parse is not shown: nobody knows where a secret ends in it.
        let no_url = |error| OtlpError::new(format!("the endpoint is no URL: {error}"));
        let uri = endpoint.parse::<Uri>().map_err(no_url)?;
        let version = match config.protocol {
            OtlpProtocol::Grpc => HttpVersion::Http2,
            OtlpProtocol::HttpProtobuf => HttpVersion::Negotiated,
        };
        let https = HttpsConfig::default().version(version).tls(config.tls.clone());
        let manager = HttpsConnectionManager::with_config(endpoint, https)
            .map_err(|error| OtlpError::of_endpoint(endpoint, error))?;
        if uri.query().is_some() {
            return Err(OtlpError::new(format!(
                "the endpoint {} has a query: put a token in a header",
                place(endpoint)
            )));
        }
        let base = match config.protocol {
            OtlpProtocol::Grpc => String::new(),
            OtlpProtocol::HttpProtobuf => uri.path().trim_end_matches('/').to_owned(),
        };
        let mut headers = config.headers.clone();
        headers.values_mut().for_each(|value| value.set_sensitive(true));
        let kind = match config.protocol {
            OtlpProtocol::Grpc => "application/grpc",
            OtlpProtocol::HttpProtobuf => "application/x-protobuf",
        };
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        if config.protocol == OtlpProtocol::Grpc {
            headers.insert(TE, HeaderValue::from_static("trailers"));
        }
        let (protocol, timeout) = (config.protocol, config.timeout);
        Ok(Self { manager, connection: None, protocol, base, headers, timeout })
    }

    /// The body of a request with this message.
    pub(super) fn encode(&self, message: &impl Message) -> Bytes {
        let length = message.encoded_len();
        let mut body = BytesMut::with_capacity(PREFIX + length);
        if self.protocol == OtlpProtocol::Grpc {
            body.put_u8(0);
            // No batch is near 4 GiB.
            body.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
        }
        // It fails only without room, and `BytesMut` grows.
        let _ = message.encode(&mut body);
        body.freeze()
    }

    /// Sends a body, and returns the message of the answer. It makes no spans: they would be exported, and cause the next.
    pub(super) async fn export(&mut self, signal: Signal, body: Bytes) -> Result<Bytes, ExportError> {
        let after = self.timeout;
        let post = timeout(after, self.post(signal, body)).with_subscriber(Dispatch::none());
        post.await.unwrap_or_else(|_| Err(ExportError::later(format!("no answer within {after:?}"))))
    }

    async fn post(&mut self, signal: Signal, body: Bytes) -> Result<Bytes, ExportError> {
        let path = format!("{}{}", self.base, signal.path(self.protocol));
        let mut request = Request::new(RequestBody::from(body));
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = path.parse().map_err(|error| ExportError::never(format!("{path}: {error}")))?;
        *request.headers_mut() = self.headers.clone();

        // Taken, so that one whose answer has not come to its end is not used again.
        let mut kept = self.connection.take();
        let is_usable = kept.as_mut().is_some_and(|kept| !self.manager.has_broken(kept));
        let mut connection = match kept.filter(|_| is_usable) {
            Some(connection) => connection,
            None => self.manager.connect().await?,
        };
        let response = HttpsConnection::send(&mut connection, request).await?;
        let (head, body) = response.into_parts();
        let collected = Limited::new(body, MAX_ANSWER).collect().await;
        let answer = collected.map_err(|error| ExportError::later(error.to_string()))?;
        let trailers = answer.trailers().cloned();
        let answer = answer.to_bytes();
        self.connection = Some(connection);

        match self.protocol {
            OtlpProtocol::HttpProtobuf if head.status.is_success() => Ok(answer),
            OtlpProtocol::Grpc if head.status == StatusCode::OK => {
                // An answer without a message has the status in its head.
                grpc_status(trailers.as_ref().unwrap_or(&head.headers))?;
                Ok(answer.get(PREFIX..).map(|message| answer.slice_ref(message)).unwrap_or_default())
            }
            _ => Err(ExportError {
                text: format!("status {}", head.status),
                may_retry: [429, 502, 503, 504].contains(&head.status.as_u16()),
                pause: pause(&head.headers),
            }),
        }
    }
}

/// What `Retry-After` says, if that is seconds.
fn pause(headers: &HeaderMap) -> Duration {
    let seconds = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    Duration::from_secs(seconds.unwrap_or_default()).min(MAX_PAUSE)
}

fn grpc_status(headers: &HeaderMap) -> Result<(), ExportError> {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    match text("grpc-status").and_then(|code| code.parse().ok()) {
        Some(0_u16) => Ok(()),
        Some(code) => Err(ExportError {
            text: format!("gRPC status {code}: {}", cut(text("grpc-message").unwrap_or_default())),
            may_retry: match code {
                // Cancelled, deadline, aborted, unavailable, data loss: as OTLP says.
                1 | 4 | 10 | 14 | 15 => true,
                // Exhausted. With details it is the collector, and without them the message is too large.
                8 => headers.contains_key("grpc-status-details-bin"),
                // OTLP has out of range, 11, too, but that is what tonic says of a message that is too large.
                _ => false,
            },
            pause: Duration::ZERO,
        }),
        None => Err(ExportError::never("the answer is not gRPC".to_owned())),
    }
}

impl ExportError {
    fn later(text: String) -> Self {
        Self { text, may_retry: true, pause: Duration::ZERO }
    }

    fn never(text: String) -> Self {
        Self { text, may_retry: false, pause: Duration::ZERO }
    }
}

impl From<HttpsError> for ExportError {
    fn from(error: HttpsError) -> Self {
        Self::later(format!("{error:?}"))
    }
}

impl fmt::Display for ExportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for ExportError {}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    /// Whether a message may succeed after an answer with these headers.
    fn may_retry(headers: &[(&'static str, &'static str)]) -> bool {
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        grpc_status(&headers.collect()).unwrap_err().may_retry
    }

    #[test]
    fn a_message_that_is_too_large_stays_so() {
        assert!(!may_retry(&[("grpc-status", "8")]));
        assert!(!may_retry(&[("grpc-status", "11")]));
    }

    #[test]
    fn an_exhausted_collector_may_recover() {
        assert!(may_retry(&[("grpc-status", "8"), ("grpc-status-details-bin", "CAgSAA")]));
        assert!(may_retry(&[("grpc-status", "14")]));
    }
}
