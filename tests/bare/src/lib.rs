//! What a packet stack on a small device does with the pool, without std.
#![no_std]
#![forbid(unsafe_code)]

use bytes::Bytes;
use millpond::metric::{Metrics, Value};
use millpond::{AcquireError, BufferPool, BufferPoolConfig, BufferPoolStats, PooledBytes};

/// Two tables hold a packet's payload, a third changes its own copy.
pub fn relay(pool: &BufferPool, packet: &[u8]) -> Result<(PooledBytes, Bytes), AcquireError> {
    let mut buffer = pool.try_acquire(packet.len())?;
    buffer.extend_from_slice(packet);
    let path_table = buffer.into_shared();
    let mut forwarded = path_table.clone();
    if let Some(hops) = forwarded.make_mut().get_mut(1) {
        *hops += 1;
    }
    Ok((path_table, forwarded.into()))
}

/// All of the pool, before and after.
pub fn run(packets: &[&[u8]]) -> Result<BufferPoolStats, AcquireError> {
    let pool = BufferPool::new(BufferPoolConfig::embedded());
    for packet in packets {
        drop(relay(&pool, packet)?);
    }
    pool.decay();
    pool.trim();
    Ok(pool.stats())
}

/// What the pool has done, by the names of its metrics.
pub fn acquires(pool: &BufferPool) -> u64 {
    let mut acquires = 0;
    pool.stats().each(&mut |metric, _, value| {
        if let ("millpond_buffer_pool_acquires_total", Value::Integer(count)) = (metric.name, value) {
            acquires += count;
        }
    });
    acquires
}
