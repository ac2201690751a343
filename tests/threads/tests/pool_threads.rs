//! Threads acquire, send, share, freeze, trim, exit and close at once. At the end every buffer is accounted for.
//!
//! Without the test harness, and with std threads that are joined, as the thread sanitizer needs it. `.ci/run` runs it
//! under that sanitizer and, with fewer `MILLPOND_ROUNDS` (default 20000), under valgrind.

use std::env;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use bytes::Bytes;
use millpond::{BufferPool, BufferPoolConfig, PooledBuffer, PooledBytes};

const THREADS: u64 = 4;

enum Parcel {
    Buffer(PooledBuffer),
    Shared(PooledBytes),
    Plain(Bytes),
}

impl Parcel {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Buffer(buffer) => buffer,
            Self::Shared(shared) => shared,
            Self::Plain(bytes) => bytes,
        }
    }
}

fn main() {
    let rounds = env::var("MILLPOND_ROUNDS").map_or(20_000, |rounds| rounds.parse().unwrap());
    for cache in [0, 4096, 1 << 20] {
        let config = BufferPoolConfig::builder().class(64, 32).class(1024, 16).thread_cache_bytes(cache);
        run(&BufferPool::new(config.build().unwrap()), cache, rounds);
    }
    close_while_returning(rounds / 100);
    println!("test result: ok. {THREADS} threads, {rounds} rounds each");
}

fn run(pool: &BufferPool, cache: usize, rounds: u64) {
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..THREADS).map(|_| sync_channel(16)).unzip();
    let threads: Vec<_> = receivers
        .into_iter()
        .enumerate()
        .map(|(index, receiver)| {
            let next = senders[(index + 1) % senders.len()].clone();
            let pool = pool.clone();
            thread::spawn(move || work(&pool, index as u64, rounds, &next, &receiver))
        })
        .collect();
    drop(senders);
    for thread in threads {
        thread.join().unwrap();
    }
    pool.trim();
    let stats = pool.stats();
    assert_eq!(stats.acquires, THREADS * rounds, "{stats}");
    assert_eq!(stats.acquires, stats.returns, "cache {cache}: {stats}");
    assert_eq!((stats.in_use, stats.frozen, stats.live_bytes), (0, 0, 0), "{stats}");
}

/// Fills a buffer with a byte of its own, sends it on as one kind of handle, and checks what the previous thread sent.
fn work(pool: &BufferPool, seed: u64, rounds: u64, next: &SyncSender<Parcel>, receiver: &Receiver<Parcel>) {
    for round in 0..rounds {
        let byte = (seed * 31 + round) as u8;
        let len = if round % 3 == 0 { 700 } else { 1 + (round % 64) as usize };
        let mut buffer = pool.acquire(len);
        assert!(buffer.is_empty());
        buffer.resize(len, byte);
        let parcel = match round % 4 {
            0 => Parcel::Buffer(buffer),
            1 => Parcel::Plain(buffer.freeze()),
            2 => {
                let shared = buffer.into_shared();
                let clone = shared.clone();
                // The next thread drops this handle while this thread drops the clone.
                let _ = next.try_send(Parcel::Shared(shared));
                assert!(clone.iter().all(|&seen| seen == byte));
                drop(clone);
                continue;
            }
            _ => Parcel::Plain(buffer.into_shared().into()),
        };
        let _ = next.try_send(parcel);
        while let Ok(parcel) = receiver.try_recv() {
            let bytes = parcel.bytes();
            assert!(bytes.iter().all(|seen| *seen == bytes[0]));
        }
        if round % 1000 == 999 {
            pool.trim();
        }
    }
}

/// The last handle drops while other threads still return buffers.
fn close_while_returning(rounds: u64) {
    for _ in 0..rounds {
        let pool = BufferPool::new(BufferPoolConfig::messages());
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let held: Vec<PooledBuffer> = (0..40).map(|_| pool.acquire(1000)).collect();
                thread::spawn(move || drop(held))
            })
            .collect();
        drop(pool);
        for thread in threads {
            thread.join().unwrap();
        }
    }
}
