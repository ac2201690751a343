//! Which side of a connection this end is.

/// The side of a connection: a client sends the handshake, a server requires it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Server,
    Client,
}
