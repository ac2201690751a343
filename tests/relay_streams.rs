//! The relay between streams that are not sockets: TLS, pipes of a child process, memory.

use std::io;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use millpond::net::{AsyncStream, Endpoint, Halves, Listener, Peekable, Stream};
use millpond::relay::{Relay, RelayConfig, RelayError, Transferred};
use millpond::{BufferPool, BufferPoolConfig};
use rcgen::generate_simple_self_signed;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufStream, duplex};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

/// A test that waits this long has failed, even on a slow machine.
const PATIENCE: Duration = Duration::from_secs(20);

fn relay() -> Relay {
    Relay::new(BufferPool::new(BufferPoolConfig::proxy()), RelayConfig::default())
}

fn start(
    relay: &Relay,
    client: impl AsyncStream + Send + 'static,
    upstream: impl AsyncStream + Send + 'static,
) -> JoinHandle<Result<Transferred, RelayError>> {
    let relay = relay.clone();
    tokio::spawn(async move { relay.relay(client, upstream).await })
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("it took too long")
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n * 7 + n / 251) as u8).collect()
}

/// Both ends of a TLS connection over TCP, the client's first.
async fn tls() -> (client::TlsStream<TcpStream>, server::TlsStream<TcpStream>) {
    let certified = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der());
    let provider = Arc::new(aws_lc_rs::default_provider());
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key.into())
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certified.cert.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let (near, far) = tcp().await;
    let name = ServerName::try_from("localhost").unwrap();
    let connect = TlsConnector::from(Arc::new(client)).connect(name, near);
    let accept = TlsAcceptor::from(Arc::new(server)).accept(far);
    let (near, far) = within(async { tokio::join!(connect, accept) }).await;
    (near.unwrap(), far.unwrap())
}

async fn tcp() -> (TcpStream, TcpStream) {
    let listener = Listener::bind(&"tcp://127.0.0.1:0".parse::<Endpoint>().unwrap()).await.unwrap();
    let connect = Stream::connect(listener.local_endpoint(), PATIENCE);
    let (near, far) = within(async { tokio::join!(connect, listener.accept()) }).await;
    match (near.unwrap(), far.unwrap()) {
        (Stream::Tcp(near), Stream::Tcp(far)) => (near, far),
        _ => unreachable!("TCP was asked for"),
    }
}

#[tokio::test]
async fn a_tls_client_is_relayed_to_a_tls_upstream_byte_for_byte() {
    let relay = relay();
    let ((mut client, client_side), (upstream_side, mut upstream)) = (tls().await, tls().await);
    let relayed = start(&relay, Peekable::new(client_side), Peekable::new(upstream_side));
    let sent = bytes(1_000_000);
    let (mut seen, mut back) = (Vec::new(), Vec::new());
    within(async {
        let up = async {
            client.write_all(&sent).await.unwrap();
            client.shutdown().await.unwrap();
            client.read_to_end(&mut back).await.unwrap();
        };
        let down = async {
            upstream.read_to_end(&mut seen).await.unwrap();
            upstream.write_all(b"done").await.unwrap();
            upstream.shutdown().await.unwrap();
        };
        tokio::join!(up, down);
    })
    .await;
    assert!(seen == sent, "{} of {} bytes", seen.len(), sent.len());
    assert_eq!(back, b"done");
    let transferred = within(relayed).await.unwrap().unwrap();
    assert_eq!((transferred.to_upstream, transferred.to_client), (1_000_000, 4));
}

