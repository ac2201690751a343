//! A client's connection to its server, and reconnecting with backoff when it breaks.

use std::convert::Infallible;
use std::error::Error;
use std::future::pending;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::warn;

use super::hub::{Hub, OpenConnection, RegisteredPeer};
use super::peer::Hold;
use super::role::Role;
use crate::net::{Backoff, Endpoint, Stream};

/// Keeps one connection to a server, and reconnects when it breaks. Frames for the server stay queued meanwhile, for as
/// long as an unread frame may wait: the write timeout.
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
        let (mut stream, mut pause) = (first, None);
        loop {
            let since = Instant::now();
            self.server.resume();
            // The outcome was sent as an event.
            let _ = OpenConnection::new(shared, &self.server).serve(stream, Role::Client).await;
            self.server.note_hold(Hold { stalls_at: shared.pressure.stalls_at(config), ..Hold::NOTHING });
            // A connection that ended within the last pause does not reset the backoff: the server accepts, but does not
            // work.
            pause = pause.filter(|pause| since.elapsed() < *pause);
            let Some(backoff) = config.reconnect else { return };
            tokio::select! {
                biased;
                () = shared.drains() => return,
                connected = self.reconnect(backoff, &mut pause) => stream = connected,
                never = self.drop_frames() => match never {},
            }
        }
    }

    async fn reconnect(&self, backoff: Backoff, pause: &mut Option<Duration>) -> Stream {
        loop {
            let next = backoff.after(*pause);
            *pause = Some(next);
            sleep(Backoff::with_jitter(next)).await;
            match Stream::connect(&self.endpoint, self.hub.shared.config.connect_timeout).await {
                Ok(connected) => return connected,
                Err(error) => {
                    if let Some(left_out) = self.hub.shared.failure_warning.due() {
                        warn!(error = &error as &dyn Error, left_out, "reconnecting failed");
                    }
                }
            }
        }
    }

    /// Drops what waits for an absent server, and what is published for it, after the write timeout: publishers and memory
    /// must not wait for it for ever.
    async fn drop_frames(&self) -> Infallible {
        let shared = &self.hub.shared;
        sleep(shared.config.write_timeout).await;
        let (dropped, _) = self.server.evict();
        shared.missed(&self.server, dropped);
        pending().await
    }
}
