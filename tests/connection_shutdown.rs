//! A runtime that shuts down while its tasks have connections of a pool.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use millpond::connection::{ManageConnection, Pool};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

const SIZE: u32 = 4;

/// Connections that break on command.
struct Manager {
    are_broken: Arc<AtomicBool>,
}

impl ManageConnection for Manager {
    type Connection = ();
    type Error = std::convert::Infallible;

    async fn connect(&self) -> Result<(), Self::Error> {
        Ok(())
    }

    async fn is_valid(&self, (): &mut ()) -> Result<(), Self::Error> {
        Ok(())
    }

    fn has_broken(&self, (): &mut ()) -> bool {
        self.are_broken.load(Ordering::Relaxed)
    }
}

/// Shuts the runtime down while one of its tasks has all connections, which are broken by then. So the pool wants others.
fn shut_down(runtime: Runtime) -> Pool<Manager> {
    let are_broken = Arc::new(AtomicBool::new(false));
    let manager = Manager { are_broken: Arc::clone(&are_broken) };
    let pool = runtime.block_on(async {
        let pool = Pool::builder().max_size(SIZE).min_idle(SIZE / 2).build(manager).await.unwrap();
        let theirs = pool.clone();
        let (has_all, all) = oneshot::channel();
        tokio::spawn(async move {
            let mut held = Vec::new();
            for _ in 0..SIZE {
                held.push(theirs.get().await.unwrap());
            }
            has_all.send(()).unwrap();
            std::future::pending::<()>().await;
            drop(held);
        });
        all.await.unwrap();
        pool
    });
    are_broken.store(true, Ordering::Relaxed);
    drop(runtime);
    are_broken.store(false, Ordering::Relaxed);
    pool
}

#[test]
fn a_pool_outlives_a_runtime_of_one_thread() {
    let pool = shut_down(Builder::new_current_thread().enable_all().build().unwrap());
    let next = Builder::new_current_thread().enable_all().build().unwrap();
    next.block_on(async { drop(pool.get().await.unwrap()) });
}

#[test]
fn a_pool_outlives_a_runtime_of_several_threads() {
    let pool = shut_down(Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap());
    let next = Builder::new_current_thread().enable_all().build().unwrap();
    next.block_on(async { drop(pool.get().await.unwrap()) });
}
