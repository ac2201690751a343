//! Runtimes that share the connections of accept loops: each connection stays on one of them.

use std::fmt;

use tokio::runtime::Handle;

use crate::sync::Arc;
use crate::sync::statistic::{AtomicUsize, Ordering};

/// Runtimes that connections are shared out to, each to the one with the fewest open connections. Cheap to clone: clones
/// share the numbers.
///
/// With a current-thread runtime per core, a connection, its buffers and the thread's cache of the pool stay together.
/// One accept loop shares the connections out, so there is one accept queue, which loses no client when a thread ends or
/// is busy, and one limit.
///
/// # Examples
///
/// A relay on two threads:
///
/// ```no_run
/// use std::{future, thread};
///
/// use millpond::net::{Listener, Runtimes};
/// use millpond::relay::{Relay, RelayConfig};
/// use millpond::{BufferPool, BufferPoolConfig};
/// use tokio::runtime::Builder;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = BufferPool::new(BufferPoolConfig::proxy());
/// let mut handles = Vec::new();
/// for number in 1..=2 {
///     let mut builder = Builder::new_current_thread();
///     let runtime = builder.enable_all().on_thread_park(pool.flush_on_park()).build()?;
///     handles.push(runtime.handle().clone());
///     // It runs what is spawned through the handle.
///     let run = move || runtime.block_on(future::pending::<()>());
///     thread::Builder::new().name(format!("relay-{number}")).spawn(run)?;
/// }
/// let runtimes = Runtimes::new(handles);
///
/// Builder::new_current_thread().enable_all().build()?.block_on(async {
///     pool.spawn_decay();
///     let relay = Relay::new(pool, RelayConfig::default());
///     let listener = Listener::bind("127.0.0.1:7000").await?;
///     let stop = async { drop(tokio::signal::ctrl_c().await) };
///     let report = relay.serve_on(&runtimes, listener, "unix:///run/app.sock", stop).await;
///     println!("{report}");
///     Ok(())
/// })
/// # }
/// ```
#[derive(Clone)]
pub struct Runtimes {
    members: Arc<[Member]>,
}

struct Member {
    /// `None`: the runtime of the accept loop.
    handle: Option<Handle>,
    open: AtomicUsize,
}

impl Runtimes {
    /// Without any handle, connections run on the runtime of the accept loop.
    #[must_use]
    pub fn new(handles: impl IntoIterator<Item = Handle>) -> Self {
        let member = |handle| Member { handle, open: AtomicUsize::new(0) };
        let mut members: Vec<_> = handles.into_iter().map(|handle| member(Some(handle))).collect();
        if members.is_empty() {
            members.push(member(None));
        }
        Self { members: members.into() }
    }

    /// The open connections of each runtime. One that has just ended may still be counted.
    #[must_use]
    pub fn open(&self) -> Vec<usize> {
        // Ordering: Relaxed, here and below. A number for reports and for a choice that need not be the best.
        self.members.iter().map(|member| member.open.load(Ordering::Relaxed)).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    /// The runtime with the fewest connections.
    pub(super) fn least(&self) -> usize {
        let open = |member: &Member| member.open.load(Ordering::Relaxed);
        let least = self.members.iter().enumerate().min_by_key(|(_, member)| open(member));
        least.map_or(0, |(index, _)| index)
    }

    /// Calls `make` in the context of that runtime, so that the sockets that it makes belong to it.
    pub(super) fn within<T>(&self, index: usize, make: impl FnOnce() -> T) -> T {
        let _entered = self.handle(index).map(Handle::enter);
        make()
    }

    pub(super) fn handle(&self, index: usize) -> Option<&Handle> {
        self.members.get(index)?.handle.as_ref()
    }

    pub(super) fn add(&self, index: usize) {
        if let Some(member) = self.members.get(index) {
            member.open.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn remove(&self, index: usize, connections: usize) {
        if let Some(member) = self.members.get(index) {
            member.open.fetch_sub(connections, Ordering::Relaxed);
        }
    }
}

impl fmt::Debug for Runtimes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtimes").field("open", &self.open()).finish_non_exhaustive()
    }
}
