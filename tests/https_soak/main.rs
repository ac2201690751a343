//! Pools of HTTPS connections to a real nginx, and between them proxies that drop, reset, half-close, silence and do not accept
//! them, for `MILLPOND_SOAK_SECONDS` (default 10). `tests/deep` runs it for ten minutes.
//!
//! Meanwhile the name of the server moves from one proxy to the other and back, nginx ends connections after some requests and
//! in reloads (HTTP/2: by GOAWAY), and clients on two runtimes send requests, are cancelled, leave responses unread, panic, and
//! resize a pool. No request may hang, no answer may be someone else's, no connection may be given out again after it failed,
//! and nginx may not see a POST twice. At the end no connection, permit, stream or waiter may be lost.
//!
//! | file | idea |
//! |---|---|
//! | `network` | the server, its name, and the proxies |
//! | `client` | what clients do |
//! | `judge` | what must hold at the end |
//! | `../connection_soak/chaos.rs`, `dice.rs` | a proxy, and random numbers |
//! | `../numbered/mod.rs` | connections with numbers |
//! | `../dnsmasq/mod.rs`, `../upstream/mod.rs` | the servers |

#[path = "../connection_soak/chaos.rs"]
mod chaos;
mod client;
#[path = "../connection_soak/dice.rs"]
mod dice;
#[path = "../dnsmasq/mod.rs"]
mod dnsmasq;
mod judge;
mod network;
#[path = "../numbered/mod.rs"]
mod numbered;
#[path = "../upstream/mod.rs"]
mod upstream;

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use dice::Dice;
use millpond::connection::https::{
    Http2Pool, Http2PoolConfig, Http2Windows, HttpsConfig, HttpsConnection, HttpsConnectionManager, Ping,
    StalledReader, Upstreams, UpstreamsConfig,
};
use millpond::connection::{Builder, ManageConnection, Pool, PooledConnection};
use millpond::net::{Backoff, Dial};
use network::Network;
use numbered::{Census, Connection, Graveyard, Numbered};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use upstream::PATIENCE;

type Manager = Numbered<HttpsConnectionManager>;
type Pooled = PooledConnection<'static, Manager>;

/// The most connections of each pool.
const MAX: u32 = 8;
/// The most streams of a connection that many requests share.
const STREAMS: u32 = 20;
const CLIENTS: u64 = 48;
/// Longer than a connect whose first packet is lost.
const CONNECT: Duration = Duration::from_secs(2);
const LIFETIME: Duration = Duration::from_secs(1);

/// Connections that one request has at a time.
struct Exclusive {
    pool: Pool<Manager>,
    census: Arc<Census>,
    graveyard: Graveyard,
}

/// What all clients share.
struct Run {
    url: String,
    http1: Exclusive,
    http2: Exclusive,
    upstreams: Upstreams,
    shared: Http2Pool,
    numbers: AtomicU64,
    requests: AtomicU64,
    answers: AtomicU64,
    late: AtomicU64,
    refused: AtomicU64,
    failures: AtomicU64,
}

/// Of what is logged, prints what h2 says about frames that it does not understand: its errors do not tell.
struct FramesThatAreWrong;

