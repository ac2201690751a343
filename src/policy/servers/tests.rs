//! Servers that are chosen, fail, and come back.

use proptest::prelude::*;

use super::*;
use Outcome::{Cancelled, Failure, Success, Timeout};

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn servers(balance: Balance, count: usize) -> Servers {
    let names = (0..count).map(|number| (format!("tcp://10.0.0.{number}:80"), 1));
    Servers::new(ServerPolicy::default().balance(balance), names)
}

/// Where the next connection goes, if none is open.
fn next(servers: &mut Servers, now: Instant, source: u64) -> usize {
    servers.pick(now, Some(source), |_| Some(0)).unwrap().server
}

fn fail(servers: &mut Servers, now: Instant, server: usize, times: u32) -> Option<ServerChange> {
    (0..times).filter_map(|_| servers.record(now, server, MILLISECOND, Failure)).last()
}

/// A world of connections that all stay open.
fn fill(servers: &mut Servers, now: Instant, open: &mut [usize], connections: usize) {
    for _ in 0..connections {
        let pick = servers.pick(now, None, |server| Some(open[server])).unwrap();
        open[pick.server] += 1;
    }
}

#[test]
fn each_balance_has_a_word() {
    assert_eq!("least-connections".parse(), Ok(Balance::LeastConnections));
    assert_eq!("in-order".parse(), Ok(Balance::InOrder));
    assert_eq!("source-hash".parse(), Ok(Balance::SourceHash));
    assert_eq!("random".parse::<Balance>(), Err(ParseBalanceError));
}

#[test]
fn connections_are_even() {
    let mut open = [0; 3];
    fill(&mut servers(Balance::LeastConnections, 3), Instant::now(), &mut open, 30);
    assert_eq!(open, [10; 3]);
}

#[test]
fn idle_servers_take_turns() {
    let (mut servers, now) = (servers(Balance::LeastConnections, 3), Instant::now());
    let mut picks: Vec<_> = (0..3).map(|_| next(&mut servers, now, 0)).collect();
    picks.sort_unstable();
    assert_eq!(picks, [0, 1, 2]);
}

#[test]
fn connections_are_in_the_ratio_of_the_weights() {
    let mut servers = Servers::new(ServerPolicy::default(), [("a", 3), ("b", 1)]);
    let mut open = [0; 2];
    fill(&mut servers, Instant::now(), &mut open, 40);
    assert_eq!(open, [30, 10]);
}

#[test]
fn the_first_gets_all_in_order() {
    let (mut servers, now) = (servers(Balance::InOrder, 3), Instant::now());
    assert!((0..100).all(|_| next(&mut servers, now, 0) == 0));
}

#[test]
fn the_next_gets_all_while_the_first_is_ejected() {
    let (mut servers, now) = (servers(Balance::InOrder, 3), Instant::now());
    fail(&mut servers, now, 0, 3);
    assert!((0..100).all(|_| next(&mut servers, now, 0) == 1));
}

#[test]
fn a_source_stays() {
    let (mut servers, now) = (servers(Balance::SourceHash, 5), Instant::now());
    let first = next(&mut servers, now, 7);
    assert!((0..100).all(|_| next(&mut servers, now, 7) == first));
}

#[test]
fn sources_are_spread() {
    let (mut servers, now) = (servers(Balance::SourceHash, 4), Instant::now());
    let mut clients = [0; 4];
    for source in 0..4000_u64 {
        clients[next(&mut servers, now, stable_hash(&source.to_le_bytes()))] += 1;
    }
    assert!(clients.iter().all(|clients| (850..1150).contains(clients)), "{clients:?}");
}

#[test]
fn the_hash_stays_the_same() {
    // Two proxies of different versions have to agree.
    assert_eq!(stable_hash(&[192, 0, 2, 1]), 0x1e00_e9a1_2f82_49cb);
}

