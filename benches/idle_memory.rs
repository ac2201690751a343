//! Proxy memory per connection: at rest, and 10 s after every connection has echoed 64 KiB.
//!
//! `cargo bench --features proxy --bench idle_memory [-- CONNECTIONS]`
//!
//! This process is both the clients and the echoing upstream of every proxy. Resident memory is as the kernel reports
//! it. In the last burst the readers stall for 5 s after half of their bytes.

mod proxies;

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use proxies::{Kind, Proxy, become_rival_if_asked, raise_descriptor_limit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::sleep;

const ECHO: usize = 64 * 1024;
const REST: Duration = Duration::from_secs(10);
const STALL: Duration = Duration::from_secs(5);
/// Concurrent echoes in a burst without stalls. More would only wait for a CPU.
const AT_ONCE: usize = 256;

fn main() {
    become_rival_if_asked();
    raise_descriptor_limit();
    let connections = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(5000);
    tokio::runtime::Runtime::new().unwrap().block_on(measure(connections));
}

async fn measure(connections: usize) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = listener.local_addr().unwrap().port();
    tokio::spawn(echo(listener));
    println!("KiB of proxy memory per connection, {connections} connections:");
    println!(
        "| proxy | at first | 10 s after a burst | 10 s after a stalled burst | peak of the bursts | CPU us per 64 KiB echo |"
    );
    println!("|---|---|---|---|---|---|");
    for kind in Kind::ALL {
        let proxy = Proxy::start(kind, upstream);
        sleep(Duration::from_millis(500)).await;
        let (empty, _) = resident_and_peak(&proxy);
        let each = |bytes: u64| bytes.saturating_sub(empty) as f64 / connections as f64 / 1024.0;

        let mut streams = Vec::new();
        for _ in 0..connections {
            let mut stream = TcpStream::connect(("127.0.0.1", proxy.port)).await.unwrap();
            // One byte and its echo: by then the proxy has connected to the upstream.
            stream.write_all(b"x").await.unwrap();
            stream.read_exact(&mut [0]).await.unwrap();
            streams.push(stream);
        }
        let (at_first, _) = resident_and_peak(&proxy);
        let cpu = proxy.cpu_ns();
        streams = burst(streams, AT_ONCE, Duration::ZERO).await;
        let cpu = (proxy.cpu_ns() - cpu) as f64 / 1000.0 / connections as f64;
        sleep(REST).await;
        let (after, peak) = resident_and_peak(&proxy);
        streams = burst(streams, connections, STALL).await;
        sleep(REST).await;
        let (after_stall, stalled_peak) = resident_and_peak(&proxy);
        println!(
            "| {} | {:.1} | {:.1} | {:.1} | {:.1}, stalled {:.1} | {cpu:.0} |",
            kind.name(),
            each(at_first),
            each(after),
            each(after_stall),
            each(peak),
            each(stalled_peak),
        );
        drop(streams);
    }
}

/// The resident bytes now, and their peak since the last call.
fn resident_and_peak(proxy: &Proxy) -> (u64, u64) {
    let status = fs::read_to_string(format!("/proc/{}/status", proxy.id())).unwrap();
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    };
    let sizes = (field("VmRSS:"), field("VmHWM:"));
    fs::write(format!("/proc/{}/clear_refs", proxy.id()), "5").unwrap();
    sizes
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
