//! A client's connection to its server, and reconnecting with backoff when it breaks.

use std::error::Error;

use tokio::time::{Instant, sleep};
use tracing::debug;

use super::hub::{Hub, OpenConnection, RegisteredPeer};
use super::role::Role;
use crate::net::{Backoff, Endpoint, Stream};

/// Keeps one connection to a server, and reconnects when it breaks. Frames for the server stay queued meanwhile.
pub(super) struct Client {
    hub: Hub,
    endpoint: Endpoint,
    /// Registered for as long as the client lives, connected or not, so that publishers queue frames for it.
    server: RegisteredPeer,
}

impl Client {
    /// `None` if the hub is shut down.
    pub(super) fn new(hub: Hub, endpoint: Endpoint) -> Option<Self> {
        let server = RegisteredPeer::new(&hub.shared, |_| endpoint.to_string())?;
        Some(Self { hub, endpoint, server })
    }

    /// Runs until the hub is shut down, or until the connection ends if `reconnect` is `None`.
    pub(super) async fn run(self, first: Stream) {
        let shared = &self.hub.shared;
        let config = &shared.config;
        let (mut stream, mut pause) = (Some(first), None);
        loop {
            if let Some(stream) = stream.take() {
                let since = Instant::now();
                // The outcome was sent as an event.
                let _ = OpenConnection::new(shared, &self.server).serve(stream, Role::Client).await;
                // A connection that ended within the last pause does not reset the backoff: the server accepts, but
                // does not work.
                pause = pause.filter(|pause| since.elapsed() < *pause);
            }
            let Some(backoff) = config.reconnect else { return };
            let next = backoff.after(pause);
            pause = Some(next);
            let connect = async {
                sleep(Backoff::with_jitter(next)).await;
                Stream::connect(&self.endpoint, config.connect_timeout).await
            };
            tokio::select! {
                biased;
                () = shared.drains() => return,
                connected = connect => match connected {
                    Ok(connected) => stream = Some(connected),
                    Err(error) => debug!(error = &error as &dyn Error, "reconnecting failed"),
                },
            }
        }
    }
}
