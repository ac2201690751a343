//! Connects to a server of the backend, and to the next one if that fails.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use tokio::time::Instant;

use super::accepted::Accepted;
use super::backend::Backend;
use super::error::Cause;
use super::server::Chosen;
use crate::net::Stream;

/// The shortest time for one server while another is left: TCP sends a lost SYN again after a second.
const LEAST: Duration = Duration::from_secs(2);

impl Accepted {
    /// Chooses a server and connects to it, and to another one if that fails, until the connect timeout.
    pub(super) async fn reach(
        &self,
        backend: &Backend,
        client: &Stream,
        reserved: OwnedFd,
    ) -> Result<(Stream, Chosen), Cause> {
        let begun = Instant::now();
        let (mut reserved, mut tried, mut last) = (Some(reserved), Vec::new(), None);
        loop {
            let left = self.config.connect_timeout.saturating_sub(begun.elapsed());
            let next = if left.is_zero() && last.is_some() {
                None
            } else {
                backend.choose(&self.connection.client(), &tried)
            };
            let Some((server, servers)) = next else {
                return Err(match last {
                    Some(error) => Cause::Connect { error, tried: tried.len() },
                    None => Cause::NoServer,
                });
            };
            self.leads_to(&server);
            let share = left / u32::try_from(servers).unwrap_or(u32::MAX);
            let limit = share.max(LEAST).min(left);
            let attempt = Instant::now();
            let connect =
                self.span.in_scope(|| Stream::connect_with(&server.endpoint, limit, reserved.take()));
            let connected = connect.await;
            backend.connected(&server, attempt.elapsed(), &connected);
            match connected {
                Ok(upstream) => return Ok((upstream, server)),
                Err(error) => last = Some(error),
            }
            tried.push(server.member().clone());
            // The descriptor of the failed attempt is free. If another connection takes it first, the next attempt waits.
            reserved = client.as_fd().try_clone_to_owned().ok();
        }
    }
}
