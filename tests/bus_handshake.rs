//! The handshake of two buses, and peers that do not speak the protocol: what each side learns.

use std::time::Duration;

use millpond::bus::{
    ConnectionErrorKind, ConnectionEvent, Hub, TcpTransport, Transport, TransportConfig, UnixTransport,
};
use millpond::frame::{FrameErrorKind, Protocol};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::broadcast::Receiver;
use tokio::time::timeout;

mod messages;

use messages::CounterUpdate;

const SOON: Duration = Duration::from_secs(20);
const DIGEST: [u8; 32] = [7; 32];
const OTHER_DIGEST: [u8; 32] = [8; 32];
const COUNTER: CounterUpdate = CounterUpdate { counter_id: 7, value: 1, delta: -1 };
const MISMATCH: ConnectionErrorKind = ConnectionErrorKind::Protocol(FrameErrorKind::DigestMismatch);

fn config(digest: Option<[u8; 32]>) -> TransportConfig {
    TransportConfig::default().schema_digest(digest)
}

/// How the next connection ends.
async fn end(events: &mut Receiver<ConnectionEvent>) -> Option<ConnectionErrorKind> {
    loop {
        let event = timeout(SOON, events.recv()).await.expect("no connection ends").unwrap();
        if let ConnectionEvent::Closed { error, .. } = event {
            return error;
        }
    }
}

async fn server(digest: Option<[u8; 32]>) -> (TcpTransport, Receiver<ConnectionEvent>) {
    let server = TcpTransport::bind_with("127.0.0.1:0", config(digest)).await.unwrap();
    server.hub().declare::<CounterUpdate>();
    let events = server.hub().events();
    (server, events)
}

/// A client that does not reconnect, after it published a message.
async fn client(server: &TcpTransport, digest: Option<[u8; 32]>) -> Receiver<ConnectionEvent> {
    let hub = Hub::new(config(digest).reconnect(None));
    let events = hub.events();
    let client = TcpTransport::connect_with(server.local_addr(), hub).await.unwrap();
    assert_eq!(client.publisher().publish(&COUNTER).await, Ok(1));
    // It must not close the connection itself.
    tokio::spawn(outlive(client));
    events
}

async fn outlive<K: Send + Sync + 'static>(transport: Transport<K>) {
    std::future::pending::<()>().await;
    drop(transport);
}

#[tokio::test]
async fn a_client_with_the_same_digest_is_accepted() {
    let (server, _) = server(Some(DIGEST)).await;
    let mut counters = server.subscriber::<CounterUpdate>();
    let client = TcpTransport::connect_with(server.local_addr(), config(Some(DIGEST))).await.unwrap();
    client.publisher().publish(&COUNTER).await.unwrap();
    assert_eq!(counters.recv().await.unwrap().view().unwrap(), COUNTER);
    client.shutdown().await;
    assert_eq!(server.hub().stats().handshake_failures, 0);
}

#[tokio::test]
async fn a_server_reports_and_counts_a_client_with_another_digest() {
    let (server, mut events) = server(Some(DIGEST)).await;
    let _client = client(&server, Some(OTHER_DIGEST)).await;
    assert_eq!(end(&mut events).await, Some(MISMATCH));
    let stats = server.hub().stats();
    assert_eq!((stats.handshake_failures, stats.protocol_errors, stats.failed()), (1, 0, 1));
}

#[tokio::test]
async fn a_client_reports_and_counts_a_server_with_another_digest() {
    let (server, _) = server(Some(DIGEST)).await;
    let hub = Hub::new(config(Some(OTHER_DIGEST)).reconnect(None));
    let mut events = hub.events();
    let client = TcpTransport::connect_with(server.local_addr(), hub).await.unwrap();
    assert_eq!(end(&mut events).await, Some(ConnectionErrorKind::HandshakeRefused));
    let stats = client.hub().stats();
    assert_eq!((stats.handshake_failures, stats.closed, stats.failed()), (1, 0, 1));
}

