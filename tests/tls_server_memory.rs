//! Memory of TLS connections with clients, counted by dhat: at rest, with a peer that takes nothing, and in handshakes that
//! never finish.
//!
//! Without the test harness, whose own thread allocates at any time. The clients run in a process of their own, whose memory
//! does not count. What aws-lc allocates is not counted: it calls C's `malloc`.

mod tls_servers;

use std::env;
use std::future::{pending, poll_fn};
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use dhat::HeapStats;
use millpond::net::tls::{ClientHello, TlsAcceptor, TlsConfig, TlsRoots, TlsServerConfig, TlsServerStream};
use millpond::net::{Listener, Stream};
use tls_servers::{Authority, NAME, PATIENCE};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::task::JoinSet;

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

const CONNECTIONS: usize = 50;
/// A connection at rest on the heap, with the socket that tokio watches.
const AT_REST: usize = 6_500;
/// With all the bytes that it accepts while its peer takes none: one record of 16 KiB, and what holds it.
const UNWRITTEN: usize = AT_REST + 18_000;
/// In a handshake of which the client sent no more than its first message.
const UNFINISHED: usize = 12_000;
/// In a handshake of which the client sent almost all of a first message of 64 KiB.
const LARGEST: usize = 75_000;
/// While the first message is peeked, however much of it has come: the task, and a timer.
const PEEKED: usize = 1_000;

fn held() -> usize {
    HeapStats::get().curr_bytes
}

/// What the clients do, in their own process.
#[derive(Clone, Copy)]
enum Clients {
    /// A handshake, and then nothing.
    Rest,
    /// The first message, and then nothing.
    Hello,
    /// The first message but for its last byte.
    Part,
    /// A first message that says that it has 64 KiB, and 60 of them.
    Large,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let words: Vec<_> = env::args().collect();
    if let [_, kind, endpoint, roots] = &*words
        && kind.starts_with("as-")
    {
        return be_clients(kind, endpoint, roots).await;
    }
    let _profiler = dhat::Profiler::builder().testing().build();
    let authority = Authority::new("root");
    let issued = authority.issue(|_| ());
    let acceptor = TlsServerConfig::new().certificate_pem(issued.certificate, issued.key).build().unwrap();

    let _warm = measure(&acceptor, &authority, Clients::Rest).await;
    let (at_rest, mut streams, clients) = established(&acceptor, &authority).await;
    assert!(at_rest <= AT_REST, "{at_rest} bytes at rest");
    let before = held();
    streams.iter_mut().for_each(write_all_that_fits);
    let unwritten = at_rest + held().saturating_sub(before) / CONNECTIONS;
    assert!(unwritten <= UNWRITTEN, "{unwritten} bytes while the client takes nothing");
    drop((streams, clients));

    let unfinished = measure(&acceptor, &authority, Clients::Hello).await;
    assert!(unfinished <= UNFINISHED, "{unfinished} bytes in a handshake");
    let largest = measure(&acceptor, &authority, Clients::Large).await;
    assert!(largest <= LARGEST, "{largest} bytes in a handshake with a large message");
    let peeked = measure_peek(Clients::Part).await;
    assert!(peeked <= PEEKED, "{peeked} bytes while a first message is peeked");
    println!(
        "test result: ok. {at_rest} bytes of heap per connection, {unwritten} unwritten, {unfinished} in a handshake, \
         {largest} with a large message, {peeked} before the first"
    );
}

async fn start(clients: Clients, authority: Option<&Authority>) -> (Vec<Stream>, Child) {
    let listener = Listener::bind("127.0.0.1:0").await.unwrap();
    let kind = match clients {
        Clients::Rest => "as-rest",
        Clients::Hello => "as-hello",
        Clients::Part => "as-part",
        Clients::Large => "as-large",
    };
    let roots = authority.map(Authority::pem).unwrap_or_else(|| Authority::new("any").pem());
    let child = Command::new(env::current_exe().unwrap())
        .args([kind, &listener.local_endpoint().to_string(), &roots])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut streams = Vec::with_capacity(CONNECTIONS);
    for _ in 0..CONNECTIONS {
        streams.push(tokio::time::timeout(PATIENCE, listener.accept()).await.unwrap().unwrap());
    }
    (streams, child)
}

