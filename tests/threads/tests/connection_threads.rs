//! Threads take, wait for, leave and return the few items of one connection engine. At the end every use is accounted for.
//!
//! For the thread sanitizer only, as `pool_threads.rs`; elsewhere the engine is reached through its pool, which needs tokio.

#[cfg(not(millpond_tsan))]
fn main() {}

#[cfg(millpond_tsan)]
fn main() {
    sanitized::main();
}

#[cfg(millpond_tsan)]
mod sanitized {
    use std::env;
    use std::sync::Arc;
    use std::task::{Wake, Waker};
    use std::thread::{self, Thread};

    use millpond::connection::model::{Core, Held, Limits, Polled};

    const THREADS: u64 = 4;
    const ITEMS: usize = 2;

    /// How often it was used. Not atomic: the sanitizer reports two threads that have it at once.
    type Item = u64;

    struct Unparks(Thread);

    impl Wake for Unparks {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    pub(super) fn main() {
        let rounds = env::var("MILLPOND_ROUNDS").map_or(20_000, |rounds| rounds.parse().unwrap());
        for barging in [false, true] {
            run(rounds, barging);
        }
        println!("test result: ok. {THREADS} threads, {rounds} rounds each");
    }

    fn run(rounds: u64, barging: bool) {
        let core = Arc::new(Core::new(Limits { max: ITEMS, min_idle: 0, barging }));
        for _ in 0..ITEMS {
            core.add(0).unwrap();
        }
        let threads: Vec<_> = (0..THREADS)
            .map(|number| {
                let core = Arc::clone(&core);
                thread::spawn(move || (0..rounds).map(|round| work(&core, number + round)).sum::<u64>())
            })
            .collect();
        let uses: u64 = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        let counts = core.counts();
        assert_eq!((counts.open, counts.idle, counts.waiting), (ITEMS, ITEMS, 0), "{counts:?}");
        core.close();
        assert_eq!(std::iter::from_fn(|| core.take_surplus()).sum::<u64>(), uses);
    }

    /// Returns how many items it used.
    fn work(core: &Core<Item>, round: u64) -> u64 {
        if let Some(held) = core.try_get() {
            use_and_put(core, held);
            return 1;
        }
        let waker = Waker::from(Arc::new(Unparks(thread::current())));
        let ticket = core.join(waker.clone()).unwrap();
        if round.is_multiple_of(5) {
            let _ = core.leave(ticket);
            return 0;
        }
        if round.is_multiple_of(7) {
            let (taken, surplus) = core.take_idle_unless(|_| false);
            assert!(surplus.is_empty());
            taken.into_iter().for_each(|held| put(core, held));
        }
        loop {
            match core.poll(&ticket, &waker) {
                Polled::Granted(held) => {
                    use_and_put(core, held);
                    return 1;
                }
                Polled::Waiting => thread::park(),
                Polled::Closed => unreachable!("nobody closes it"),
            }
        }
    }

    fn use_and_put(core: &Core<Item>, mut held: Held<Item>) {
        *held.item() += 1;
        put(core, held);
    }

    fn put(core: &Core<Item>, held: Held<Item>) {
        assert!(core.put(held).is_none());
    }
}
