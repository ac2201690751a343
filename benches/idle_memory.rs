//! Proxy memory per connection: at rest, and after every connection has echoed 64 KiB.
//!
//! `cargo bench --features proxy --bench idle_memory [-- [CONNECTIONS] [--write] [--record]]`
//!
//! This process is both the clients and the echoing upstream of every proxy. Resident memory is as the kernel reports
//! it. All proxies have their connections at once, but their bursts one after the other; then all rest for 10 s. In the
//! last burst the readers stall for 5 s after half of their bytes. `--write` replaces a section of
//! `benches/results/relay.md`, and `--record` keeps the figures for the claims.

mod proxies;
mod results;

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use proxies::{Arguments, Kind, Proxy, become_rival_if_asked, raise_descriptor_limit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// Four descriptors per connection and proxy, two of them here: five proxies stay below a common limit, 20 000.
const CONNECTIONS: usize = 1800;
const ECHO: usize = 64 * 1024;
const REST: Duration = Duration::from_secs(10);
const STALL: Duration = Duration::from_secs(5);
/// Concurrent echoes in a burst without stalls. More would only wait for a CPU.
const AT_ONCE: usize = 256;

fn main() {
    become_rival_if_asked();
    raise_descriptor_limit();
    let arguments = Arguments::parse();
    let connections = arguments.number.unwrap_or(CONNECTIONS);
    let subjects = tokio::runtime::Runtime::new().unwrap().block_on(measure(connections));
    let table = table(connections, &subjects);
    println!("{table}");
    if arguments.write {
        results::replace("relay", "idle_memory", &table).unwrap();
    }
    if arguments.record {
        results::record(&figures(connections, &subjects)).unwrap();
    }
}

/// A proxy, its connections, and what was measured. Sizes are in bytes, of the whole process.
struct Subject {
    kind: Kind,
    proxy: Proxy,
    streams: Vec<TcpStream>,
    empty: u64,
    at_first: u64,
    after: u64,
    after_stall: u64,
    peak: u64,
    stalled_peak: u64,
    cpu_ns: u64,
}

async fn measure(connections: usize) -> Vec<Subject> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = listener.local_addr().unwrap().port();
    tokio::spawn(echo(listener));
    let mut subjects = Vec::new();
    for kind in Kind::ALL {
        subjects.push(Subject::connected(kind, upstream, connections).await);
    }
    for subject in &mut subjects {
        let before = subject.proxy.cpu_ns();
        subject.burst(AT_ONCE, Duration::ZERO).await;
        subject.cpu_ns = subject.proxy.cpu_ns() - before;
    }
    sleep(REST).await;
    for subject in &mut subjects {
        (subject.after, subject.peak) = subject.proxy.resident_and_peak();
    }
    for subject in &mut subjects {
        subject.burst(connections, STALL).await;
    }
    sleep(REST).await;
    for subject in &mut subjects {
        (subject.after_stall, subject.stalled_peak) = subject.proxy.resident_and_peak();
    }
    subjects
}

impl Subject {
    async fn connected(kind: Kind, upstream: u16, connections: usize) -> Self {
        eprintln!("{}", kind.name());
        let proxy = Proxy::start(kind, upstream);
        sleep(Duration::from_millis(500)).await;
        let (empty, _) = proxy.resident_and_peak();
        let mut streams = Vec::new();
        for _ in 0..connections {
            let mut stream = TcpStream::connect(("127.0.0.1", proxy.port)).await.unwrap();
            // One byte and its echo: by then the proxy has connected to the upstream.
            stream.write_all(b"x").await.unwrap();
            stream.read_exact(&mut [0]).await.unwrap();
            streams.push(stream);
        }
        let (at_first, _) = proxy.resident_and_peak();
        let (after, after_stall, peak, stalled_peak, cpu_ns) = (0, 0, 0, 0, 0);
        Self { kind, proxy, streams, empty, at_first, after, after_stall, peak, stalled_peak, cpu_ns }
    }

    async fn burst(&mut self, at_once: usize, stall: Duration) {
        eprintln!("{}: a burst", self.kind.name());
        self.streams = burst(std::mem::take(&mut self.streams), at_once, stall).await;
    }
}

fn kib_each(subject: &Subject, bytes: u64, connections: usize) -> f64 {
    bytes.saturating_sub(subject.empty) as f64 / connections as f64 / 1024.0
}

fn cpu_us(subject: &Subject, connections: usize) -> f64 {
    subject.cpu_ns as f64 / 1000.0 / connections as f64
}

fn table(connections: usize, subjects: &[Subject]) -> String {
    let mut text = format!(
        "\n{}; glibc's malloc; {connections} connections. KiB of resident proxy memory per connection, less what the empty \
         process has.\n\n| proxy | at first | 10 s after a burst | 10 s after a stalled burst | peak of the bursts | CPU us \
         per 64 KiB echo |\n|---|---|---|---|---|---|\n",
        results::machine()
    );
    for subject in subjects {
        let each = |bytes| kib_each(subject, bytes, connections);
        let _ = writeln!(
            text,
            "| {} | {:.1} | {:.1} | {:.1} | {:.1}, stalled {:.1} | {:.0} |",
            subject.kind.name(),
            each(subject.at_first),
            each(subject.after),
            each(subject.after_stall),
            each(subject.peak),
            each(subject.stalled_peak),
            cpu_us(subject, connections),
        );
    }
    text + "\n"
}

fn figures(connections: usize, subjects: &[Subject]) -> Vec<(String, f64)> {
    let of = |subject: &Subject| {
        let name = subject.kind.name();
        [
            (format!("idle_memory/at first/{name}"), kib_each(subject, subject.at_first, connections)),
            (format!("idle_memory/after a burst/{name}"), kib_each(subject, subject.after, connections)),
            (
                format!("idle_memory/after a stall/{name}"),
                kib_each(subject, subject.after_stall, connections),
            ),
            (format!("idle_memory/CPU/{name}"), cpu_us(subject, connections)),
        ]
    };
    subjects.iter().flat_map(of).collect()
}

/// Every connection echoes once, at most `at_once` of them at a time. Each reader stalls for `stall` in the middle.
async fn burst(streams: Vec<TcpStream>, at_once: usize, stall: Duration) -> Vec<TcpStream> {
    let gate = Arc::new(Semaphore::new(at_once));
    let mut tasks = JoinSet::new();
    for mut stream in streams {
        let gate = Arc::clone(&gate);
        tasks.spawn(async move {
            let _turn = gate.acquire().await.unwrap();
            let (mut read, mut write) = stream.split();
            let send = async { write.write_all(&[7; ECHO]).await.unwrap() };
            let receive = async {
                let mut half = vec![0; ECHO / 2];
                read.read_exact(&mut half).await.unwrap();
                sleep(stall).await;
                read.read_exact(&mut half).await.unwrap();
            };
            tokio::join!(send, receive);
            stream
        });
    }
    tasks.join_all().await
}

async fn echo(listener: TcpListener) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            let (mut read, mut write) = stream.split();
            tokio::io::copy(&mut read, &mut write).await
        });
    }
}