#[tokio::test]
async fn a_client_over_a_unix_socket_reports_a_server_with_another_digest() {
    let folder = tempfile::tempdir().unwrap();
    let server = UnixTransport::bind_with(folder.path().join("s"), config(Some(DIGEST))).await.unwrap();
    let hub = Hub::new(config(Some(OTHER_DIGEST)));
    let mut events = hub.events();
    let _client = UnixTransport::connect_with(server.local_addr(), hub).await.unwrap();
    for _ in 0..2 {
        assert_eq!(end(&mut events).await, Some(ConnectionErrorKind::HandshakeRefused));
    }
}

#[tokio::test]
async fn both_sides_report_a_handshake_that_the_server_does_not_expect() {
    let (server, mut events) = server(None).await;
    let mut of_client = client(&server, Some(DIGEST)).await;
    assert_eq!(end(&mut events).await, Some(ConnectionErrorKind::WrongProtocol(Protocol::Handshake)));
    assert_eq!(end(&mut of_client).await, Some(ConnectionErrorKind::HandshakeRefused));
    assert_eq!(server.hub().stats().handshake_failures, 1);
}

/// The client expects no handshake, but it does not see a normal end.
#[tokio::test]
async fn a_client_that_sends_no_handshake_where_one_is_required_is_reset() {
    let (server, mut events) = server(Some(DIGEST)).await;
    let mut of_client = client(&server, None).await;
    assert_eq!(end(&mut events).await, Some(MISMATCH));
    assert_eq!(end(&mut of_client).await, Some(ConnectionErrorKind::Reset));
}

#[tokio::test]
async fn a_client_that_sends_a_frame_of_an_unknown_type_is_reset() {
    let server = TcpTransport::bind("127.0.0.1:0").await.unwrap();
    let mut of_client = client(&server, None).await;
    assert_eq!(end(&mut of_client).await, Some(ConnectionErrorKind::Reset));
    assert_eq!(server.hub().stats().unknown_types, 1);
}

/// A server that has sent something has accepted the handshake.
#[tokio::test]
async fn a_server_that_ends_after_a_message_did_not_refuse_the_handshake() {
    let (server, _) = server(Some(DIGEST)).await;
    let hub = Hub::new(config(Some(DIGEST)).reconnect(None));
    let (mut counters, mut events) = (hub.subscriber::<CounterUpdate>(), hub.events());
    let client = TcpTransport::connect_with(server.local_addr(), hub).await.unwrap();
    while server.publisher().publish(&COUNTER).await.unwrap() == 0 {
        tokio::task::yield_now().await;
    }
    counters.recv().await.unwrap();
    server.shutdown().await;
    assert_eq!(end(&mut events).await, None);
    assert_eq!(client.hub().stats().handshake_failures, 0);
}

#[tokio::test]
async fn a_client_that_ends_the_connection_itself_was_not_refused() {
    let (server, _) = server(Some(DIGEST)).await;
    let client = TcpTransport::connect_with(server.local_addr(), config(Some(DIGEST))).await.unwrap();
    let hub = client.hub().clone();
    client.publisher().publish(&COUNTER).await.unwrap();
    client.shutdown().await;
    assert_eq!((hub.stats().handshake_failures, hub.stats().closed), (0, 1));
}

#[tokio::test]
async fn other_protocols_are_named() {
    for (sent, protocol) in [
        (&b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n"[..], Protocol::Http),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", Protocol::Tls),
    ] {
        let (server, mut events) = server(None).await;
        let mut socket = TcpStream::connect(server.local_addr()).await.unwrap();
        socket.write_all(sent).await.unwrap();
        assert_eq!(end(&mut events).await, Some(ConnectionErrorKind::WrongProtocol(protocol)));
        let stats = server.hub().stats();
        assert_eq!((stats.protocol_errors, stats.handshake_failures), (1, 0));
    }
}
