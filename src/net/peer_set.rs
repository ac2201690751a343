//! Which peers of a listener are meant: networks, and the clients of Unix sockets.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

use super::peer::Peer;

/// A set of peers: `10.0.0.0/8`, `2001:db8::1` and `unix`, for example. By default it is empty.
///
/// # Examples
///
/// ```
/// use millpond::net::{Peer, PeerSet};
///
/// let proxies: PeerSet = ["10.0.0.0/8", "unix"].into_iter().map(str::parse).collect::<Result<_, _>>()?;
/// assert!(proxies.contains(&Peer::Tcp("10.1.2.3:40000".parse()?)));
/// assert!(!proxies.contains(&Peer::Tcp("192.0.2.1:40000".parse()?)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerSet(Vec<PeerRange>);

/// Some peers: a network, or all clients of Unix sockets. As text `10.0.0.0/8`, `10.0.0.1` or `unix`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerRange(Range);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Range {
    Network(IpNet),
    Unix,
}

impl PeerSet {
    /// Whether the peer is in it. An IPv4 address within IPv6, as listeners for both have it, is taken for the IPv4 address.
    #[must_use]
    pub fn contains(&self, peer: &Peer) -> bool {
        let address = peer.address().map(|address| address.ip().to_canonical());
        self.0.iter().any(|range| match (range.0, address) {
            (Range::Network(network), Some(address)) => network.contains(&address),
            (Range::Unix, None) => true,
            _ => false,
        })
    }

    /// Whether nobody is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<PeerRange> for PeerSet {
    fn from_iter<I: IntoIterator<Item = PeerRange>>(ranges: I) -> Self {
        Self(ranges.into_iter().collect())
    }
}

impl FromStr for PeerRange {
    type Err = ParsePeerRangeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "unix" {
            return Ok(Self(Range::Unix));
        }
        let host = |ip: IpAddr| IpNet::from(ip);
        let network = text.parse().or_else(|_| text.parse().map(host)).map_err(|_| ParsePeerRangeError)?;
        Ok(Self(Range::Network(network)))
    }
}

impl fmt::Display for PeerRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Range::Network(network) => network.fmt(f),
            Range::Unix => f.write_str("unix"),
        }
    }
}

/// The text is neither a network nor an address nor `unix`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParsePeerRangeError;

impl fmt::Display for ParsePeerRangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected a network such as 10.0.0.0/8, an address, or unix")
    }
}

impl std::error::Error for ParsePeerRangeError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(ranges: &[&str]) -> PeerSet {
        ranges.iter().map(|range| range.parse::<PeerRange>().unwrap()).collect()
    }

    fn tcp(address: &str) -> Peer {
        Peer::Tcp(address.parse().unwrap())
    }

    #[test]
    fn a_network_has_its_addresses_only() {
        let set = set(&["10.1.0.0/16", "2001:db8::/32", "192.0.2.1"]);
        for inside in ["10.1.255.1:1", "[2001:db8::1]:1", "192.0.2.1:1", "[::ffff:10.1.0.1]:1"] {
            assert!(set.contains(&tcp(inside)), "{inside}");
        }
        for outside in ["10.2.0.1:1", "[2001:db9::1]:1", "192.0.2.2:1"] {
            assert!(!set.contains(&tcp(outside)), "{outside}");
        }
        assert!(!set.contains(&Peer::Unix { pid: None }));
    }

    #[test]
    fn all_networks_are_not_unix() {
        assert!(!set(&["0.0.0.0/0", "::/0"]).contains(&Peer::Unix { pid: None }));
        assert!(set(&["unix"]).contains(&Peer::Unix { pid: None }));
        assert!(!set(&["unix"]).contains(&tcp("10.0.0.1:1")));
    }

    #[test]
    fn other_text_is_refused() {
        for text in ["", "10.0.0.0/33", "10.0.0/8", "localhost", "Unix", "10.0.0.1:80"] {
            assert_eq!(text.parse::<PeerRange>(), Err(ParsePeerRangeError), "{text}");
        }
    }
}
