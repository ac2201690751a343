//! Copy on write.

use super::*;

fn shared(pool: &BufferPool, bytes: &[u8]) -> PooledBytes {
    let mut buffer = pool.acquire(bytes.len());
    buffer.extend_from_slice(bytes);
    buffer.into_shared()
}

#[test]
fn the_only_holder_writes_in_place_and_another_copies_first() {
    let pool = pool(&[(16, 4), (64, 4)], 4096);
    let mut first = shared(&pool, b"hello");
    let address = first.as_ptr();
    first.make_mut()[0] = b'j';
    assert_eq!((&first[..], first.as_ptr()), (&b"jello"[..], address));
    let mut second = first.clone();
    second.make_mut()[0] = b'c';
    assert_eq!((&first[..], &second[..]), (&b"jello"[..], &b"cello"[..]));
    assert_eq!((first.as_ptr(), pool.stats().in_use), (address, 2));
    assert!(pool.owns_bytes(&first) && pool.owns_bytes(&second));
    drop(first.clone());
    first.make_mut()[4] = b'y';
    assert_eq!((&first[..], first.as_ptr()), (&b"jelly"[..], address), "the clone is gone");
}

#[test]
fn a_unique_handle_becomes_a_buffer_and_grows_into_the_next_class() {
    let pool = pool(&[(16, 4), (64, 4)], 4096);
    let bytes = shared(&pool, b"0123456789abcdef");
    let clone = bytes.clone();
    let bytes = bytes.try_into_mut().unwrap_err();
    drop(clone);
    let mut buffer = bytes.try_into_mut().unwrap();
    buffer.extend_from_slice(b"!");
    assert_eq!((&buffer[..], buffer.capacity()), (&b"0123456789abcdef!"[..], 64));
    drop(buffer);

    // A slice of the middle, as the only handle: its bytes do not move.
    let whole = shared(&pool, b"0123456789abcdef");
    let middle = whole.slice(4..8);
    let address = middle.as_ptr();
    drop(whole);
    let mut buffer = middle.try_into_mut().unwrap();
    assert_eq!((&buffer[..], buffer.as_ptr(), buffer.capacity()), (&b"4567"[..], address, 12));
    buffer.extend_from_slice(b"89abcdef");
    assert_eq!((buffer.as_ptr(), pool.stats().in_use), (address, 1));
    drop(buffer);
    let again = [pool.acquire(16), pool.acquire(16)];
    assert!(again.iter().all(|buffer| buffer.is_empty() && buffer.capacity() == 16), "whole again");
}

#[test]
fn every_end_of_a_displaced_buffer_makes_it_whole_again() {
    for end in 0..4 {
        let pool = pool(&[(16, 4)], 4096);
        let mut bytes = shared(&pool, b"0123456789abcdef");
        bytes.advance(10);
        let buffer = bytes.try_into_mut().unwrap();
        assert_eq!((&buffer[..], buffer.capacity()), (&b"abcdef"[..], 6));
        match end {
            0 => drop(buffer),
            1 => drop(buffer.freeze()),
            2 => drop(buffer.into_shared()),
            _ => drop(buffer.freeze_tracked()),
        }
        let again = pool.acquire(16);
        assert_eq!((again.capacity(), pool.stats().allocations), (16, 1), "{end}: {}", pool.stats());
    }
}

#[test]
fn tracked_bytes_return_at_their_drop() {
    let pool = pool(&[(16, 4)], 4096);
    let mut buffer = pool.acquire(16);
    buffer.extend_from_slice(b"hello");
    let bytes = buffer.freeze_tracked();
    let clone = bytes.slice(1..);
    drop(bytes);
    assert_eq!((&clone[..], pool.stats().in_use), (&b"ello"[..], 1));
    drop(clone);
    assert_eq!((pool.stats().in_use, pool.stats().frozen), (0, 0));
}

/// `storage_len` of heap storage was what was left of it after the bytes that had been read.
#[test]
fn the_length_of_storage_does_not_depend_on_what_was_read_of_it() {
    let pool = pool(&[(16, 4)], 4096);
    for len in [16, 5000] {
        let mut bytes = shared(&pool, &vec![7; len]);
        bytes.advance(10);
        let again = bytes.try_into_mut().unwrap().into_shared();
        assert_eq!(again.storage_len(), len);
        let mut buffer = again.try_into_mut().unwrap();
        buffer.advance(1);
        assert_eq!(buffer.into_shared().storage_len(), len);
    }
}

#[test]
fn only_small_slices_are_detached() {
    let pool = pool(&[(16, 4), (1024, 4)], 4096);
    let mut half = shared(&pool, &[7; 1000]).slice(..500);
    assert!(!half.detach(8), "as much shows as a copy would cost");
    assert!(!half.detach(1), "no smaller class");
    let mut small = half.slice(..10);
    assert!(!small.detach(0));
    assert!(small.detach(8));
    assert_eq!((&small[..], small.storage_len()), (&[7; 10][..], 16));
    assert!(!small.detach(1), "it is detached");
}

#[test]
fn frozen_bytes_are_not_unique_until_the_pool_is_dropped() {
    let pool = pool(&[(16, 4)], 4096);
    let mut buffer = pool.acquire(16);
    buffer.extend_from_slice(b"hello");
    let bytes = buffer.freeze();
    assert!(!bytes.is_unique());
    drop(pool);
    assert!(bytes.is_unique());
}

#[test]
fn a_pool_owns_the_buffers_of_its_classes() {
    let (one, other) = (pool(&[(16, 4)], 4096), pool(&[(16, 4)], 4096));
    let (mut buffer, large) = (one.acquire(16), one.acquire(17));
    assert!(one.owns(&buffer) && !other.owns(&buffer) && !one.owns(&large));
    buffer.extend_from_slice(b"hello");
    let bytes = buffer.into_shared();
    assert!(one.owns_bytes(&bytes) && !other.owns_bytes(&bytes));
}

#[cfg(feature = "net")]
#[test]
fn handles_of_one_buffer_share_its_storage_and_others_do_not() {
    let pool = pool(&[(16, 4)], 4096);
    let (one, other) = (shared(&pool, b"hello"), shared(&pool, b"hello"));
    assert!(one.shares_storage_with(&one.slice(1..2)));
    assert!(!one.shares_storage_with(&other));
}

#[test]
fn the_last_two_of_many_handles_dropped_at_once_lose_nothing() {
    let pool = pool(&[(64, 64)], 4096);
    for _ in 0..2000 {
        let bytes = shared(&pool, b"hello");
        let clones: Vec<_> = (0..2).map(|_| bytes.clone()).collect();
        drop(bytes);
        let start = std::sync::Barrier::new(2);
        thread::scope(|scope| {
            for clone in clones {
                let start = &start;
                scope.spawn(move || {
                    start.wait();
                    drop(clone);
                });
            }
        });
    }
    pool.trim();
    let stats = pool.stats();
    assert_eq!((stats.returns, stats.in_use), (2000, 0), "{stats}");
}
