//! The limits of the admin endpoint.

use std::time::Duration;

use crate::net::setters;

/// The limits of an [`Admin`](super::Admin).
///
/// | setting | default | why |
/// |---|---|---|
/// | [`allow_public`](field@Self::allow_public) | no | it has no password |
/// | [`max_connections`](field@Self::max_connections) | 16 | two collectors, probes and some people; more wait in the accept queue |
/// | [`header_timeout`](field@Self::header_timeout) | 5 s | a client on the same machine sends at once |
/// | [`connection_timeout`](field@Self::connection_timeout) | 60 s | a client that does not read its answer gives its place back |
/// | [`ready_timeout`](field@Self::ready_timeout) | 2 s | collectors and load balancers give up after a few seconds |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AdminConfig {
    /// Whether it may serve on addresses that are not loopback.
    pub allow_public: bool,
    /// The most connections at once.
    pub max_connections: usize,
    /// How long a client may take to send the head of a request, or to begin with one; and at the end of its connection, to
    /// take the rest of an answer.
    pub header_timeout: Duration,
    /// How long a connection may serve requests.
    pub connection_timeout: Duration,
    /// How long the check of `/readyz` may take.
    pub ready_timeout: Duration,
}

impl Default for AdminConfig {
    fn default() -> Self {
        Self {
            allow_public: false,
            max_connections: 16,
            header_timeout: Duration::from_secs(5),
            connection_timeout: Duration::from_secs(60),
            ready_timeout: Duration::from_secs(2),
        }
    }
}

impl AdminConfig {
    setters! {
        allow_public: bool,
        max_connections: usize,
        header_timeout: Duration,
        connection_timeout: Duration,
        ready_timeout: Duration,
    }
}
