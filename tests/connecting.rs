//! Many clients at once, the end of the accept queue, and what the system runs out of: every client of a proxy is served,
//! or waits.

#[path = "proxy/descriptors.rs"]
mod descriptors;
mod proxy;

use std::collections::BTreeSet;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::pin::pin;
use std::process::Stdio;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use descriptors::with_descriptors;
use millpond::net::{AsyncStream, Dial, Endpoint, Listener, Resolve, Resolving, Stream};
use millpond::relay::{Relay, RelayConfig};
use millpond::{BufferPool, BufferPoolConfig};
use nix::sys::signal::Signal;
use proxy::{PATIENCE, Proxy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};
use tokio::time::timeout;

/// How long a test watches that nothing happens.
const A_WHILE: Duration = Duration::from_millis(500);

/// The kernel repeats a lost SYN packet after one second.
const LOST_SYN: Duration = Duration::from_millis(900);

/// A server that sends back what it receives, on a thread of its own, until the process ends.
fn echo_server() -> SocketAddr {
    let (tell, told) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
            let listener: TcpListener = socket.listen(4096).unwrap();
            tell.send(listener.local_addr().unwrap()).unwrap();
            loop {
                let Ok((mut stream, _)) = listener.accept().await else { continue };
                tokio::spawn(async move {
                    let (mut reader, mut writer) = stream.split();
                    let _ = tokio::io::copy(&mut reader, &mut writer).await;
                });
            }
        });
    });
    told.recv().unwrap()
}

/// A proxy to an echo server.
fn echo_proxy(more: &[&str]) -> Proxy {
    Proxy::start("tcp://127.0.0.1:0", &format!("tcp://{}", echo_server()), more)
}

/// A client that has sent its question.
fn asked(proxy: &Proxy) -> TcpStream {
    let mut client = TcpStream::connect(proxy.address()).unwrap();
    client.write_all(b"grist").unwrap();
    client
}

/// Whether the answer arrives in time. Panics if the connection ends instead.
fn is_answered(client: &mut TcpStream, patience: Duration) -> bool {
    let mut answer = [0; 5];
    client.set_read_timeout(Some(patience)).unwrap();
    match client.read_exact(&mut answer) {
        Ok(()) => true,
        Err(error) if error.kind() == ErrorKind::WouldBlock => false,
        Err(error) => panic!("a client was cut: {error}"),
    }
}

#[test]
fn the_backlog_is_an_option() {
    // The kernel compares with `>`, so a queue of 0 has room for one.
    const BACKLOG: usize = 4;
    let proxy = echo_proxy(&["--backlog", &BACKLOG.to_string()]);
    proxy.signal(Signal::SIGSTOP);
    let address = proxy.address().parse().unwrap();
    let clients: Vec<_> =
        (0..2 * BACKLOG).map_while(|_| TcpStream::connect_timeout(&address, LOST_SYN).ok()).collect();
    assert_eq!(clients.len(), BACKLOG + 1);
    proxy.signal(Signal::SIGCONT);
}

#[test]
fn a_stop_serves_the_clients_in_the_accept_queue() {
    let proxy = echo_proxy(&["--max-connections", "1"]);
    let mut served = asked(&proxy);
    assert!(is_answered(&mut served, PATIENCE));
    let mut queued = [asked(&proxy), asked(&proxy)];
    proxy.signal(Signal::SIGTERM);
    assert!(!is_answered(&mut queued[0], A_WHILE), "more connections than allowed");
    drop(served);
    assert!(is_answered(&mut queued[0], PATIENCE));
    let [first, mut second] = queued;
    drop(first);
    assert!(is_answered(&mut second, PATIENCE));
    drop(second);
    let said = proxy.wait();
    assert!(said.contains("drained=3 aborted=0"), "{said}");
}

#[test]
fn a_stop_that_finds_the_proxy_busy_cuts_no_client() {
    const CLIENTS: usize = 100;
    let proxy = echo_proxy(&[]);
    // It finds all clients and the signal at the same time.
    proxy.signal(Signal::SIGSTOP);
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| asked(&proxy)).collect();
    proxy.signal(Signal::SIGTERM);
    proxy.signal(Signal::SIGCONT);
    for client in &mut clients {
        assert!(is_answered(client, PATIENCE));
    }
    drop(clients);
    proxy.wait();
}

fn open_descriptors(proxy: &Proxy) -> usize {
    fs::read_dir(format!("/proc/{}/fd", proxy.child.id())).unwrap().count()
}

fn proxy_with_descriptors(limit: usize, host: &str) -> Proxy {
    let to = format!("tcp://{host}:{}", echo_server().port());
    let program = with_descriptors(limit);
    Proxy::start_by(&program, "tcp://127.0.0.1:0", &to, &[], |command| command.stderr(Stdio::piped()))
}