#[test]
fn failures_in_a_row_eject() {
    let (mut servers, now) = (servers(Balance::LeastConnections, 2), Instant::now());
    assert_eq!(fail(&mut servers, now, 0, 2), None);
    servers.record(now, 0, MILLISECOND, Success);
    assert_eq!(fail(&mut servers, now, 0, 2), None);
    assert_eq!(fail(&mut servers, now, 0, 1), Some(ServerChange::Ejected(Some(10 * SECOND))));
}

#[test]
fn what_is_not_of_the_server_does_not_eject() {
    let (mut servers, now) = (servers(Balance::LeastConnections, 2), Instant::now());
    assert!((0..100).all(|_| servers.record(now, 0, MILLISECOND, Cancelled).is_none()));
}

#[test]
fn one_failure_after_an_ejection_ejects_for_twice_as_long() {
    let (mut servers, mut now) = (servers(Balance::LeastConnections, 2), Instant::now());
    fail(&mut servers, now, 0, 3);
    for seconds in [20, 40, 80, 160, 300, 300] {
        now += 301 * SECOND;
        let ejected = servers.record(now, 0, MILLISECOND, Timeout);
        assert_eq!(ejected, Some(ServerChange::Ejected(Some(seconds * SECOND))));
    }
}

#[test]
fn what_began_before_the_ejection_is_no_news() {
    let (mut servers, now) = (servers(Balance::LeastConnections, 2), Instant::now());
    fail(&mut servers, now, 0, 3);
    assert_eq!(servers.record(now + SECOND, 0, 2 * SECOND, Success), None);
    assert_eq!(servers.standing(now + SECOND, 0), ServerStanding::Ejected);
}

#[test]
fn a_server_that_serves_again_gets_its_share_back_slowly() {
    let (mut servers, now) = (servers(Balance::LeastConnections, 2), Instant::now());
    let mut open = [0, 0];
    fail(&mut servers, now, 0, 3);
    fill(&mut servers, now, &mut open, 100);
    assert_eq!(open, [0, 100]);
    // Its share begins at a tenth, and is a half after half of the time.
    fill(&mut servers, now + 10 * SECOND, &mut open, 1);
    fill(&mut servers, now + 20 * SECOND, &mut open, 1000);
    assert!((360..=370).contains(&open[0]), "{open:?}");
    fill(&mut servers, now + 30 * SECOND, &mut open, 1000);
    assert!(open[0].abs_diff(open[1]) <= 1, "{open:?}");
}

#[test]
fn a_primary_gets_its_share_back_slowly() {
    let (mut servers, now) = (servers(Balance::InOrder, 2), Instant::now());
    fail(&mut servers, now, 0, 3);
    let mut share = |now| (0..1000).filter(|_| next(&mut servers, now, 0) == 0).count();
    assert!(share(now + 10 * SECOND).abs_diff(100) <= 2);
    assert!(share(now + 20 * SECOND).abs_diff(500) <= 2);
    assert_eq!(share(now + 30 * SECOND), 1000);
}

#[test]
fn the_last_resorts_take_turns() {
    let (mut servers, now) = (servers(Balance::InOrder, 3), Instant::now());
    for server in 0..3 {
        fail(&mut servers, now, server, 3);
    }
    let picks: Vec<_> = (0..6).map(|_| servers.pick(now, None, |_| Some(0)).unwrap()).collect();
    assert!(picks.iter().all(|pick| pick.is_last_resort));
    assert_eq!(Vec::from_iter(picks.iter().map(|pick| pick.server)), [0, 1, 2, 0, 1, 2]);
}

#[test]
fn a_last_resort_that_serves_is_readmitted() {
    let (mut servers, now) = (servers(Balance::InOrder, 2), Instant::now());
    for server in 0..2 {
        fail(&mut servers, now, server, 3);
    }
    let change = servers.record(now + SECOND, 1, MILLISECOND, Success);
    assert_eq!(change, Some(ServerChange::Readmitted));
    assert_eq!(next(&mut servers, now + SECOND, 0), 1);
}

#[test]
fn none_is_left_once_all_were_tried() {
    let mut servers = servers(Balance::LeastConnections, 3);
    assert_eq!(servers.pick(Instant::now(), None, |_| None), None);
}

