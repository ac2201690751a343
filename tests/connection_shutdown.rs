//! A runtime that shuts down while its tasks have connections of a pool.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

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

/// Whose question whether a connection is broken takes as long as somebody has the lock.
struct Stuck {
    is_asked: Arc<AtomicBool>,
    lock: Arc<Mutex<()>>,
}

impl ManageConnection for Stuck {
    type Connection = ();
    type Error = std::convert::Infallible;

    async fn connect(&self) -> Result<(), Self::Error> {
        Ok(())
    }

    async fn is_valid(&self, (): &mut ()) -> Result<(), Self::Error> {
        Ok(())
    }

    fn has_broken(&self, (): &mut ()) -> bool {
        self.is_asked.store(true, Ordering::SeqCst);
        drop(self.lock.lock().unwrap());
        false
    }
}

/// The task that looks after the pool is on it, and cannot be dropped.
#[test]
fn a_pool_leaves_a_runtime_that_cannot_end() {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (is_asked, lock) = (Arc::<AtomicBool>::default(), Arc::<Mutex<()>>::default());
    let manager = Stuck { is_asked: Arc::clone(&is_asked), lock: Arc::clone(&lock) };
    let builder = Pool::builder().max_size(2).min_idle(0).reaper_rate(Duration::from_millis(10));
    let pool = runtime.block_on(builder.build(manager)).unwrap();
    drop(runtime.block_on(pool.get()).unwrap());
    let stuck = lock.lock().unwrap();
    is_asked.store(false, Ordering::SeqCst);
    while !is_asked.load(Ordering::SeqCst) {
        std::thread::yield_now();
    }
    runtime.shutdown_background();
    let next = Builder::new_current_thread().enable_all().build().unwrap();
    let got = next.block_on(async { tokio::time::timeout(Duration::from_secs(5), pool.get_owned()).await });
    // A return asks, too.
    drop(stuck);
    assert!(got.is_ok_and(|got| got.is_ok()));
}
