//! A pool of Redis connections, with the manager of bb8-redis.
//!
//! `REDIS_URL=redis://host cargo run --features connection --example redis_pool`
//!
//! Without the variable it starts a server on a free port, which is how CI runs it.

#[path = "../tests/servers/mod.rs"]
mod servers;

use bb8_redis::RedisConnectionManager;
use bb8_redis::redis::{AsyncCommands, RedisError};
use millpond::connection::{Pool, RunError};
use servers::redis::Redis;
use tokio::task::JoinSet;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let given = std::env::var("REDIS_URL").ok();
    let server = given.is_none().then(Redis::start);
    let url = given.or(server.as_ref().map(Redis::url)).unwrap_or_default();

    // This manager does not know when a connection is broken, so the pool asks the server each time.
    let builder = Pool::builder().max_size(10).min_idle(2).test_on_check_out(true);
    let pool = builder.build(RedisConnectionManager::new(url)?).await?;
    let mut tasks = JoinSet::new();
    for _ in 0..100 {
        let pool = pool.clone();
        tasks.spawn(async move {
            let mut redis = pool.get().await?;
            Ok::<u64, RunError<RedisError>>(redis.incr("millpond:visits", 1).await?)
        });
    }
    let mut visits = 0;
    while let Some(count) = tasks.join_next().await {
        visits = visits.max(count??);
    }
    println!("{visits}\n{}", pool.state());
    pool.close().await;
    Ok(())
}
