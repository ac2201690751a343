//! What the connects to a server came to.

use super::connection::ConnectTimings;
use super::error::{ConnectPhase, HttpsError};
use crate::sync::statistic::{AtomicUsize, Ordering};

/// What the connects of a manager and of its clones came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectStats {
    /// Connections that were made.
    pub connected: u64,
    /// TLS handshakes that began a session.
    pub full_handshakes: u64,
    /// TLS handshakes that resumed one.
    pub resumed_handshakes: u64,
    /// Connects that failed in the lookup of the name.
    pub lookup_errors: u64,
    /// Connects that no address answered.
    pub connect_errors: u64,
    /// Connects whose TLS handshake failed.
    pub tls_errors: u64,
    /// Connects that failed when HTTP began, or in another way.
    pub http_errors: u64,
}

impl ConnectStats {
    /// The share of TLS handshakes that resumed a session, from 0 to 1.
    #[must_use]
    pub fn resumption_rate(&self) -> f64 {
        let handshakes = self.full_handshakes + self.resumed_handshakes;
        if handshakes == 0 { 0.0 } else { self.resumed_handshakes as f64 / handshakes as f64 }
    }
}

#[derive(Default)]
pub(super) struct Connects {
    connected: AtomicUsize,
    full: AtomicUsize,
    resumed: AtomicUsize,
    lookup: AtomicUsize,
    connect: AtomicUsize,
    tls: AtomicUsize,
    http: AtomicUsize,
}

impl Connects {
    pub(super) fn on_connected(&self, timings: &ConnectTimings, is_resumed: bool) {
        add(&self.connected);
        if timings.tls.is_some() {
            add(if is_resumed { &self.resumed } else { &self.full });
        }
    }

    pub(super) fn on_failed(&self, error: &HttpsError) {
        add(match error.phase() {
            Some(ConnectPhase::Lookup) => &self.lookup,
            Some(ConnectPhase::Connect) => &self.connect,
            Some(ConnectPhase::Tls) => &self.tls,
            _ => &self.http,
        });
    }

    pub(super) fn snapshot(&self) -> ConnectStats {
        // Ordering: Relaxed, counts.
        let get = |count: &AtomicUsize| count.load(Ordering::Relaxed) as u64;
        ConnectStats {
            connected: get(&self.connected),
            full_handshakes: get(&self.full),
            resumed_handshakes: get(&self.resumed),
            lookup_errors: get(&self.lookup),
            connect_errors: get(&self.connect),
            tls_errors: get(&self.tls),
            http_errors: get(&self.http),
        }
    }
}

fn add(count: &AtomicUsize) {
    // Ordering: Relaxed, a count.
    count.fetch_add(1, Ordering::Relaxed);
}
