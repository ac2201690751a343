use std::error::Error;
use std::io::{self, Write};

use millpond::net::Listener;
use millpond::relay::{Relay, RelayConfig};
use millpond::{BufferPool, BufferPoolConfig};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Duration, sleep};
use tracing_subscriber::EnvFilter;

use crate::cli::ProxyArgs;

/// Serves until a signal asks it to stop.
pub(crate) async fn run(args: ProxyArgs) -> Result<(), Box<dyn Error>> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();

    let config = RelayConfig::default()
        .max_connections(args.max_connections)
        .idle_timeout((!args.idle_timeout.is_zero()).then_some(args.idle_timeout))
        .connect_timeout(args.connect_timeout)
        .drain_timeout(args.drain_timeout);
    let limit = usize::try_from(args.memory_limit.as_u64()).unwrap_or(usize::MAX);
    let pool = BufferPoolConfig::proxy().to_builder().memory_limit(limit).build();
    let pool = BufferPool::new(pool.map_err(|error| format!("--memory-limit: {error}"))?);
    pool.spawn_decay();
    let relay = Relay::new(pool, config);
    // Before it says that it listens: from then on a signal drains.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let listener = Listener::bind(&args.listen).await?;
    writeln!(io::stdout(), "listening on {}", listener.local_endpoint())?;

    let mut stop = async || {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    let (tell, told) = tokio::sync::oneshot::channel::<()>();
    let serve = relay.serve(listener, args.to, async {
        // An error says that the sender is gone, which is a reason to stop as well.
        let _ = told.await;
    });
    let report = tokio::select! {
        report = serve => Some(report),
        () = print_stats(&relay, args.stats_every) => None,
        () = async {
            stop().await;
            eprintln!("draining for up to {:?}; once more cuts at once", args.drain_timeout);
            let _ = tell.send(());
            stop().await;
        } => None,
    };
    eprintln!("{}", stats_line(&relay));
    match report {
        Some(report) => eprintln!("{report}"),
        None => eprintln!("cut"),
    }
    Ok(())
}

/// Prints a line so often, for ever; never, if `every` is 0.
async fn print_stats(relay: &Relay, every: Duration) {
    if every.is_zero() {
        return std::future::pending().await;
    }
    loop {
        sleep(every).await;
        eprintln!("{}", stats_line(relay));
    }
}

fn stats_line(relay: &Relay) -> String {
    format!("{}; pool: {}", relay.stats(), relay.pool().stats())
}
