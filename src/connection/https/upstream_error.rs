//! Why an upstream server gave no response.

use std::error::Error;
use std::fmt;

use super::error::HttpsError;
use crate::connection::RunError;

/// Why an upstream server gave no response.
#[derive(Debug)]
#[non_exhaustive]
pub enum UpstreamError {
    /// There was no connection in time, or too many wait for one.
    NoConnection(RunError<HttpsError>),
    /// The request failed, or its URI names no server.
    Request(HttpsError),
    /// As many servers as [`max_servers`](field@super::UpstreamsConfig::max_servers) are in use.
    TooManyServers,
}

impl From<RunError<HttpsError>> for UpstreamError {
    fn from(error: RunError<HttpsError>) -> Self {
        Self::NoConnection(error)
    }
}

impl From<HttpsError> for UpstreamError {
    fn from(error: HttpsError) -> Self {
        Self::Request(error)
    }
}

impl fmt::Display for UpstreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoConnection(error) => error.fmt(f),
            Self::Request(error) => error.fmt(f),
            Self::TooManyServers => f.write_str("too many servers are in use already; raise max_servers"),
        }
    }
}

impl Error for UpstreamError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::NoConnection(error) => error.source(),
            Self::Request(error) => error.source(),
            Self::TooManyServers => None,
        }
    }
}
