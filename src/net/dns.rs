//! A resolver that asks the name servers itself, and keeps answers for as long as these say.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::{ResolverBuilder, TokioResolver};

use super::resolve::{ANSWER_LIFETIME, Resolve, Resolving, copy};
use crate::sync::Arc;
use crate::sync::statistic::{AtomicUsize, Ordering};

/// A resolver that asks the name servers itself, and keeps answers for their TTL. Clones share them.
///
/// * Each lookup begins with the next address of the answer, within each family. So connections are spread over the
///   addresses, as by a name server that rotates its answers.
/// * That a name does not exist, or has no address of a family, is kept for 5 s at most: zones often allow a day, and the
///   name may come to exist.
/// * Errors are of the kind [`NotFound`](io::ErrorKind::NotFound) if a name server says that there is no address, and of
///   another one if none has answered or it has failed, such as [`TimedOut`](io::ErrorKind::TimedOut).
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
pub struct Dns {
    resolver: TokioResolver,
    /// How many lookups there were.
    turn: Arc<AtomicUsize>,
}

impl Dns {
    /// Asks the name servers of `/etc/resolv.conf`. The file is read once: after a change make another resolver.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn from_system() -> io::Result<Self> {
        TokioResolver::builder_tokio().and_then(Self::build).map_err(io_error)
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
        Self::build(builder).map_err(io_error)
    }

    fn build(mut builder: ResolverBuilder<TokioRuntimeProvider>) -> Result<Self, NetError> {
        builder.options_mut().negative_max_ttl = Some(ANSWER_LIFETIME);
        Ok(Self { resolver: builder.build()?, turn: Arc::default() })
    }
}

fn io_error(error: NetError) -> io::Error {
    let kind = match &error {
        // It may be that no descriptor is left.
        NetError::Io(error) => return copy(error),
        NetError::Timeout => io::ErrorKind::TimedOut,
        error if error.is_no_records_found() => io::ErrorKind::NotFound,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

impl Resolve for Dns {
    fn resolve<'a>(&'a self, host: &'a str) -> Resolving<'a> {
        Box::pin(async move {
            let found = self.resolver.lookup_ip(host).await.map_err(io_error)?;
            let mut addresses: Vec<_> = found.iter().collect();
            // Ordering: only the sum matters, no memory depends on it.
            let turn = self.turn.fetch_add(1, Ordering::Relaxed);
            for family in addresses.chunk_by_mut(|one, other| one.is_ipv4() == other.is_ipv4()) {
                family.rotate_left(turn % family.len());
            }
            Ok(addresses)
        })
    }
}

impl fmt::Debug for Dns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dns").finish_non_exhaustive()
    }
}
