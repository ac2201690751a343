//! Durations, counted in buckets that double.

use std::array;
use std::ops::Add;
use std::time::Duration;

use crate::sync::statistic::{AtomicUsize, Ordering};

/// Bucket 0 is below 1 µs, and the last is above 2^30 µs, 18 minutes.
const BUCKETS: usize = 32;

/// How long something took, by powers of two of a microsecond.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    buckets: [u64; BUCKETS],
    sum: Duration,
}

impl Histogram {
    /// How many were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The sum of all durations, each rounded down to a microsecond.
    #[must_use]
    pub fn sum(&self) -> Duration {
        self.sum
    }

    /// A duration that the share `quantile` of all did not exceed, at most twice too long, or 1 µs. `None` without any.
    #[must_use]
    pub fn quantile(&self, quantile: f64) -> Option<Duration> {
        let rank = (self.count() as f64 * quantile.clamp(0.0, 1.0)).ceil().max(1.0) as u64;
        let mut seen = 0;
        self.buckets()
            .find(|&(_, count)| {
                seen += count;
                seen >= rank
            })
            .map(|(bound, _)| bound)
    }

    /// Each bucket: the bound below which its durations are, and their number. The last has all longer ones, too.
    pub fn buckets(&self) -> impl Iterator<Item = (Duration, u64)> + '_ {
        self.buckets.iter().enumerate().map(|(bucket, &count)| (Duration::from_micros(1 << bucket), count))
    }
}

impl Add for Histogram {
    type Output = Self;

    fn add(mut self, other: Self) -> Self {
        self.buckets.iter_mut().zip(other.buckets).for_each(|(count, more)| *count += more);
        self.sum = self.sum.saturating_add(other.sum);
        self
    }
}

/// A histogram that many threads count in.
pub(super) struct Recorder {
    buckets: [AtomicUsize; BUCKETS],
    micros: AtomicUsize,
}

impl Default for Recorder {
    fn default() -> Self {
        Self { buckets: array::from_fn(|_| AtomicUsize::new(0)), micros: AtomicUsize::new(0) }
    }
}

impl Recorder {
    pub(super) fn record(&self, duration: Duration) {
        let micros = duration.as_micros();
        let bucket = (u128::BITS - micros.leading_zeros()).min(BUCKETS as u32 - 1);
        if let Some(bucket) = self.buckets.get(bucket as usize) {
            // Ordering: Relaxed, a count.
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        // Ordering: Relaxed, a sum.
        self.micros.fetch_add(usize::try_from(micros).unwrap_or(usize::MAX), Ordering::Relaxed);
    }

    pub(super) fn snapshot(&self) -> Histogram {
        // Ordering: Relaxed, counts and a sum.
        Histogram {
            buckets: array::from_fn(|at| {
                self.buckets.get(at).map_or(0, |count| count.load(Ordering::Relaxed) as u64)
            }),
            sum: Duration::from_micros(self.micros.load(Ordering::Relaxed) as u64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(micros: &[u64]) -> Histogram {
        let recorder = Recorder::default();
        micros.iter().for_each(|&micros| recorder.record(Duration::from_micros(micros)));
        recorder.snapshot()
    }

    #[test]
    fn a_quantile_is_at_most_twice_too_long() {
        let quantile = recorded(&[100; 10]).quantile(0.5).unwrap().as_micros();
        assert!((100..=200).contains(&quantile), "{quantile}");
    }

    #[test]
    fn quantiles_are_of_the_right_durations() {
        let mut durations = vec![3; 98];
        durations.extend([1_000, 1_000]);
        let histogram = recorded(&durations);
        let micros = [0.5, 0.98, 0.99, 1.0].map(|q| histogram.quantile(q).unwrap().as_micros());
        assert_eq!(micros, [4, 4, 1_024, 1_024]);
    }

    #[test]
    fn without_durations_there_is_no_quantile() {
        assert_eq!(Histogram::default().quantile(0.5), None);
    }

    #[test]
    fn the_longest_durations_are_counted() {
        assert_eq!(recorded(&[0, u64::MAX]).count(), 2);
    }
}