#[test]
fn failed_checks_eject_until_checks_succeed() {
    let (mut servers, now) = (servers(Balance::InOrder, 2), Instant::now());
    assert_eq!((servers.check(now, 0, false), servers.check(now, 0, false)), (None, None));
    assert_eq!(servers.check(now, 0, false), Some(ServerChange::Ejected(None)));
    let later = now + 100_000 * SECOND;
    assert_eq!(next(&mut servers, later, 0), 1);
    assert_eq!(servers.check(later, 0, true), None);
    assert_eq!(servers.check(later, 0, true), Some(ServerChange::Readmitted));
    next(&mut servers, later, 0);
    assert_eq!(servers.standing(later, 0), ServerStanding::Returning);
}

#[test]
fn successful_checks_end_an_ejection_by_failures() {
    let (mut servers, now) = (servers(Balance::InOrder, 2), Instant::now());
    fail(&mut servers, now, 0, 3);
    servers.check(now, 0, true);
    assert_eq!(servers.check(now, 0, true), Some(ServerChange::Readmitted));
}

#[test]
fn checks_that_have_ended_keep_nobody_out() {
    let (mut servers, now) = (servers(Balance::InOrder, 2), Instant::now());
    for _ in 0..3 {
        servers.check(now, 0, false);
    }
    servers.forget_checks(now);
    assert_eq!(servers.standing(now, 0), ServerStanding::Serving);
}

#[test]
fn a_server_keeps_its_standing_over_a_reload() {
    let now = Instant::now();
    let mut servers = Servers::new(ServerPolicy::default(), [("a", 1), ("b", 1)]);
    fail(&mut servers, now, 1, 3);
    servers.replace(now, ServerPolicy::default(), [("b", 1), ("c", 1)]);
    assert_eq!(servers.standing(now, 0), ServerStanding::Ejected);
    assert_eq!(servers.standing(now, 1), ServerStanding::Serving);
}

proptest! {
    #[test]
    fn only_the_clients_of_a_server_that_leaves_move(count in 2_usize..8, gone in 0_usize..8, seed: u64) {
        let (mut servers, now) = (servers(Balance::SourceHash, count), Instant::now());
        let gone = gone % count;
        let sources: Vec<u64> = (0..200).map(|source| mix(seed.wrapping_add(source))).collect();
        let before: Vec<_> = sources.iter().map(|source| next(&mut servers, now, *source)).collect();
        fail(&mut servers, now, gone, 3);
        for (source, before) in sources.iter().zip(before) {
            let after = next(&mut servers, now, *source);
            prop_assert_ne!(after, gone);
            prop_assert!(after == before || before == gone);
        }
    }

    /// Whatever happens, a connection gets a server that it has not tried, and one that is not ejected if there is any.
    #[test]
    fn a_connection_always_gets_the_best_that_there_is(
        balance in prop::sample::select(vec![Balance::LeastConnections, Balance::InOrder, Balance::SourceHash]),
        count in 1_usize..6,
        events in prop::collection::vec((0_usize..6, 0_u8..5, 0_u64..20_000), 1..200),
    ) {
        let (mut servers, mut now) = (servers(balance, count), Instant::now());
        for (server, event, millis) in events {
            let server = server % count;
            now += Duration::from_millis(millis);
            let _change = match event {
                0 => servers.record(now, server, MILLISECOND, Success),
                1 => servers.record(now, server, MILLISECOND, Failure),
                2 => servers.check(now, server, true),
                3 => servers.check(now, server, false),
                _ => None,
            };
            // It has tried `server`, if that is not the only one.
            let is_left = |index: usize| index != server || count == 1;
            let pick = servers.pick(now, Some(millis), |index| is_left(index).then_some(0)).unwrap();
            let ejected = |index: usize| servers.standing(now, index) == ServerStanding::Ejected;
            prop_assert!(is_left(pick.server));
            prop_assert_eq!(pick.is_last_resort, (0..count).filter(|one| is_left(*one)).all(ejected));
            prop_assert_eq!(pick.is_last_resort, ejected(pick.server));
        }
    }
}
