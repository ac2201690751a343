//! A connection to a server that is made again when it breaks.

use std::error::Error;

use tokio::time::{Instant, sleep};
use tracing::debug;

use super::hub::{Admitted, Guest, Hub};
use super::role::Role;
use crate::net::{Backoff, Endpoint, Stream};

/// Keeps one connection to a server: makes it again when it breaks. What waits for the server stays queued meanwhile.
pub(super) struct Client {
    hub: Hub,
    endpoint: Endpoint,
    /// Published to from the beginning, whether a connection is there or not.
    server: Admitted,
}

impl Client {
    /// `None` if the hub is shut down.
    pub(super) fn new(hub: Hub, endpoint: Endpoint) -> Option<Self> {
        let server = Admitted::new(&hub.shared, |_| endpoint.to_string())?;
        Some(Self { hub, endpoint, server })
    }

    /// Until it is shut down, or the connection has ended and none is to be made again.
    pub(super) async fn run(self, first: Stream) {
        let shared = &self.hub.shared;
        let config = &shared.config;
        let (mut stream, mut pause) = (Some(first), None);
        loop {
            if let Some(stream) = stream.take() {
                let since = Instant::now();
                // Who wants to know was told by an event.
                let _ = Guest::of(shared, &self.server).serve(stream, Role::Client).await;
                // A server that accepts and closes is none that works.
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
                    Err(error) => debug!(error = &error as &dyn Error, "connecting again failed"),
                },
            }
        }
    }
}
