//! The table of sources against a naive one, under floods, and from many threads.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::thread;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn address(number: u32) -> IpAddr {
    Ipv4Addr::from(number).into()
}

fn connections(max: u32) -> SourceLimits {
    SourceLimits::default().max_connections(Some(max))
}

fn rate(rate: u32) -> SourceLimits {
    SourceLimits::default().rate(Some(rate))
}

fn source(number: u32) -> Source {
    SourceLimits::default().source_of(address(number))
}

#[test]
fn a_source_has_as_many_connections_as_it_may_and_others_are_free() {
    let sources = Sources::default();
    let mut held: Vec<_> = (0..3).map(|_| sources.admit(&connections(3), address(1)).unwrap()).collect();
    assert_eq!(sources.admit(&connections(3), address(1)).err(), Some(SourceLimit::Connections));
    sources.admit(&connections(3), address(2)).expect("another source");
    held.pop();
    held.push(sources.admit(&connections(3), address(1)).expect("one has ended"));
    // A reload may change the limits.
    assert_eq!(sources.admit(&connections(2), address(1)).err(), Some(SourceLimit::Connections));
    held.push(sources.admit(&connections(4), address(1)).expect("another limit"));
    drop(held);
    assert_eq!(sources.len(), 0);
}

#[test]
fn without_a_limit_nothing_is_counted() {
    let sources = Sources::default();
    let permit = sources.admit(&SourceLimits::default(), address(1)).unwrap();
    assert!(permit.is_none());
    assert_eq!(sources.len(), 0);
}

#[test]
fn limits_of_zero_admit_nobody() {
    let sources = Sources::default();
    assert_eq!(sources.admit(&connections(0), address(1)).err(), Some(SourceLimit::Connections));
    assert_eq!(sources.admit(&rate(0), address(1)).err(), Some(SourceLimit::Rate));
    assert_eq!(sources.len(), 0);
}

#[test]
fn a_source_opens_as_many_per_second_as_it_may() {
    const RATE: u32 = 5;
    let mut shard = Shard::default();
    let mut opened = |from: u64, to: u64| {
        let tries = (from..to).step_by(SECOND as usize / 1000);
        tries.filter(|now| shard.admit(source(1), &rate(RATE), *now).is_ok()).count() as u32
    };
    assert_eq!(opened(0, 1), 1);
    assert_eq!(opened(1, SECOND / 10), RATE - 1, "the rest of the burst");
    assert_eq!(opened(SECOND / 10, 10 * SECOND + SECOND / 10), 10 * RATE);
    assert_eq!(opened(20 * SECOND, 20 * SECOND + SECOND / 10), RATE, "a burst after a rest");
}

#[test]
fn a_refused_connection_uses_none_of_the_rate() {
    let mut shard = Shard::default();
    shard.admit(source(1), &rate(1), 0).unwrap();
    for now in 1..1000 {
        assert_eq!(shard.admit(source(1), &rate(1), now), Err(SourceLimit::Rate));
    }
    shard.admit(source(1), &rate(1), SECOND).unwrap();
}

#[test]
fn a_source_that_rests_keeps_its_rate_and_is_then_forgotten() {
    let mut shard = Shard::default();
    shard.admit(source(1), &rate(1), 0).unwrap();
    shard.ended(source(1), 1);
    assert_eq!(shard.admit(source(1), &rate(1), SECOND / 2), Err(SourceLimit::Rate));
    shard.admit(source(2), &rate(1), SWEEP_INTERVAL).unwrap();
    assert!(!shard.sources.contains_key(&source(1)));
    shard.ended(source(2), SWEEP_INTERVAL + SECOND);
    assert!(shard.sources.is_empty(), "its whole rate was free");
}

/// Bytes of the table of a shard: a power of two of slots, each with an entry and a byte.
fn table_bytes(shard: &Shard) -> usize {
    (shard.sources.capacity() * 8 / 7).next_power_of_two() * (size_of::<(Source, State)>() + 1)
}

