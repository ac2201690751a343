//! How many connections one source may have, and open per second.

use std::net::{IpAddr, Ipv6Addr};

use crate::policy::setters;

/// The most connections of one source. By default there is no limit.
///
/// A source is an IPv4 address, or the first 64 bits of an IPv6 address: a provider gives a customer no fewer
/// addresses. An IPv4 address within IPv6 is the IPv4 address. Clients of Unix sockets have no source and no limit.
///
/// # Examples
///
/// ```
/// use millpond::net::SourceLimits;
///
/// let limits = SourceLimits::default().max_connections(Some(100)).rate(Some(20));
/// assert_eq!(limits.ipv6_bits, 64);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SourceLimits {
    /// The most connections that a source has open at once.
    pub max_connections: Option<u32>,
    /// The most connections that a source opens per second. After a second of rest it may open as many at once.
    pub rate: Option<u32>,
    /// How many leading bits of an IPv6 address make a source, 128 at most.
    pub ipv6_bits: u8,
}

impl Default for SourceLimits {
    fn default() -> Self {
        Self { max_connections: None, rate: None, ipv6_bits: 64 }
    }
}

impl SourceLimits {
    setters! {
        max_connections: Option<u32>,
        rate: Option<u32>,
        ipv6_bits: u8,
    }

    /// Whether there is no limit.
    pub(super) fn is_unlimited(&self) -> bool {
        self.max_connections.is_none() && self.rate.is_none()
    }

    pub(super) fn source_of(&self, address: IpAddr) -> Source {
        Source(match address.to_canonical() {
            IpAddr::V4(address) => address.to_ipv6_mapped(),
            IpAddr::V6(address) => {
                let beyond = u128::MAX.checked_shr(self.ipv6_bits.into()).unwrap_or(0);
                Ipv6Addr::from_bits(address.to_bits() & !beyond)
            }
        })
    }
}

/// An IPv4 address as an IPv6 address that stands for it, or a prefix, of which none is such an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Source(Ipv6Addr);

/// The limit that a source has reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SourceLimit {
    /// [`SourceLimits::max_connections`].
    Connections,
    /// [`SourceLimits::rate`].
    Rate,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(bits: u8, address: &str) -> Source {
        SourceLimits::default().ipv6_bits(bits).source_of(address.parse().unwrap())
    }

    #[test]
    fn ipv6_addresses_of_one_prefix_are_one_source() {
        assert_eq!(source(64, "2001:db8::1"), source(64, "2001:db8::ffff:ffff:ffff:ffff"));
        assert_ne!(source(64, "2001:db8::1"), source(64, "2001:db8:0:1::1"));
        assert_ne!(source(65, "2001:db8::1"), source(65, "2001:db8::8000:0:0:1"));
        assert_ne!(source(128, "2001:db8::1"), source(128, "2001:db8::2"));
        assert_eq!(source(0, "2001:db8::1"), source(0, "::1"));
        assert_ne!(source(255, "2001:db8::1"), source(255, "2001:db8::2"));
    }

    #[test]
    fn each_ipv4_address_is_a_source_also_within_ipv6() {
        for bits in [0, 64, 128] {
            assert_eq!(source(bits, "::ffff:192.0.2.1"), source(bits, "192.0.2.1"));
            assert_ne!(source(bits, "::ffff:192.0.2.1"), source(bits, "192.0.2.2"));
            assert_ne!(source(bits, "::"), source(bits, "0.0.0.0"));
        }
    }
}
