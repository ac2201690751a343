//! `millpond proxy`: a relay on a pool of its own, until a signal stops it.

use std::error::Error;
use std::fs;
use std::future::poll_fn;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use millpond::net::Listener;
use millpond::observe::Registry;
use millpond::relay::{Backend, BackendConfig, Relay, RelayConfig, ServerPolicy};
use millpond::{BufferPool, BufferPoolConfig};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::spawn_blocking;
use tokio::time::{Duration, sleep, timeout};
use tracing::{info, warn};

use crate::admin;
use crate::export::Export;
use crate::log::StartError;
use crate::memory::return_free_pages;
use crate::options::{ListenerArgs, ProcessArgs};
use crate::settings::{Listening, Settings, listed};
use crate::statistics;
use crate::terminal::announce;
use crate::threads::{self, Threads, runtime};
use crate::tls;

/// How long the tasks of aborted connections may take to end. They need a turn each.
const ABORT_TIMEOUT: Duration = Duration::from_millis(500);

/// The exit code if connections were aborted at the stop.
const CONNECTIONS_CUT: u8 = 3;

/// The `name` of all samples.
pub(crate) const NAME: &str = "proxy";

/// Both sockets of a connection.
pub(crate) const DESCRIPTORS_PER_CONNECTION: u64 = 2;

/// The standard streams, the log, the listener, six of the first thread's runtime, and one connection.
const LEAST_DESCRIPTORS: u64 = 13;

/// What the proxy opens beside connections: the same without a connection, an access log, and name lookups.
pub(crate) const OWN_DESCRIPTORS: u64 = 16;

/// Serves until a signal stops it.
pub(crate) fn run(settings: Settings, export: &Export) -> Result<ExitCode, Box<dyn Error>> {
    let args = &settings.process;
    let mut pool = BufferPoolConfig::proxy().to_builder();
    if let Some(one_in) = args.admin.sample_one_in() {
        pool = pool.sample_one_in(one_in);
    }
    let pool = pool
        .memory_limit(usize::try_from(args.memory_limit.as_u64()).unwrap_or(usize::MAX))
        // The hook runs in the task of `spawn_decay`, so on the first thread, which must not block.
        .on_decay(|_| drop(spawn_blocking(return_free_pages)))
        .build();
    let pool = BufferPool::new(pool.map_err(|error| format!("--memory-limit: {error}"))?);
    let threads = Threads::start(args.threads, &pool)?;
    let runtime = runtime(&pool)?;
    let outcome = runtime.block_on(serve(pool, &threads, settings, export));
    // A thread may still block, in a name look-up for example. The exit does not wait for it.
    runtime.shutdown_background();
    outcome
}

/// Of a time whose 0 means no limit.
fn unless_zero(time: Duration) -> Option<Duration> {
    (!time.is_zero()).then_some(time)
}

/// The options that concern the servers.
fn servers_side(args: &ListenerArgs) -> BackendConfig {
    let policy = ServerPolicy::default()
        .balance(args.balance)
        .eject_after(args.eject_after)
        .eject_for(args.eject_for)
        .max_eject_for(ServerPolicy::default().max_eject_for.max(args.eject_for))
        .return_over(args.return_over);
    BackendConfig::default()
        .policy(policy)
        .check_every(unless_zero(args.health_check))
        .send_proxy(args.send_proxy)
}

