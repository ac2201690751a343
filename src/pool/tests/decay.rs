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
