//! The settings of TLS towards servers.

use crate::net::tls::TlsConnector;
use crate::sync::Arc;

/// What is done towards servers.
#[derive(Clone, Debug, Default)]
pub(super) struct ServerTls {
    pub(super) connector: Option<TlsConnector>,
    pub(super) name: Option<Arc<str>>,
}

impl PartialEq for ServerTls {
    fn eq(&self, other: &Self) -> bool {
        let same_connector = match (&self.connector, &other.connector) {
            (Some(one), Some(other)) => one.is_same(other),
            (one, other) => one.is_none() && other.is_none(),
        };
        same_connector && self.name == other.name
    }
}

impl Eq for ServerTls {}
