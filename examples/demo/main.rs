use std::env;
use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::pin::Pin;
use std::process::{self, ExitCode};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressStyle};
use millpond::bus::{TcpTransport, UnixTransport};
use millpond::net::{Endpoint, Listener};
use millpond::relay::{Relay, RelayConfig};
use millpond::{BufferPool, BufferPoolConfig};
use nix::sys::resource::{UsageWho, getrusage};
use tokio::task::JoinSet;
use tokio::time::sleep_until;

use crate::ALLOCATOR;
use crate::cli::{DemoArgs, Over};
use crate::pubsub;
use crate::report::Report;
use crate::traffic::{self, Progress};

/// The part of the run that warms up.
const WARM_UP: f64 = 0.2;
/// How long the last echoes may take.
pub(crate) const GRACE: Duration = Duration::from_secs(10);
/// Seldom: a drawn bar allocates, and the demo counts the allocations of the whole process.
const DRAW_EVERY: Duration = Duration::from_millis(500);

/// What a run measures: from when, until when, and what was counted.
pub(crate) struct Run {
    pub(crate) measure_from: Instant,
    pub(crate) until: Instant,
    pub(crate) progress: Arc<Progress>,
}

/// Who sends and receives. The clients end by themselves.
pub(crate) struct Scene {
    pub(crate) clients: JoinSet<ClientOutcome>,
    pub(crate) pools: Vec<BufferPool>,
    /// Ends the servers, once the clients have.
    pub(crate) end: Pin<Box<dyn Future<Output = ()>>>,
    pub(crate) route: &'static str,
}

