//! One connection from its first moment to its last: over a socket of ours, or over any stream.

use tokio::io::{AsyncRead, AsyncWrite};

use super::connection::Connection;
use super::error::{Cause, ConnectionError};
use super::hub::{Admitted, Guest, Hub};
use super::role::Role;
use crate::net::Stream;

impl Hub {
    /// Serves one connection over any stream until it ends: a socket that was accepted elsewhere, a pipe, TLS.
    /// It does not speak the handshake first; who wants a timeout for its end wraps it.
    ///
    /// # Errors
    ///
    /// [`ConnectionError`]. The stream is closed then, no buffer of it is held, and no other connection is concerned.
    /// At once, with [`ConnectionErrorKind::Closed`](super::ConnectionErrorKind::Closed), if the hub is shut down.
    ///
    /// # Cancel safety
    ///
    /// Cancelled, it closes the stream: frames under way are lost.
    pub async fn handle_stream_connection<S>(&self, stream: S) -> Result<(), ConnectionError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let peer = Admitted::new(&self.shared, |id| format!("stream #{id}"));
        let peer = peer.ok_or(ConnectionError(Cause::Closed))?;
        let guest = Guest::of(&self.shared, &peer);
        let outcome = Connection::new(&self.shared, &peer, stream, Role::Server).run().await;
        guest.end(outcome)
    }
}

impl Guest<'_> {
    /// A connection over a socket, from its first moment to its last.
    pub(super) async fn serve(self, stream: Stream, role: Role) -> Result<(), ConnectionError> {
        let outcome = converse(&self, stream, role).await;
        self.end(outcome)
    }
}

async fn converse(guest: &Guest<'_>, stream: Stream, role: Role) -> Result<(), ConnectionError> {
    let shared = guest.shared;
    if let Some(keepalive) = &shared.config.keepalive {
        stream.set_keepalive(keepalive).map_err(|error| ConnectionError(Cause::Write(error)))?;
    }
    Connection::new(shared, guest.peer, stream, role).run().await
}
