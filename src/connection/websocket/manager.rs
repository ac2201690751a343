//! Connections to one server for a pool.

use bb8::ManageConnection;

use super::config::WebSocketConfig;
use super::connection::WebSocketConnection;
use super::error::WebSocketError;
use super::statistics::{Totals, WebSocketStatistics};
use crate::sync::Arc;

/// Opens connections for a [`Pool`](crate::connection::Pool): for servers that answer requests over WebSocket.
///
/// A connection whose task has ended is never handed out. One that was idle for longer than the pool's bypass window is
/// tested by a ping. One from before a [reload](crate::net::tls::TlsConnector::reload) of the TLS settings that found changes
/// is closed when it is idle. One that is returned with an unfinished [`exchange`](WebSocketConnection::exchange), after a plain
/// [`send`](WebSocketConnection::send) that is not [known to be answered](WebSocketConnection::mark_reusable), or with messages
/// that nobody took, is closed: the answers belong to the task that returned it. So servers that send on their own want a
/// [`WebSocketClient`](super::WebSocketClient) instead.
#[derive(Clone, Debug)]
pub struct WebSocketManager {
    config: WebSocketConfig,
    totals: Arc<Totals>,
}

impl WebSocketManager {
    /// A manager. Clones share their statistics.
    ///
    /// # Errors
    ///
    /// [`Tls`](super::WebSocketErrorKind::Tls) if a connector is needed and cannot be built.
    pub fn new(config: WebSocketConfig) -> Result<Self, WebSocketError> {
        Ok(Self { config: config.completed()?, totals: Arc::default() })
    }

    /// What happened on all its connections. Bytes are counted when a connection ends.
    #[must_use]
    pub fn statistics(&self) -> WebSocketStatistics {
        self.totals.snapshot()
    }
}

impl ManageConnection for WebSocketManager {
    type Connection = WebSocketConnection;
    type Error = WebSocketError;

    async fn connect(&self) -> Result<WebSocketConnection, WebSocketError> {
        WebSocketConnection::open_counted(&self.config, Arc::clone(&self.totals)).await
    }

    async fn is_valid(&self, connection: &mut WebSocketConnection) -> Result<(), WebSocketError> {
        connection.ping().await?;
        // What came before its answer would be taken for the answer to the next exchange.
        if connection.is_reusable() { Ok(()) } else { Err(connection.unusable()) }
    }

    fn has_broken(&self, connection: &mut WebSocketConnection) -> bool {
        !connection.is_reusable()
    }
}
