//! Who may connect: lists of networks that are allowed and denied.

use super::peer::Peer;
use super::peer_set::PeerSet;
use crate::policy::setters;

/// Who may connect. By default everybody.
///
/// * Who is denied may not, even if allowed as well.
/// * If anybody is allowed, only they may. With an empty set everybody else may.
///
/// There is no order of rules: a part of an allowed network is denied, and not the other way round. Clients of Unix sockets
/// are all alike, `unix`: which users may connect is a matter of the socket file's
/// [mode](field@super::ListenerConfig::unix_mode).
///
/// # Examples
///
/// ```
/// use millpond::net::{AccessList, Peer};
///
/// let network = ["10.0.0.0/8".parse()?].into_iter().collect();
/// let guests = ["10.9.0.0/16".parse()?].into_iter().collect();
/// let list = AccessList::default().allow(network).deny(guests);
/// assert!(list.admits(&Peer::Tcp("10.1.2.3:40000".parse()?)));
/// assert!(!list.admits(&Peer::Tcp("10.9.2.3:40000".parse()?)));
/// assert!(!list.admits(&Peer::Tcp("192.0.2.1:40000".parse()?)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AccessList {
    /// Who may connect. If it is empty, everybody.
    pub allow: PeerSet,
    /// Who may not.
    pub deny: PeerSet,
}

impl AccessList {
    setters! {
        allow: PeerSet,
        deny: PeerSet,
    }

    /// Whether the peer may connect.
    #[must_use]
    pub fn admits(&self, peer: &Peer) -> bool {
        !self.deny.contains(peer) && (self.allow.is_empty() || self.allow.contains(peer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(ranges: &[&str]) -> PeerSet {
        ranges.iter().map(|range| range.parse::<crate::net::PeerRange>().unwrap()).collect()
    }

    fn admits(list: &AccessList, address: &str) -> bool {
        list.admits(&Peer::Tcp(address.parse().unwrap()))
    }

    #[test]
    fn an_empty_list_admits_everybody() {
        let list = AccessList::default();
        assert!(admits(&list, "192.0.2.1:1"));
        assert!(list.admits(&Peer::Unix { pid: None }));
    }

    #[test]
    fn who_is_denied_stays_out_and_all_others_come_in() {
        let list = AccessList::default().deny(set(&["10.0.0.0/8", "2001:db8::/32", "unix"]));
        for out in ["10.1.2.3:1", "[::ffff:10.1.2.3]:1", "[2001:db8::1]:1"] {
            assert!(!admits(&list, out), "{out}");
        }
        assert!(!list.admits(&Peer::Unix { pid: Some(1) }));
        for within in ["11.0.0.1:1", "[2001:db9::1]:1"] {
            assert!(admits(&list, within), "{within}");
        }
    }

    #[test]
    fn with_an_allowed_set_nobody_else_comes_in() {
        let list = AccessList::default().allow(set(&["10.0.0.0/8"]));
        assert!(admits(&list, "[::ffff:10.1.2.3]:1"));
        assert!(!admits(&list, "11.0.0.1:1"));
        assert!(!admits(&list, "[::1]:1"));
        assert!(!list.admits(&Peer::Unix { pid: None }), "not named");
        let list = list.allow(set(&["unix"]));
        assert!(list.admits(&Peer::Unix { pid: None }));
    }

    #[test]
    fn a_denied_network_wins_over_an_allowed_part_of_it() {
        let list = AccessList::default().allow(set(&["10.1.0.0/16"])).deny(set(&["10.0.0.0/8"]));
        assert!(!admits(&list, "10.1.2.3:1"));
    }
}