async fn serve(
    pool: BufferPool,
    threads: &Threads,
    settings: Settings,
    export: &Export,
) -> Result<ExitCode, Box<dyn Error>> {
    let Settings { process, listeners } = settings;
    let Ok([Listening { args, .. }]) = <[_; 1]>::try_from(listeners) else {
        return Err("several listeners are not served yet".into());
    };
    let [listen] = &*args.listen else {
        return Err("several addresses are not served yet".into());
    };
    pool.spawn_decay();
    let config = RelayConfig::default()
        .max_connections(args.max_connections)
        .idle_timeout(unless_zero(args.idle_timeout))
        .half_closed_timeout(unless_zero(args.half_closed_timeout))
        .stalled_timeout(unless_zero(args.stalled_timeout))
        .max_lifetime(unless_zero(args.max_lifetime))
        .connect_timeout(args.connect_timeout)
        .drain_timeout(process.drain_timeout)
        .accept_proxy(args.accept_proxy.iter().copied().collect());
    let towards_servers = tls::towards_servers(&args, servers_side(&args))?;
    let config = tls::towards_clients(&args, config, &towards_servers)?;
    let backend = Backend::new(args.to.clone(), towards_servers);
    let relay = Relay::new(pool, config);
    let draining = Arc::new(AtomicBool::new(false));
    // Before the line that says "listening": after it a signal must drain.
    let mut signals = StopSignals::new()?;
    let mut listener = tokio::select! {
        listener = Listener::bind(listen) => listener?,
        // A lookup of its name may take long.
        _ = signals.next() => {
            info!("stopped before it listened");
            return Ok(ExitCode::SUCCESS);
        }
    };
    listener.set_backlog(args.backlog)?;
    let registry = Registry::new();
    registry.add(NAME, &relay);
    registry.add(NAME, &backend);
    registry.add(NAME, relay.pool());
    export.start(&registry);
    let admin = tokio::select! {
        admin = admin::start(&process.admin, registry, &backend, &draining) => admin?,
        // The same here.
        _ = signals.next() => {
            info!("stopped before it listened");
            export.stop().await;
            return Ok(ExitCode::SUCCESS);
        }
    };
    warn_of_few_descriptors(&process, args.max_connections);
    info!(
        listen = %listener.local_endpoint(),
        to = %listed(&args.to),
        admin = admin.as_ref().map(tracing::field::display),
        collector = export.collector(),
        version = env!("CARGO_PKG_VERSION"),
        "listening"
    );
    let admin = admin.map(|at| format!("\nadmin endpoint on {at}")).unwrap_or_default();
    announce(format!("listening on {}{admin}", listener.local_endpoint()));

    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serve = relay.serve_on(threads.runtimes(), listener, backend, async {
        // An error means that the sender is gone, which is also a reason to stop.
        let _ = stopped.await;
    });
    let report = tokio::select! {
        report = serve => Some(report),
        () = statistics::log_every(process.stats_every, &relay) => None,
        () = async {
            let is_hangup = signals.next().await;
            info!(
                open = relay.stats().active,
                "draining for up to {:?}; a second signal aborts at once", process.drain_timeout
            );
            draining.store(true, Ordering::Relaxed);
            let _ = stop.send(());
            // Service managers may send SIGHUP together with SIGTERM.
            let mut left = 1 + u32::from(is_hangup);
            while left > 0 {
                left -= u32::from(!signals.next().await);
            }
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
    export.stop().await;
    let stats = relay.stats();
    let aborted = stats.active + stats.aborted;
    match report {
        Some(report) => info!(drained = report.drained, aborted, "stopped"),
        None => info!(aborted, "stopped by a second signal"),
    }
    Ok(if aborted == 0 { ExitCode::SUCCESS } else { ExitCode::from(CONNECTIONS_CUT) })
}

/// The signals that stop the proxy: SIGINT, SIGTERM, and SIGHUP, unless it was ignored at the start, as by `nohup`.
struct StopSignals {
    stop: [Signal; 2],
    hangup: Option<Signal>,
}

impl StopSignals {
    fn new() -> io::Result<Self> {
        let stop = [signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?];
        let hangup = if ignores_hangup() { None } else { Some(signal(SignalKind::hangup())?) };
        Ok(Self { stop, hangup })
    }

    /// Waits for the next one, and tells whether it was SIGHUP.
    async fn next(&mut self) -> bool {
        poll_fn(|cx| {
            if self.stop.iter_mut().any(|signal| signal.poll_recv(cx).is_ready()) {
                return Poll::Ready(false);
            }
            match self.hangup.as_mut().map(|signal| signal.poll_recv(cx)) {
                Some(Poll::Ready(_)) => Poll::Ready(true),
                _ => Poll::Pending,
            }
        })
        .await
    }
}

/// Only Linux tells; elsewhere SIGHUP always stops.
fn ignores_hangup() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & (1 << (SignalKind::hangup().as_raw_value() - 1)) != 0)
}

/// Raises the soft limit of descriptors to the hard one. The usual limit of 1024 exists for programs that use `select`, and
/// this one does not. Fails if that does not suffice for one connection.
pub(crate) fn raise_descriptor_limit(args: &ProcessArgs) -> Result<(), StartError> {
    let least = LEAST_DESCRIPTORS
        + threads::descriptors(args.threads)
        + u64::from(args.log.has_file())
        + u64::from(args.admin.is_on())
        + args.export.descriptors();
    let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return Ok(()) };
    // If this fails the limit stays as it is, and clients wait when it is reached.
    let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((limit, _)) if limit < least => Err(StartError::new(format!(
            "{limit} descriptors are too few: {least} suffice for one connection; raise the limit of open files \
             (ulimit -n, or LimitNOFILE= of systemd)"
        ))),
        _ => Ok(()),
    }
}

fn warn_of_few_descriptors(args: &ProcessArgs, max_connections: usize) {
    let Ok((limit, _)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    let own = OWN_DESCRIPTORS
        + threads::descriptors(args.threads)
        + args.admin.descriptors()
        + args.export.descriptors();
    let fit = limit.saturating_sub(own) / DESCRIPTORS_PER_CONNECTION;
    let wanted = max_connections as u64;
    // A percent less is not worth a line.
    if fit < wanted - wanted / 100 {
        warn!(
            "{limit} descriptors suffice for about {fit} of --max-connections {max_connections}, and further clients wait; \
             raise the hard limit of open files (ulimit -Hn, or LimitNOFILE= of systemd)"
        );
    }
}
