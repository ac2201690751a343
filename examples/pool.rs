//! The three handles of a pool.
//!
//! `cargo run --example pool`

use millpond::{BufferPool, BufferPoolConfig, PooledBytes};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = BufferPoolConfig::builder().class(128, 512).class(65_536, 16).build()?;
    let pool = BufferPool::new(config);

    let mut buffer = pool.acquire(5);
    buffer.extend_from_slice(b"hello");
    let frozen: bytes::Bytes = buffer.freeze(); // for any library; used again after its last drop

    let mut buffer = pool.acquire(1000);
    buffer.resize(1000, 7);
    let shared: PooledBytes = buffer.into_shared(); // returned when the last handle drops
    let slice = shared.slice(10..20);
    drop(shared);
    println!("while a slice lives: {}", pool.stats());

    drop((slice, frozen));
    drop(pool.acquire(5)); // uses the storage that was frozen
    println!("after all drops:     {}", pool.stats());
    Ok(())
}
