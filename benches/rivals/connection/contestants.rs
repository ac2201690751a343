//! The pools, each full of connections that cost nothing, with its best documented settings.

use std::convert::Infallible;
use std::hint::black_box;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use millpond::connection;
use tokio::task::yield_now;
use tokio::time::sleep;

use crate::outcome::Role;

/// Longer than any bench: no pool opens or closes a connection while a clock runs.
const PATIENCE: Duration = Duration::from_secs(600);

pub(crate) type Contestant = (Role, &'static str, Arc<dyn Pool>);
type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What the groups do with a pool. A future is boxed once for many gets.
pub(crate) trait Pool: Send + Sync {
    /// Get and put, `times` times.
    fn checkouts(&self, times: u64) -> BoxFuture<'_, ()>;
    /// As `checkouts`, and another task may run while the connection is held.
    fn yielding_checkouts(&self, times: u64) -> BoxFuture<'_, ()>;
    /// Gets until the end, each for `work`, with a yield after it or none. Records what each took, in nanoseconds.
    fn waits(&self, end: Instant, work: Duration, yields: bool) -> BoxFuture<'_, Histogram<u64>>;
}

trait Checkout: Send + Sync {
    fn get(&self) -> impl Future<Output = impl Send> + Send;
}

impl<P: Checkout> Pool for P {
    fn checkouts(&self, times: u64) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            for _ in 0..times {
                drop(black_box(self.get().await));
            }
        })
    }

    fn yielding_checkouts(&self, times: u64) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            for _ in 0..times {
                let guard = self.get().await;
                yield_now().await;
                drop(guard);
            }
        })
    }

    fn waits(&self, end: Instant, work: Duration, yields: bool) -> BoxFuture<'_, Histogram<u64>> {
        Box::pin(async move {
            let mut waits = Histogram::new(3).expect("three digits are allowed");
            loop {
                let start = Instant::now();
                if start >= end {
                    return waits;
                }
                let guard = self.get().await;
                waits.record(start.elapsed().as_nanos() as u64).expect("the histogram resizes itself");
                sleep(work).await;
                drop(guard);
                if yields {
                    yield_now().await;
                }
            }
        })
    }
}

/// All of them, with `size` idle connections each. Call it within a runtime, which serves their timers.
pub(crate) async fn all(size: u32) -> Vec<Contestant> {
    let ours = || connection::Pool::builder().max_size(size).min_idle(size).connection_timeout(PATIENCE);
    let bb8 = || {
        bb8::Pool::builder()
            .max_size(size)
            .min_idle(size)
            .connection_timeout(PATIENCE)
            .idle_timeout(None)
            .max_lifetime(None)
    };
    vec![
        (Role::Ours, "millpond", Arc::new(ours().build(Manager).await.expect("infallible"))),
        (
            Role::Ours,
            "millpond, barging",
            Arc::new(ours().barging(true).build(Manager).await.expect("infallible")),
        ),
        (Role::Rival, "bb8", Arc::new(bb8().build(Manager).await.expect("infallible"))),
        (
            Role::Rival,
            "bb8, no test",
            Arc::new(bb8().test_on_check_out(false).build(Manager).await.expect("infallible")),
        ),
        (Role::Rival, "deadpool", Arc::new(deadpool(size, None).await)),
        (Role::Rival, "deadpool, wait_timeout", Arc::new(deadpool(size, Some(PATIENCE)).await)),
    ]
}

async fn deadpool(size: u32, wait: Option<Duration>) -> deadpool::managed::Pool<Manager> {
    let pool = deadpool::managed::Pool::builder(Manager).max_size(size as usize);
    let pool = pool.wait_timeout(wait).runtime(deadpool::Runtime::Tokio1).build();
    let pool: deadpool::managed::Pool<Manager> = pool.expect("it knows its runtime");
    let mut guards = Vec::new();
    for _ in 0..size {
        guards.push(pool.get().await.expect("infallible"));
    }
    drop(guards);
    pool
}

/// What is pooled: the smallest thing that a pool can lose.
#[derive(Debug)]
struct Connection(#[expect(dead_code, reason = "nobody reads it")] u64);

struct Manager;

impl bb8::ManageConnection for Manager {
    type Connection = Connection;
    type Error = Infallible;

    async fn connect(&self) -> Result<Connection, Infallible> {
        Ok(Connection(0))
    }

    async fn is_valid(&self, _: &mut Connection) -> Result<(), Infallible> {
        Ok(())
    }

    fn has_broken(&self, _: &mut Connection) -> bool {
        false
    }
}

impl deadpool::managed::Manager for Manager {
    type Type = Connection;
    type Error = Infallible;

    async fn create(&self) -> Result<Connection, Infallible> {
        Ok(Connection(0))
    }

    /// As its managers do with `RecyclingMethod::Fast`: no question to the server.
    async fn recycle(
        &self,
        _: &mut Connection,
        _: &deadpool::managed::Metrics,
    ) -> deadpool::managed::RecycleResult<Infallible> {
        Ok(())
    }
}

impl Checkout for connection::Pool<Manager> {
    async fn get(&self) -> impl Send {
        self.get().await.expect("a connection comes back")
    }
}

impl Checkout for bb8::Pool<Manager> {
    async fn get(&self) -> impl Send {
        self.get().await.expect("a connection comes back")
    }
}

impl Checkout for deadpool::managed::Pool<Manager> {
    async fn get(&self) -> impl Send {
        self.get().await.expect("a connection comes back")
    }
}
