//! What a stream is, if it is no stream of frames: a guess from its first bytes.

use core::fmt;

use super::tlv::{DIGEST_LEN, HEADER_LEN};

/// Another protocol than the expected one, as far as the first bytes of a stream tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Protocol {
    /// A request or a response of HTTP/1, or the preface of HTTP/2.
    Http,
    /// A handshake or an alert of TLS.
    Tls,
    /// The [handshake](super::tlv::handshake) of a typed message bus, where none is expected.
    Handshake,
}

/// How streams of HTTP begin.
const HTTP: [&[u8]; 11] = [
    b"GET ", b"POST ", b"HTTP/", b"PUT ", b"HEAD ", b"PATCH ", b"DELETE", b"OPTION", b"CONNEC", b"TRACE ",
    b"PRI * ",
];

impl Protocol {
    /// What begins with these bytes.
    pub(super) fn guess(first: [u8; HEADER_LEN]) -> Option<Self> {
        const LEN: u8 = DIGEST_LEN as u8;
        match first {
            [0x15 | 0x16, 0x03, ..] => Some(Self::Tls),
            [LEN, 0, ..] => Some(Self::Handshake),
            _ => HTTP.iter().any(|start| first.starts_with(start)).then_some(Self::Http),
        }
    }
}

/// What the stream begins like, and what to check.
impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "HTTP: check the address and the port",
            Self::Tls => "TLS: check the port, and which side should use TLS",
            Self::Handshake => "the handshake of a bus: set the schema's digest on both sides or on none",
        })
    }
}
