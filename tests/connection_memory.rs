//! Memory of a pool of connections, counted by dhat, with 10 000 of them open at once; and no allocation per checkout.
//!
//! Without the test harness, whose own thread allocates at any time. The server is another process, since a system may allow
//! one process fewer descriptors than both ends need.

use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use dhat::HeapStats;
use millpond::connection::{ManageConnection, Pool};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::net::{TcpSocket, TcpStream};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// Of the other process, as its only argument.
const SERVE: &str = "serve";
const CONNECTIONS: usize = 10_000;
/// Descriptors of the test itself.
const SPARE: u64 = 100;
/// Bytes of the pool per connection: its slot of 64, and a box with the connection and three times. tokio's part of a socket
/// comes on top.
const PER_CONNECTION: usize = 140;
/// An empty pool, with its task.
const EMPTY: usize = 4_096;
const CHECKOUTS: u64 = 10_000;

fn held() -> usize {
    HeapStats::get().curr_bytes
}

/// Plain connections, or none: the difference is tokio's.
struct Upstream(Option<SocketAddr>);

impl ManageConnection for Upstream {
    type Connection = Option<TcpStream>;
    type Error = io::Error;

    async fn connect(&self) -> io::Result<Option<TcpStream>> {
        match self.0 {
            Some(address) => Ok(Some(TcpSocket::new_v4()?.connect(address).await?)),
            None => Ok(None),
        }
    }

    async fn is_valid(&self, _: &mut Option<TcpStream>) -> io::Result<()> {
        Ok(())
    }

    fn has_broken(&self, _: &mut Option<TcpStream>) -> bool {
        false
    }
}

/// A process that accepts connections, and keeps them.
struct Server(Child);

impl Server {
    fn start() -> (Self, SocketAddr) {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let mut child = command.arg(SERVE).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        (Self(child), line.trim().parse().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn serve() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(4_096).unwrap();
    println!("{}", listener.local_addr().unwrap());
    let mut streams = Vec::new();
    loop {
        streams.push(listener.accept().await.unwrap());
    }
}

async fn pool(upstream: Upstream, size: usize) -> Pool<Upstream> {
    let size = u32::try_from(size).unwrap();
    let pool = Pool::builder().max_size(size).min_idle(size);
    // `build` waits for all of them until then: a sanitizer on a busy machine takes longer than the default.
    pool.connection_timeout(Duration::from_secs(60)).build(upstream).await.unwrap()
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
    if std::env::args().nth(1).as_deref() == Some(SERVE) {
        return serve().await;
    }
    let _profiler = dhat::Profiler::builder().testing().build();
    let count = CONNECTIONS.min(usize::try_from(most - SPARE).unwrap());

    let before = held();
    let empty = Pool::builder().min_idle(0).build(Upstream(None)).await.unwrap();
    let of_empty = held() - before;
    assert!(of_empty <= EMPTY, "{of_empty} bytes for an empty pool");
    drop(empty);

    let before = held();
    let without_sockets = pool(Upstream(None), count).await;
    let own = (held() - before) / count;
    assert!(own <= PER_CONNECTION, "{own} bytes of the pool per connection");
    drop(without_sockets);

    let (server, address) = Server::start();
    let before = held();
    let sockets = pool(Upstream(Some(address)), count).await;
    let with_socket = (held() - before) / count;
    let state = sockets.state();
    assert_eq!(state.idle_connections as usize, count, "{state}");
    assert_eq!(state.statistics.connect_errors, 0, "{state}");

    // The first use of each connection is noted.
    let guards: Vec<_> = {
        let mut guards = Vec::with_capacity(count);
        for _ in 0..count {
            guards.push(sockets.get().await.unwrap());
        }
        guards
    };
    drop(guards);
    let before = HeapStats::get().total_blocks;
    for _ in 0..CHECKOUTS {
        drop(sockets.get().await.unwrap());
    }
    let allocated = HeapStats::get().total_blocks - before;
    assert_eq!(allocated, 0, "allocations in {CHECKOUTS} checkouts");
    drop((sockets, server));

    println!(
        "test result: ok. {count} connections open at once: {own} bytes of the pool per connection, {with_socket} with tokio's \
         part of the socket; {of_empty} bytes for an empty pool; no allocation in {CHECKOUTS} checkouts"
    );
}
