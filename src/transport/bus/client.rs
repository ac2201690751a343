use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::pin::pin;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};
use tracing::debug;

use super::connection::Role;
use super::hub::{Admitted, Guest, Hub};
use crate::sync::Arc;
use crate::transport::{DrainReport, Endpoint, Stream};

/// Keeps one connection to a server: makes it again when it breaks. What waits for the server stays queued meanwhile.
pub(super) struct Client {
    hub: Hub,
    endpoint: Endpoint,
    /// Published to from the beginning, whether a connection is there or not.
    server: Admitted,
    stop: Arc<Notify>,
}

impl Client {
    pub(super) fn new(hub: Hub, endpoint: Endpoint, stop: Arc<Notify>) -> Self {
        let server = Admitted::new(&hub.shared, |_| endpoint.to_string());
        Self { hub, endpoint, server, stop }
    }

    /// Until it is stopped, or the connection has ended and none is to be made again.
    pub(super) async fn run(self, first: Stream) -> DrainReport {
        let shared = &self.hub.shared;
        let config = &shared.config;
        let (mut stream, mut pause) = (Some(first), None);
        loop {
            if let Some(stream) = stream.take() {
                let since = Instant::now();
                let connection = Guest::of(shared, &self.server).serve(stream, Role::Client);
                let mut connection = pin!(connection);
                tokio::select! {
                    _ = &mut connection => {}
                    () = self.stop.notified() => {
                        self.server.drain();
                        let ended = timeout(config.drain_timeout, connection).await.is_ok();
                        return DrainReport { drained: u64::from(ended), cut: u64::from(!ended) };
                    }
                }
                // A server that accepts and closes is none that works.
                pause = pause.filter(|pause| since.elapsed() < *pause);
            }
            let Some(reconnect) = config.reconnect else { break };
            let next = pause.map_or(reconnect.first, |pause: Duration| (pause * 2).min(reconnect.longest));
            pause = Some(next);
            let connect = async {
                sleep(next + jitter(next)).await;
                Stream::connect(&self.endpoint, config.connect_timeout).await
            };
            tokio::select! {
                connected = connect => match connected {
                    Ok(connected) => stream = Some(connected),
                    Err(error) => debug!(%error, "connecting again failed"),
                },
                () = self.stop.notified() => break,
            }
        }
        shared.close();
        DrainReport { drained: 0, cut: 0 }
    }
}

/// Up to a tenth of the pause, so that clients of a server that was away do not come back in step.
fn jitter(pause: Duration) -> Duration {
    // std's hasher is seeded at random: no crate for one number.
    let share = RandomState::new().hash_one(0) % 1000;
    pause / 10 * share as u32 / 1000
}
