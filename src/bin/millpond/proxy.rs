//! `millpond proxy`: a relay on a pool of its own, until a signal stops it.

use std::error::Error;

use millpond::net::Listener;
use millpond::relay::{Relay, RelayConfig};
use millpond::{BufferPool, BufferPoolConfig};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::spawn_blocking;
use tokio::time::{Duration, sleep, timeout};
use tracing::info;

use crate::cli::ProxyArgs;
use crate::memory::return_free_pages;
use crate::statistics;
use crate::terminal::announce;

/// How long the tasks of aborted connections may take to end. They need a turn each.
const ABORT_TIMEOUT: Duration = Duration::from_millis(500);

/// Serves until a signal stops it.
pub(crate) fn run(args: ProxyArgs) -> Result<(), Box<dyn Error>> {
    raise_descriptor_limit();

    let pool = BufferPoolConfig::proxy()
        .to_builder()
        .memory_limit(usize::try_from(args.memory_limit.as_u64()).unwrap_or(usize::MAX))
        // The hook runs in the task of `spawn_decay`, so on a worker thread, which must not block.
        .on_decay(|_| drop(spawn_blocking(return_free_pages)))
        .build();
    let pool = BufferPool::new(pool.map_err(|error| format!("--memory-limit: {error}"))?);
    let runtime = Builder::new_multi_thread().enable_all().on_thread_park(pool.flush_on_park()).build()?;
    let outcome = runtime.block_on(serve(pool, args));
    // A thread may still block, in a name look-up for example. The exit does not wait for it.
    runtime.shutdown_background();
    outcome
}

async fn serve(pool: BufferPool, args: ProxyArgs) -> Result<(), Box<dyn Error>> {
    pool.spawn_decay();
    let config = RelayConfig::default()
        .max_connections(args.max_connections)
        .idle_timeout((!args.idle_timeout.is_zero()).then_some(args.idle_timeout))
        .connect_timeout(args.connect_timeout)
        .drain_timeout(args.drain_timeout);
    let relay = Relay::new(pool, config);
    // Before the line that says "listening": after it a signal must drain.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut listener = Listener::bind(&args.listen).await?;
    listener.set_backlog(args.backlog)?;
    announce(format!("listening on {}", listener.local_endpoint()));

    let mut stop_signal = async || {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serve = relay.serve(listener, args.to, async {
        // An error means that the sender is gone, which is also a reason to stop.
        let _ = stopped.await;
    });
    let report = tokio::select! {
        report = serve => Some(report),
        () = statistics::log_every(args.stats_every, &relay) => None,
        () = async {
            stop_signal().await;
            info!("draining for up to {:?}; a second signal aborts at once", args.drain_timeout);
            let _ = stop.send(());
            stop_signal().await;
        } => None,
    };
    // The tasks of aborted connections end at their next turn, and each logs its connection.
    let ended = async {
        while relay.stats().active > 0 {
            sleep(Duration::from_millis(1)).await;
        }
    };
    let _ = timeout(ABORT_TIMEOUT, ended).await;
    statistics::log(&relay);
    match report {
        Some(report) => info!(drained = report.drained, aborted = report.aborted, "stopped"),
        None => info!("stopped by a second signal; open connections were aborted"),
    }
    Ok(())
}

/// A connection takes two descriptors. The usual soft limit of 1024 exists for programs that use `select`, and this one
/// does not.
fn raise_descriptor_limit() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // If this fails the limit stays as it is, and accepting fails when it is reached.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}
