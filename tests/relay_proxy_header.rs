//! PROXY headers through the relay: who is believed, what the servers are told, and what becomes of bad headers.

mod servers;

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use millpond::net::{
    AsyncStream, Endpoint, Listener, Peer, PeerSet, ProxyHeader, ProxyHeaderError as Error, ProxyVersion,
    Stream,
};
use millpond::relay::{Backend, BackendConfig, Balance, Relay, RelayConfig, RelayConnection, ServerPolicy};
use millpond::{BufferPool, BufferPoolConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};

use servers::haproxy::Haproxy;
use servers::nginx::Nginx;

/// A test that waits this long has failed, even on a slow machine.
const PATIENCE: Duration = Duration::from_secs(20);
const SOURCE: &str = "192.0.2.1:40000";
const DESTINATION: &str = "198.51.100.1:443";
const LINE: &[u8] = b"PROXY TCP4 192.0.2.1 198.51.100.1 40000 443\r\n";

/// A running relay.
struct Relayed {
    relay: Relay,
    address: Endpoint,
}

impl Relayed {
    async fn start(listen: &Endpoint, to: &Endpoint, trusted: &[&str], send: Option<ProxyVersion>) -> Self {
        let config = RelayConfig::default().accept_proxy(set(trusted));
        Self::with(config, listen, to, send).await
    }

    async fn with(config: RelayConfig, listen: &Endpoint, to: &Endpoint, send: Option<ProxyVersion>) -> Self {
        let backend = Backend::new([to.clone()], BackendConfig::default().send_proxy(send));
        Self::to(config, listen, backend).await
    }

    async fn to(config: RelayConfig, listen: &Endpoint, backend: Backend) -> Self {
        let relay = Relay::new(BufferPool::new(BufferPoolConfig::proxy()), config);
        let listener = Listener::bind(listen).await.unwrap();
        let address = listener.local_endpoint().clone();
        tokio::spawn({
            let relay = relay.clone();
            async move { relay.serve(listener, backend, pending()).await }
        });
        Self { relay, address }
    }

    async fn connect(&self) -> Stream {
        Stream::connect(self.address.clone(), PATIENCE).await.unwrap()
    }

    /// Its only connection.
    fn connection(&self) -> RelayConnection {
        let connections = self.relay.connections();
        assert_eq!(connections.len(), 1);
        connections[0].clone()
    }

