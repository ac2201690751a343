//! The metrics of breakers, regions and retries.

use super::breaker::{BreakerReason as Why, BreakerState as State, BreakerStats};
use super::regions::RegionState;
use super::retry::RetryStats;
use crate::metric::metrics;

metrics! {
    "millpond_breaker": BreakerStats as stats {
        Gauge "state" [state]
            "The state: 1 for the present one, 0 for the others."
            {
                [State::Closed.as_str()] = u64::from(stats.state == State::Closed),
                [State::HalfOpen.as_str()] = u64::from(stats.state == State::HalfOpen),
                [State::Open.as_str()] = u64::from(stats.state == State::Open),
            }
        Counter "changes_total" [to, reason]
            "Changes of the state, by the new one and by why."
            {
                [State::Open.as_str(), Why::FailuresInARow.as_str()] = stats.opened_by_failures,
                [State::Open.as_str(), Why::ErrorRate.as_str()] = stats.opened_by_error_rate,
                [State::Open.as_str(), Why::ProbeFailed.as_str()] = stats.opened_by_probe,
                [State::HalfOpen.as_str(), Why::WaitOver.as_str()] = stats.half_opened,
                [State::Closed.as_str(), Why::ProbesSucceeded.as_str()] = stats.closed,
            }
        Counter "refused_total" []
            "Requests that it refused."
            { [] = stats.refused }
    }
}

metrics! {
    "millpond_region": RegionState as region {
        Gauge "state" [region, state]
            "The state: 1 for the present one, 0 for the others."
            {
                [region.name.as_str(), "serving"] = u64::from(region.is_current && !region.is_ejected),
                [region.name.as_str(), "standby"] = u64::from(!region.is_current && !region.is_ejected),
                [region.name.as_str(), "ejected"] = u64::from(region.is_ejected),
            }
        Gauge "score_seconds" [region]
            "The mean latency and the penalty for errors, absent as long as too little is known."
            for score in region.score.as_slice() => { [region.name.as_str()] = *score }
        Counter "requests_total" [region, reason]
            "Requests that were sent to a region, by why it was chosen."
            {
                [region.name.as_str(), "best"] = region.best,
                [region.name.as_str(), "returning"] = region.returning,
                [region.name.as_str(), "probe"] = region.probes,
                [region.name.as_str(), "sticky"] = region.sticky,
                [region.name.as_str(), "fallback"] = region.fallback,
                [region.name.as_str(), "last_resort"] = region.last_resort,
            }
        Counter "ejections_total" [region]
            "How often a region was ejected."
            { [region.name.as_str()] = region.ejections }
    }
}

metrics! {
    "millpond": RetryStats as stats {
        Counter "retries_total" [outcome]
            "Failed requests that were sent again, and those that were not, by why."
            {
                ["sent"] = stats.sent,
                ["not_replayable"] = stats.not_replayable,
                ["attempts"] = stats.attempts,
                ["deadline"] = stats.deadline,
                ["budget"] = stats.budget,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::integers;

    #[test]
    fn every_count_of_a_breaker_is_shown() {
        let stats = BreakerStats {
            state: State::HalfOpen,
            opened_by_failures: 101,
            opened_by_error_rate: 102,
            opened_by_probe: 103,
            half_opened: 104,
            closed: 105,
            refused: 106,
        };
        assert_eq!(integers(&stats, ""), [0, 0, 1, 101, 102, 103, 104, 105, 106]);
    }

    #[test]
    fn every_count_of_a_region_is_shown() {
        let region = RegionState {
            name: "north".into(),
            is_current: true,
            is_ejected: true,
            score: None,
            best: 101,
            returning: 102,
            probes: 103,
            sticky: 104,
            fallback: 105,
            last_resort: 106,
            ejections: 107,
        };
        assert_eq!(integers(&region, ""), [0, 0, 1, 101, 102, 103, 104, 105, 106, 107]);
    }

    #[test]
    fn every_count_of_retries_is_shown() {
        let stats = RetryStats { sent: 101, not_replayable: 102, attempts: 103, deadline: 104, budget: 105 };
        assert_eq!(integers(&stats, ""), [101, 102, 103, 104, 105]);
    }
}
