//! The threads of the proxy: one current-thread runtime each, so that a connection, its buffers and the thread's cache of
//! the pool stay together.
//!
//! The first thread accepts, and shares the connections out: each to the thread that has the fewest. With more than one
//! thread it relays nothing itself. So it also runs what must answer while the others are busy: signals, the admin
//! endpoint, decay, statistics.
//!
//! | alternative | why not |
//! |---|---|
//! | a socket with `SO_REUSEPORT` per thread | the kernel shares connections out by a hash: of two connections, both are on one thread half of the time. One waits in the queue of a busy thread while another idles. When a socket of the group is closed, its queue is reset (`net.ipv4.tcp_migrate_req` is off by default), which a reload with fewer threads would do. Unix sockets and sockets that were handed over have no group |
//! | one socket, an accept loop per thread | each client wakes all threads, and whichever is first takes a whole burst |
//!
//! The price is a wake of another thread per connection, not per byte, and one thread that accepts. haproxy shares
//! connections out in the same way.

use std::io;
use std::thread::{self, available_parallelism};

use millpond::BufferPool;
use millpond::net::Runtimes;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

/// The descriptors of a runtime: three for its reactor, and one for signals.
const DESCRIPTORS: u64 = 4;

/// The threads that relay, besides the first one. Dropped, they end, and do not wait for calls that block.
pub(crate) struct Threads {
    runtimes: Runtimes,
    _stop: Vec<oneshot::Sender<()>>,
}

impl Threads {
    /// With one thread, it is the one that calls this.
    pub(crate) fn start(count: usize, pool: &BufferPool) -> io::Result<Self> {
        let (mut handles, mut stop) = (Vec::new(), Vec::new());
        for number in 1..=relaying(count) {
            let runtime = runtime(pool)?;
            handles.push(runtime.handle().clone());
            let (sender, stopped) = oneshot::channel::<()>();
            stop.push(sender);
            thread::Builder::new().name(format!("millpond-{number}")).spawn(move || {
                // An error means that the sender is gone, which is how it stops.
                let _ = runtime.block_on(stopped);
                runtime.shutdown_background();
            })?;
        }
        Ok(Self { runtimes: Runtimes::new(handles), _stop: stop })
    }

    pub(crate) fn runtimes(&self) -> &Runtimes {
        &self.runtimes
    }
}

/// A runtime whose thread leaves no buffers in its cache while it sleeps.
pub(crate) fn runtime(pool: &BufferPool) -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().on_thread_park(pool.flush_on_park()).build()
}

/// The cores that the process may use, by its affinity and by the quota of its cgroup.
pub(crate) fn cores() -> usize {
    available_parallelism().map_or(1, usize::from)
}

/// What the threads take of the limit of descriptors, besides what the first one takes.
pub(crate) fn descriptors(count: usize) -> u64 {
    relaying(count) as u64 * DESCRIPTORS
}

/// The threads that relay besides the first one.
fn relaying(count: usize) -> usize {
    if count > 1 { count } else { 0 }
}
