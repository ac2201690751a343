//! A group of servers that serve the same.

use std::fmt;
use std::time::Duration;

use tokio::task::JoinSet;

use super::Transferred;
use super::backend_config::BackendConfig;
use super::checks;
use super::error::{Cause, RelayError};
use super::group::Group;
use super::server::{Chosen, Member, Server, ServerState};
use crate::net::{self, Peer};
use crate::sync::Arc;

/// A group of servers that serve the same. Cheap to clone: clones share the servers and their state.
///
/// A connection goes to one of them, by the [policy](field@BackendConfig::policy). If that one cannot be reached, the next is
/// tried, and the client notices nothing. Each attempt takes its share of the
/// [connect timeout](field@super::RelayConfig::connect_timeout): the time left, divided by the servers left, and 2 s at least,
/// in which TCP sends a lost SYN again.
///
/// A server that fails is ejected for a while, and then gets its share back slowly. If all are ejected, they are tried in turn
/// all the same.
///
/// The source of a connection is its address, whatever the port. Of a Unix client it is the process, where the system tells.
///
/// Whatever converts into an [`Endpoint`](crate::net::Endpoint) converts into a backend with one server.
///
/// # Examples
///
/// ```
/// use millpond::relay::{Backend, BackendConfig, Server};
///
/// let one = Backend::from("unix:///run/app.sock");
/// let several = Backend::new(["10.0.0.1:80", "10.0.0.2:80"], BackendConfig::default());
/// // A reload. Connections stay where they are.
/// let servers = [Server::new("10.0.0.2:80"), Server::new("10.0.0.3:80").weight(2)];
/// several.replace(servers, BackendConfig::default());
/// assert_eq!(several.servers().len(), 2);
/// ```
#[derive(Clone)]
pub struct Backend {
    pub(super) group: Arc<Group>,
}

impl Backend {
    /// A group of these servers, in the order in which [`Balance::InOrder`](super::Balance::InOrder) prefers them.
    #[must_use]
    pub fn new<S: Into<Server>>(servers: impl IntoIterator<Item = S>, config: BackendConfig) -> Self {
        let group = Arc::new(Group::new(servers.into_iter().map(Into::into).collect(), config));
        checks::start(&group);
        Self { group }
    }

    /// Replaces the servers and the settings. New connections see the new ones, and the others stay where they are. A server
    /// with the same endpoint keeps its state and its counters.
    pub fn replace<S: Into<Server>>(&self, servers: impl IntoIterator<Item = S>, config: BackendConfig) {
        self.group.replace(servers.into_iter().map(Into::into).collect(), config);
        checks::start(&self.group);
    }

    /// The settings for new connections.
    #[must_use]
    pub fn config(&self) -> Arc<BackendConfig> {
        self.group.config()
    }

    /// The servers, and what was counted of each.
    #[must_use]
    pub fn servers(&self) -> Vec<ServerState> {
        self.group.states()
    }

    /// Waits until one of the servers accepts a connection, which is closed at once. For checks of readiness: it counts
    /// nowhere, and makes no traces.
    ///
    /// # Errors
    ///
    /// The error of the server that failed last, or that there is no server.
    ///
    /// # Cancel safety
    ///
    /// Cancelled, it closes what it opened.
    pub async fn reach(&self, limit: Duration) -> Result<(), RelayError> {
        let send_proxy = self.config().send_proxy;
        let connect = |member: Arc<Member>| async move { checks::connect(&member, limit, send_proxy).await };
        let mut connects: JoinSet<_> = self.group.members().into_iter().map(connect).collect();
        let tried = connects.len();
        let mut cause = Cause::NoServer;
        while let Some(connected) = connects.join_next().await {
            match connected {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => cause = Cause::Connect { error, tried },
                // It does not panic, and nobody aborts it.
                Err(_) => {}
            }
        }
        Err(RelayError::new(cause, Transferred::default()))
    }

    /// The server for a connection that has tried some already. The second number is how many are left, this one included.
    pub(super) fn choose(&self, client: &Peer, tried: &[Arc<Member>]) -> Option<(Chosen, usize)> {
        self.group.choose(client, tried)
    }

    /// Takes the outcome of a connect.
    pub(super) fn connected<T>(&self, server: &Chosen, took: Duration, connected: &Result<T, net::Error>) {
        self.group.connected(server.member(), took, connected);
    }

    /// Starts the checks, if there was no runtime before.
    pub(super) fn start_checks(&self) {
        checks::start(&self.group);
    }
}

impl<S: Into<Server>> From<S> for Backend {
    fn from(server: S) -> Self {
        Self::new([server], BackendConfig::default())
    }
}

impl From<&Self> for Backend {
    fn from(backend: &Self) -> Self {
        backend.clone()
    }
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.group.members().iter().map(|member| &*member.endpoint)).finish()
    }
}
