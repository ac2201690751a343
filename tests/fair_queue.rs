//! No peer stops another: a thousand peers share a pool whose memory limit is reached, in virtual time.
//!
//! `cargo bench --features cli --bench fair_queue` plays more peers and draws their waits.

mod simulation;

use std::sync::LazyLock;

use simulation::policy::{Pool, StrictFifo};
use simulation::{KINDS, Kind, LARGE_HOLD, MILLISECOND, Report, SECOND, Scenario, Setting, play};

/// Well-behaved peers with small requests.
const SMALL: usize = 500;

/// A crowd in which more peers stall than there is memory for.
fn crowd(setting: &Setting) -> Scenario {
    setting.crowd(SMALL, setting.config.memory_limit() / setting.class_of(setting.sizes.large) + 100)
}

/// The crowds of all settings, each in a pool.
static REPORTS: LazyLock<Vec<(Setting, Report)>> = LazyLock::new(|| {
    let play = |setting: Setting| {
        let report = play(&crowd(&setting), Pool::new(&setting.config));
        (setting, report)
    };
    Setting::all().into_iter().map(play).collect()
});

#[test]
fn all_kinds_of_peers_take_part() {
    for (setting, report) in &*REPORTS {
        for (kind, peers) in KINDS.into_iter().zip(crowd(setting).peers) {
            assert!(report.of(kind).requests() >= peers, "{}: {kind:?}", setting.name);
        }
    }
}

#[test]
fn small_requests_never_wait_for_large_ones() {
    for (setting, report) in &*REPORTS {
        assert_eq!(report.of(Kind::Small).longest(), 0, "{}", setting.name);
    }
}

/// So the simulation can show it.
#[test]
fn in_a_strict_fifo_small_requests_wait_for_large_ones() {
    for setting in Setting::all() {
        let report = play(&crowd(&setting), StrictFifo::new(&setting.config));
        assert!(report.of(Kind::Small).quantile(990) > SECOND, "{}", setting.name);
    }
}

#[test]
fn live_bytes_never_exceed_the_limit() {
    for (setting, report) in &*REPORTS {
        assert!(report.most_live <= setting.config.memory_limit(), "{}", setting.name);
    }
}

#[test]
fn large_requests_are_served_soon_after_the_stalled_peers_return() {
    for (setting, report) in &*REPORTS {
        // Those that neither stall nor drip take turns.
        let peers = crowd(setting).peers;
        let others: usize = peers[1..].iter().sum();
        let places = setting.places(setting.sizes.large) - peers[Kind::Dripper as usize];
        let turns = others.div_ceil(places) as u64;
        let longest = report.of(Kind::Large).longest_after_the_stall;
        assert!(longest <= 2 * turns * LARGE_HOLD, "{}: {} ms", setting.name, longest / MILLISECOND);
    }
}

/// Small peers that together want more than the limit, and a few large ones.
#[test]
fn large_requests_are_served_while_small_ones_want_all_memory() {
    let all = Setting::all();
    let relay = &all[0];
    let small = relay.config.memory_limit() / 1000;
    let scenario =
        Scenario { peers: [small, 20, 0, 0, 0, 0, 0], small_hold: 200 * MILLISECOND, ..relay.crowd(0, 0) };
    let report = play(&scenario, Pool::new(&relay.config));
    let fifo = play(&scenario, StrictFifo::new(&relay.config));
    for kind in [Kind::Small, Kind::Large] {
        let (longest, in_a_fifo) = (report.of(kind).longest(), fifo.of(kind).longest());
        assert!(in_a_fifo > 100 * MILLISECOND, "they wait for memory");
        assert!(longest <= 2 * in_a_fifo, "{kind:?}: {} ms", longest / MILLISECOND);
    }
}
