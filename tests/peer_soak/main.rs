//! Every kind of bad peer at once, against `millpond proxy` with a memory limit of 1 MiB and against a hub of the bus, for
//! `MILLPOND_SOAK_SECONDS` (default 10). `tests/deep` runs it for ten minutes.
//!
//! Every byte is checked, no cut answer may end well, nothing may be left at the end, and no well-behaved connection may
//! wait too long. The longest wait is also measured on a direct connection, as a control: a busy machine delays both.
//!
//! | file | idea |
//! |---|---|
//! | `relay` | clients of the proxy |
//! | `bus` | the hub and its clients |
//! | `../peers/mod.rs` | the proxy's upstream |

mod bus;
#[path = "../peers/mod.rs"]
mod peers;
#[path = "../proxy/mod.rs"]
mod proxy;
mod relay;

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use proxy::Proxy;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tokio::time::sleep;

/// A wait that is a fault on any machine.
const STARVED: Duration = Duration::from_secs(5);
/// The longest wait that a long run allows, in addition to the control's.
const BAR: Duration = Duration::from_millis(50);
const LONG_RUN: u64 = 60;
/// Time for everything to end, and for the processes to notice.
const END: Duration = Duration::from_secs(20);
const MEMORY_LIMIT: u64 = 1 << 20;
/// Resident memory of the proxy beside its buffers: code, stacks, and 4 KiB for each of some hundred connections.
const OTHER_MEMORY: u64 = 8 << 20;

fn main() {
    let seconds = std::env::var("MILLPOND_SOAK_SECONDS").map_or(10, |seconds| seconds.parse().unwrap());
    // The upstream, the hub and the clients do not share workers, so that none delays another's.
    let [upstreams, hubs, clients] = [(); 3].map(|()| runtime());
    let descriptors = open_descriptors("self");

    let listener = peers::listen().unwrap();
    let upstream = listener.local_addr().unwrap();
    let serving = upstreams.spawn(peers::serve(listener));
    let more = ["--memory-limit", "1MiB", "--max-connections", "2000"];
    let proxy = Proxy::start("tcp://127.0.0.1:0", &format!("tcp://{upstream}"), &more);
    let hub = hubs.block_on(bus::Server::start());

    let run = Arc::new(Run::new(seconds, upstream, proxy.address().parse().unwrap(), hub.address()));
    clients.block_on(Run::warm_up(&run));
    let proxy_id = proxy.child.id().to_string();
    let (proxy_descriptors, proxy_memory) = (open_descriptors(&proxy_id), resident(&proxy_id, "VmRSS:"));
    clients.block_on(Run::play(&run));

    hubs.block_on(hub.end());
    eventually("the proxy keeps descriptors", || open_descriptors(&proxy_id) <= proxy_descriptors);
    let grown = resident(&proxy_id, "VmHWM:").saturating_sub(proxy_memory);
    proxy.interrupt();
    let said = proxy.wait();
    assert_eq!(statistic(&said, "open="), 0, "connections that the proxy still had");
    assert_eq!(statistic(&said, "buffers_in_use="), 0, "buffers that the proxy still held");
    assert!(statistic(&said, "high_water_bytes=") <= MEMORY_LIMIT, "bytes of the proxy's pool");
    serving.abort();
    drop(serving);
    eventually("this process keeps descriptors", || open_descriptors("self") <= descriptors);

    run.print();
    println!("| resident memory of the proxy, grown by at most | {} KiB |", grown / 1024);
    assert!(grown <= MEMORY_LIMIT + OTHER_MEMORY, "the proxy grew by {grown} B");
    run.judge();
    println!("test result: ok. {seconds} s");
}

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// What all clients share.
struct Run {
    start: Instant,
    length: Duration,
    upstream: SocketAddr,
    proxy: SocketAddr,
    hub: SocketAddr,
    /// Of small requests.
    relayed: Waits,
    published: Waits,
    direct: Waits,
    /// Of the parts of long answers.
    streamed: Waits,
    streamed_directly: Waits,
    checked_bytes: AtomicU64,
    /// Bad peers that came and left.
    bad: AtomicU64,
}

/// The waits of well-behaved connections of a kind.
#[derive(Default)]
struct Waits {
    count: AtomicU64,
    longest_us: AtomicU64,
    over_bar: AtomicU64,
}

// Ordering: Relaxed, everywhere here. The counters are independent, and the threads that add are joined before the last
// look.
impl Waits {
    fn record(&self, wait: Duration) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.longest_us.fetch_max(wait.as_micros() as u64, Ordering::Relaxed);
        self.over_bar.fetch_add(u64::from(wait > BAR), Ordering::Relaxed);
    }

    fn longest(&self) -> Duration {
        Duration::from_micros(self.longest_us.load(Ordering::Relaxed))
    }
}

impl Run {
    fn new(seconds: u64, upstream: SocketAddr, proxy: SocketAddr, hub: SocketAddr) -> Self {
        Self {
            start: Instant::now(),
            length: Duration::from_secs(seconds),
            upstream,
            proxy,
            hub,
            relayed: Waits::default(),
            published: Waits::default(),
            direct: Waits::default(),
            streamed: Waits::default(),
            streamed_directly: Waits::default(),
            checked_bytes: AtomicU64::new(0),
            bad: AtomicU64::new(0),
        }
    }

    fn is_over(&self) -> bool {
        self.start.elapsed() >= self.length
    }

    /// Sleeps until the run is over, or for a minute.
    async fn stall(&self) {
        sleep(self.length.saturating_sub(self.start.elapsed()).min(Duration::from_secs(60))).await;
    }

