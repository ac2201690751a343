//! HTTP/1.1 and HTTP/2 connections to one server, over TLS or plain, for a pool.
//!
//! ```text
//!  HttpsConnectionManager ── connect: look up ─▶ connect ─▶ TLS ─▶ HTTP
//!         │                                                          │
//!       a pool ── get ─▶ guard of an HttpsConnection ◀───────────────┘
//!         ▲                │
//!         │                ▼ send(guard, request)
//!         └── end of the ─ Response<ResponseBody<guard>>
//!             body
//! ```
//!
//! A request takes the pool's guard along, and so does the response's body: the connection is back in the pool when the
//! body has been read to its end, and not before. What happens to it earlier depends on the protocol:
//!
//! | dropped early | HTTP/1.1 | HTTP/2 |
//! |---|---|---|
//! | the future of a request | the connection is closed | the stream is reset, the connection stays |
//! | the body of a response | closed, unless its rest has arrived already | the stream is reset, the connection stays |
//!
//! # Memory
//!
//! HTTP/1.1 is hyper's, HTTP/2 that of the h2 crate. Between two requests an HTTP/1.1 connection holds nothing of it: its
//! buffers and channels are taken apart at the end of a body and made anew for the next request, which costs about 1 µs and
//! saves 19 KiB. There is no task for it either: awaiting the response and reading its body drive the connection. An HTTP/2
//! connection has a task, which answers the server's pings and settings; 10 ms after its last stream, it drops its buffers,
//! too.
//!
//! What 100 idle connections over TLS 1.3 take, each, by the allocator, and by the system 10 s later
//! (`MILLPOND_REST=10 cargo test --release --features https --test https_memory -- --nocapture`):
//!
//! | | allocated | of which | resident | after 1 MiB each |
//! |---|---|---|---|---|
//! | HTTP/1.1 | 7 KiB | rustls 6 to 7 | 9 KiB | 13 KiB |
//! | HTTP/2 | 8 KiB | rustls 7 | 29 KiB | 27 to 33 KiB |
//!
//! While a body over TLS waits to be read, a connection of HTTP/1.1 holds about 64 KiB more, one of HTTP/2 what the
//! [windows](Http2Windows) let the server send.
//!
//! Absent on purpose: a time limit for responses (the caller knows how long they take, and has `tokio::time::timeout`),
//! cookies, redirects, decompression, proxies, protocol upgrades.

// | file | idea |
// |---|---|
// | `manager` | connections are made, checked and given up: what a pool calls |
// | `config` | the settings, and why each default is what it is |
// | `connection_limit` | the most connections to all servers together |
// | `breaker` | a breaker that all requests to a server share |
// | `outcome` | how a request ended, as far as policies care |
// | `server_key` | what tells servers apart |
// | `origin` | scheme, host and port; requests in the form that the protocol wants |
// | `head` | requests whose head contradicts their body are not sent |
// | `connection` | one connection, and what is known of it |
// | `connects` | the outcomes of the connects to a server |
// | `request_errors` | requests that failed, by kind |
// | `requests` | how requests ended, and how long the heads of their responses took |
// | `metrics` | the table of their metrics |
// | `exchange` | one request and its response over HTTP/1.1 |
// | `multiplexed` | HTTP/2 connections: requests on streams, and no state of the protocol at rest |
// | `http2` | `Http2Pool`: many requests on few HTTP/2 connections |
// | `wire` | TCP or TLS, with counted bytes |
// | `request_body`, `response_body` | bodies: what goes out, what comes in and holds the connection |
// | `upstreams` | many servers, each with its pools |
// | `server`, `http1` | one of them: which pool serves a request; it is sent once more where that is safe |
// | `upstream_body` | the body of its response, over either version |
// | `span`, `context` | the spans of requests, and how a server learns of them |
// | `error` | what failed, in which phase, at which address, and whether a request may be sent again |

mod breaker;
mod config;
mod connection;
mod connection_limit;
mod connects;
#[cfg(feature = "otlp")]
mod context;
mod error;
mod exchange;
mod head;
mod http1;
mod http2;
mod manager;
mod metrics;
mod multiplexed;
mod origin;
mod outcome;
mod request_body;
mod request_errors;
mod requests;
mod response_body;
mod server;
mod server_key;
mod span;
mod upstream_body;
mod upstreams;
mod wire;

#[cfg(feature = "resilience")]
pub(crate) use self::breaker::SharedBreaker;
pub use self::config::{HealthCheck, Http2Windows, HttpVersion, HttpsConfig, Ping};
pub use self::connection::{ConnectTimings, ConnectionInfo, HttpsConnection, Protocol};
pub use self::connection_limit::ConnectionLimitState;
pub use self::connects::ConnectStats;
#[cfg(feature = "otlp")]
pub(crate) use self::context::extract;
pub use self::error::{ConnectPhase, HttpsError, HttpsErrorKind};
#[cfg(feature = "websocket")]
pub(super) use self::http2::TunnelPermit;
pub use self::http2::{
    Http2Body, Http2ConnectionState, Http2Pool, Http2PoolConfig, Http2State, Http2Statistics, StalledReader,
    Urgency,
};
pub use self::manager::HttpsConnectionManager;
#[cfg(feature = "resilience")]
pub(crate) use self::outcome::{drop_unsent, expire, outcome_of_drop, outcome_of_status};
pub use self::request_body::RequestBody;
#[cfg(feature = "resilience")]
pub(crate) use self::request_body::{copy, copy_head};
pub use self::request_errors::RequestErrors;
pub use self::requests::RequestStats;
pub use self::response_body::ResponseBody;
#[cfg(feature = "resilience")]
pub(crate) use self::server_key::ServerKey;
#[cfg(feature = "websocket")]
pub(super) use self::span::inject;
#[cfg(feature = "otlp")]
pub(crate) use self::span::method_name;
pub use self::upstream_body::{UpstreamBody, UpstreamResponse};
pub use self::upstreams::{UpstreamServer, Upstreams, UpstreamsConfig, UpstreamsState};
