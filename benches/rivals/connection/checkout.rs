//! Get and put on one thread, while nobody else wants a connection.

use tokio::runtime::{Builder, Runtime};

use crate::contest::{self, SLICE, contest};
use crate::contestants::{self, Contestant};
use crate::heap;
use crate::outcome::Row;

/// What the default is in bb8.
const CONNECTIONS: u32 = 10;
const COUNTED: u64 = 100_000;

pub(crate) const LABEL: &str = "get + put";

pub(crate) struct Checkouts {
    /// Nanoseconds per get and put.
    pub(crate) row: Row,
    /// Heap allocations per get and put, by contestant.
    pub(crate) allocations: Vec<(&'static str, f64)>,
}

pub(crate) fn run() -> Checkouts {
    let runtime = Builder::new_current_thread().enable_all().build().expect("an epoll is there");
    let contestants = runtime.block_on(contestants::all(CONNECTIONS));
    let allocations = contestants.iter().map(|contestant| allocations(&runtime, contestant)).collect();
    let runtime = std::rc::Rc::new(runtime);
    let contestants = contestants.into_iter().map(|(role, name, pool)| {
        let runtime = runtime.clone();
        contest::Contestant::batched(role, name, move |times| runtime.block_on(pool.checkouts(times)))
    });
    Checkouts { row: contest(LABEL, SLICE, contestants.collect()), allocations }
}

fn allocations(runtime: &Runtime, (_, name, pool): &Contestant) -> (&'static str, f64) {
    runtime.block_on(pool.checkouts(COUNTED));
    let work = pool.checkouts(COUNTED);
    let count = heap::allocations(|| runtime.block_on(work));
    (name, count as f64 / COUNTED as f64)
}
