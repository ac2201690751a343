use std::time::Duration;

/// The limits of a [`Relay`](super::Relay); the [module's page](super) says why the defaults are what they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RelayConfig {
    /// Bytes on loan to all connections at once, at most. At least one small loan, 8 KiB, is always granted.
    pub buffer_budget: usize,
    /// Connections relayed at once, at most; the system's accept queue holds the next ones.
    pub max_connections: usize,
    /// A connection without a byte in either direction for so long is closed. `None`: never.
    pub idle_timeout: Option<Duration>,
    /// For the connection to the upstream.
    pub connect_timeout: Duration,
    /// How long a shutdown waits for connections to end before it cuts them.
    pub drain_timeout: Duration,
}

impl Default for RelayConfig {
    fn default() -> Self {
        Self {
            buffer_budget: 64 * 1024 * 1024,
            max_connections: 10_000,
            idle_timeout: Some(Duration::from_secs(300)),
            connect_timeout: Duration::from_secs(10),
            drain_timeout: Duration::from_secs(10),
        }
    }
}

impl RelayConfig {
    /// Sets [`buffer_budget`](Self::buffer_budget).
    #[must_use]
    pub fn buffer_budget(mut self, bytes: usize) -> Self {
        self.buffer_budget = bytes;
        self
    }

    /// Sets [`max_connections`](Self::max_connections).
    #[must_use]
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.max_connections = connections;
        self
    }

    /// Sets [`idle_timeout`](Self::idle_timeout).
    #[must_use]
    pub fn idle_timeout(mut self, after: Option<Duration>) -> Self {
        self.idle_timeout = after;
        self
    }

    /// Sets [`connect_timeout`](Self::connect_timeout).
    #[must_use]
    pub fn connect_timeout(mut self, after: Duration) -> Self {
        self.connect_timeout = after;
        self
    }

    /// Sets [`drain_timeout`](Self::drain_timeout).
    #[must_use]
    pub fn drain_timeout(mut self, after: Duration) -> Self {
        self.drain_timeout = after;
        self
    }
}
