//! The limits of a relay.

use std::time::Duration;

use crate::net::setters;

/// The limits of a [`Relay`](super::Relay); the [module's page](super) says why the defaults are what they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RelayConfig {
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
            max_connections: 10_000,
            idle_timeout: Some(Duration::from_secs(300)),
            connect_timeout: Duration::from_secs(10),
            drain_timeout: Duration::from_secs(10),
        }
    }
}

impl RelayConfig {
    setters! {
        max_connections: usize,
        idle_timeout: Option<Duration>,
        connect_timeout: Duration,
        drain_timeout: Duration,
    }
}
