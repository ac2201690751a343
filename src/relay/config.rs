//! The limits of a relay.

use std::time::Duration;

#[cfg(feature = "tls")]
use super::client_tls::ClientTls;
use crate::net::{AccessList, Keepalive, PeerSet, SourceLimits, setters};

/// The limits of a [`Relay`](super::Relay): all that concerns its clients' side. The [module documentation](super) gives the
/// reason for each default. [`Relay::replace_config`](super::Relay::replace_config) changes them while it serves.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use millpond::relay::RelayConfig;
///
/// let config = RelayConfig::default().max_connections(500).idle_timeout(Some(Duration::from_secs(60)));
/// assert_eq!(config.max_connections, 500);
/// assert_eq!(config.connect_timeout, Duration::from_secs(10));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RelayConfig {
    /// The most connections relayed at once, by all [`serve`](super::Relay::serve)s of a relay together. Further ones wait in
    /// the system's accept queue.
    pub max_connections: usize,
    /// How long a connection may relay no bytes in either direction before it is closed. `None` means no limit. Waiting for
    /// memory of the pool does not count.
    pub idle_timeout: Option<Duration>,
    /// How long a connection of which one direction has ended may relay no bytes in the other before it is closed. `None`
    /// means as long as any: the idle timeout. Waiting for memory of the pool does not count.
    pub half_closed_timeout: Option<Duration>,
    /// How long bytes may wait for a side that takes none before the connection is closed, even if bytes are relayed in the
    /// other direction. `None` means no limit but the idle timeout. Waiting for memory of the pool does not count.
    pub stalled_timeout: Option<Duration>,
    /// How long after its accept a connection is closed, however busy it is. `None` means no limit.
    pub max_lifetime: Option<Duration>,
    /// How long connecting to the upstream may take, over all servers that are tried.
    pub connect_timeout: Duration,
    /// How long a shutdown waits for open connections before it aborts them.
    pub drain_timeout: Duration,
    /// The proxies that name their clients in a [PROXY header](crate::net::ProxyHeader), version 1 or 2. Each of them must send
    /// one. From all others no header is read, so none of them can pretend to be another: its address is its own, and what it
    /// sends goes to the upstream, whatever it looks like.
    pub accept_proxy: PeerSet,
    /// How long a PROXY header may take from the accept until it is complete.
    pub proxy_header_timeout: Duration,
    /// Who may connect: the client, or whom a PROXY header names. Everybody else is reset before anything is read from them or
    /// a server is connected to. A new list concerns new connections only.
    pub access: AccessList,
    /// The most connections of one source, for all listeners of a relay together. Further ones are reset likewise. Connections that were
    /// accepted before there was any limit do not count.
    pub source_limits: SourceLimits,
    /// TCP keepalive of both sides. `None` leaves the system's settings.
    pub keepalive: Option<Keepalive>,
    #[cfg(feature = "tls")]
    pub(super) tls: ClientTls,
}

impl Default for RelayConfig {
    fn default() -> Self {
        Self {
            max_connections: 10_000,
            idle_timeout: Some(Duration::from_secs(300)),
            half_closed_timeout: None,
            stalled_timeout: None,
            max_lifetime: None,
            connect_timeout: Duration::from_secs(10),
            drain_timeout: Duration::from_secs(8),
            accept_proxy: PeerSet::default(),
            proxy_header_timeout: Duration::from_secs(5),
            access: AccessList::default(),
            source_limits: SourceLimits::default(),
            keepalive: Some(
                Keepalive::default()
                    .idle(Duration::from_secs(60))
                    .interval(Duration::from_secs(10))
                    .probes(6),
            ),
            #[cfg(feature = "tls")]
            tls: ClientTls::default(),
        }
    }
}

impl RelayConfig {
    setters! {
        max_connections: usize,
        idle_timeout: Option<Duration>,
        half_closed_timeout: Option<Duration>,
        stalled_timeout: Option<Duration>,
        max_lifetime: Option<Duration>,
        connect_timeout: Duration,
        drain_timeout: Duration,
        accept_proxy: PeerSet,
        proxy_header_timeout: Duration,
        access: AccessList,
        source_limits: SourceLimits,
        keepalive: Option<Keepalive>,
    }
}
