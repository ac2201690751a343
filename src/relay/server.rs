//! A server of a backend: how it is configured, and its state.

use std::error::Error;
use std::ops::Deref;

use tracing::{info, warn};

use crate::net::{self, Endpoint};
use crate::sync::Arc;
use crate::sync::statistic::{AtomicBool, AtomicUsize, Ordering};

/// The target of both events.
const TARGET: &str = "millpond::relay";

/// A server of a [`Backend`](super::Backend). Whatever converts into an [`Endpoint`] converts into one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Server {
    /// Where it is.
    pub endpoint: Endpoint,
}

impl Server {
    /// A server at this endpoint.
    #[must_use]
    pub fn new(endpoint: impl Into<Endpoint>) -> Self {
        Self { endpoint: endpoint.into() }
    }
}

impl<E: Into<Endpoint>> From<E> for Server {
    fn from(endpoint: E) -> Self {
        Self::new(endpoint)
    }
}

/// The state of a server. It stays as long as its backend names it, or a connection is open to it.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) endpoint: Arc<Endpoint>,
    /// Connections, those that are being made among them. Ordering: Relaxed, a number to compare. It guards no memory.
    open: AtomicUsize,
    /// Whether the last connect has failed, for the log. Ordering: Relaxed, of two that change it at once one says it.
    is_down: AtomicBool,
}

impl Member {
    pub(super) fn new(server: Server) -> Self {
        let (open, is_down) = Default::default();
        Self { endpoint: Arc::new(server.endpoint), open, is_down }
    }

    /// Takes the outcome of a connect. The log says that the server is down, once, and that it is up again.
    pub(super) fn note_connect<T>(&self, connected: &Result<T, net::Error>) {
        let upstream = &*self.endpoint;
        match connected {
            // Most connects find it up, and write nothing.
            Ok(_) if !self.is_down.load(Ordering::Relaxed) => {}
            Ok(_) => {
                if self.is_down.swap(false, Ordering::Relaxed) {
                    info!(target: TARGET, %upstream, "the upstream is up again");
                }
            }
            // The server is not to blame.
            Err(error) if error.kind() == net::ErrorKind::OutOfResources => {}
            Err(error) => {
                if !self.is_down.swap(true, Ordering::Relaxed) {
                    warn!(target: TARGET, %upstream, error = error as &dyn Error, "the upstream is down");
                }
            }
        }
    }
}

/// A server that a connection counts at, until this is dropped.
#[derive(Debug)]
pub(super) struct Chosen(Arc<Member>);

impl Chosen {
    pub(super) fn new(member: Arc<Member>) -> Self {
        member.open.fetch_add(1, Ordering::Relaxed);
        Self(member)
    }

    pub(super) fn member(&self) -> &Arc<Member> {
        &self.0
    }
}

impl Deref for Chosen {
    type Target = Member;

    fn deref(&self) -> &Member {
        &self.0
    }
}

impl Drop for Chosen {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}
