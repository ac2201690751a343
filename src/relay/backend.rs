//! A group of servers that serve the same, and which of them a connection goes to.

use std::fmt;

use super::server::{Chosen, Member, Server};
use crate::net::{Endpoint, ProxyVersion, setters};
use crate::sync::{Arc, Mutex};

/// A group of servers that serve the same. Cheap to clone: clones share the servers and their state.
///
/// A connection goes to one of them. If that one cannot be reached, the next is tried, and the client notices nothing. Each
/// attempt takes its share of the [connect timeout](field@super::RelayConfig::connect_timeout): the time left, divided by the
/// servers left, and 2 s at least, in which TCP sends a lost SYN again.
///
/// Whatever converts into an [`Endpoint`] converts into a backend with one server.
///
/// # Examples
///
/// ```
/// use millpond::relay::{Backend, BackendConfig};
///
/// let one = Backend::from("unix:///run/app.sock");
/// let several = Backend::new(["10.0.0.1:80", "10.0.0.2:80"], BackendConfig::default());
/// // A reload. Connections stay where they are.
/// several.replace(["10.0.0.2:80", "10.0.0.3:80"], BackendConfig::default());
/// ```
#[derive(Clone)]
pub struct Backend(Arc<Group>);

struct Group {
    list: Mutex<List>,
}

struct List {
    config: Arc<BackendConfig>,
    members: Vec<Arc<Member>>,
}

/// The settings of a [`Backend`]: all that concerns its servers' side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackendConfig {
    /// The version of the [PROXY header](crate::net::ProxyHeader) that tells the servers who the client is, as the first bytes of
    /// each connection. `None` sends none, as by default: a server that expects none would take it for the client's bytes.
    pub send_proxy: Option<ProxyVersion>,
}

impl BackendConfig {
    setters! {
        send_proxy: Option<ProxyVersion>,
    }
}

impl Backend {
    /// A group of these servers.
    #[must_use]
    pub fn new<S: Into<Server>>(servers: impl IntoIterator<Item = S>, config: BackendConfig) -> Self {
        let members = servers.into_iter().map(|server| Arc::new(Member::new(server.into()))).collect();
        Self(Arc::new(Group { list: Mutex::new(List { config: Arc::new(config), members }) }))
    }

    /// Replaces the servers and the settings. New connections see the new ones, and the others stay where they are. A server
    /// with the same endpoint keeps its state and its counters.
    pub fn replace<S: Into<Server>>(&self, servers: impl IntoIterator<Item = S>, config: BackendConfig) {
        let servers: Vec<Server> = servers.into_iter().map(Into::into).collect();
        let mut list = self.0.list.lock();
        let known = |endpoint: &Endpoint| list.members.iter().find(|member| *member.endpoint == *endpoint);
        let member = |server: Server| match known(&server.endpoint) {
            Some(member) => Arc::clone(member),
            None => Arc::new(Member::new(server)),
        };
        list.members = servers.into_iter().map(member).collect();
        list.config = Arc::new(config);
    }

    /// The settings for a new connection.
    pub(super) fn config(&self) -> Arc<BackendConfig> {
        Arc::clone(&self.0.list.lock().config)
    }

    /// The server for a connection that has tried some already. The second number is how many are left, this one included.
    pub(super) fn choose(&self, tried: &[Arc<Member>]) -> Option<(Chosen, usize)> {
        let list = self.0.list.lock();
        let mut left = list.members.iter().filter(|member| !tried.iter().any(|one| Arc::ptr_eq(one, member)));
        let first = left.next()?;
        Some((Chosen::new(Arc::clone(first)), 1 + left.count()))
    }
}

impl<S: Into<Server>> From<S> for Backend {
    fn from(server: S) -> Self {
        Self::new([server], BackendConfig::default())
    }
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = self.0.list.lock();
        f.debug_list().entries(list.members.iter().map(|member| &*member.endpoint)).finish()
    }
}
