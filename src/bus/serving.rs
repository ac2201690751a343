//! Serving one connection, over a socket of a transport or over any stream.

use tokio::io::{AsyncRead, AsyncWrite};

use super::connection::Connection;
use super::error::{Cause, ConnectionError};
use super::hub::{Hub, OpenConnection, RegisteredPeer};
use super::role::Role;
use crate::net::{Peekable, Stream};

impl Hub {
    /// Serves one connection over any stream until it ends: a socket that was accepted elsewhere, a pipe, TLS.
    ///
    /// It takes the server's side of the handshake.
    ///
    /// # Errors
    ///
    /// [`ConnectionError`]. The stream is closed then, it holds no buffer, and other connections are not affected. If the
    /// hub is shut down, the error is [`ConnectionErrorKind::Closed`](super::ConnectionErrorKind::Closed), at once.
    ///
    /// # Cancel safety
    ///
    /// Cancelled, it closes the stream. Unfinished and queued frames are lost.
    pub async fn handle_stream_connection<S>(&self, stream: S) -> Result<(), ConnectionError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let peer = RegisteredPeer::new(&self.shared, |id| format!("stream #{id}"));
        let peer = peer.ok_or(ConnectionError(Cause::Closed))?;
        let open = OpenConnection::new(&self.shared, &peer);
        let outcome = Connection::new(&self.shared, &peer, Peekable::new(stream), Role::Server).run().await;
        open.end(outcome)
    }
}

impl OpenConnection<'_> {
    /// Serves a connection over a socket until it ends.
    pub(super) async fn serve(self, stream: Stream, role: Role) -> Result<(), ConnectionError> {
        let outcome = run(&self, stream, role).await;
        self.end(outcome)
    }
}

async fn run(open: &OpenConnection<'_>, stream: Stream, role: Role) -> Result<(), ConnectionError> {
    let shared = open.shared;
    if let Some(keepalive) = &shared.config.keepalive {
        stream.set_keepalive(keepalive).map_err(|error| ConnectionError(Cause::Write(error)))?;
    }
    Connection::new(shared, open.peer, stream, role).run().await
}