async fn established(
    acceptor: &TlsAcceptor,
    authority: &Authority,
) -> (usize, Vec<TlsServerStream<Stream>>, Child) {
    let (sockets, child) = start(Clients::Rest, Some(authority)).await;
    let mut streams = Vec::with_capacity(CONNECTIONS);
    let before = held();
    for socket in sockets {
        streams.push(acceptor.accept(socket).await.unwrap());
    }
    for stream in &mut streams {
        // Polls a read that finds nothing, after the client has said all.
        stream.read_exact(&mut [0]).await.unwrap();
        let mut room = [0; 64];
        let mut room = ReadBuf::new(&mut room);
        let cx = &mut Context::from_waker(Waker::noop());
        assert!(Pin::new(stream).poll_read(cx, &mut room).is_pending());
    }
    (held().saturating_sub(before) / CONNECTIONS, streams, child)
}

/// Bytes per handshake that its client does not finish.
async fn measure(acceptor: &TlsAcceptor, authority: &Authority, clients: Clients) -> usize {
    let (sockets, mut child) = start(clients, Some(authority)).await;
    let before = held();
    let mut handshakes = JoinSet::new();
    for socket in sockets {
        let acceptor = acceptor.clone();
        handshakes.spawn(async move {
            let _held = acceptor.accept(socket).await;
            pending::<()>().await;
        });
    }
    let each = settled(before).await;
    drop(handshakes);
    child.kill().unwrap();
    child.wait().unwrap();
    each
}

async fn measure_peek(clients: Clients) -> usize {
    let (sockets, mut child) = start(clients, None).await;
    let before = held();
    let mut peeks = JoinSet::new();
    for socket in sockets {
        peeks.spawn(async move {
            let _ = ClientHello::peek(&socket, Duration::from_secs(3600)).await;
            panic!("there is only a part");
        });
    }
    let each = settled(before).await;
    assert_eq!(peeks.len(), CONNECTIONS);
    child.kill().unwrap();
    child.wait().unwrap();
    each
}

/// The bytes held since, once they do not change any more.
async fn settled(before: usize) -> usize {
    let mut last = usize::MAX;
    loop {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let now = held().saturating_sub(before) / CONNECTIONS;
        if now == last {
            return now;
        }
        last = now;
    }
}

fn write_all_that_fits(stream: &mut TlsServerStream<Stream>) {
    let cx = &mut Context::from_waker(Waker::noop());
    while let Poll::Ready(count) = Pin::new(&mut *stream).poll_write(cx, &[7; 4096]) {
        count.unwrap();
    }
}

async fn be_clients(kind: &str, endpoint: &str, roots: &str) {
    let connector = TlsConfig::new().roots(TlsRoots::OnlyAdded).add_root_pem(roots).build().unwrap();
    let (mut streams, mut sockets) = (Vec::new(), Vec::new());
    let hello = first_bytes().await;
    for _ in 0..CONNECTIONS {
        let mut socket = Stream::connect(endpoint, PATIENCE).await.unwrap();
        match kind {
            "as-rest" => {
                let mut connector = Box::pin(connector.connect(NAME, socket));
                // The first message, so that all are accepted before the first handshake.
                let started = poll_fn(|cx| Poll::Ready(connector.as_mut().poll(cx))).await;
                assert!(started.is_pending());
                streams.push(connector);
                continue;
            }
            "as-hello" => socket.write_all(&hello).await.unwrap(),
            "as-part" => socket.write_all(&hello[..hello.len() - 1]).await.unwrap(),
            _ => {
                let mut large = vec![22, 3, 1, 0x40, 0, 1, 0, 0xff, 0xf0];
                large.resize(5 + 0x4000, 0);
                for _ in 0..3 {
                    large.extend([22, 3, 1, 0x3c, 0]);
                    large.resize(large.len() + 0x3c00, 0);
                }
                socket.write_all(&large).await.unwrap();
            }
        }
        sockets.push(socket);
    }
    let mut connected = Vec::new();
    for handshake in streams {
        let Ok(mut stream) = handshake.await else { return };
        stream.write_all(b"x").await.unwrap();
        stream.flush().await.unwrap();
        connected.push(stream);
    }
    // Until the test ends or kills it.
    let _ = std::io::Read::read(&mut std::io::stdin(), &mut [0]);
}

async fn first_bytes() -> Vec<u8> {
    let listener = Listener::bind("127.0.0.1:0").await.unwrap();
    let near = Stream::connect(listener.local_endpoint().clone(), PATIENCE).await.unwrap();
    let mut far = listener.accept().await.unwrap();
    let connector = Authority::new("any").trusted().build().unwrap();
    let read = async {
        let mut bytes = vec![0; 5];
        far.read_exact(&mut bytes).await.unwrap();
        let len = usize::from(u16::from_be_bytes([bytes[3], bytes[4]]));
        bytes.resize(5 + len, 0);
        far.read_exact(&mut bytes[5..]).await.unwrap();
        bytes
    };
    tokio::select! {
        _ = connector.connect(NAME, near) => unreachable!("nobody answers"),
        bytes = read => bytes,
    }
}
