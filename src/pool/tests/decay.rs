//! When steps of decay are made, and what they spare.

use std::time::Duration;

use super::*;

fn decaying(every: Duration) -> BufferPool {
    let config = BufferPoolConfig::builder().class(64, 1024).decay_interval(Some(every));
    BufferPool::new(config.build().unwrap())
}

/// A step that follows another at once frees all that the first one kept, as none of it was needed in between.
#[test]
fn a_step_that_was_asked_for_delays_the_next_one_by_an_interval() {
    let pool = decaying(Duration::from_millis(50));
    thread::sleep(Duration::from_millis(60));
    pool.decay();
    pool.core.decay_if_due();
    assert_eq!(pool.core.steps(), 1);
}

#[test]
fn steps_that_were_missed_are_not_made_up_for() {
    let pool = decaying(Duration::from_millis(20));
    thread::sleep(Duration::from_millis(200));
    (0..10).for_each(|_| pool.core.decay_if_due());
    assert_eq!(pool.core.steps(), 1);
}

/// Both kept the pool's core for as long as they lived, and the task until its next tick.
#[cfg(feature = "tokio")]
#[test]
fn neither_the_task_nor_the_workers_of_a_runtime_keep_a_closed_pool() {
    let pool = decaying(Duration::from_secs(3600));
    let core = Arc::downgrade(&pool.core);
    let worker = {
        let (theirs, flush) = (pool.clone(), pool.flush_on_park());
        let ((used, is_used), (close, is_closed)) = (mpsc::channel(), mpsc::channel::<()>());
        let worker = thread::spawn(move || {
            drop(theirs.acquire(64));
            drop(theirs);
            used.send(()).unwrap();
            let _ = is_closed.recv();
            flush(); // as before the worker sleeps
            core.strong_count()
        });
        is_used.recv().unwrap();
        (worker, close)
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut task = None;
    runtime.block_on(async {
        task = Some(pool.spawn_decay());
        tokio::task::yield_now().await;
    });
    drop(pool);
    drop(worker.1);
    assert_eq!(worker.0.join().unwrap(), 0);
    drop(task);
}
