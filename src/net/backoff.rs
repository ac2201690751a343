//! When a client that lost its connection tries again.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::Duration;

use super::settings::setters;

/// Exponential backoff: a delay before the first try, each later one twice the one before, up to a maximum.
///
/// The default is 100 ms, doubling up to 5 s, without end. Up to a tenth is added at random, so that a thousand
/// clients of one server do not connect in step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backoff {
    /// The delay before the first try.
    pub initial: Duration,
    /// The longest delay.
    pub max: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { initial: Duration::from_millis(100), max: Duration::from_secs(5) }
    }
}

impl Backoff {
    setters! {
        initial: Duration,
        max: Duration,
    }

    /// The delay after `previous`, without jitter. `None` means that this is the first try.
    #[must_use]
    pub fn after(&self, previous: Option<Duration>) -> Duration {
        previous.map_or(self.initial, |delay| delay.saturating_mul(2).min(self.max))
    }

    /// `delay` and up to a tenth of it, at random.
    #[must_use]
    pub fn with_jitter(delay: Duration) -> Duration {
        // std's hasher is seeded at random: no crate for one number.
        let share = RandomState::new().hash_one(0) % 1000;
        delay.saturating_add(delay / 10_000 * share as u32)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Backoff;

    #[test]
    fn no_delay_overflows() {
        let backoff = Backoff { initial: Duration::MAX / 2, max: Duration::MAX };
        let mut delay = backoff.after(None);
        assert_eq!(delay, backoff.initial);
        for _ in 0..3 {
            delay = backoff.after(Some(delay));
        }
        assert_eq!(delay, Duration::MAX);
    }

    #[test]
    fn jitter_adds_at_most_a_tenth() {
        let second = Duration::from_secs(1);
        for _ in 0..100 {
            let delay = Backoff::with_jitter(second);
            assert!(delay >= second && delay <= second + second / 10, "{delay:?}");
        }
    }

    #[test]
    fn jitter_saturates() {
        assert_eq!(Backoff::with_jitter(Duration::MAX).max(Duration::MAX), Duration::MAX);
    }
}
