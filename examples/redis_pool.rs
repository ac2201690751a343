//! A pool of Redis connections, with the manager of bb8-redis.
//!
//! `cargo run --features connection --example redis_pool` starts a server on a free port. With `REDIS_URL=redis://host`, it
//! asks that one.

#[path = "../tests/servers/mod.rs"]
mod servers;

use bb8_redis::RedisConnectionManager;
use bb8_redis::redis::AsyncCommands;
use millpond::connection::Pool;
use servers::redis::Redis;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (url, _server) = servers::given("REDIS_URL", Redis::start, Redis::url);
    // This manager does not know when a connection is broken, so the pool asks the server each time.
    let builder = Pool::builder().max_size(10).min_idle(2).test_on_check_out(true);
    let pool = builder.build(RedisConnectionManager::new(url)?).await?;

    let mut redis = pool.get().await?; // waits for its turn if all ten are in use
    let visits: u64 = redis.incr("millpond:visits", 1).await?;
    println!("{visits}");
    drop(redis); // the next get has it again

    println!("{}", pool.state()); // three connections: two stayed idle beside the one in use
    pool.close().await;
    Ok(())
}