    fn checked(&self, bytes: usize) {
        self.checked_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Whatever a process allocates once, it has afterwards.
    async fn warm_up(run: &Arc<Self>) {
        let mut tasks = JoinSet::new();
        for seed in 0..8 {
            let run = Arc::clone(run);
            tasks.spawn(async move { relay::download(run, Dice(seed)).await.unwrap() });
        }
        tasks.join_all().await;
        // The proxy notices that all have left.
        sleep(Duration::from_millis(500)).await;
    }

    async fn play(run: &Arc<Self>) {
        let mut cast = Cast { run, tasks: JoinSet::new() };
        relay::enter(&mut cast);
        bus::enter(&mut cast);
        let every = (run.length / 20).max(Duration::from_secs(2));
        let printer = tokio::spawn({
            let run = Arc::clone(run);
            async move {
                loop {
                    sleep(every).await;
                    run.print_progress();
                }
            }
        });
        // A task that found a fault panics, and ends the run.
        while let Some(outcome) = cast.tasks.join_next().await {
            outcome.unwrap();
        }
        printer.abort();
    }

    fn print_progress(&self) {
        let waits = self.waits().map(|(name, waits)| format!("{name} {} ms", waits.longest().as_millis()));
        eprintln!(
            "{:4} s: {} MiB checked, {} bad peers, longest waits: {}",
            self.start.elapsed().as_secs(),
            self.checked_bytes.load(Ordering::Relaxed) >> 20,
            self.bad.load(Ordering::Relaxed),
            waits.join(", "),
        );
    }

    fn print(&self) {
        println!("| fact | |\n|---|---|");
        println!("| time | {} s |", self.start.elapsed().as_secs());
        println!("| bytes checked | {} |", self.checked_bytes.load(Ordering::Relaxed));
        println!("| bad peers that came and left | {} |", self.bad.load(Ordering::Relaxed));
        for (name, waits) in self.waits() {
            let (count, over) = (waits.count.load(Ordering::Relaxed), waits.over_bar.load(Ordering::Relaxed));
            let longest = waits.longest().as_secs_f64() * 1e3;
            println!("| waits, {name}: longest, over {BAR:?}, all | {longest:.1} ms, {over}, {count} |");
        }
    }

    fn waits(&self) -> [(&'static str, &Waits); 5] {
        [
            ("proxy", &self.relayed),
            ("hub", &self.published),
            ("direct", &self.direct),
            ("proxy, long answers", &self.streamed),
            ("direct, long answers", &self.streamed_directly),
        ]
    }

    fn judge(&self) {
        let long = self.length >= Duration::from_secs(LONG_RUN);
        let control = self.direct.longest().max(self.streamed_directly.longest());
        let most = if long { BAR + control } else { STARVED.max(control) };
        for (name, waits) in self.waits() {
            let longest = waits.longest();
            assert!(
                longest <= most,
                "{name}: a well-behaved connection waited {longest:?}, at most {most:?}"
            );
        }
    }
}

/// Tasks that each repeat a life, with other random numbers, until the run is over.
struct Cast<'a> {
    run: &'a Arc<Run>,
    tasks: JoinSet<()>,
}

impl Cast<'_> {
    /// Well-behaved connections, none of which may fail.
    fn good<F>(&mut self, count: u64, life: impl Fn(Arc<Run>, Dice) -> F + Copy + Send + 'static)
    where
        F: Future<Output = io::Result<()>> + Send,
    {
        self.repeat(count, life, |_, outcome| outcome.expect("a well-behaved connection failed"));
    }

    /// Bad peers. Others must not notice how one ends.
    fn bad<F>(&mut self, count: u64, life: impl Fn(Arc<Run>, Dice) -> F + Copy + Send + 'static)
    where
        F: Future<Output = io::Result<()>> + Send,
    {
        self.repeat(count, life, |run, _| _ = run.bad.fetch_add(1, Ordering::Relaxed));
    }

    fn repeat<F>(
        &mut self,
        count: u64,
        life: impl Fn(Arc<Run>, Dice) -> F + Copy + Send + 'static,
        end: fn(&Run, io::Result<()>),
    ) where
        F: Future<Output = io::Result<()>> + Send,
    {
        for _ in 0..count {
            let run = Arc::clone(self.run);
            let mut seeds = Dice(self.tasks.len() as u64);
            self.tasks.spawn(async move {
                // Not all at once: that is another test.
                sleep(seeds.millis(1000)).await;
                while !run.is_over() {
                    end(&run, life(Arc::clone(&run), Dice(seeds.next())).await);
                }
            });
        }
    }
}

/// Random numbers that are the same in each run.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed ^ (mixed >> 27)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn millis(&mut self, bound: u64) -> Duration {
        Duration::from_millis(self.below(bound))
    }
}

/// Waits until it is so.
fn eventually(fault: &str, so: impl Fn() -> bool) {
    let start = Instant::now();
    while !so() {
        assert!(start.elapsed() < END, "{fault}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A figure of the last line that has it.
fn statistic(log: &str, name: &str) -> u64 {
    let figure = log.rsplit_once(name).and_then(|(_, rest)| rest.split_whitespace().next());
    figure.and_then(|figure| figure.parse().ok()).unwrap_or_else(|| panic!("no {name} in the log"))
}

fn open_descriptors(process: &str) -> usize {
    fs::read_dir(format!("/proc/{process}/fd")).unwrap().count()
}

fn resident(process: &str, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}
