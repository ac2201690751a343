//! Which peers of a listener are meant: networks, and the clients of Unix sockets.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::peer::Peer;

/// A set of peers: `10.0.0.0/8`, `2001:db8::1` and `unix`, for example. By default it is empty.
///
/// It keeps the networks sorted, those that overlap or adjoin as one. So a look-up is a binary search, 12 steps for 4000
/// networks, and a network takes 5 bytes, or 17 for IPv6.
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
pub struct PeerSet {
    ipv4: Vec<Ipv4Net>,
    ipv6: Vec<Ipv6Net>,
    unix: bool,
}

/// Some peers: a network, or all clients of Unix sockets. As text `10.0.0.0/8`, `10.0.0.1` or `unix`.
///
/// A network of IPv4 addresses within IPv6, such as `::ffff:10.0.0.0/104`, is the network of the IPv4 addresses. No other IPv6
/// network has an IPv4 address in it: all TCP clients are `0.0.0.0/0` and `::/0`.
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
        match peer.address().map(|address| address.ip().to_canonical()) {
            None => self.unix,
            Some(IpAddr::V4(address)) => {
                let after = self.ipv4.partition_point(|network| network.network() <= address);
                self.ipv4.get(..after).and_then(<[_]>::last).is_some_and(|network| network.contains(&address))
            }
            Some(IpAddr::V6(address)) => {
                let after = self.ipv6.partition_point(|network| network.network() <= address);
                self.ipv6.get(..after).and_then(<[_]>::last).is_some_and(|network| network.contains(&address))
            }
        }
    }

    /// Whether nobody is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ipv4.is_empty() && self.ipv6.is_empty() && !self.unix
    }
}

impl FromIterator<PeerRange> for PeerSet {
    fn from_iter<I: IntoIterator<Item = PeerRange>>(ranges: I) -> Self {
        let mut set = Self::default();
        for range in ranges {
            match range.0 {
                Range::Network(IpNet::V4(network)) => set.ipv4.push(network),
                Range::Network(IpNet::V6(network)) => set.ipv6.push(network),
                Range::Unix => set.unix = true,
            }
        }
        // Sorted, and none within another.
        set.ipv4 = Ipv4Net::aggregate(&set.ipv4);
        set.ipv6 = Ipv6Net::aggregate(&set.ipv6);
        set
    }
}

impl FromStr for PeerRange {
    type Err = ParsePeerRangeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "unix" {
            return Ok(Self(Range::Unix));
        }
        let network = match text.split_once('/') {
            None => IpNet::from(text.parse::<IpAddr>().map_err(|_| ParsePeerRangeError(Mistake::NoNetwork))?),
            Some((address, bits)) => {
                let address = address.parse().map_err(|_| ParsePeerRangeError(Mistake::NoNetwork))?;
                let longest = if matches!(address, IpAddr::V4(_)) { 32 } else { 128 };
                // `parse` takes a sign.
                let bits = bits.parse().ok().filter(|_| !bits.starts_with('+'));
                let network = bits.and_then(|bits| IpNet::new(address, bits).ok());
                network.ok_or(ParsePeerRangeError(Mistake::WrongLength { longest }))?
            }
        };
        match network.trunc() {
            whole if whole == network => Ok(Self(Range::Network(canonical(network)))),
            whole => Err(ParsePeerRangeError(Mistake::Beyond { whole, address: network.addr() })),
        }
    }
}