    /// Returns when no connection is open.
    async fn end(&self) {
        let ended = async {
            while self.relay.stats().active > 0 {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(PATIENCE, ended).await.unwrap();
    }
}

fn set(ranges: &[&str]) -> PeerSet {
    ranges.iter().map(|range| range.parse().unwrap()).collect()
}

fn any_port() -> Endpoint {
    Endpoint::from("127.0.0.1:0")
}

fn text(endpoint: &Endpoint) -> &str {
    match endpoint {
        Endpoint::Tcp(address) => address,
        _ => unreachable!("it is TCP"),
    }
}

fn local(stream: &Stream) -> SocketAddr {
    stream.local_address().unwrap()
}

async fn accept(listener: &Listener) -> Stream {
    timeout(PATIENCE, listener.accept()).await.unwrap().unwrap()
}

async fn receive(stream: &mut Stream, expected: &[u8]) {
    let mut bytes = vec![0; expected.len()];
    timeout(PATIENCE, stream.read_exact(&mut bytes)).await.unwrap().unwrap();
    assert_eq!(bytes.escape_ascii().to_string(), expected.escape_ascii().to_string());
}

async fn header(stream: &mut Stream) -> ProxyHeader {
    stream.read_proxy_header(PATIENCE).await.unwrap()
}

fn told() -> ProxyHeader {
    ProxyHeader::Tcp { source: SOURCE.parse().unwrap(), destination: DESTINATION.parse().unwrap() }
}

const VERSIONS: [ProxyVersion; 2] = [ProxyVersion::V1, ProxyVersion::V2];

#[tokio::test]
async fn a_trusted_proxy_names_its_client() {
    let upstream = Listener::bind(any_port()).await.unwrap();
    for version in VERSIONS {
        let relayed = Relayed::start(&any_port(), upstream.local_endpoint(), &["127.0.0.0/8"], None).await;
        let mut client = relayed.connect().await;
        client.write_all(&told().encode(version, None)).await.unwrap();
        client.write_all(b"hello").await.unwrap();
        receive(&mut accept(&upstream).await, b"hello").await;
        let connection = relayed.connection();
        assert_eq!(connection.client, Peer::Tcp(SOURCE.parse().unwrap()));
        assert_eq!(connection.proxy, Some(Peer::Tcp(local(&client))));
    }
}

#[tokio::test]
async fn a_header_of_anybody_else_is_not_believed() {
    let upstream = Listener::bind(any_port()).await.unwrap();
    let to = upstream.local_endpoint();
    let relayed =
        Relayed::start(&any_port(), to, &["10.0.0.0/8", "::1", "unix"], Some(ProxyVersion::V1)).await;
    let mut client = relayed.connect().await;
    client.write_all(LINE).await.unwrap();
    let mut server = accept(&upstream).await;
    let (source, destination) = (local(&client), client.peer_address().unwrap());
    assert_eq!(header(&mut server).await, ProxyHeader::Tcp { source, destination });
    // What it sent are plain bytes.
    receive(&mut server, LINE).await;
    let connection = relayed.connection();
    assert_eq!((connection.client, connection.proxy), (Peer::Tcp(source), None));
}

#[tokio::test]
async fn the_client_of_the_header_is_told_to_the_server() {
    let upstream = Listener::bind(any_port()).await.unwrap();
    let to = upstream.local_endpoint();
    for accepted in VERSIONS {
        for sent in VERSIONS {
            let relayed = Relayed::start(&any_port(), to, &["127.0.0.1"], Some(sent)).await;
            let mut client = relayed.connect().await;
            client.write_all(&told().encode(accepted, None)).await.unwrap();
            client.write_all(b"hello").await.unwrap();
            let mut server = accept(&upstream).await;
            receive(&mut server, &told().encode(sent, None)).await;
            receive(&mut server, b"hello").await;
        }
    }
}

#[tokio::test]
async fn a_server_that_speaks_first_gets_its_header_at_once() {
    let upstream = Listener::bind(any_port()).await.unwrap();
    for version in VERSIONS {
        let relayed = Relayed::start(&any_port(), upstream.local_endpoint(), &[], Some(version)).await;
        let mut client = relayed.connect().await;
        let mut server = accept(&upstream).await;
        let (source, destination) = (local(&client), client.peer_address().unwrap());
        assert_eq!(header(&mut server).await, ProxyHeader::Tcp { source, destination });
        server.write_all(b"220 welcome").await.unwrap();
        receive(&mut client, b"220 welcome").await;
        // The header is none of the client's bytes.
        assert_eq!(relayed.relay.stats().bytes_to_upstream, 0);
    }
}

#[tokio::test]
async fn a_health_check_of_a_proxy_comes_from_the_proxy() {
    let upstream = Listener::bind(any_port()).await.unwrap();
    let to = upstream.local_endpoint();
    let relayed = Relayed::start(&any_port(), to, &["127.0.0.1"], Some(ProxyVersion::V2)).await;
    let mut client = relayed.connect().await;
    client.write_all(&ProxyHeader::Local.encode(ProxyVersion::V2, None)).await.unwrap();
    let mut server = accept(&upstream).await;
    let (source, destination) = (local(&client), client.peer_address().unwrap());
    assert_eq!(header(&mut server).await, ProxyHeader::Tcp { source, destination });
    assert_eq!(relayed.connection().proxy, None);
}

#[tokio::test]
async fn unix_sockets_are_trusted_by_name_and_have_no_address() {
    let directory = tempfile::tempdir().unwrap();
    let socket = |name| format!("unix://{}/{name}", directory.path().display()).parse::<Endpoint>().unwrap();
    let upstream = Listener::bind(socket("upstream")).await.unwrap();
    let to = upstream.local_endpoint();

    let trusted = Relayed::start(&socket("trusted"), to, &["unix"], Some(ProxyVersion::V2)).await;
    let mut client = trusted.connect().await;
    client.write_all(LINE).await.unwrap();
    assert_eq!(header(&mut accept(&upstream).await).await, told());
    assert_eq!(trusted.connection().client, Peer::Tcp(SOURCE.parse().unwrap()));

    let all_networks = ["0.0.0.0/0", "::/0"];
    let other = Relayed::start(&socket("other"), to, &all_networks, Some(ProxyVersion::V2)).await;
    let _client = other.connect().await;
    assert_eq!(header(&mut accept(&upstream).await).await, ProxyHeader::Local);
}

#[tokio::test]
async fn a_chain_of_relays_tells_the_first_client() {
    let upstream = Listener::bind(any_port()).await.unwrap();
    let to = upstream.local_endpoint();
    let second = Relayed::start(&any_port(), to, &["127.0.0.1"], Some(ProxyVersion::V1)).await;
    let first = Relayed::start(&any_port(), &second.address, &[], Some(ProxyVersion::V2)).await;
    let client = first.connect().await;
    let mut server = accept(&upstream).await;
    let (source, destination) = (local(&client), client.peer_address().unwrap());
    assert_eq!(header(&mut server).await, ProxyHeader::Tcp { source, destination });
    assert_eq!(second.connection().client, Peer::Tcp(source));
}

#[tokio::test]
async fn a_bad_header_ends_in_a_reset_and_is_counted_by_its_fault() {
    let upstream = Listener::bind(any_port()).await.unwrap();
    let to = upstream.local_endpoint();
    let relayed = Relayed::start(&any_port(), to, &["127.0.0.1"], Some(ProxyVersion::V1)).await;
    let wrong_checksum = [
        &b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x13"[..],
        &[192, 0, 2, 1, 198, 51, 100, 1, 0x9c, 0x40, 1, 0xbb, 3, 0, 4, 1, 2, 3, 4],
    ];
    for (bytes, fault) in [
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), Error::Missing),
        (b"PROXY TCP4 192.0.2.1 ::1 40000 443\r\n".to_vec(), Error::Malformed),
        ([&b"PROXY UNKNOWN "[..], &[b'x'; 100]].concat(), Error::TooLong),
        (wrong_checksum.concat(), Error::Checksum),
    ] {
        let mut client = relayed.connect().await;
        client.write_all(&bytes).await.unwrap();
        let end = timeout(PATIENCE, client.read_u8()).await.unwrap().unwrap_err();
        assert_eq!(end.kind(), io::ErrorKind::ConnectionReset, "{fault}");
        relayed.end().await;
        let stats = relayed.relay.stats();
        assert_eq!(stats.proxy_header_errors[fault as usize], 1, "{fault}");
    }
    let mut client = relayed.connect().await;
    client.write_all(b"PROXY TCP4 192").await.unwrap();
    client.shutdown().await.unwrap();
    let end = timeout(PATIENCE, client.read_u8()).await.unwrap().unwrap_err();
    assert_eq!(end.kind(), io::ErrorKind::ConnectionReset);
    relayed.end().await;
    assert_eq!(relayed.relay.stats().proxy_header_errors, [1, 1, 1, 1, 1, 0]);
    // No server was bothered.
    assert!(timeout(Duration::from_millis(1), upstream.accept()).await.is_err());
}

