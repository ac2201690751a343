//! A server of a backend: how it is configured, what is counted of it, and what is reported.

use std::ops::Deref;

use crate::net::Endpoint;
use crate::policy::{Outcome, ServerStanding};
use crate::sync::statistic::{AtomicBool, AtomicUsize, Ordering};
use crate::sync::{Arc, Count};

/// A server of a [`Backend`](super::Backend). Whatever converts into an [`Endpoint`] converts into one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Server {
    /// Where it is.
    pub endpoint: Endpoint,
    /// Its share of the connections beside those of the others: 1 by default, and at least. It does not matter in
    /// [`Balance::InOrder`](super::Balance::InOrder).
    pub weight: u32,
}

impl Server {
    /// A server at this endpoint.
    #[must_use]
    pub fn new(endpoint: impl Into<Endpoint>) -> Self {
        Self { endpoint: endpoint.into(), weight: 1 }
    }

    /// Sets [`weight`](field@Self::weight).
    #[must_use]
    pub fn weight(mut self, weight: u32) -> Self {
        self.weight = weight;
        self
    }
}

impl<E: Into<Endpoint>> From<E> for Server {
    fn from(endpoint: E) -> Self {
        Self::new(endpoint)
    }
}

/// A server of a [`Backend`](super::Backend) at one moment, and what was counted of it. The numbers may be from slightly
/// different moments.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerState {
    /// Where it is.
    pub endpoint: Arc<Endpoint>,
    /// Whether it gets connections.
    pub standing: ServerStanding,
    /// Connections that are open or being made.
    pub connections: usize,
    /// Connects that succeeded.
    pub connected: u64,
    /// Connects that failed, but for those below.
    pub connect_errors: u64,
    /// Connects that took too long.
    pub timeouts: u64,
    /// Connects for which the system had no descriptor, memory or port. The server is not to blame.
    pub out_of_resources: u64,
    /// Connections that it got because no other server was left.
    pub last_resorts: u64,
    /// How often it was ejected.
    pub ejections: u64,
    /// Checks that succeeded.
    pub checks_passed: u64,
    /// Checks that failed.
    pub checks_failed: u64,
}

/// The state of a server. It stays as long as its backend names it, or a connection is open to it.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) endpoint: Arc<Endpoint>,
    /// Connections, those that are being made among them. Ordering: Relaxed, as all numbers here. They guard no memory.
    open: AtomicUsize,
    /// Whether the last connect or check has failed, for the log. Of two that change it at once, one says so.
    is_down: AtomicBool,
    pub(super) counters: Counters,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    connected: Count,
    connect_errors: Count,
    timeouts: Count,
    out_of_resources: Count,
    pub(super) last_resorts: Count,
    pub(super) ejections: Count,
    pub(super) checks_passed: Count,
    pub(super) checks_failed: Count,
}

impl Counters {
    /// The counter of the connects with this outcome.
    pub(super) fn connect(&self, outcome: Outcome) -> &Count {
        match outcome {
            Outcome::Success => &self.connected,
            Outcome::Failure => &self.connect_errors,
            Outcome::Timeout => &self.timeouts,
            Outcome::Cancelled | Outcome::Refused => &self.out_of_resources,
        }
    }
}

impl Member {
    pub(super) fn new(endpoint: Endpoint) -> Self {
        let (open, is_down, counters) = Default::default();
        Self { endpoint: Arc::new(endpoint), open, is_down, counters }
    }

    pub(super) fn connections(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Notes that it is up. Returns whether it was down. Most connects find it up, and write nothing.
    pub(super) fn is_up_again(&self) -> bool {
        self.is_down.load(Ordering::Relaxed) && self.is_down.swap(false, Ordering::Relaxed)
    }

    /// Notes that it is down. Returns whether it was up.
    pub(super) fn is_down_now(&self) -> bool {
        !self.is_down.swap(true, Ordering::Relaxed)
    }

    pub(super) fn state(&self, standing: ServerStanding) -> ServerState {
        let counters = &self.counters;
        ServerState {
            endpoint: Arc::clone(&self.endpoint),
            standing,
            connections: self.connections(),
            connected: counters.connected.get(),
            connect_errors: counters.connect_errors.get(),
            timeouts: counters.timeouts.get(),
            out_of_resources: counters.out_of_resources.get(),
            last_resorts: counters.last_resorts.get(),
            ejections: counters.ejections.get(),
            checks_passed: counters.checks_passed.get(),
            checks_failed: counters.checks_failed.get(),
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
