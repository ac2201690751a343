//! From a request to its response.

use std::convert::Infallible;
use std::net::IpAddr;

use bytes::Bytes;
use http::header::{
    ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderName, HeaderValue,
    X_CONTENT_TYPE_OPTIONS,
};
use http::uri::Authority;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use tokio::time::timeout;

use super::Admin;
use super::events::Events;
use super::rows::Question;
use crate::metric::Report;
use crate::observe::format::Format;
use crate::sync::Arc;

/// The most bytes of a request's head, and hyper's least.
pub(super) const MAX_HEAD: usize = 8192;

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream";

const PAGE: &str = include_str!("../page.html");

/// The page runs its own script and style, known by their hashes, and asks nobody but this endpoint. `tests/admin_page.rs`
/// says what they are after a change.
const PAGE_POLICY: &str = "default-src 'none'; connect-src 'self'; img-src data:; \
    script-src 'sha256-O4qa/X3ZQYPdn7PzymTkYHZ5xhSaQ8pQt2VhouLxXDU='; style-src 'sha256-eycz3dVuFGE6Bzf87+tbJopLIiMQifyQRvbA3q5DZzg='; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const PATHS: [&str; 8] =
    ["/", "/connections", "/events", "/healthz", "/holders", "/metrics", "/readyz", "/stats"];

type Answer = Response<Either<Full<Bytes>, Events>>;

impl Admin {
    pub(super) async fn respond(&self, request: Request<Incoming>) -> Result<Answer, Infallible> {
        if self.is_loopback && !names_loopback(&request) {
            let why = "on a loopback address, requests name localhost or a loopback address as their host\n";
            return Ok(text(StatusCode::MISDIRECTED_REQUEST, why));
        }
        if is_of_another_site(&request) {
            return Ok(text(StatusCode::FORBIDDEN, "another site asks\n"));
        }
        let path = request.uri().path();
        let is_known = PATHS.contains(&path);
        if is_known && ![Method::GET, Method::HEAD].contains(request.method()) {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return Ok(response);
        }
        Ok(match path {
            "/" => {
                let mut page = response(StatusCode::OK, "text/html; charset=utf-8", PAGE);
                page.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(PAGE_POLICY));
                page
            }
            "/events" => self.events(&request),
            "/connections" => self.rows(Report::Connections, &request),
            "/holders" => self.rows(Report::Holders, &request),
            "/metrics" => self.samples(Format::accepted(&accept(&request))),
            "/stats" => self.samples(Format::Json),
            "/healthz" => text(StatusCode::OK, "ok\n"),
            "/readyz" => match timeout(self.config.ready_timeout, (self.ready)()).await {
                Ok(Ok(())) => text(StatusCode::OK, "ready\n"),
                Ok(Err(reason)) => text(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n")),
                Err(_) => text(StatusCode::SERVICE_UNAVAILABLE, "not ready: the check takes too long\n"),
            },
            _ => text(StatusCode::NOT_FOUND, format!("there are {}\n", PATHS.join(", "))),
        })
    }

    fn events(&self, request: &Request<Incoming>) -> Answer {
        let connections = match Question::new(Report::Connections).read(request.uri().query()) {
            Ok(question) => question,
            Err(reason) => return text(StatusCode::BAD_REQUEST, reason),
        };
        match Arc::clone(&self.viewers).try_acquire_owned() {
            Ok(place) => {
                let events =
                    Events::new(self.registry.clone(), connections, self.config.connection_timeout, place);
                with_headers(StatusCode::OK, EVENTS, Either::Right(events))
            }
            Err(_) => text(StatusCode::SERVICE_UNAVAILABLE, "too many look at the page\n"),
        }
    }

    fn rows(&self, report: Report, request: &Request<Incoming>) -> Answer {
        match Question::new(report).read(request.uri().query()) {
            Ok(question) => response(StatusCode::OK, JSON, question.answer(&self.registry)),
            Err(reason) => text(StatusCode::BAD_REQUEST, reason),
        }
    }

    fn samples(&self, format: Format) -> Answer {
        response(StatusCode::OK, format.content_type(), format.encode(&self.registry))
    }
}

/// Whether all hosts that a request names are this machine, or it names none. A site whose name has got a loopback address
/// (DNS rebinding) has its requests sent here, with its name.
fn names_loopback(request: &Request<Incoming>) -> bool {
    let is_loopback = |authority: &Authority| {
        let host = authority.host();
        let address = host.trim_start_matches('[').trim_end_matches(']');
        host.eq_ignore_ascii_case("localhost")
            || address.parse().is_ok_and(|address: IpAddr| address.is_loopback())
    };
    let mut hosts = request.headers().get_all(HOST).iter();
    hosts.all(|host| Authority::try_from(host.as_bytes()).is_ok_and(|host| is_loopback(&host)))
        && request.uri().authority().is_none_or(is_loopback)
}

/// Whether a browser says that a page of another site asks. A link that somebody follows shows this one's answer to nobody else.
fn is_of_another_site(request: &Request<Incoming>) -> bool {
    let says = |name, value: &str| request.headers().get(name).is_some_and(|said| said == value);
    says("sec-fetch-site", "cross-site") && !says("sec-fetch-dest", "document")
}

/// All `Accept` headers as one.
fn accept(request: &Request<Incoming>) -> String {
    let values = request.headers().get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    values.collect::<Vec<_>>().join(",")
}

fn text(status: StatusCode, text: impl Into<Bytes>) -> Answer {
    response(status, TEXT, text)
}

fn response(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    with_headers(status, content_type, Either::Left(Full::new(body.into())))
}

fn with_headers(status: StatusCode, content_type: &'static str, body: Either<Full<Bytes>, Events>) -> Answer {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers: [(HeaderName, &'static str); 3] =
        [(CONTENT_TYPE, content_type), (CACHE_CONTROL, "no-store"), (X_CONTENT_TYPE_OPTIONS, "nosniff")];
    for (name, value) in headers {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