#[tokio::test]
async fn a_slow_header_ends_in_a_reset() {
    let config = RelayConfig::default()
        .accept_proxy(set(&["127.0.0.1"]))
        .proxy_header_timeout(Duration::from_millis(50));
    let relayed = Relayed::with(config, &any_port(), &any_port(), None).await;
    let mut client = relayed.connect().await;
    client.write_all(b"PROXY ").await.unwrap();
    let end = timeout(PATIENCE, client.read_u8()).await.unwrap().unwrap_err();
    assert_eq!(end.kind(), io::ErrorKind::ConnectionReset);
    relayed.end().await;
    assert_eq!(relayed.relay.stats().proxy_header_errors[Error::Timeout as usize], 1);
}

#[tokio::test]
async fn a_probe_without_a_byte_is_no_failure() {
    let relayed = Relayed::start(&any_port(), &any_port(), &["127.0.0.1"], None).await;
    drop(relayed.connect().await);
    while relayed.relay.stats().accepted == 0 {
        sleep(Duration::from_millis(1)).await;
    }
    relayed.end().await;
    assert_eq!(relayed.relay.stats().closed, 1);
}

#[tokio::test]
async fn a_reset_within_the_header_frees_the_place() {
    let relayed = Relayed::start(&any_port(), &any_port(), &["127.0.0.1"], None).await;
    let mut client = relayed.connect().await;
    client.write_all(b"PROXY ").await.unwrap();
    while relayed.relay.stats().active == 0 {
        sleep(Duration::from_millis(1)).await;
    }
    client.reset_on_close();
    drop(client);
    relayed.end().await;
    assert_eq!(relayed.relay.stats().reset, 1);
}

