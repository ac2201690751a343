//! `millpond proxy`: a relay on a pool of its own, until a signal stops it.

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use millpond::net::Endpoint;
use millpond::observe::Registry;
use millpond::{BufferPool, BufferPoolConfig};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::task::spawn_blocking;
use tokio::time::{Duration, sleep, timeout};
use tracing::{error, info, warn};

use crate::admin::{self, AdminAt};
use crate::export::Export;
use crate::handover::{self, Handed};
use crate::listeners::{Listeners, Serving};
use crate::log::StartError;
use crate::manager::{self, Ticks};
use crate::memory::return_free_pages;
use crate::options::ProcessArgs;
use crate::settings::{Origin, Settings, listed};
use crate::signals::{Signal, Signals};
use crate::statistics;
use crate::terminal::announce;
use crate::threads::{self, Threads, runtime};

/// How long the tasks of aborted connections may take to end. They need a turn each.
const ABORT_TIMEOUT: Duration = Duration::from_millis(500);

/// The exit code if connections were aborted at the stop.
const CONNECTIONS_CUT: u8 = 3;

/// The `name` of all samples.
pub(crate) const NAME: &str = "proxy";

/// Both sockets of a connection.
pub(crate) const DESCRIPTORS_PER_CONNECTION: u64 = 2;

/// The standard streams, the log, the listener and its spare, six of the first thread's runtime, and one connection.
const LEAST_DESCRIPTORS: u64 = 14;

/// What the proxy opens beside connections: the same without a connection, an access log, and name lookups.
pub(crate) const OWN_DESCRIPTORS: u64 = 17;

/// Serves until a signal stops it.
pub(crate) fn run(
    settings: Settings,
    origin: &Origin,
    handed: Handed,
    export: &Export,
) -> Result<ExitCode, Box<dyn Error>> {
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
    let outcome = runtime.block_on(serve(pool, &threads, settings, origin, handed, export));
    // A thread may still block, in a name look-up for example. The exit does not wait for it.
    runtime.shutdown_background();
    outcome
}

async fn serve(
    pool: BufferPool,
    threads: &Threads,
    settings: Settings,
    origin: &Origin,
    handed: Handed,
    export: &Export,
) -> Result<ExitCode, Box<dyn Error>> {
    let Settings { mut process, listeners: wanted } = settings;
    pool.spawn_decay();
    let registry = Registry::new();
    let mut handed = handed;
    let mut listeners = Listeners::new(pool, threads.runtimes().clone(), registry.clone());
    let draining = Arc::new(AtomicBool::new(false));
    // Before the line that says "listening": after it a signal must drain.
    let mut signals = Signals::new()?;
    tokio::select! {
        applied = listeners.apply(wanted, process.drain_timeout, &mut handed) => applied?,
        // A lookup of its name may take long.
        () = signals.stop() => {
            info!("stopped before it listened");
            return Ok(ExitCode::SUCCESS);
        }
    }
    registry.add(NAME, listeners.pool());
    export.start(&registry);
    let admin = tokio::select! {
        admin = admin::start(&process.admin, registry, listeners.upstreams(), &draining, &mut handed) => admin?,
        // The same here.
        () = signals.stop() => {
            info!("stopped before it listened");
            export.stop().await;
            return Ok(ExitCode::SUCCESS);
        }
    };
    warn_of_few_descriptors(&process, &listeners);
    for name in handed.rest() {
        warn!(name, "a socket that was handed over is for no listener");
    }
    say_where(&listeners, admin.as_ref().map(AdminAt::endpoint), export);
    handed.listens()?;
    manager::ready();

    let (mut statistics, mut status) =
        (Ticks::new(process.stats_every), Ticks::new(manager::status_interval()));
    let first = loop {
        tokio::select! {
            signal = signals.next() => match signal {
                Signal::Hangup if origin.file().is_some() => {
                    reload(&mut listeners, &mut process, origin).await;
                    statistics = Ticks::new(process.stats_every);
                }
                // If it ends, the kernel kills all others of its namespace.
                Signal::Replace if std::process::id() == 1 => {
                    error!("no new process takes over from the first one of a container: start a new container");
                }
                Signal::Replace => {
                    let sockets = listeners.sockets().chain(admin.as_ref().map(AdminAt::socket));
                    match handover::replace(sockets).await {
                        Ok(process) => {
                            info!(process, "a new process has taken over");
                            manager::replaced_by(process);
                            listeners.hand_over();
                            if let Some(admin) = admin {
                                admin.hand_over();
                            }
                            break Signal::Stop;
                        }
                        Err(error) => error!(error, "no new process has taken over, and nothing has changed"),
                    }
                }
                first => {
                    manager::stopping();
                    break first;
                }
            },
            () = statistics.next() => statistics::log(&listeners),
            () = status.next() => manager::status(listeners.open()),
            () = listeners.drained() => {}
        }
    };
    drain(listeners, &mut signals, first, &process, &draining, export).await
}

