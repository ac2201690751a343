//! Who is refused when a queue is full.

use std::collections::VecDeque;

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
    /// Those that have just come. Those that wait keep their places, and the oldest is served first: for clients that are
    /// patient.
    Newest,
    /// The one that has waited longest, and the newest is served first: for clients with a deadline. In an overload, served in
    /// their order, all would reach the server just before their deadlines, and none would be answered in time.
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

    /// Takes the one to serve next out of those that wait, the oldest of which is at the front.
    pub fn take_next<T>(&self, waiting: &mut VecDeque<T>) -> Option<T> {
        match self.shed {
            Shed::Newest => waiting.pop_front(),
            Shed::Oldest => waiting.pop_back(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nobody_waits_in_a_queue_of_nothing() {
        for shed in [Shed::Oldest, Shed::Newest] {
            assert_eq!(QueuePolicy::default().max_waiting(0).shed(shed).on_arrival(0), Arrival::IsRefused);
        }
    }

    #[test]
    fn the_newest_is_served_first_where_the_oldest_is_shed() {
        for (shed, next) in [(Shed::Newest, 1), (Shed::Oldest, 3)] {
            let policy = QueuePolicy::default().shed(shed);
            assert_eq!(policy.take_next(&mut VecDeque::from([1, 2, 3])), Some(next));
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
