//! The bytes of a PROXY header.

use std::net::IpAddr;

use super::{
    AUTHORITY, ProxyHeader, ProxyVersion, TCP_OVER_IPV4, TCP_OVER_IPV6, V2_LOCAL, V2_PREFIX_LENGTH, V2_PROXY,
    V2_SIGNATURE, in_one_family,
};

/// What nginx before 1.23.4 takes.
const MAX_LENGTH: usize = 107;

impl ProxyHeader {
    /// The header as bytes. `authority` is the name of the server that the client asked for over TLS (SNI), which version 1 cannot
    /// say. It is left out if the header would have more than 107 bytes with it, since nginx before 1.23.4 takes no more.
    #[must_use]
    pub fn encode(&self, version: ProxyVersion, authority: Option<&str>) -> Vec<u8> {
        match version {
            ProxyVersion::V1 => self.encode_v1().into_bytes(),
            ProxyVersion::V2 => self.encode_v2(authority),
        }
    }

    fn encode_v1(&self) -> String {
        let Self::Tcp { source, destination } = self else { return "PROXY UNKNOWN\r\n".to_owned() };
        let (from, to) = in_one_family(source.ip(), destination.ip());
        let family = if from.is_ipv4() { 4 } else { 6 };
        format!("PROXY TCP{family} {from} {to} {} {}\r\n", source.port(), destination.port())
    }

    fn encode_v2(&self, authority: Option<&str>) -> Vec<u8> {
        let mut rest = Vec::new();
        let (command, family) = match self {
            // As haproxy. With two paths it would have 232 bytes, and nginx before 1.23.4 takes 107.
            Self::Local | Self::Unix => (V2_LOCAL, 0),
            Self::Tcp { source, destination } => {
                let (from, to) = in_one_family(source.ip(), destination.ip());
                for address in [from, to] {
                    match address {
                        IpAddr::V4(address) => rest.extend(address.octets()),
                        IpAddr::V6(address) => rest.extend(address.octets()),
                    }
                }
                rest.extend(source.port().to_be_bytes());
                rest.extend(destination.port().to_be_bytes());
                (V2_PROXY, if from.is_ipv4() { TCP_OVER_IPV4 } else { TCP_OVER_IPV6 })
            }
        };
        let room = MAX_LENGTH - V2_PREFIX_LENGTH - 3 - rest.len();
        if let Some(authority) = authority.filter(|authority| authority.len() <= room) {
            rest.push(AUTHORITY);
            rest.extend((authority.len() as u16).to_be_bytes());
            rest.extend(authority.as_bytes());
        }
        let mut bytes = V2_SIGNATURE.to_vec();
        bytes.extend([command, family]);
        bytes.extend((rest.len() as u16).to_be_bytes());
        bytes.extend(rest);
        bytes
    }
}
