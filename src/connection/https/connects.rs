//! The outcomes of the connects to a server.

use std::fmt;

use super::connection::{ConnectionInfo, Protocol};
use super::error::{ConnectPhase, HttpsError};
use crate::sync::statistic::{AtomicBool, AtomicUsize, Ordering};

/// The outcomes of the connects of a manager and of its clones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectStats {
    /// The version of HTTP that the last connection speaks.
    pub protocol: Option<Protocol>,
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

impl fmt::Display for ConnectStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "connected={} full_handshakes={} resumed_handshakes={} lookup_errors={} connect_errors={} tls_errors={} \
             http_errors={}",
            self.connected,
            self.full_handshakes,
            self.resumed_handshakes,
            self.lookup_errors,
            self.connect_errors,
            self.tls_errors,
            self.http_errors,
        )
    }
}

#[derive(Default)]
pub(super) struct Connects {
    last_speaks_http1: AtomicBool,
    connected: AtomicUsize,
    full: AtomicUsize,
    resumed: AtomicUsize,
    lookup: AtomicUsize,
    connect: AtomicUsize,
    tls: AtomicUsize,
    http: AtomicUsize,
}

impl Connects {
    pub(super) fn on_connected(&self, connection: ConnectionInfo) {
        // Ordering: Relaxed, a hint: a server may speak another version on its next connection anyway.
        self.last_speaks_http1.store(connection.protocol == Protocol::Http1, Ordering::Relaxed);
        add(&self.connected);
        if connection.timings.tls.is_some() {
            add(if connection.is_resumed { &self.resumed } else { &self.full });
        }
    }

    /// Whether the last connection speaks HTTP/1.1. Not as long as there was none.
    pub(super) fn last_speaks_http1(&self) -> bool {
        // Ordering: Relaxed, as above.
        self.last_speaks_http1.load(Ordering::Relaxed)
    }

    /// Whether any connection was made.
    pub(super) fn has_connected(&self) -> bool {
        // Ordering: Relaxed, a hint, as above.
        self.connected.load(Ordering::Relaxed) > 0
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
        let protocol = if self.last_speaks_http1() { Protocol::Http1 } else { Protocol::Http2 };
        ConnectStats {
            protocol: (get(&self.connected) > 0).then_some(protocol),
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
