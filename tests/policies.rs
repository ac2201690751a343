//! The policies against simpler rules, in virtual time: what they gain, and that they do not oscillate.

#[expect(dead_code, reason = "what only the charts of the bench show")]
mod outages;

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use outages::{Report, Scenario};

static SCENARIOS: LazyLock<Vec<Scenario>> = LazyLock::new(outages::play);

/// A scenario, the report of the policies, and those of the other rules.
fn played(name: &str) -> (&'static Scenario, &'static Report, &'static [Report]) {
    let scenario = SCENARIOS.iter().find(|scenario| scenario.name == name).unwrap();
    let (policies, others) = scenario.reports.split_first().unwrap();
    (scenario, policies, others)
}

#[test]
fn an_outage_of_a_region_costs_two_seconds() {
    let (scenario, policies, others) = played("outage");
    assert!(policies.reaction(scenario.from).unwrap() <= 2);
    // Those that were sent before the first time-out, and probes.
    assert!(policies.lost() < 250, "{}", policies.lost());
    assert!(policies.lost() * 50 < others[0].lost(), "{}", others[0].lost());
    assert!(policies.lost() < others[1].lost(), "{}", others[1].lost());
}

#[test]
fn a_slow_region_is_left_at_once_and_without_turns() {
    let (scenario, policies, others) = played("slow region");
    assert!(policies.reaction(scenario.from).unwrap() <= 2);
    for other in others {
        assert!(policies.changes * 10 < other.changes, "{}", other.changes);
    }
}

#[test]
fn a_region_that_fails_fast_does_not_attract() {
    let (scenario, policies, others) = played("fast failures");
    assert!(policies.reaction(scenario.from).unwrap() <= 2);
    for other in others {
        assert!(policies.lost() * 500 < other.lost(), "{}", other.lost());
    }
}

#[test]
fn a_region_is_left_once_and_comes_back_once() {
    for name in ["outage", "slow region", "fast failures"] {
        assert!(played(name).1.changes <= 2, "{name}");
    }
}

#[test]
fn a_server_that_is_back_is_not_kept_down_by_retries() {
    let (scenario, policies, others) = played("herd");
    let [budget, unbudgeted, _] = others else { panic!() };
    assert!(budget.reaction(scenario.from).unwrap() <= 2);
    assert_eq!(unbudgeted.reaction(scenario.from), None);
    // The breaker looks once per minute.
    assert!(policies.reaction(scenario.from).unwrap() <= 60);
    assert!(policies.lost() * 3 < unbudgeted.lost() * 2, "{}", unbudgeted.lost());
}

#[test]
fn a_breaker_that_is_open_for_a_short_time_at_first_misses_a_server_that_restarts_for_as_long() {
    let (scenario, policies, others) = played("restart");
    let [_, short_at_first] = others else { panic!() };
    // Its probes come after 5 and 15 s, and that of the others after 60.
    assert_eq!(short_at_first.reaction(scenario.from), Some(6));
    assert_eq!(policies.reaction(scenario.from), Some(51));
    assert!(short_at_first.connects <= policies.connects + 1, "{}", short_at_first.connects);
}

#[test]
fn a_breaker_that_is_open_for_a_short_time_at_first_gains_nothing_in_a_long_outage() {
    let (scenario, policies, others) = played("herd");
    let [.., short_at_first] = others else { panic!() };
    assert!(short_at_first.reaction(scenario.from) > policies.reaction(scenario.from));
    assert!(short_at_first.reaction(scenario.from).unwrap() <= 60);
}

#[test]
fn a_server_that_is_down_is_hardly_asked() {
    let (_, policies, others) = played("herd");
    assert!(policies.connects * 500 < others[0].connects, "{}", others[0].connects);
    assert!(policies.connects * 10_000 < others[1].connects, "{}", others[1].connects);
}

#[test]
fn a_pool_does_not_grow_beyond_what_its_server_accepts() {
    let (scenario, policies, others) = played("load step");
    let [waits] = others else { panic!() };
    assert!(policies.connects * 10 < waits.connects, "{}", waits.connects);
    assert!(policies.lost() <= waits.lost(), "{} and {}", policies.lost(), waits.lost());
    assert!(policies.reaction(scenario.from) <= waits.reaction(scenario.from));
    assert_eq!(policies.changes, 0);
}

#[test]
fn the_page_has_these_figures() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/results/policies.md");
    let table = outages::table(&SCENARIOS);
    assert!(fs::read_to_string(page).unwrap().contains(&table), "run the bench with --write:\n{table}");
}
