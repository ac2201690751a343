//! The metrics of layers. Those of breakers, regions and retries are their policies' own.

use super::bytes::ByteLimitState;
use super::deadline::DeadlineStats;
use super::fallback::FallbackStats;
use super::limit::LimitState;
use super::rate::RateLimitStats;
use crate::metric::metrics;

metrics! {
    "millpond_concurrency_limit": LimitState as state {
        Gauge "requests" [state]
            "The most requests that may be in flight, those that are, and those that wait."
            {
                ["limit"] = state.limit,
                ["in_flight"] = state.in_flight,
                ["waiting"] = state.waiting,
            }
        Counter "refused_total" [reason]
            "Requests that were refused because the queue was full: the newest, or the oldest."
            {
                ["queue_full"] = state.queue_full,
                ["shed"] = state.shed,
            }
    }
}

metrics! {
    "millpond_rate_limit": RateLimitStats as stats {
        Counter "requests_total" [outcome]
            "Requests that the limit has let through or refused."
            {
                ["allowed"] = stats.allowed,
                ["refused"] = stats.refused,
            }
    }
}

metrics! {
    "millpond_byte_limit": ByteLimitState as state {
        Gauge "bytes" [state]
            "The bytes that bodies may hold, and those that they hold."
            {
                ["limit"] = state.limit,
                ["held"] = state.held,
            }
        Counter "refused_total" []
            "Requests that were refused because bodies held too many."
            { [] = state.refused }
    }
}

metrics! {
    "millpond_deadline": DeadlineStats as stats {
        Counter "expired_total" []
            "Requests whose deadline came before their response."
            { [] = stats.expired }
    }
}

metrics! {
    "millpond_fallback": FallbackStats as stats {
        Counter "answers_total" []
            "Answers in the place of others."
            { [] = stats.answers }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::integers;

    #[test]
    fn every_count_of_a_limit_is_shown() {
        let state = LimitState { limit: 1, in_flight: 2, waiting: 3, queue_full: 4, shed: 5 };
        assert_eq!(integers(&state, ""), [1, 2, 3, 4, 5]);
    }

    #[test]
    fn every_count_of_a_rate_is_shown() {
        assert_eq!(integers(&RateLimitStats { allowed: 1, refused: 2 }, ""), [1, 2]);
    }

    #[test]
    fn every_count_of_bytes_is_shown() {
        assert_eq!(integers(&ByteLimitState { limit: 1, held: 2, refused: 3 }, ""), [1, 2, 3]);
    }

    #[test]
    fn the_counts_of_deadlines_and_fallbacks_are_shown() {
        assert_eq!(integers(&DeadlineStats { expired: 1 }, ""), [1]);
        assert_eq!(integers(&FallbackStats { answers: 2 }, ""), [2]);
    }
}
