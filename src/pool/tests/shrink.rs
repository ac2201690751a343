//! The exchange of a buffer for a smaller one.

use std::future::Future;

use super::*;

const SMALL: usize = 64;
const LARGE: usize = 4096;

fn limited(limit: usize) -> BufferPool {
    let builder = BufferPoolConfig::builder().classes([(SMALL, 4), (LARGE, 4)]);
    BufferPool::new(builder.thread_cache_bytes(0).memory_limit(limit).build().unwrap())
}

fn written(pool: &BufferPool, bytes: &[u8]) -> PooledBuffer {
    let mut buffer = pool.acquire(LARGE);
    buffer.extend_from_slice(bytes);
    buffer
}

#[test]
fn a_buffer_shrinks_to_the_smallest_class_that_holds_its_bytes() {
    let pool = limited(usize::MAX);
    let mut buffer = written(&pool, b"hello");
    buffer.shrink_to_fit();
    assert_eq!((buffer.capacity(), &buffer[..]), (SMALL, &b"hello"[..]));
    assert_eq!(pool.stats().classes[1].idle, 1, "the large one is returned");
}

#[test]
fn a_buffer_whose_bytes_fit_no_smaller_class_stays() {
    let pool = limited(usize::MAX);
    let mut buffer = written(&pool, &[7; SMALL + 1]);
    buffer.shrink_to_fit();
    assert_eq!(buffer.capacity(), LARGE);
}

#[test]
fn at_the_limit_a_buffer_shrinks_within_its_own_memory() {
    let pool = limited(LARGE);
    let mut buffer = written(&pool, b"hello");
    buffer.shrink_to_fit();
    assert_eq!((buffer.capacity(), &buffer[..]), (SMALL, &b"hello"[..]));
    let stats = pool.stats();
    assert_eq!((stats.live_bytes, stats.high_water_bytes), (SMALL as u64, LARGE as u64), "{stats}");
    assert_eq!((stats.classes[0].in_use, stats.classes[1].in_use), (1, 0), "{stats}");
    drop(buffer);
    let stats = pool.stats();
    assert_eq!((stats.classes[0].idle, stats.in_use), (1, 0), "{stats}");
}

#[test]
fn a_shrunk_buffer_works_like_any_other_of_its_class() {
    let pool = limited(LARGE);
    let mut buffer = written(&pool, &[1; SMALL]);
    buffer.shrink_to_fit(); // full
    drop(buffer);
    let mut again = pool.try_acquire(SMALL).unwrap();
    again.extend_from_slice(&[2; SMALL]);
    let frozen = again.freeze();
    assert_eq!(frozen, [2; SMALL][..]);
    drop(frozen);
    let again = pool.try_acquire(SMALL).unwrap();
    assert_eq!((again.capacity(), pool.stats().live_bytes), (SMALL, SMALL as u64));
}

#[test]
fn bytes_that_were_read_do_not_count_and_their_room_is_released() {
    let pool = limited(LARGE);
    let mut buffer = written(&pool, &[vec![1; LARGE - 3], vec![2; 3]].concat());
    buffer.advance(LARGE - 3);
    buffer.shrink_to_fit();
    assert_eq!((&buffer[..], pool.stats().live_bytes), (&[2; 3][..], SMALL as u64));
}

#[test]
fn what_a_buffer_releases_reaches_a_waiter() {
    let pool = limited(LARGE + SMALL);
    let mut buffer = written(&pool, b"hello");
    let small = pool.try_acquire(SMALL).unwrap();
    let mut waiting = pool.acquire_async(SMALL);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let mut poll = || std::pin::Pin::new(&mut waiting).poll(&mut context).is_ready();
    assert!(!poll());
    buffer.shrink_to_fit();
    assert!(poll());
    drop(small);
}

#[test]
fn a_buffer_shrinks_although_a_small_request_may_take_a_buffer_of_the_next_class() {
    let builder = BufferPoolConfig::builder().classes([(SMALL, 4), (LARGE, 4)]).serve_from_next_class(true);
    let pool = BufferPool::new(builder.thread_cache_bytes(0).memory_limit(4 * LARGE).build().unwrap());
    let held: Vec<_> = std::iter::from_fn(|| pool.try_acquire(SMALL).ok()).take(2 * LARGE / SMALL).collect();
    let mut buffer = written(&pool, b"hello");
    drop(pool.try_acquire(LARGE).unwrap());
    buffer.shrink_to_fit();
    assert_eq!(buffer.capacity(), SMALL);
    drop(held);
}

#[test]
fn a_buffer_from_the_heap_stays_if_there_is_no_smaller_one() {
    let pool = limited(LARGE);
    let held = pool.try_acquire(LARGE).unwrap();
    let mut heap = written(&pool, b"hello");
    heap.shrink_to_fit();
    assert_eq!((heap.capacity(), &heap[..]), (LARGE, &b"hello"[..]));
    drop(held);
}

#[test]
fn the_leak_report_knows_the_size_of_a_shrunk_buffer() {
    let config = BufferPoolConfig::builder().classes([(SMALL, 4), (LARGE, 4)]).memory_limit(LARGE);
    let pool = BufferPool::new(config.sample_one_in(std::num::NonZeroU32::MIN).build().unwrap());
    let mut buffer = written(&pool, b"hello");
    buffer.shrink_to_fit();
    let report = pool.holders().unwrap();
    assert_eq!((report.holders.len(), report.holders[0].storage_bytes), (1, SMALL as u64));
    drop(buffer);
    assert!(pool.holders().unwrap().holders.is_empty());
}
