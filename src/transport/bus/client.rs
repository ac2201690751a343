use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::debug;

use super::config::Reconnect;
use super::connection::Role;
use super::hub::{Admitted, Guest, Hub};
use crate::transport::{Endpoint, Stream};

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
            let Some(reconnect) = config.reconnect else { return };
            let next = next_pause(pause, reconnect);
            pause = Some(next);
            let connect = async {
                sleep(next.saturating_add(jitter(next))).await;
                Stream::connect(&self.endpoint, config.connect_timeout).await
            };
            tokio::select! {
                biased;
                () = shared.drains() => return,
                connected = connect => match connected {
                    Ok(connected) => stream = Some(connected),
                    Err(error) => debug!(%error, "connecting again failed"),
                },
            }
        }
    }
}

fn next_pause(before: Option<Duration>, reconnect: Reconnect) -> Duration {
    before.map_or(reconnect.first, |pause| pause.saturating_mul(2).min(reconnect.longest))
}

/// Up to a tenth of the pause, so that clients of a server that was away do not come back in step.
fn jitter(pause: Duration) -> Duration {
    // std's hasher is seeded at random: no crate for one number.
    let share = RandomState::new().hash_one(0) % 1000;
    pause / 10_000 * share as u32
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{jitter, next_pause};
    use crate::transport::Reconnect;

    #[test]
    fn no_pause_is_too_long() {
        let reconnect = Reconnect { first: Duration::MAX / 2, longest: Duration::MAX };
        let mut pause = next_pause(None, reconnect);
        assert_eq!(pause, reconnect.first);
        for _ in 0..3 {
            assert!(jitter(pause) <= pause / 10);
            pause = next_pause(Some(pause), reconnect);
            assert!(pause > reconnect.first);
        }
        assert_eq!(pause, Duration::MAX);
    }
}
