//! The ways of 64 written bytes into something that can be shared; dropping it is the caller's part.
//!
//! The plain pools have no way into `Bytes` that gives the storage back, so the rivals are `bytes` itself.

use std::cell::RefCell;
use std::hint::black_box;

use bytes::{Bytes, BytesMut};
use millpond::{BufferPool, PooledBuffer, PooledBytes};

use super::{KIB, pool};

/// What a small message writes, whatever the size of its buffer.
const MESSAGE: [u8; 64] = [7; 64];

pub(crate) fn freeze(size: usize) -> impl Fn() -> Bytes + 'static {
    let pool = pool();
    move || written(&pool, size).freeze()
}

pub(crate) fn into_shared(size: usize) -> impl Fn() -> PooledBytes + 'static {
    let pool = pool();
    move || written(&pool, size).into_shared()
}

/// A plain `Bytes` that returns the buffer at its last drop, for the price of one small malloc.
pub(crate) fn owned_pooled(size: usize) -> impl Fn() -> Bytes + 'static {
    let pool = pool();
    move || Bytes::from_owner(written(&pool, size))
}

pub(crate) fn bytes_mut(size: usize) -> impl Fn() -> Bytes + 'static {
    move || {
        let mut buffer = BytesMut::with_capacity(size);
        buffer.extend_from_slice(black_box(&MESSAGE));
        buffer.freeze()
    }
}

/// The idiom of `bytes` itself: one block that lives long, from whose front each message is split off. It is used again
/// when none of its messages is left, so one message that stays keeps all 64 KiB.
pub(crate) fn split(size: usize) -> impl Fn() -> Bytes + 'static {
    let block = RefCell::new(BytesMut::with_capacity(64 * KIB));
    move || {
        let mut block = block.borrow_mut();
        block.reserve(size);
        block.extend_from_slice(black_box(&MESSAGE));
        block.split().freeze()
    }
}

pub(crate) fn owned_vec(size: usize) -> impl Fn() -> Bytes + 'static {
    move || {
        let mut storage = Vec::with_capacity(size);
        storage.extend_from_slice(black_box(&MESSAGE));
        Bytes::from_owner(storage)
    }
}

fn written(pool: &BufferPool, size: usize) -> PooledBuffer {
    let mut buffer = pool.acquire(size);
    buffer.extend_from_slice(black_box(&MESSAGE));
    buffer
}
