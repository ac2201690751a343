//! The delays between attempts.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::Duration;

use super::setters;

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
/// use millpond::policy::Backoff;
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

    /// For clients that stay: 5 s, 10 s and so on up to 600 s.
    #[must_use]
    pub fn persistent() -> Self {
        Self { initial: Duration::from_secs(5), max: Duration::from_secs(600) }
    }

    /// The delay that follows `previous`, without jitter; after `None`, the delay before the first try.
    #[must_use]
    pub fn after(&self, previous: Option<Duration>) -> Duration {
        previous.map_or(self.initial, |delay| delay.saturating_mul(2)).min(self.max)
    }

    /// The delay after `n` others, without jitter: `min(initial · 2^n, max)`.
    #[must_use]
    pub fn nth(&self, n: u32) -> Duration {
        // 96 doublings make the longest duration out of the shortest.
        (0..n.min(96)).fold(self.initial, |delay, _| delay.saturating_mul(2)).min(self.max)
    }

    /// Adds up to a tenth to `delay`, at random.
    #[must_use]
    pub fn with_jitter(delay: Duration) -> Duration {
        // std's hasher has a random seed, which saves a dependency.
        delay.saturating_add(part_of(delay, 10, RandomState::new().hash_one(0)))
    }
}

/// From nothing up to that share of `delay`, by a random number.
pub(super) fn part_of(delay: Duration, percent: u32, random: u64) -> Duration {
    let per_mille = (random % 1001) as u32;
    delay / 100_000 * (percent.min(100) * per_mille)
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
    fn the_nth_delay_is_found_without_those_before() {
        for initial in [Duration::ZERO, Duration::from_nanos(1), Duration::from_millis(7), Duration::MAX] {
            let backoff = Backoff { initial, max: Duration::MAX };
            let mut delay = None;
            for n in 0..200 {
                delay = Some(backoff.after(delay));
                assert_eq!(Some(backoff.nth(n)), delay, "{initial:?}, {n}");
            }
        }
        assert_eq!(Backoff::default().nth(9), Duration::from_secs(5));
    }

    #[test]
    fn jitter_saturates() {
        assert_eq!(Backoff::with_jitter(Duration::MAX).max(Duration::MAX), Duration::MAX);
    }
}
