//! A wiping pool overwrites returned storage, after every kind of return.
//!
//! No safe call shows the old bytes, so this test reads the storage by its address.

use bytes::Bytes;
use millpond::{BufferPool, BufferPoolConfig, PooledBuffer};

#[test]
fn storage_is_overwritten_after_every_kind_of_return() {
    type Way = (&'static str, fn(PooledBuffer));
    let ways: [Way; 7] = [
        ("drop", drop),
        ("cleared before", |mut buffer| buffer.clear()),
        ("shared", |buffer| drop(buffer.into_shared())),
        ("shared by several", |buffer| {
            let shared = buffer.into_shared();
            drop((shared.clone(), shared));
        }),
        ("frozen", |buffer| drop(buffer.freeze())),
        ("tracked", |buffer| drop(buffer.freeze_tracked())),
        ("shared, then bytes", |buffer| drop(Bytes::from(buffer.into_shared()))),
    ];
    for cache in [0, 1 << 20] {
        for wipe in [false, true] {
            for (name, way) in ways {
                let config = BufferPoolConfig::builder().class(128, 4).wipe_on_return(wipe);
                let pool = BufferPool::new(config.thread_cache_bytes(cache).build().unwrap());
                let mut buffer = pool.acquire(128);
                buffer.resize(128, 0x5A);
                let address = buffer.as_ptr();
                way(buffer);
                let again = pool.acquire(128);
                assert_eq!(again.as_ptr(), address, "{name}: the same storage");
                assert!(again.is_empty());
                // SAFETY: `again` owns the 128 bytes at `address`, and the owner before wrote all of them.
                let left = unsafe { std::slice::from_raw_parts(address, 128) };
                let expected = if wipe { 0 } else { 0x5A };
                assert!(left.iter().all(|&byte| byte == expected), "{name}, cache {cache}, wiping {wipe}");
            }
        }
    }
}