/// The IPv4 network that an IPv6 network stands for, if it does.
fn canonical(network: IpNet) -> IpNet {
    const MAPPED_BITS: u8 = 96;
    let IpNet::V6(ipv6) = network else { return network };
    let bits = ipv6.prefix_len().checked_sub(MAPPED_BITS);
    let (Some(bits), Some(address)) = (bits, ipv6.addr().to_ipv4_mapped()) else { return network };
    Ipv4Net::new(address, bits).map_or(network, IpNet::V4)
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
pub struct ParsePeerRangeError(Mistake);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mistake {
    NoNetwork,
    WrongLength {
        longest: u8,
    },
    /// The address has bits beyond the length: it is either the network or the address that was meant.
    Beyond {
        whole: IpNet,
        address: IpAddr,
    },
}

impl fmt::Display for ParsePeerRangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Mistake::NoNetwork => f.write_str("write a network such as 10.0.0.0/8, an address, or unix"),
            Mistake::WrongLength { longest } => {
                write!(f, "write the length of the network after the slash, from 0 to {longest}")
            }
            Mistake::Beyond { whole, address } => {
                write!(f, "write {whole} for the network, or {address} for the address")
            }
        }
    }
}

impl std::error::Error for ParsePeerRangeError {}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::collection::vec;
    use proptest::prelude::*;

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
    fn a_network_of_ipv4_addresses_within_ipv6_is_that_of_the_ipv4_addresses() {
        let range = "::ffff:10.0.0.0/104".parse::<PeerRange>().unwrap();
        assert_eq!(range.to_string(), "10.0.0.0/8");
        assert!(set(&["::ffff:10.0.0.0/104"]).contains(&tcp("10.1.2.3:1")));
        assert!(!set(&["::/0"]).contains(&tcp("[::ffff:10.0.0.1]:1")));
    }

    #[test]
    fn a_mistake_says_what_to_write() {
        let no_network = "write a network such as 10.0.0.0/8, an address, or unix";
        let ipv4_length = "write the length of the network after the slash, from 0 to 32";
        for (text, advice) in [
            ("", no_network),
            ("10.0.0/8", no_network),
            ("/8", no_network),
            ("localhost", no_network),
            ("Unix", no_network),
            ("10.0.0.1:80", no_network),
            ("[::1]", no_network),
            ("10.0.0.0/33", ipv4_length),
            ("10.0.0.0/", ipv4_length),
            ("10.0.0.0/+8", ipv4_length),
            ("10.0.0.0/255.0.0.0", ipv4_length),
            ("::/129", "write the length of the network after the slash, from 0 to 128"),
            ("10.1.2.3/8", "write 10.0.0.0/8 for the network, or 10.1.2.3 for the address"),
            ("2001:db8::1/32", "write 2001:db8::/32 for the network, or 2001:db8::1 for the address"),
        ] {
            let error = text.parse::<PeerRange>().expect_err(text);
            assert_eq!(error.to_string(), advice, "{text}");
        }
    }

    /// Networks and addresses that share many bits, so that networks overlap, adjoin and lie within each other.
    fn near() -> impl Strategy<Value = (IpAddr, u8)> {
        let ipv4 = (0_u32..64, 24..=32_u8).prop_map(|(low, bits)| (Ipv4Addr::from(low << 2).into(), bits));
        let top = (0_u32..2, 0..=3_u8).prop_map(|(high, bits)| (Ipv4Addr::from(high << 31 | 7).into(), bits));
        let ipv6 =
            (0_u128..64, 56..=66_u8).prop_map(|(high, bits)| (Ipv6Addr::from(high << 61).into(), bits));
        let end = Just((Ipv6Addr::from(u128::MAX).into(), 127));
        prop_oneof![8 => ipv4, 1 => top, 8 => ipv6, 1 => end]
    }

    proptest! {
        #[test]
        fn it_has_what_one_of_its_networks_has(
            networks in vec(near(), 0..30),
            addresses in vec(near(), 1..30),
        ) {
            let networks: Vec<_> =
                networks.into_iter().map(|(address, bits)| IpNet::new_assert(address, bits).trunc()).collect();
            let set: PeerSet = networks.iter().map(|network| PeerRange(Range::Network(*network))).collect();
            for (address, _) in addresses {
                let expected = networks.iter().any(|network| network.contains(&address));
                prop_assert_eq!(set.contains(&Peer::Tcp((address, 1).into())), expected, "{}", address);
            }
        }
    }
}