/// Runs all of it in this process, prints what it took, and fails if a message was lost or altered.
pub(crate) async fn run(args: DemoArgs) -> Result<ExitCode, Box<dyn Error>> {
    let start = Instant::now();
    let measure_from = start + args.duration.mul_f64(WARM_UP);
    let until = start + args.duration;
    let progress = Arc::new(Progress::default());
    let run = Run { measure_from, until, progress: Arc::clone(&progress) };
    let Scene { clients, pools, end, route } = match args.over {
        Over::Proxy => through_the_proxy(&args, &run).await?,
        Over::Tcp => {
            let server = TcpTransport::bind_with("127.0.0.1:0", pubsub::config()).await?;
            let address = server.local_addr();
            let mut publishers = Vec::new();
            for _ in 0..args.connections {
                publishers.push(TcpTransport::connect_with(address, pubsub::config()).await?);
            }
            pubsub::scene(server, publishers, args.subscribers, &run)
        }
        Over::Unix => {
            let path = env::temp_dir().join(format!("millpond-demo-{}.sock", process::id()));
            let server = UnixTransport::bind_with(&path, pubsub::config()).await?;
            let mut publishers = Vec::new();
            for _ in 0..args.connections {
                publishers.push(UnixTransport::connect_with(&path, pubsub::config()).await?);
            }
            pubsub::scene(server, publishers, args.subscribers, &run)
        }
    };

    let bar = progress_bar(&args, route);
    watch(&bar, start, measure_from).await;
    let messages_before = progress.received.load(Ordering::Relaxed);
    let bytes_before = progress.bytes.load(Ordering::Relaxed);
    let allocations_before = ALLOCATOR.stats();
    let measured_from = Instant::now();
    watch(&bar, start, until).await;
    let measured = measured_from.elapsed();
    let allocations = ALLOCATOR.stats() - allocations_before;
    let messages = progress.received.load(Ordering::Relaxed) - messages_before;
    let bytes = progress.bytes.load(Ordering::Relaxed) - bytes_before;
    bar.finish_and_clear();

    let (latencies, failures) = collect(clients).await?;
    end.await;

    let sent = progress.sent.load(Ordering::Relaxed);
    let received = progress.received.load(Ordering::Relaxed);
    let (acquires, made) = pools.iter().map(BufferPool::stats).fold((0, 0), |(acquires, made), stats| {
        (acquires + stats.total_acquires, made + stats.total_allocations)
    });
    let report = Report {
        route,
        messages: received,
        messages_lost: sent - received,
        messages_altered: progress.altered.load(Ordering::Relaxed),
        megabytes_per_second: bytes as f64 / 1e6 / measured.as_secs_f64(),
        latencies,
        hit_rate_percent: (acquires - made) as f64 * 100.0 / acquires.max(1) as f64,
        allocations_per_message: (allocations.allocations + allocations.reallocations) as f64
            / messages.max(1) as f64,
        peak_rss_bytes: peak_rss_bytes()?,
        connections: args.connections,
        duration: args.duration,
    };
    if args.json {
        writeln!(io::stdout(), "{}", report.to_json())?;
    } else {
        write!(io::stdout(), "{report}")?;
    }
    for failure in &failures {
        eprintln!("millpond: a connection of the demo failed: {failure}");
    }
    Ok(if report.is_clean() && failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Load, proxy and echo.
async fn through_the_proxy(args: &DemoArgs, run: &Run) -> Result<Scene, Box<dyn Error>> {
    let any_port: Endpoint = "tcp://127.0.0.1:0".parse()?;
    let frames = BufferPool::new(BufferPoolConfig::messages());
    let echo_listener = Listener::bind(&any_port).await?;
    let echo_endpoint = echo_listener.local_endpoint().clone();
    let echo = tokio::spawn(traffic::echo(echo_listener, frames.clone()));

    let relay = Relay::new(BufferPool::new(BufferPoolConfig::proxy()), RelayConfig::default());
    let listener = Listener::bind(&any_port).await?;
    let proxy_endpoint = listener.local_endpoint().clone();
    let pools = vec![frames.clone(), relay.pool().clone()];
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let proxy =
        tokio::spawn(
            async move { relay.serve(listener, echo_endpoint, async { drop(stopped.await) }).await },
        );

    let mut clients = JoinSet::new();
    let times = (run.measure_from, run.until);
    for _ in 0..args.connections {
        let (proxy, frames, progress) = (proxy_endpoint.clone(), frames.clone(), Arc::clone(&run.progress));
        clients.spawn(async move { traffic::generate(proxy, frames, &progress, times).await });
    }
    let end = async move {
        drop(stop);
        // Its panic would have shown as failed clients.
        let _ = proxy.await;
        echo.abort();
    };
    Ok(Scene { clients, pools, end: Box::pin(end), route: "client -> proxy -> echo and back" })
}

/// The latencies of all clients, and what went wrong. One that hangs is cut, and counts as that.
async fn collect(
    mut clients: JoinSet<ClientOutcome>,
) -> Result<(Histogram<u64>, Vec<String>), Box<dyn Error>> {
    let mut all = Histogram::new(3)?;
    let mut failures = Vec::new();
    let deadline = tokio::time::Instant::now() + GRACE;
    loop {
        match tokio::time::timeout_at(deadline, clients.join_next()).await {
            Ok(Some(Ok(Ok(latencies)))) => all.add(latencies)?,
            Ok(Some(Ok(Err(error)))) => failures.push(error.to_string()),
            Ok(Some(Err(panicked))) => failures.push(panicked.to_string()),
            Ok(None) => return Ok((all, failures)),
            Err(_) => {
                failures.push(format!("{} connections got no answer within {GRACE:?}", clients.len()));
                return Ok((all, failures));
            }
        }
    }
}

pub(crate) type ClientOutcome = Result<Histogram<u64>, Box<dyn Error + Send + Sync>>;

fn progress_bar(args: &DemoArgs, route: &'static str) -> ProgressBar {
    if args.json {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{spinner} {msg} {wide_bar} {pos}/{len} ms")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(args.duration.as_millis() as u64).with_style(style).with_message(route)
}

/// Moves the bar until `until`.
async fn watch(bar: &ProgressBar, start: Instant, until: Instant) {
    while Instant::now() < until {
        bar.set_position(start.elapsed().as_millis() as u64);
        sleep_until((Instant::now() + DRAW_EVERY).min(until).into()).await;
    }
}

/// The most memory the process ever had resident.
fn peak_rss_bytes() -> nix::Result<u64> {
    // Where there is a /proc, its figure is of this program alone; getrusage's counts what ran in the process
    // before `exec`, which under `cargo run` is cargo.
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    if let Some(kib) = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()) {
        return Ok(kib * 1024);
    }
    // Apple's systems count in bytes, the others in KiB.
    let unit = if cfg!(target_vendor = "apple") { 1 } else { 1024 };
    Ok(u64::try_from(getrusage(UsageWho::RUSAGE_SELF)?.max_rss()).unwrap_or(0) * unit)
}
