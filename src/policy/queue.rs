//! Who is refused when a queue is full.

use super::setters;

/// How long a queue may be, and who leaves when it is full.
///
/// | setting | default | reason |
/// |---|---|---|
/// | `max_waiting` | 1000 | a server that answers 1000 per second makes the last one wait for a second; of a slower one, allow fewer |
/// | `shed` | the newest | no client loses the time that it has waited |
///
/// # Examples
///
/// ```
/// use millpond::policy::{Arrival, QueuePolicy, Shed};
///
/// let queue = QueuePolicy::default().max_waiting(100).shed(Shed::Oldest);
/// assert_eq!(queue.on_arrival(99), Arrival::Joins);
/// assert_eq!(queue.on_arrival(100), Arrival::ReplacesOldest);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueuePolicy {
    /// The most that wait. With 0, nobody waits.
    pub max_waiting: usize,
    /// Who is refused when the queue is full.
    pub shed: Shed,
}

/// Who is refused when a queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shed {
    /// Those that have just come. Those that wait keep their places, and learn nothing: for clients that are patient.
    Newest,
    /// The one that has waited longest. Its client is the likeliest to have left, and in an overload the waits stay short:
    /// for clients with a deadline.
    Oldest,
}

/// What to do with one that comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// It waits.
    Joins,
    /// It is refused.
    IsRefused,
    /// It waits, and the one that has waited longest is refused.
    ReplacesOldest,
}

impl Default for QueuePolicy {
    fn default() -> Self {
        Self { max_waiting: 1000, shed: Shed::Newest }
    }
}

impl QueuePolicy {
    setters! {
        max_waiting: usize,
        shed: Shed,
    }

    /// What to do with one that comes while `waiting` wait.
    #[must_use]
    pub fn on_arrival(&self, waiting: usize) -> Arrival {
        match self.shed {
            _ if waiting < self.max_waiting => Arrival::Joins,
            Shed::Oldest if waiting > 0 => Arrival::ReplacesOldest,
            _ => Arrival::IsRefused,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nobody_waits_in_a_queue_of_nothing() {
        for shed in [Shed::Oldest, Shed::Newest] {
            assert_eq!(QueuePolicy::default().max_waiting(0).shed(shed).on_arrival(0), Arrival::IsRefused);
        }
    }

    proptest! {
        #[test]
        fn the_queue_is_never_longer_and_keeps_the_right_ones(
            max in 0_usize..20,
            oldest in any::<bool>(),
            arrivals in 0_usize..60,
        ) {
            let policy = QueuePolicy::default().max_waiting(max).shed(if oldest { Shed::Oldest } else { Shed::Newest });
            let mut queue = VecDeque::new();
            for number in 0..arrivals {
                match policy.on_arrival(queue.len()) {
                    Arrival::Joins => queue.push_back(number),
                    Arrival::IsRefused => {}
                    Arrival::ReplacesOldest => {
                        queue.pop_front();
                        queue.push_back(number);
                    }
                }
                prop_assert!(queue.len() <= max);
            }
            let first = if oldest { arrivals.saturating_sub(max) } else { 0 };
            prop_assert_eq!(queue, (first..(first + max).min(arrivals)).collect::<VecDeque<_>>());
        }
    }
}
