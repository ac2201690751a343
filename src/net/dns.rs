//! A resolver that asks the name servers itself, and keeps answers for as long as these say.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::{ResolverBuilder, TokioResolver};

use super::resolve::{Resolve, Resolving};

/// A resolver that asks the name servers itself, and keeps answers for their TTL. Clones share them.
///
/// The system's resolver does not tell the TTL, blocks a thread per lookup, and may ask anew each time. But it knows all that
/// the machine is configured for, such as mDNS and LDAP: this one knows `/etc/resolv.conf` and `/etc/hosts`. It is the
/// crate hickory-resolver, which brings 97 crates and 1.8 MB of code.
///
/// # Examples
///
/// ```no_run
/// use std::sync::Arc;
///
/// use millpond::net::{Dial, Dns};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let dial = Dial::default().resolver(Some(Arc::new(Dns::from_system()?)));
/// let dialed = dial.connect("tcp://example.com:443").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Dns(TokioResolver);

impl Dns {
    /// Asks the name servers of `/etc/resolv.conf`.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn from_system() -> io::Result<Self> {
        TokioResolver::builder_tokio().and_then(ResolverBuilder::build).map(Self).map_err(io_error)
    }

    /// Asks these name servers, by UDP, and by TCP for long answers.
    ///
    /// # Errors
    ///
    /// `/etc/hosts` cannot be read.
    pub fn with_servers(servers: impl IntoIterator<Item = SocketAddr>) -> io::Result<Self> {
        let servers = servers.into_iter().map(|server| {
            let ports = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
                connection.port = server.port();
                connection
            });
            NameServerConfig::new(server.ip(), true, ports.into())
        });
        let config = ResolverConfig::from_name_servers(servers.collect());
        let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        builder.build().map(Self).map_err(io_error)
    }
}

fn io_error(error: NetError) -> io::Error {
    io::Error::other(error)
}

impl Resolve for Dns {
    fn resolve<'a>(&'a self, host: &'a str) -> Resolving<'a> {
        Box::pin(async move {
            let found = self.0.lookup_ip(host).await.map_err(io_error)?;
            Ok(found.iter().collect())
        })
    }
}

impl fmt::Debug for Dns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dns").finish_non_exhaustive()
    }
}
