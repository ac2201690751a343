//! The pool alone, for criterion: what did one change of its design do?
//!
//! ```text
//! cargo bench -p rivals --bench pool -- --save-baseline before
//! (the change)
//! cargo bench -p rivals --bench pool -- --baseline before [GROUP]
//! ```
//!
//! The report lies in `target/criterion/report/index.html`. The two runs are minutes apart, which on a shared
//! machine is another machine: believe `instructions` first, and `showdown` where it is about rivals.

use std::hint::black_box;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

use millpond::{BufferPool, BufferPoolConfig, PooledBuffer};

const KIB: usize = 1024;
/// The pool's classes, and one size below them.
const SIZES: [usize; 4] = [64, KIB, 16 * KIB, 64 * KIB];
const MANY: usize = 64;

fn acquire(criterion: &mut Criterion) {
    let pool = pool();
    let mut group = criterion.benchmark_group("acquire_drop");
    for size in SIZES {
        group.bench_with_input(BenchmarkId::from_parameter(size), &size, |bencher, &size| {
            bencher.iter(|| black_box(pool.acquire(size).as_ptr()));
        });
    }
    group.finish();
}

/// Deeper than one buffer; from 16 KiB on deeper than a thread's cache.
fn acquire_many(criterion: &mut Criterion) {
    let pool = pool();
    let mut group = criterion.benchmark_group("acquire_64_drop_64");
    group.throughput(Throughput::Elements(MANY as u64));
    for size in SIZES {
        group.bench_with_input(BenchmarkId::from_parameter(size), &size, |bencher, &size| {
            let mut held = Vec::with_capacity(MANY);
            bencher.iter(|| {
                held.extend((0..MANY).map(|_| pool.acquire(size)));
                black_box(&mut held).clear();
            });
        });
    }
    group.finish();
}

/// One byte more than the class holds: one copy, and the outgrown buffer goes back.
fn grow(criterion: &mut Criterion) {
    let pool = pool();
    criterion.bench_function("grow", |bencher| {
        bencher.iter(|| {
            let mut buffer = pool.acquire(KIB);
            buffer.extend_from_slice(black_box(&[7; KIB]));
            buffer.extend_from_slice(black_box(&[7]));
            black_box(buffer.as_ptr())
        });
    });
}

fn freeze(criterion: &mut Criterion) {
    let pool = pool();
    let mut group = criterion.benchmark_group("freeze");
    for size in [KIB, 64 * KIB] {
        group.bench_with_input(BenchmarkId::from_parameter(size), &size, |bencher, &size| {
            bencher.iter(|| black_box(&mut written(&pool, size).freeze()).len());
        });
    }
    group.finish();
}

fn into_shared(criterion: &mut Criterion) {
    let pool = pool();
    let mut group = criterion.benchmark_group("into_shared");
    for size in [KIB, 64 * KIB] {
        group.bench_with_input(BenchmarkId::new("alone", size), &size, |bencher, &size| {
            bencher.iter(|| black_box(&mut written(&pool, size).into_shared()).len());
        });
        group.bench_with_input(BenchmarkId::new("cloned", size), &size, |bencher, &size| {
            bencher.iter(|| {
                let shared = written(&pool, size).into_shared();
                black_box(shared.clone()).len() + shared.len()
            });
        });
    }
    group.finish();
}

/// Made here, dropped on another thread.
fn across(criterion: &mut Criterion) {
    let pool = pool();
    let mut group = criterion.benchmark_group("across");
    for size in [KIB, 16 * KIB] {
        group.bench_with_input(BenchmarkId::new("freeze", size), &size, |bencher, &size| {
            bencher.iter_custom(|times| handed_over(times, || written(&pool, size).freeze()));
        });
        group.bench_with_input(BenchmarkId::new("into_shared", size), &size, |bencher, &size| {
            bencher.iter_custom(|times| handed_over(times, || written(&pool, size).into_shared()));
        });
    }
    group.finish();
}

/// From the first message made to the last one dropped.
fn handed_over<T: Send>(times: u64, make: impl Fn() -> T) -> Duration {
    let (send, receive) = sync_channel(256);
    thread::scope(|scope| {
        let dropper = scope.spawn(|| receive.into_iter().for_each(|message| drop(black_box(message))));
        let start = Instant::now();
        (0..times).for_each(|_| send.send(make()).expect("the dropper lives"));
        drop(send);
        dropper.join().expect("no panic");
        start.elapsed()
    })
}

fn written(pool: &BufferPool, size: usize) -> PooledBuffer {
    let mut buffer = pool.acquire(size);
    buffer.extend_from_slice(black_box(&[7; 64]));
    buffer
}

/// The classes of `showdown`.
fn pool() -> BufferPool {
    let config =
        BufferPoolConfig::builder().class(KIB, 1024).class(16 * KIB, 1024).class(64 * KIB, 256).build();
    BufferPool::new(config.expect("a valid table"))
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(2));
    targets = acquire, acquire_many, grow, freeze, into_shared, across
}
criterion_main!(benches);