#[tokio::test]
async fn the_client_of_a_header_may_close_its_direction() {
    let upstream = Listener::bind(any_port()).await.unwrap();
    let to = upstream.local_endpoint();
    let relayed = Relayed::start(&any_port(), to, &["127.0.0.1"], Some(ProxyVersion::V1)).await;
    let mut client = relayed.connect().await;
    client.write_all(LINE).await.unwrap();
    client.shutdown().await.unwrap();
    let mut server = accept(&upstream).await;
    let mut received = Vec::new();
    timeout(PATIENCE, server.read_to_end(&mut received)).await.unwrap().unwrap();
    assert_eq!(received, LINE);
    server.write_all(b"bye").await.unwrap();
    receive(&mut client, b"bye").await;
}

#[tokio::test]
async fn checks_of_servers_name_no_client() {
    for version in VERSIONS {
        let upstream = Listener::bind(any_port()).await.unwrap();
        let config = BackendConfig::default().send_proxy(Some(version));
        let checked = config.clone().check_every(Some(Duration::from_millis(10)));
        let backend = Backend::new([upstream.local_endpoint().clone()], checked);
        assert_eq!(header(&mut accept(&upstream).await).await, ProxyHeader::Local);

        backend.replace(Vec::<Endpoint>::new(), BackendConfig::default());
        let upstream = Listener::bind(any_port()).await.unwrap();
        let backend = Backend::new([upstream.local_endpoint().clone()], config);
        backend.reach(PATIENCE).await.unwrap();
        assert_eq!(header(&mut accept(&upstream).await).await, ProxyHeader::Local);
    }
}

#[tokio::test]
async fn the_hash_of_the_source_is_that_of_the_client_of_the_header() {
    const CLIENTS: u8 = 64;
    let (first, second) =
        (Listener::bind(any_port()).await.unwrap(), Listener::bind(any_port()).await.unwrap());
    let servers = [&first, &second].map(|server| server.local_endpoint().clone());
    let policy = ServerPolicy::default().balance(Balance::SourceHash);
    let backend = Backend::new(servers, BackendConfig::default().policy(policy));
    let relayed =
        Relayed::to(RelayConfig::default().accept_proxy(set(&["127.0.0.1"])), &any_port(), backend).await;
    // All have the proxy's address. Each alone picks a server by its own.
    let mut reached = [0; 2];
    for client in 0..CLIENTS {
        let source = SocketAddr::from(([192, 0, 2, client], 40_000));
        let named = ProxyHeader::Tcp { source, destination: DESTINATION.parse().unwrap() };
        let mut stream = relayed.connect().await;
        stream.write_all(&named.encode(ProxyVersion::V2, None)).await.unwrap();
        tokio::select! {
            accepted = first.accept() => reached[0] += usize::from(accepted.is_ok()),
            accepted = second.accept() => reached[1] += usize::from(accepted.is_ok()),
        }
    }
    assert!(reached.iter().all(|count| *count > 0), "{reached:?}");
}

/// A client through the relay between two proxies. The last one's log names it.
async fn echo(proxy: &str, log: impl FnOnce(&str)) {
    let mut client = Stream::connect(proxy.parse::<Endpoint>().unwrap(), PATIENCE).await.unwrap();
    client.write_all(b"hello").await.unwrap();
    receive(&mut client, b"hello").await;
    let line = format!("client={}\n", local(&client));
    drop(client);
    tokio::task::block_in_place(|| log(&line));
}

async fn echo_server() -> Endpoint {
    let listener = Listener::bind(any_port()).await.unwrap();
    let address = listener.local_endpoint().clone();
    tokio::spawn(async move {
        while let Ok(stream) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = tokio::io::split(stream);
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn haproxy_on_both_sides_sees_the_client() {
    let last = Haproxy::start("accept-proxy", text(&echo_server().await));
    for (option, version) in [("send-proxy", ProxyVersion::V2), ("send-proxy-v2", ProxyVersion::V1)] {
        let to = last.address.parse().unwrap();
        let relayed = Relayed::start(&any_port(), &to, &["127.0.0.1"], Some(version)).await;
        let first = Haproxy::start("", &format!("{} {option}", text(&relayed.address)));
        echo(&first.address, |line| last.await_log(line)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nginx_on_both_sides_sees_the_client() {
    let last = Nginx::start("proxy_protocol", &format!("proxy_pass {};", text(&echo_server().await)));
    for version in VERSIONS {
        let to = last.address.parse().unwrap();
        let relayed = Relayed::start(&any_port(), &to, &["127.0.0.1"], Some(version)).await;
        let options = format!("proxy_pass {}; proxy_protocol on;", text(&relayed.address));
        let first = Nginx::start("", &options);
        echo(&first.address, |line| last.await_log(line)).await;
    }
}
