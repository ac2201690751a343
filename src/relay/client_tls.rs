//! The settings of TLS towards clients.

use super::backend::Backend;
use crate::net::tls::{ServerNames, TlsAcceptor};
use crate::sync::Arc;

/// Which backend serves which server name. Where TLS does not end in the relay, the name is read from the client's first message,
/// and nothing is decrypted.
///
/// Clients of other names, those that say no name, and those that do not speak TLS go to the backend of
/// [`Relay::serve`](super::Relay::serve), or are refused: with the alert `unrecognized_name` where they speak TLS. A client that
/// says nothing within 10 s is refused in any case, so protocols in which the server speaks first do not pass.
///
/// With Encrypted Client Hello the outer name counts, since the other one cannot be seen.
///
/// # Examples
///
/// ```
/// use millpond::net::tls::ServerNames;
/// use millpond::relay::{Backend, NameRoutes, RelayConfig};
///
/// let mut names = ServerNames::new();
/// names.insert("pond.example", Backend::from("10.0.0.1:443"))?;
/// names.insert("*.pond.example", Backend::from("10.0.0.2:443"))?;
/// let config = RelayConfig::default().name_routes(NameRoutes::new(names).refuse_others(true));
/// # Ok::<(), millpond::net::tls::InvalidServerName>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct NameRoutes {
    pub(super) names: ServerNames<Backend>,
    pub(super) refuse_others: bool,
}

impl NameRoutes {
    /// Routes by these names. All other clients go to the backend of [`Relay::serve`](super::Relay::serve).
    pub fn new(names: ServerNames<Backend>) -> Self {
        Self { names, refuse_others: false }
    }

    /// Whether all other clients are refused.
    pub fn refuse_others(mut self, refuse: bool) -> Self {
        self.refuse_others = refuse;
        self
    }
}

/// What is done with TLS of clients.
#[derive(Clone, Debug, Default)]
pub(super) struct ClientTls {
    pub(super) acceptor: Option<TlsAcceptor>,
    pub(super) routes: Option<Arc<NameRoutes>>,
}

impl PartialEq for ClientTls {
    fn eq(&self, other: &Self) -> bool {
        let same_routes = match (&self.routes, &other.routes) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (one, other) => one.is_none() && other.is_none(),
        };
        same_routes && self.acceptor == other.acceptor
    }
}

impl Eq for ClientTls {}
