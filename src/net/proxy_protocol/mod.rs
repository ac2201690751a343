//! The PROXY protocol, versions 1 and 2: the first bytes of a connection say who the client of a proxy is.
//!
//! | file | idea |
//! |---|---|
//! | `decode` | a header out of bytes |
//! | `encode` | the bytes of a header |
//! | `read` | exactly the header off an accepted connection |
//!
//! The format is haproxy's [proxy-protocol.txt](https://www.haproxy.org/download/2.6/doc/proxy-protocol.txt). The codec is our
//! own, as no crate fits a reader that peeks. `ppp` 2.3 takes a line for broken that ends before its last port, and refuses
//! LOCAL with a family that it does not know, which is to be accepted. `proxy-header` 0.1.3 waits for 15 bytes of anything,
//! bounds no line that is complete, and takes any byte for the first space. `proxy-protocol-rs` 0.8 refuses unknown families,
//! allocates for each TLV, and panics on addresses of two families.

mod decode;
mod encode;
mod read;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// What a PROXY header says about a connection.
///
/// # Examples
///
/// ```
/// use millpond::net::{ProxyHeader, ProxyVersion};
///
/// let header = ProxyHeader::Tcp { source: "192.0.2.1:40000".parse()?, destination: "198.51.100.1:443".parse()? };
/// let mut bytes = header.encode(ProxyVersion::V1, None);
/// assert_eq!(bytes, b"PROXY TCP4 192.0.2.1 198.51.100.1 40000 443\r\n");
///
/// let length = bytes.len();
/// bytes.extend(b"GET / HTTP/1.1\r\n");
/// assert_eq!(ProxyHeader::decode(&bytes)?, Some((header, length)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProxyHeader {
    /// The address of the connection itself counts: the proxy checks the health of the server, or does not know the client.
    /// It is `LOCAL` in version 2 and `UNKNOWN` in version 1.
    Local,
    /// A client over TCP.
    Tcp {
        /// The address of the client.
        source: SocketAddr,
        /// The address that the client connected to.
        destination: SocketAddr,
    },
    /// A client over a Unix socket. The paths are skipped. It is sent as [`Local`](Self::Local), as by haproxy: version 1 has no
    /// other word for it, and not every server takes that of version 2.
    Unix,
}

/// A version of the PROXY protocol, `v1` or `v2` as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProxyVersion {
    /// A line of text.
    V1,
    /// Binary, with extensions.
    V2,
}

/// Why bytes are no PROXY header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProxyHeaderError {
    /// The bytes begin like no header.
    Missing,
    /// It begins like a header, but breaks the rules.
    Malformed,
    /// It has more than [`ProxyHeader::MAX_LENGTH`] bytes, or in version 1 more than 107.
    TooLong,
    /// Its CRC32c does not match.
    Checksum,
    /// The connection ended within the header.
    Truncated,
    /// The header was not complete in time.
    Timeout,
}

impl ProxyHeader {
    /// The largest header that is accepted, in bytes. It is nginx's limit, too, and leaves room for a client's certificate in a TLV.
    pub const MAX_LENGTH: usize = 4096;

    /// The header for a client at `source` that connected to `destination`. [`Unix`](Self::Unix) if one of them is not known.
    /// IPv4 addresses within IPv6, as listeners for both have them, become plain ones.
    #[must_use]
    pub fn between(source: Option<SocketAddr>, destination: Option<SocketAddr>) -> Self {
        let (Some(source), Some(destination)) = (source, destination) else { return Self::Unix };
        Self::Tcp { source: canonical(source), destination: canonical(destination) }
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Both addresses in one family, as a header has them.
fn in_one_family(source: IpAddr, destination: IpAddr) -> (IpAddr, IpAddr) {
    let mapped = |address| match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().into(),
        IpAddr::V6(_) => address,
    };
    if source.is_ipv4() == destination.is_ipv4() {
        (source, destination)
    } else {
        (mapped(source), mapped(destination))
    }
}

impl ProxyHeaderError {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Missing, Self::Malformed, Self::TooLong, Self::Checksum, Self::Truncated, Self::Timeout];
}

impl fmt::Display for ProxyHeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "the connection does not begin with a PROXY header",
            Self::Malformed => "the PROXY header is malformed",
            Self::TooLong => "the PROXY header is too long",
            Self::Checksum => "the checksum of the PROXY header is wrong",
            Self::Truncated => "the connection ended within the PROXY header",
            Self::Timeout => "the PROXY header was not complete in time",
        })
    }
}

impl std::error::Error for ProxyHeaderError {}

impl fmt::Display for ProxyVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
        })
    }
}

impl FromStr for ProxyVersion {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "v1" => Ok(Self::V1),
            "v2" => Ok(Self::V2),
            _ => Err("write v1 or v2"),
        }
    }
}

const V1_PREFIX: &[u8] = b"PROXY ";
/// With `\r\n`, and an IPv6 address of full length twice.
const V1_MAX_LENGTH: usize = 107;

const V2_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The signature, version and command, family and transport, and the length of the rest.
const V2_PREFIX_LENGTH: usize = V2_SIGNATURE.len() + 4;
const V2_LOCAL: u8 = 0x20;
const V2_PROXY: u8 = 0x21;
const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;
const UNIX_STREAM: u8 = 0x31;
/// Two paths.
const UNIX_LENGTH: usize = 2 * 108;
const AUTHORITY: u8 = 0x02;
const CRC32C: u8 = 0x03;
