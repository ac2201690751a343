//! The settings of a backend.

use std::time::Duration;

#[cfg(feature = "tls")]
use super::server_tls::ServerTls;
use crate::net::{ProxyVersion, setters};
use crate::policy::ServerPolicy;

/// The settings of a [`Backend`](super::Backend): all that concerns its servers' side.
///
/// | setting | default | why |
/// |---|---|---|
/// | `policy` | [`ServerPolicy`]'s | |
/// | `check_every` | no checks | a failed connect costs a client little, since the next server is tried; checks are for servers that get few connections, and servers log them |
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use millpond::relay::{Balance, BackendConfig, ServerPolicy};
///
/// let config = BackendConfig::default()
///     .policy(ServerPolicy::default().balance(Balance::InOrder))
///     .check_every(Some(Duration::from_secs(2)));
/// assert_eq!(config.policy.eject_after, 3);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackendConfig {
    /// How a server is chosen, and when one is ejected.
    ///
    /// An ejection is what a breaker is for requests: `eject_after` failures open it, it is open for a time that doubles, then it
    /// is on trial, since one failure ejects it again, and the slow return limits what a trial may cost. So a server has no
    /// [`Breaker`](crate::policy::Breaker) beside it. If all are ejected, one of them is tried all the same.
    pub policy: ServerPolicy,
    /// How often each server is checked by a connect of its own, which takes 2 s or this interval at most. The connects are
    /// spread over the interval, with a jitter, and make no traces. `None`: never.
    ///
    /// They are made by a task on the runtime where the backend is created, replaced or first used. It ends with the last
    /// handle.
    pub check_every: Option<Duration>,
    /// The version of the [PROXY header](crate::net::ProxyHeader) that tells the servers who the client is, as the first bytes of
    /// each connection. `None` sends none, as by default: a server that expects none would take it for the client's bytes.
    /// Where TLS of the client ends in the relay, version 2 also says which server name the client asked for. Checks send a header
    /// that names no client.
    pub send_proxy: Option<ProxyVersion>,
    #[cfg(feature = "tls")]
    pub(super) tls: ServerTls,
}

impl BackendConfig {
    setters! {
        policy: ServerPolicy,
        check_every: Option<Duration>,
        send_proxy: Option<ProxyVersion>,
    }
}
