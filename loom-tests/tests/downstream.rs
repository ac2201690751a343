//! An example for your own models: code that uses a pool through its public API only. See "Your own code" in `README.md`.
#![cfg(millpond_loom)]

use bytes::Bytes;
// The code under test takes these from std where it is not checked.
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::sync::{Arc, Mutex};
use loom::thread;
use loom_tests::{SIZE, assert_books, outcomes, pool, written};

/// The code under test: the latest frame and its number, for any number of readers.
#[derive(Default)]
struct Latest {
    frame: Mutex<Bytes>,
    number: AtomicUsize,
}

impl Latest {
    fn publish(&self, frame: Bytes, number: usize) {
        *self.frame.lock().unwrap() = frame;
        // Ordering: Relaxed, as the lock orders the rest. A reader that locked before this writer has loaded the number
        // before that, and cannot have read what is stored here.
        self.number.store(number, Ordering::Relaxed);
    }

    fn read(&self) -> (usize, Bytes) {
        let number = self.number.load(Ordering::Relaxed);
        (number, self.frame.lock().unwrap().clone())
    }
}

#[test]
fn a_reader_never_finds_a_frame_older_than_its_number() {
    let seen = outcomes("downstream", None, || {
        let pool = pool(2);
        let latest = Arc::new(Latest::default());
        let theirs = Arc::clone(&latest);
        let reader = thread::spawn(move || {
            let (number, frame) = theirs.read();
            let byte = frame.first().copied().unwrap_or(0);
            assert!(frame.iter().all(|other| *other == byte), "a frame is whole: {frame:?}");
            assert!(usize::from(byte) >= number, "frame {byte}, although its number is {number}");
            byte
        });
        for number in 1..=2 {
            latest.publish(written(pool.acquire(SIZE), number).freeze(), number.into());
        }
        let seen = reader.join().unwrap();
        drop(latest);
        pool.flush_thread_cache();
        assert_books(&pool);
        seen
    });
    assert!(seen.into_iter().eq(0..=2), "the reader may find no frame, the first or the second");
}
