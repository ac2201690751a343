//! Sampling and recording. (`tests/wiping.rs` reads wiped storage, which needs unsafe code.)

use std::num::NonZeroU32;
use std::time::Duration;

use super::*;

fn hooked(builder: impl FnOnce(BufferPoolConfigBuilder) -> BufferPoolConfigBuilder) -> BufferPool {
    BufferPool::new(builder(BufferPoolConfig::messages().to_builder()).build().unwrap())
}

#[test]
fn the_report_names_the_longest_holder_and_the_bytes_that_slices_pin() {
    assert!(BufferPool::new(BufferPoolConfig::messages()).holders().is_none());
    let pool = hooked(|builder| builder.sample_one_in(NonZeroU32::MIN));
    let old = pool.acquire(1000);
    let line = line!() - 1;
    thread::sleep(Duration::from_millis(2));
    let mut read = pool.acquire(60_000);
    read.resize(60_000, 1);
    let whole = read.into_shared();
    let header = whole.slice(..30);
    let both = pool.holders().unwrap();
    drop(whole);
    let report = pool.holders().unwrap();
    assert_eq!((report.every, report.holders.len()), (1, 2), "{report}");
    let (first, second) = (&report.holders[0], &report.holders[1]);
    assert_eq!((first.caller.line(), first.samples, first.storage_bytes), (line, 1, 1024), "{report}");
    assert!(first.caller.file().ends_with("hooks.rs") && first.longest > second.longest, "{report}");
    assert_eq!(both.holders[1].pinned_bytes, 65_536 - 60_030);
    assert_eq!((second.storage_bytes, second.pinned_bytes), (65_536, 65_506), "{report}");

    let mut header = header;
    assert!(header.detach(8), "30 bytes of 64 KiB");
    assert_eq!(&header[..], [1; 30]);
    assert_eq!(header.storage_len(), 128);
    let report = pool.holders().unwrap();
    assert_eq!(report.holders.iter().map(|holder| holder.storage_bytes).sum::<u64>(), 1024 + 128, "{report}");
    drop((old, header));
    assert!(pool.holders().unwrap().holders.is_empty());
}

#[test]
fn frozen_bytes_are_held_until_they_are_found_free() {
    let pool = hooked(|builder| builder.sample_one_in(NonZeroU32::new(2).unwrap()));
    let frozen: Vec<Bytes> = (0..10)
        .map(|_| {
            let mut buffer = pool.acquire(1000);
            buffer.extend_from_slice(b"hello");
            buffer.freeze()
        })
        .collect();
    let report = pool.holders().unwrap();
    assert_eq!((report.holders[0].samples, report.holders[0].pinned_bytes), (5, 5 * (1024 - 5)), "{report}");
    drop(frozen);
    pool.flush_thread_cache();
    assert!(pool.holders().unwrap().holders.is_empty());
}

#[test]
fn the_suggestion_fits_the_requested_sizes() {
    assert_eq!(BufferPool::new(BufferPoolConfig::messages()).stats().suggest(), None);
    let pool = hooked(|builder| builder.record_sizes(true));
    let held: Vec<_> = (0..10).map(|_| pool.acquire(130)).collect();
    for _ in 0..90 {
        drop(pool.acquire(130));
    }
    drop(pool.acquire(5000));
    drop(pool.acquire(100_000));
    let stats = pool.stats();
    let requested = stats.requested.iter().map(|size| (size.bytes, size.acquires));
    assert!(requested.eq([(130, 100), (5000, 1), (100_000, 1)]), "{:?}", stats.requested);
    let suggestion = stats.suggest().unwrap();
    assert_eq!(suggestion.acquires, 102);
    assert_eq!(
        suggestion.classes,
        [(130, 11), (5000, 1), (100_000, 1)].map(ClassConfig::from),
        "{suggestion}"
    );
    assert!(suggestion.waste_now > 1.0 && suggestion.waste_then == 1.0, "{suggestion}");
    assert!(suggestion.config().is_ok());
    drop(held);

    let many = hooked(|builder| builder.record_sizes(true));
    (1..2000).for_each(|size| drop(many.acquire(size)));
    let suggestion = many.stats().suggest().unwrap();
    assert_eq!(suggestion.classes.len(), 8, "{suggestion}");
    assert_eq!(suggestion.classes.last().unwrap().size, 1999, "{suggestion}");
    assert!(suggestion.waste_then < suggestion.waste_now, "{suggestion}");
}