/// Reads the file again. If it is wrong, or cannot be applied, nothing changes.
async fn reload(listeners: &mut Listeners, process: &mut ProcessArgs, origin: &Origin) {
    manager::reloading();
    try_reload(listeners, process, origin).await;
    // Also if it has failed: the service is as it was.
    manager::ready();
}

async fn try_reload(listeners: &mut Listeners, process: &mut ProcessArgs, origin: &Origin) {
    const UNCHANGED: &str = "the configuration is not reloaded, and nothing has changed";
    let Settings { process: new, listeners: wanted } = match origin.load() {
        Ok(settings) => settings,
        Err(report) => return error!("{UNCHANGED}: {report}"),
    };
    if let Err(error) = listeners.apply(wanted, new.drain_timeout, &mut Handed::default()).await {
        return error!(error, "{UNCHANGED}");
    }
    let (before, after) = (fixed(process), fixed(&new));
    for ((option, before), (_, after)) in before.iter().zip(&after) {
        if before != after {
            warn!("{option} stays as it is until a restart");
        }
    }
    (process.drain_timeout, process.stats_every) = (new.drain_timeout, new.stats_every);
    warn_of_few_descriptors(process, listeners);
    for serving in listeners.serving() {
        let (listen, to) = (listed(&serving.at().cloned().collect::<Vec<_>>()), listed(&serving.args.to));
        info!(listener = serving.name, %listen, %to, "reloaded");
    }
}

/// The options of the process that a reload does not change.
fn fixed(process: &ProcessArgs) -> [(&'static str, String); 5] {
    [
        ("--threads", process.threads.to_string()),
        ("--memory-limit", process.memory_limit.to_string()),
        ("--admin, with its options,", format!("{:?}", process.admin)),
        ("--otlp, with its options,", format!("{:?}", process.export)),
        ("the log", format!("{:?}", process.log)),
    ]
}

/// Stops listening, and waits for the open connections. The signal after the first one aborts them.
async fn drain(
    mut listeners: Listeners,
    signals: &mut Signals,
    first: Signal,
    process: &ProcessArgs,
    draining: &AtomicBool,
    export: &Export,
) -> Result<ExitCode, Box<dyn Error>> {
    info!(
        open = listeners.open(),
        "draining for up to {:?}; a second signal aborts at once", process.drain_timeout
    );
    draining.store(true, Ordering::Relaxed);
    let mut status = Ticks::new(manager::status_interval());
    let draining = listeners.drain();
    let drained = tokio::select! {
        drained = draining => Some(drained),
        () = async {
            loop {
                status.next().await;
                manager::status(listeners.open());
            }
        } => None,
        () = async {
            // Service managers may send SIGHUP together with SIGTERM.
            let mut left = 1 + u32::from(first == Signal::Hangup);
            while left > 0 {
                left -= u32::from(signals.next().await == Signal::Stop);
            }
        } => None,
    };
    // The tasks of aborted connections end at their next turn, and each logs its connection.
    let ended = async {
        while listeners.open() > 0 {
            sleep(Duration::from_millis(1)).await;
        }
    };
    let _ = timeout(ABORT_TIMEOUT, ended).await;
    statistics::log(&listeners);
    export.stop().await;
    let aborted = listeners.aborted();
    match drained {
        Some(drained) => info!(drained, aborted, "stopped"),
        None => info!(aborted, "stopped by a second signal"),
    }
    Ok(if aborted == 0 { ExitCode::SUCCESS } else { ExitCode::from(CONNECTIONS_CUT) })
}

/// Says in the log and on stdout where it listens.
fn say_where(listeners: &Listeners, admin: Option<&Endpoint>, export: &Export) {
    let serving = listeners.serving();
    for one in serving {
        let (listen, to) = (listed(&one.at().cloned().collect::<Vec<_>>()), listed(&one.args.to));
        info!(
            listener = (serving.len() > 1).then_some(&*one.name),
            %listen,
            %to,
            admin = admin.map(tracing::field::display),
            collector = export.collector(),
            version = env!("CARGO_PKG_VERSION"),
            "listening"
        );
    }
    let mut lines: Vec<_> =
        serving.iter().flat_map(Serving::at).map(|at| format!("listening on {at}")).collect();
    lines.extend(admin.map(|at| format!("admin endpoint on {at}")));
    announce(lines.join("\n"));
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

fn warn_of_few_descriptors(args: &ProcessArgs, listeners: &Listeners) {
    let max_connections: usize = listeners.serving().iter().map(|serving| serving.args.max_connections).sum();
    let sockets = listeners.serving().iter().flat_map(Serving::at).count() as u64;
    let Ok((limit, _)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    let own = OWN_DESCRIPTORS
        + 2 * sockets.saturating_sub(1)
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
