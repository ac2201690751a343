//! Who is at the other end of an accepted connection, for logs and reports.

use std::fmt;
use std::net::SocketAddr;

use tokio::net::UnixStream;

/// The other end of an accepted connection: `127.0.0.1:40000`, or `unix pid 4711`.
///
/// It is known from the accept. A peer that has reset its connection since then has no address that the system tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Peer {
    /// Its address.
    Tcp(SocketAddr),
    /// A client of a socket file rarely has an address. The process that connected says more.
    Unix {
        /// Its id, if the system tells.
        pid: Option<i32>,
    },
}

impl Peer {
    pub(super) fn of_unix(stream: &UnixStream) -> Self {
        Self::Unix { pid: stream.peer_cred().ok().and_then(|peer| peer.pid()) }
    }

    /// The address of a TCP peer.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix { .. } => None,
        }
    }

    pub(super) fn transport(&self) -> &'static str {
        match self {
            Self::Tcp(_) => "tcp",
            Self::Unix { .. } => "unix",
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix { pid: Some(pid) } => write!(f, "unix pid {pid}"),
            Self::Unix { pid: None } => f.write_str("unix"),
        }
    }
}
