//! Counts of the last seconds.

use std::time::{Duration, Instant};

const BUCKETS: u32 = 10;

/// What has happened within the last `width`, and how much of it is marked: failures among requests, for example.
///
/// It forgets in steps of a tenth of the width, so it counts at least the last nine tenths.
#[derive(Clone, Debug)]
pub(super) struct Window {
    step: Duration,
    /// When the first bucket, the newest, began.
    since: Option<Instant>,
    buckets: [Counts; BUCKETS as usize],
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) all: u64,
    pub(super) marked: u64,
}

impl Window {
    pub(super) fn new(width: Duration) -> Self {
        Self { step: width / BUCKETS, since: None, buckets: [Counts::default(); BUCKETS as usize] }
    }

    pub(super) fn add(&mut self, now: Instant, counts: Counts) {
        self.advance(now);
        if let Some(newest) = self.buckets.first_mut() {
            *newest = *newest + counts;
        }
    }

    pub(super) fn sum(&mut self, now: Instant) -> Counts {
        self.advance(now);
        self.buckets.iter().fold(Counts::default(), |sum, &counts| sum + counts)
    }

    fn advance(&mut self, now: Instant) {
        let since = *self.since.get_or_insert(now);
        let steps = now.saturating_duration_since(since).as_nanos() / self.step.as_nanos().max(1);
        let steps = u32::try_from(steps).unwrap_or(BUCKETS).min(BUCKETS);
        self.since = if steps < BUCKETS { Some(since + self.step * steps) } else { Some(now) };
        self.buckets.rotate_right(steps as usize);
        self.buckets.iter_mut().take(steps as usize).for_each(|bucket| *bucket = Counts::default());
    }
}

impl std::ops::Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { all: self.all.saturating_add(other.all), marked: self.marked.saturating_add(other.marked) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ONE: Counts = Counts { all: 1, marked: 0 };

    proptest! {
        #[test]
        fn it_counts_at_least_nine_tenths_of_its_width_and_at_most_all(
            gaps in prop::collection::vec(prop_oneof![9 => 0_u64..3000, 1 => 3000_u64..40_000], 1..60),
        ) {
            let begin = Instant::now();
            let mut window = Window::new(Duration::from_secs(10));
            let (mut at, mut times) = (0, Vec::new());
            for gap in gaps {
                at += gap;
                window.add(begin + Duration::from_millis(at), ONE);
                times.push(at);
                let within = |width| times.iter().filter(|&&time| at - time < width).count() as u64;
                let counted = window.sum(begin + Duration::from_millis(at)).all;
                prop_assert!(counted >= within(9000), "{counted} of {}", within(9000));
                prop_assert!(counted <= within(10_001), "{counted} of {}", within(10_001));
            }
        }
    }

    #[test]
    fn what_is_marked_is_counted_apart() {
        let now = Instant::now();
        let mut window = Window::new(Duration::from_secs(1));
        window.add(now, Counts { all: 3, marked: 2 });
        window.add(now, ONE);
        assert_eq!(window.sum(now), Counts { all: 4, marked: 2 });
    }

    #[test]
    fn a_width_of_nothing_counts_the_present() {
        let now = Instant::now();
        let mut window = Window::new(Duration::ZERO);
        window.add(now, ONE);
        assert_eq!(window.sum(now).all, 1);
        assert_eq!(window.sum(now + Duration::from_nanos(10)).all, 0);
    }
}
