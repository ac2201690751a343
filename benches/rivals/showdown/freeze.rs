//! Acquire, write 64 bytes, freeze, drop, on one thread.
//!
//! The plain pools have no way into `Bytes` that gives the storage back, so the rivals are `bytes` itself.

use std::hint::black_box;

use bytes::{Bytes, BytesMut};
use millpond::{BufferPool, PooledBuffer};

use crate::contest::{Contestant, Role, Row, SLICE, contest};
use crate::contestants::{KIB, pool};

/// What a small message writes, whatever the size of its buffer.
const MESSAGE: [u8; 64] = [7; 64];

pub(crate) fn rows() -> Vec<Row> {
    vec![contest("1 KiB", SLICE, contestants(KIB)), contest("64 KiB", SLICE, contestants(64 * KIB))]
}

fn contestants(size: usize) -> Vec<Contestant> {
    let (to_freeze, to_share, to_own) = (pool(), pool(), pool());
    vec![
        Contestant::new(Role::Ours, "freeze", move || {
            black_box(&mut written(&to_freeze, size).freeze());
        }),
        Contestant::new(Role::Ours, "into_shared", move || {
            black_box(&mut written(&to_share, size).into_shared());
        }),
        Contestant::new(Role::Rival, "BytesMut", move || {
            black_box(&mut written_bytes_mut(size).freeze());
        }),
        // A plain `Bytes` that returns the buffer at once, for the price of one small malloc.
        Contestant::new(Role::Rival, "from_owner(PooledBuffer)", move || {
            black_box(&mut Bytes::from_owner(written(&to_own, size)));
        }),
        Contestant::new(Role::Rival, "from_owner(Vec)", move || {
            let mut storage = Vec::with_capacity(size);
            storage.extend_from_slice(black_box(&MESSAGE));
            black_box(&mut Bytes::from_owner(storage));
        }),
    ]
}

pub(crate) fn written(pool: &BufferPool, size: usize) -> PooledBuffer {
    let mut buffer = pool.acquire(size);
    buffer.extend_from_slice(black_box(&MESSAGE));
    buffer
}

pub(crate) fn written_bytes_mut(size: usize) -> BytesMut {
    let mut buffer = BytesMut::with_capacity(size);
    buffer.extend_from_slice(black_box(&MESSAGE));
    buffer
}