impl Write for FramesThatAreWrong {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if line.windows(PROTOCOL_ERROR.len()).any(|part| part == PROTOCOL_ERROR) {
            io::stderr().write_all(line)?;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

const PROTOCOL_ERROR: &[u8] = b"connection error PROTOCOL_ERROR";

fn main() {
    let log = tracing_subscriber::fmt().with_ansi(false).with_max_level(tracing::Level::DEBUG);
    log.with_writer(|| FramesThatAreWrong).init();
    let seconds = std::env::var("MILLPOND_SOAK_SECONDS").map_or(10, |seconds| seconds.parse().unwrap());
    let [nets, clients, others] = [(); 3].map(|()| runtime());
    let network = nets.block_on(Network::start());
    let run = Arc::new(clients.block_on(async { Run::new(&network) }));

    let end = Instant::now() + Duration::from_secs(seconds);
    let tasks = [&clients, &others].map(|runtime| runtime.spawn(play(Arc::clone(&run), end)));
    nets.block_on(network.change_until(end));
    for task in tasks {
        clients.block_on(task).unwrap();
    }
    network.calm_down();
    clients.block_on(judge::judge(&run, &network));

    println!("| fact | |\n|---|---|");
    println!("| connections that came through the proxies | {} |", network.connections());
    println!("| moves of the name | {} |", network.moves());
    for (fact, count) in [
        ("requests", &run.requests),
        ("answers", &run.answers),
        ("answers that came too late", &run.late),
        ("requests without a connection", &run.refused),
        ("requests that failed", &run.failures),
    ] {
        println!("| {fact} | {} |", count.load(Ordering::Relaxed));
    }
    println!("| HTTP/1.1 | {} |", run.http1.pool.state());
    println!("| HTTP/2 | {} |", run.http2.pool.state());
    println!("| HTTP/2, shared | {:?} |", run.shared.state().statistics);
    println!("test result: ok. {seconds} s");
}

impl Run {
    fn new(network: &Network) -> Self {
        let url = network.url();
        let config = |alpn: &str| {
            let dial = Dial::default().timeout(CONNECT).resolver(Some(Arc::new(network.resolver())));
            // Who hears nothing, not even an end, can only ask.
            let ping = Ping::default().interval(LIFETIME / 4).timeout(LIFETIME / 4);
            let https =
                network.nginx.trusting(&[alpn]).dial(dial).handshake_timeout(LIFETIME).ping(Some(ping));
            // All responses may be held at once: with TLS, nginx sends no head while the window of the connection is full.
            https.windows(Http2Windows::Fixed { stream: 65_536, connection: STREAMS * 65_536 })
        };
        let exclusive = |config: HttpsConfig| {
            let manager = Numbered::new(HttpsConnectionManager::with_config(&url, config).unwrap());
            let census = manager.census();
            Exclusive {
                pool: pool().min_idle(2).build_unchecked(manager),
                census,
                graveyard: Graveyard::default(),
            }
        };
        let shared = Http2PoolConfig::default()
            .https(config("h2"))
            .max_connections(MAX as usize)
            .max_streams(STREAMS as usize)
            .max_waiting(32)
            .wait_timeout(CONNECT)
            .retry(Backoff::default().initial(Duration::from_millis(10)).max(LIFETIME))
            .idle_timeout(LIFETIME / 2)
            // Those that the judge holds at once stay what they are, however slow this machine is.
            .max_lifetime(PATIENCE)
            .stalled_reader(StalledReader::Reset { after: PATIENCE });
        Self {
            http1: exclusive(config("http/1.1")),
            http2: exclusive(config("h2")),
            upstreams: Upstreams::new(UpstreamsConfig::default().https(config("http/1.1")).http1(pool))
                .unwrap(),
            shared: Http2Pool::new(&url, shared).unwrap(),
            url,
            numbers: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            answers: AtomicU64::new(0),
            late: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        }
    }
}

/// Connections come and go all the time.
fn pool<M: ManageConnection>() -> Builder<M> {
    Pool::builder()
        .max_size(MAX)
        .min_idle(None)
        .max_lifetime(LIFETIME)
        .idle_timeout(LIFETIME / 2)
        .reaper_rate(LIFETIME / 20)
        .connection_timeout(CONNECT)
        .max_waiting(32)
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

async fn play(run: Arc<Run>, end: Instant) {
    let mut clients = JoinSet::new();
    for seed in 0..CLIENTS / 2 {
        let run = Arc::clone(&run);
        clients.spawn(async move {
            let mut dice = Dice(seed);
            while Instant::now() < end {
                client::life(&run, &mut dice).await;
            }
        });
    }
    // A client that found a fault panics, and ends the run.
    while let Some(outcome) = clients.join_next().await {
        outcome.unwrap();
    }
}

fn add(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}

/// The connection in a number.
fn https(connection: &mut Connection<HttpsConnection>) -> &mut HttpsConnection {
    connection
}
