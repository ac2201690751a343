//! Which timeout of a connection expires when: arithmetic on moments, without a clock or a timer.

use std::time::Duration;

use tokio::time::Instant;

use super::config::RelayConfig;
use super::error::Side;

/// Longer than any timeout that matters: a year.
pub(super) const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// What a connection must not exceed, most telling cause first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timeout {
    Lifetime,
    /// This side takes no bytes.
    Stalled(Side),
    HalfClosed,
    Idle,
}

/// The moments that the timeouts count from.
#[derive(Debug)]
pub(super) struct Moments {
    accepted: Instant,
    pub(super) last_byte: Instant,
    /// When one direction ended. `None` if that has no timeout of its own, and in the others while they are not so.
    half_closed: Option<Instant>,
    /// When bytes began to wait for this side, or when it last took one of them.
    client_stalled: Option<Instant>,
    upstream_stalled: Option<Instant>,
}

/// What a connection does now.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Now {
    pub(super) half_closed: bool,
    /// Whether bytes wait for this side.
    pub(super) client_stalls: bool,
    pub(super) upstream_stalls: bool,
    /// Whether this side has just taken a byte.
    pub(super) client_took: bool,
    pub(super) upstream_took: bool,
}

impl Moments {
    pub(super) fn new(accepted: Instant, now: Instant) -> Self {
        Self { accepted, last_byte: now, half_closed: None, client_stalled: None, upstream_stalled: None }
    }

    /// Notes what the connection does. Returns whether something began that may expire earlier than all before.
    pub(super) fn note(&mut self, config: &RelayConfig, what: Now) -> bool {
        let mut began = false;
        let mut note = |since: &mut Option<Instant>, lasts: bool, again: bool| {
            if !lasts {
                *since = None;
            } else if again || since.is_none() {
                began |= since.is_none();
                *since = Some(Instant::now());
            }
        };
        if config.half_closed_timeout.is_some() {
            note(&mut self.half_closed, what.half_closed, false);
        }
        if config.stalled_timeout.is_some() {
            note(&mut self.client_stalled, what.client_stalls, what.client_took);
            note(&mut self.upstream_stalled, what.upstream_stalls, what.upstream_took);
        }
        began
    }

    /// The next moment at which a timeout may expire, or one that has expired, and how long it was.
    pub(super) fn next(&self, config: &RelayConfig, now: Instant) -> Result<Instant, (Timeout, Duration)> {
        let half_closed = self.half_closed.map(|since| since.max(self.last_byte));
        let mut next = now + NEVER;
        for (timeout, since, after) in [
            (Timeout::Lifetime, Some(self.accepted), config.max_lifetime),
            (Timeout::Stalled(Side::Client), self.client_stalled, config.stalled_timeout),
            (Timeout::Stalled(Side::Upstream), self.upstream_stalled, config.stalled_timeout),
            (Timeout::HalfClosed, half_closed, config.half_closed_timeout),
            (Timeout::Idle, Some(self.last_byte), config.idle_timeout),
        ] {
            let (Some(since), Some(after)) = (since, after) else { continue };
            let Some(deadline) = since.checked_add(after) else { continue };
            if deadline <= now {
                return Err((timeout, after));
            }
            next = next.min(deadline);
        }
        Ok(next)
    }

    /// The timeout counts from now: the peer was not to blame.
    pub(super) fn restart(&mut self, timeout: Timeout, now: Instant) {
        match timeout {
            Timeout::Lifetime => {}
            Timeout::Stalled(Side::Client) => self.client_stalled = Some(now),
            Timeout::Stalled(Side::Upstream) => self.upstream_stalled = Some(now),
            Timeout::HalfClosed | Timeout::Idle => self.last_byte = now,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn config() -> RelayConfig {
        RelayConfig::default()
            .idle_timeout(Some(8 * SECOND))
            .half_closed_timeout(Some(4 * SECOND))
            .stalled_timeout(Some(2 * SECOND))
    }

    #[tokio::test(start_paused = true)]
    async fn the_earliest_deadline_is_next() {
        let start = Instant::now();
        let mut moments = Moments::new(start, start);
        assert_eq!(moments.next(&config(), start), Ok(start + 8 * SECOND));
        assert!(moments.note(&config(), Now { half_closed: true, ..Now::default() }));
        assert_eq!(moments.next(&config(), start), Ok(start + 4 * SECOND));
        assert!(moments.note(&config(), Now { half_closed: true, client_stalls: true, ..Now::default() }));
        assert_eq!(moments.next(&config(), start), Ok(start + 2 * SECOND));
        assert_eq!(moments.next(&config().max_lifetime(Some(SECOND)), start), Ok(start + SECOND));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stall_lasts_from_the_last_byte_that_the_side_took() {
        let start = Instant::now();
        let mut moments = Moments::new(start, start);
        let stalls = Now { upstream_stalls: true, ..Now::default() };
        moments.note(&config(), stalls);
        tokio::time::advance(SECOND).await;
        // A byte to the client is none that the upstream took.
        moments.note(&config(), Now { client_took: true, ..stalls });
        let expired = (Timeout::Stalled(Side::Upstream), 2 * SECOND);
        assert_eq!(moments.next(&config(), start + 2 * SECOND), Err(expired));
        assert!(!moments.note(&config(), Now { upstream_took: true, ..stalls }), "it began before");
        assert_eq!(moments.next(&config(), start + 2 * SECOND), Ok(start + 3 * SECOND));
        moments.note(&config(), Now::default());
        assert_eq!(moments.next(&config(), start + 3 * SECOND), Ok(start + 8 * SECOND));
    }

    #[tokio::test(start_paused = true)]
    async fn a_half_closed_connection_counts_from_its_last_byte_or_from_the_end_of_the_direction() {
        let start = Instant::now();
        let mut moments = Moments::new(start, start);
        tokio::time::advance(SECOND).await;
        moments.note(&config(), Now { half_closed: true, ..Now::default() });
        assert_eq!(moments.next(&config(), start), Ok(start + 5 * SECOND));
        moments.last_byte = start + 2 * SECOND;
        assert_eq!(moments.next(&config(), start), Ok(start + 6 * SECOND));
    }

    #[test]
    fn a_timeout_of_all_time_never_expires() {
        let start = Instant::now();
        let config = config().idle_timeout(Some(Duration::MAX)).max_lifetime(Some(Duration::MAX));
        assert_eq!(Moments::new(start, start).next(&config, start), Ok(start + NEVER));
    }
}
