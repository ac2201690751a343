//! From a request to its response.

use std::convert::Infallible;

use bytes::Bytes;
use http::header::{
    ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS,
};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::time::timeout;

use super::Admin;
use crate::observe::format::Format;

/// The most bytes of a request's head, and hyper's least.
pub(super) const MAX_HEAD: usize = 8192;

const TEXT: &str = "text/plain; charset=utf-8";

impl Admin {
    pub(super) async fn respond(
        &self,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let path = request.uri().path();
        let is_known = ["/metrics", "/stats", "/healthz", "/readyz"].contains(&path);
        if is_known && ![Method::GET, Method::HEAD].contains(request.method()) {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return Ok(response);
        }
        Ok(match path {
            "/metrics" => self.samples(Format::accepted(&accept(&request))),
            "/stats" => self.samples(Format::Json),
            "/healthz" => text(StatusCode::OK, "ok\n"),
            "/readyz" => match timeout(self.config.ready_timeout, (self.ready)()).await {
                Ok(Ok(())) => text(StatusCode::OK, "ready\n"),
                Ok(Err(reason)) => text(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n")),
                Err(_) => text(StatusCode::SERVICE_UNAVAILABLE, "not ready: the check takes too long\n"),
            },
            _ => text(StatusCode::NOT_FOUND, "there are /metrics, /stats, /healthz and /readyz\n"),
        })
    }

    fn samples(&self, format: Format) -> Response<Full<Bytes>> {
        response(StatusCode::OK, format.content_type(), format.encode(&self.registry))
    }
}

/// All `Accept` headers as one.
fn accept(request: &Request<Incoming>) -> String {
    let values = request.headers().get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    values.collect::<Vec<_>>().join(",")
}

fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    response(status, TEXT, text)
}

fn response(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers: [(HeaderName, &'static str); 3] =
        [(CONTENT_TYPE, content_type), (CACHE_CONTROL, "no-store"), (X_CONTENT_TYPE_OPTIONS, "nosniff")];
    for (name, value) in headers {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