#[test]
fn a_flood_of_sources_takes_bounded_memory_and_forgets_nobody_with_a_connection() {
    const HELD: u32 = 100;
    let limits = connections(1).rate(Some(1));
    let mut shard = Shard::default();
    for number in 0..HELD {
        shard.admit(source(number), &limits, 0).unwrap();
    }
    let mut most = 0;
    // All within a second, so that none has rested enough.
    for number in HELD..1_000_000 {
        let now = u64::from(number);
        shard.admit(source(number), &limits, now).unwrap();
        shard.ended(source(number), now);
        most = most.max(shard.sources.len());
    }
    assert!(most <= HELD as usize + MAX_RESTING, "{most} sources");
    assert!(table_bytes(&shard) <= 8192 * 33, "{} bytes", table_bytes(&shard));
    for number in 0..HELD {
        assert_eq!(shard.admit(source(number), &limits, SECOND), Err(SourceLimit::Connections));
    }
    // Afterwards the memory is freed.
    shard.admit(source(HELD), &limits, 20 * SECOND).unwrap();
    assert_eq!(shard.sources.len(), HELD as usize + 1);
    assert!(table_bytes(&shard) <= 256 * 33, "{} bytes", table_bytes(&shard));
}

#[test]
fn those_who_used_most_of_their_rate_are_forgotten_last() {
    let limits = rate(10);
    let mut shard = Shard::default();
    let greedy = source(0);
    for _ in 0..10 {
        shard.admit(greedy, &limits, 0).unwrap();
        shard.ended(greedy, 0);
    }
    for number in 1..100_000 {
        shard.admit(source(number), &limits, 1).unwrap();
        shard.ended(source(number), 1);
    }
    assert_eq!(shard.admit(greedy, &limits, 1), Err(SourceLimit::Rate));
}

#[test]
fn all_shards_share_the_sources() {
    let sources = Sources::default();
    let held: Vec<_> =
        (0..1000).map(|number| sources.admit(&connections(1), address(number)).unwrap()).collect();
    let full = sources.0.shards.iter().filter(|shard| !shard.lock().sources.is_empty()).count();
    assert_eq!(full, SHARDS);
    assert_eq!(sources.len(), held.len());
}

#[test]
fn counts_are_exact_when_many_threads_connect() {
    const THREADS: u32 = 4;
    const ROUNDS: u32 = 5000;
    let sources = Sources::default();
    let limits = connections(THREADS);
    let work = |thread: u32| {
        let sources = sources.clone();
        move || {
            for round in 0..ROUNDS {
                let common = sources.admit(&limits, address(0));
                let own =
                    sources.admit(&limits, Ipv6Addr::from(u128::from(thread * ROUNDS + round) << 64).into());
                common.expect("one per thread");
                own.unwrap();
            }
        }
    };
    let threads: Vec<_> = (1..=THREADS).map(|thread| thread::spawn(work(thread))).collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(sources.len(), 0);
}

#[derive(Clone, Copy, Debug)]
enum Operation {
    Admit { source: u32, max: u32, rate: u32 },
    End { which: usize },
    Wait { nanoseconds: u64 },
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        4 => (0..4_u32, 1..4_u32, 1..6_u32).prop_map(|(source, max, rate)| Operation::Admit { source, max, rate }),
        3 => any::<usize>().prop_map(|which| Operation::End { which }),
        2 => (0..2 * SECOND).prop_map(|nanoseconds| Operation::Wait { nanoseconds }),
        1 => Just(Operation::Wait { nanoseconds: SWEEP_INTERVAL }),
    ]
}

proptest! {
    /// A naive table keeps all sources for ever, and how long each has to rest.
    #[test]
    fn it_decides_as_a_table_that_forgets_nobody(operations in vec(operation(), 1..200)) {
        let (mut shard, mut now) = (Shard::default(), 0);
        let (mut open, mut debts): (Vec<u32>, _) = (Vec::new(), HashMap::<u32, u64>::new());
        for operation in operations {
            match operation {
                Operation::Admit { source: number, max, rate } => {
                    let mine = open.iter().filter(|other| **other == number).count();
                    let debt = debts.entry(number).or_default();
                    let cost = SECOND / u64::from(rate);
                    let expected = if mine >= max as usize {
                        Err(SourceLimit::Connections)
                    } else if *debt + cost > SECOND {
                        Err(SourceLimit::Rate)
                    } else {
                        *debt += cost;
                        open.push(number);
                        Ok(())
                    };
                    let limits = connections(max).rate(Some(rate));
                    prop_assert_eq!(shard.admit(source(number), &limits, now), expected);
                }
                Operation::End { which } if !open.is_empty() => {
                    let number = open.swap_remove(which % open.len());
                    shard.ended(source(number), now);
                }
                Operation::End { .. } => {}
                Operation::Wait { nanoseconds } => {
                    now += nanoseconds;
                    debts.values_mut().for_each(|debt| *debt = debt.saturating_sub(nanoseconds));
                }
            }
            let mut with_connections = open.clone();
            with_connections.sort_unstable();
            with_connections.dedup();
            prop_assert_eq!(shard.open, with_connections.len());
        }
    }
}
