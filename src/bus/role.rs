//! Which side of a connection this end is.

/// Which side of the handshake it is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Server,
    Client,
}