/// An odd and an even number are left for connections. The second host has two addresses, the first of which refuses, and
/// the descriptor of its lookup is one of a connection's two.
#[test]
fn without_descriptors_clients_wait_for_their_turn() {
    const CLIENTS: usize = 60;
    let at_rest = open_descriptors(&proxy_with_descriptors(100, "127.0.0.1"));
    for (host, left) in [("127.0.0.1", 20), ("127.0.0.1", 21), ("localhost", 2), ("localhost", 3)] {
        let proxy = proxy_with_descriptors(at_rest + left, host);
        let clients: Vec<_> = (0..CLIENTS).map(|_| asked(&proxy)).collect();
        // Each leaves when it has its answer, and makes room for another.
        for mut client in clients {
            assert!(
                is_answered(&mut client, PATIENCE),
                "{host}, {left} descriptors: a client waits for ever"
            );
        }
        proxy.interrupt();
        let said = proxy.wait();
        assert_eq!(said.matches("the next clients wait").count(), 1, "{host}, {left} descriptors: {said}");
    }
}

/// A TCP listener that does not answer, because its accept queue is full, and what fills the queue.
async fn silent_upstream() -> (TcpListener, tokio::net::TcpStream) {
    silent_at(([127, 0, 0, 1], 0).into()).await
}

async fn silent_at(address: SocketAddr) -> (TcpListener, tokio::net::TcpStream) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(address).unwrap();
    let listener = socket.listen(0).unwrap();
    let fill = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (listener, fill)
}

async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let condition = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, condition).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// A relay to an upstream that does not answer for long, and where it listens.
async fn relay_to_silence(listen: &str, upstream: &TcpListener) -> (Relay, Endpoint) {
    let config = RelayConfig::default().connect_timeout(Duration::from_secs(3_600));
    let relay = Relay::new(BufferPool::new(BufferPoolConfig::proxy()), config);
    let listener = Listener::bind(listen).await.unwrap();
    let endpoint = listener.local_endpoint().clone();
    let upstream = upstream.local_addr().unwrap();
    let server = relay.clone();
    tokio::spawn(async move { server.serve(listener, upstream, std::future::pending()).await });
    (relay, endpoint)
}

#[tokio::test]
async fn a_client_that_leaves_while_the_upstream_does_not_answer_frees_its_place() {
    let (upstream, _fill) = silent_upstream().await;
    let folder = tempfile::tempdir().unwrap();
    let path = format!("unix://{}", folder.path().join("relay").display());
    for (listen, sends) in [("tcp://127.0.0.1:0", false), ("tcp://127.0.0.1:0", true), (&path, false)] {
        let (relay, endpoint) = relay_to_silence(listen, &upstream).await;
        let mut client = Stream::connect(&endpoint, PATIENCE).await.unwrap();
        if sends {
            client.write_all(b"grist").await.unwrap();
        }
        eventually("the client is accepted", || relay.stats().active == 1).await;
        client.reset_on_close();
        drop(client);
        eventually("the place of the client is free", || relay.stats().active == 0).await;
    }
}

#[tokio::test]
async fn a_client_that_waits_for_the_upstream_with_its_direction_closed_is_served() {
    let (upstream, fill) = silent_upstream().await;
    let (relay, endpoint) = relay_to_silence("tcp://127.0.0.1:0", &upstream).await;
    let mut client = Stream::connect(&endpoint, PATIENCE).await.unwrap();
    client.write_all(b"grist").await.unwrap();
    client.shutdown().await.unwrap();
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(relay.stats().active, 1, "it does not wait");
    // The kernel repeats the SYN packet.
    upstream.accept().await.unwrap();
    drop(fill);
    let (mut server, _) = timeout(PATIENCE, upstream.accept()).await.unwrap().unwrap();
    let mut received = String::new();
    timeout(PATIENCE, server.read_to_string(&mut received)).await.unwrap().unwrap();
    assert_eq!(received, "grist");
}

/// A resolver that knows these addresses of every name.
#[derive(Debug)]
struct Addresses(Vec<IpAddr>);

impl Resolve for Addresses {
    fn resolve<'a>(&'a self, _: &'a str) -> Resolving<'a> {
        Box::pin(async { Ok(self.0.clone()) })
    }
}

#[tokio::test]
async fn no_more_than_eight_addresses_of_a_name_are_tried_at_once() {
    const MOST: usize = 8;
    // More than `MOST` each: attempts that have ended make no room for others.
    let refused = (1..=12).map(|last| [127, 0, 3, last]);
    let silent = (1..=16).map(|last| [127, 0, 4, last]);
    let (mut listeners, mut port) = (Vec::new(), 0);
    for address in silent.clone() {
        let silent = silent_at((address, port).into()).await;
        port = silent.0.local_addr().unwrap().port();
        listeners.push(silent);
    }
    // The table has the bytes of an address in reverse, and 02 for a SYN packet without an answer. It may show one twice.
    let sent = format!("04007F:{port:04X} 02");
    let open = || {
        let table = fs::read_to_string("/proc/self/net/tcp").unwrap();
        table.match_indices(&sent).map(|(at, _)| table[at - 2..at].to_owned()).collect::<BTreeSet<_>>().len()
    };
    let resolver = Addresses(refused.chain(silent).map(IpAddr::from).collect());
    let dial = Dial::default().resolver(Some(Arc::new(resolver)));
    tokio::time::pause();
    let mut connect = pin!(dial.connect(format!("mill.test:{port}")));
    let mut most = 0;
    while timeout(Duration::from_millis(250), &mut connect).await.is_err() {
        most = most.max(open());
    }
    assert_eq!(most, MOST);
}
