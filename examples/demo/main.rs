//! A demo that checks and measures itself: `cargo demo`, or `cargo demo -- --help`.
//!
//! | file | idea |
//! |---|---|
//! | `main` | starts both ends, watches the clock, collects the results |
//! | `args` | the command line |
//! | `traffic` | the ends of a proxied connection |
//! | `pubsub`, `messages` | publishers and subscribers, and the types that they exchange |
//! | `report` | the table, and the same as JSON |

mod args;
#[expect(dead_code, unreachable_pub, reason = "generated, and not all of it is used")]
#[rustfmt::skip]
mod messages;
mod pubsub;
mod report;
mod traffic;

use std::alloc::System;
use std::env;
use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::pin::Pin;
use std::process::{self, ExitCode};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use clap::Parser;
use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressStyle};
use millpond::bus::{TcpTransport, UnixTransport};
use millpond::net::{Endpoint, Listener};
use millpond::relay::{Relay, RelayConfig};
use millpond::{BufferPool, BufferPoolConfig};
use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage, setrlimit};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tokio::task::JoinSet;
use tokio::time::sleep_until;

use self::args::{Arguments, Over};
use self::report::Report;
use self::traffic::Progress;

/// Counts every allocation of the process.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The part of the run that warms up.
const WARM_UP: f64 = 0.2;
/// How long the last echoes may take.
pub(crate) const GRACE: Duration = Duration::from_secs(10);
/// A long interval, as drawing the bar allocates, and the demo counts the allocations of the whole process.
const DRAW_EVERY: Duration = Duration::from_millis(500);

/// When a run measures, and what it counts.
pub(crate) struct Run {
    pub(crate) measure_from: Instant,
    pub(crate) until: Instant,
    pub(crate) progress: Arc<Progress>,
}

/// The tasks and pools of a run. The clients end by themselves.
pub(crate) struct Scene {
    pub(crate) clients: JoinSet<ClientOutcome>,
    pub(crate) pools: Vec<BufferPool>,
    /// Ends the servers, after the clients have ended.
    pub(crate) end: Pin<Box<dyn Future<Output = ()>>>,
    pub(crate) route: &'static str,
}

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    raise_descriptor_limit();
    let args = Arguments::parse();
    let (report, failures) = run(&args).await?;
    if args.json {
        writeln!(io::stdout(), "{}", report.to_json())?;
    } else {
        write!(io::stdout(), "{report}")?;
    }
    for failure in &failures {
        eprintln!("demo: a connection failed: {failure}");
    }
    Ok(if report.is_clean() && failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs both ends in this process. Returns what it took, and why connections failed.
async fn run(args: &Arguments) -> Result<(Report, Vec<String>), Box<dyn Error>> {
    let start = Instant::now();
    let measure_from = start + args.duration.mul_f64(WARM_UP);
    let until = start + args.duration;
    let progress = Arc::new(Progress::default());
    let run = Run { measure_from, until, progress: Arc::clone(&progress) };
    let Scene { clients, pools, end, route } = match args.over {
        Over::Proxy => through_the_proxy(args, &run).await?,
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

    let bar = progress_bar(args, route);
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
    let (acquires, made) = pools
        .iter()
        .map(BufferPool::stats)
        .fold((0, 0), |(acquires, made), stats| (acquires + stats.acquires, made + stats.allocations));
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
    Ok((report, failures))
}

/// A load generator, the proxy and an echo server.
async fn through_the_proxy(args: &Arguments, run: &Run) -> Result<Scene, Box<dyn Error>> {
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
        // If it panicked, clients have failed, and say so.
        let _ = proxy.await;
        echo.abort();
    };
    Ok(Scene { clients, pools, end: Box::pin(end), route: "client -> proxy -> echo and back" })
}

/// The latencies of all clients, and their failures. A client that hangs is cancelled, which is a failure.
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

fn progress_bar(args: &Arguments, route: &'static str) -> ProgressBar {
    if args.json {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{spinner} {msg} {wide_bar} {pos}/{len} ms")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(args.duration.as_millis() as u64).with_style(style).with_message(route)
}

/// Advances the bar until `until`.
async fn watch(bar: &ProgressBar, start: Instant, until: Instant) {
    while Instant::now() < until {
        bar.set_position(start.elapsed().as_millis() as u64);
        sleep_until((Instant::now() + DRAW_EVERY).min(until).into()).await;
    }
}

/// The most memory the process ever had resident.
fn peak_rss_bytes() -> nix::Result<u64> {
    // The figure of /proc is for this program alone. That of getrusage includes what the process ran before `exec`,
    // which is cargo under `cargo run`.
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    if let Some(kib) = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()) {
        return Ok(kib * 1024);
    }
    // Apple's systems count bytes, the others KiB.
    let unit = if cfg!(target_vendor = "apple") { 1 } else { 1024 };
    Ok(u64::try_from(getrusage(UsageWho::RUSAGE_SELF)?.max_rss()).unwrap_or(0) * unit)
}

/// A connection takes four descriptors, and a usual soft limit is 1024.
fn raise_descriptor_limit() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // If this fails the limit stays as it is, and connecting fails when it is reached.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_message_is_lost_or_altered_by_the_proxy() {
        assert_is_clean(&["--over", "proxy"]).await;
    }

    #[tokio::test]
    async fn no_message_is_lost_or_altered_over_tcp() {
        assert_is_clean(&["--over", "tcp"]).await;
    }

    #[tokio::test]
    async fn no_message_is_lost_or_altered_over_a_unix_socket_with_three_subscribers() {
        assert_is_clean(&["--over", "unix", "--subscribers", "3"]).await;
    }

    async fn assert_is_clean(more: &[&str]) {
        let arguments = ["demo", "--duration", "0.5", "--connections", "2", "--json"];
        let (report, failures) = run(&Arguments::parse_from(arguments.iter().chain(more))).await.unwrap();
        assert!(report.is_clean(), "{report}");
        assert!(failures.is_empty(), "{failures:?}");
    }
}