#[tokio::test]
async fn a_tls_connection_with_nothing_to_read_holds_no_buffer() {
    let relay = relay();
    let ((mut client, client_side), (upstream_side, mut upstream)) = (tls().await, tls().await);
    let relayed = start(&relay, Peekable::new(client_side), Peekable::new(upstream_side));
    client.write_all(b"hello").await.unwrap();
    within(upstream.read_exact(&mut [0; 5])).await.unwrap();
    let returned = async {
        while relay.pool().stats().in_use > 0 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    within(returned).await;
    assert!(!relayed.is_finished());
    assert!(relay.pool().stats().acquires > 0);
    relayed.abort();
}

/// The last message must not stay in the stream's own buffer until something else is written.
#[tokio::test]
async fn a_small_message_through_a_buffered_stream_is_flushed_at_once() {
    let relay = relay();
    let (mut client, client_side) = duplex(64);
    let (upstream_side, mut upstream) = duplex(64);
    let relayed = start(&relay, Peekable::new(client_side), Peekable::new(BufStream::new(upstream_side)));
    for _ in 0..10 {
        client.write_all(b"ping").await.unwrap();
        let mut ping = [0; 4];
        within(upstream.read_exact(&mut ping)).await.unwrap();
        assert_eq!(&ping, b"ping");
    }
    relayed.abort();
}

/// Else the peer that holds the memory could wait for those bytes for ever.
#[tokio::test]
async fn a_stream_is_flushed_while_the_relay_waits_for_memory() {
    let pool = BufferPoolConfig::builder().class(8192, 8).memory_limit(8192).build().unwrap();
    let relay = Relay::new(BufferPool::new(pool), RelayConfig::default());
    let (mut client, client_side) = duplex(64);
    let (upstream_side, mut upstream) = duplex(4);
    let relayed = start(&relay, Peekable::new(client_side), Peekable::new(BufStream::new(upstream_side)));
    client.write_all(b"request").await.unwrap();
    // Four bytes fit the pipe, the others wait in the stream, and the buffer is back.
    let held = loop {
        sleep(Duration::from_millis(20)).await;
        if let (true, Ok(held)) = (relay.stats().bytes_to_upstream == 7, relay.pool().try_acquire(8192)) {
            break held;
        }
    };
    client.write_all(b"more").await.unwrap();
    while relay.pool().stats().waiting == 0 {
        sleep(Duration::from_millis(5)).await;
    }
    let mut request = [0; 7];
    within(upstream.read_exact(&mut request)).await.unwrap();
    assert_eq!(&request, b"request");
    drop(held);
    within(upstream.read_exact(&mut [0; 4])).await.unwrap();
    relayed.abort();
}

#[tokio::test]
async fn a_tls_peer_that_lacks_bytes_sees_a_truncation_error() {
    let relay = relay();
    let ((mut client, client_side), (upstream_side, mut upstream)) = (tls().await, tls().await);
    let relayed = start(&relay, Peekable::new(client_side), Peekable::new(upstream_side));
    client.write_all(b"a part").await.unwrap();
    within(upstream.read_exact(&mut [0; 6])).await.unwrap();
    relayed.abort();
    let end = within(upstream.read(&mut [0])).await;
    assert_eq!(end.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn a_child_process_is_relayed_through_its_pipes() {
    let relay = relay();
    let mut child =
        Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let pipes = Halves::new(child.stdout.take().unwrap(), child.stdin.take().unwrap());
    let (mut client, client_side) = tcp().await;
    let relayed = start(&relay, client_side, Peekable::new(pipes));
    let sent = bytes(300_000);
    let (mut read, mut write) = client.split();
    let mut seen = Vec::new();
    within(async {
        let send = async {
            write.write_all(&sent).await.unwrap();
            write.shutdown().await.unwrap();
        };
        let (received, ()) = tokio::join!(read.read_to_end(&mut seen), send);
        received.unwrap();
    })
    .await;
    assert!(seen == sent, "{} of {} bytes", seen.len(), sent.len());
    within(relayed).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_peeked_byte_is_read_first_and_only_once() {
    let (mut here, there) = duplex(64);
    let mut there = Peekable::new(there);
    here.write_all(b"abc").await.unwrap();
    for _ in 0..2 {
        within(std::future::poll_fn(|cx| there.poll_read_ready(cx))).await.unwrap();
    }
    let mut first = [0; 2];
    within(there.read_exact(&mut first)).await.unwrap();
    assert_eq!(&first, b"ab");
    drop(here);
    let mut rest = Vec::new();
    within(there.read_to_end(&mut rest)).await.unwrap();
    assert_eq!(rest, b"c");
}
