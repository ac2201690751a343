//! Reconnect backoff: how long a client that lost its connection waits before it tries again.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::Duration;

use super::settings::setters;

/// Exponential backoff: each delay is twice the one before, up to a maximum.
///
/// By default the delays are 100 ms, 200 ms and so on up to 5 s, for as many tries as it takes. Jitter of up to a tenth
/// is added, so that a thousand clients of one server do not reconnect in step.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use millpond::net::Backoff;
///
/// let backoff = Backoff::default().max(Duration::from_millis(350));
/// let first = backoff.after(None);
/// let second = backoff.after(Some(first));
/// let third = backoff.after(Some(second));
/// assert_eq!([first, second, third].map(|delay| delay.as_millis()), [100, 200, 350]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backoff {
    /// The delay before the first try, if it is not longer than `max`.
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

    /// The delay that follows `previous`, without jitter; after `None`, the delay before the first try.
    #[must_use]
    pub fn after(&self, previous: Option<Duration>) -> Duration {
        previous.map_or(self.initial, |delay| delay.saturating_mul(2)).min(self.max)
    }

    /// Adds up to a tenth to `delay`, at random.
    #[must_use]
    pub fn with_jitter(delay: Duration) -> Duration {
        // std's hasher has a random seed, which saves a dependency.
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
    fn no_delay_is_longer_than_the_longest() {
        let backoff = Backoff::default().initial(Duration::from_secs(60));
        assert_eq!(backoff.after(None), backoff.max);
        assert_eq!(backoff.after(Some(backoff.initial)), backoff.max);
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
