//! How a listener listens: its accept queue, sharing of its port, and who may use its socket file.

use crate::policy::setters;

pub(super) const DEFAULT_BACKLOG: u32 = 4096;

/// How [`Listener::bind_with`] listens.
///
/// | default | | why |
/// |---|---|---|
/// | backlog | 4096 | see [`Listener::DEFAULT_BACKLOG`] |
/// | reuse port | off | a second program at one port is a mistake, unless it is meant |
/// | IPv6 only | the system's | on Linux `tcp://[::]:80` takes IPv4 clients, too, unless `sysctl net.ipv6.bindv6only` says otherwise |
/// | mode and owner of a socket file | the system's | the umask and the user of this process |
///
/// [`Listener::bind_with`]: super::Listener::bind_with
/// [`Listener::DEFAULT_BACKLOG`]: super::Listener::DEFAULT_BACKLOG
///
/// # Examples
///
/// Two listeners at one port, for two threads:
///
/// ```
/// use millpond::net::{Listener, ListenerConfig};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), millpond::net::Error> {
/// let config = ListenerConfig::default().reuse_port(true);
/// let first = Listener::bind_with("127.0.0.1:0", &config).await?;
/// let second = Listener::bind_with(first.local_endpoint(), &config).await?;
/// assert_eq!(first.local_endpoint(), second.local_endpoint());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListenerConfig {
    /// The most connections that wait to be accepted. See [`Listener::set_backlog`](super::Listener::set_backlog).
    pub backlog: u32,
    /// Whether other listeners may listen at the same TCP port (`SO_REUSEPORT`): those of other threads, or a new process
    /// that takes over. All of them need this setting and, on Linux, the same user. Linux distributes the connections among them by
    /// a hash of both addresses.
    ///
    /// Each has its own accept queue. When one closes, what is in its queue is reset, unless it is served first, as
    /// [`serve`](super::Listener::serve) does, or `sysctl net.ipv4.tcp_migrate_req=1` hands it to another.
    ///
    /// A socket file has no such setting: threads share one listener with [`try_clone`](super::Listener::try_clone).
    pub reuse_port: bool,
    /// Whether an IPv6 listener takes IPv6 clients only (`IPV6_V6ONLY`). `None` leaves the system's setting.
    pub ipv6_only: Option<bool>,
    /// The mode of a socket file, such as `0o660`. Who may write to the file may connect. It is exact: the umask does not count.
    pub unix_mode: Option<u32>,
    /// The id of the user who owns a socket file. Only a privileged process may name another than its own.
    pub unix_user: Option<u32>,
    /// The id of the group of a socket file. Others than a privileged process may name a group that they are in.
    pub unix_group: Option<u32>,
}

impl Default for ListenerConfig {
    fn default() -> Self {
        Self {
            backlog: DEFAULT_BACKLOG,
            reuse_port: false,
            ipv6_only: None,
            unix_mode: None,
            unix_user: None,
            unix_group: None,
        }
    }
}

impl ListenerConfig {
    setters! {
        backlog: u32,
        reuse_port: bool,
        ipv6_only: Option<bool>,
        unix_mode: Option<u32>,
        unix_user: Option<u32>,
        unix_group: Option<u32>,
    }
}
