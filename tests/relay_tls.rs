//! TLS in the relay: towards clients, towards servers, and routes by server name without an end of TLS.

mod tls_servers;

use std::fs;
use std::future::pending;
use std::io;
use std::process::Stdio;
use std::time::Duration;

use millpond::net::tls::{ServerNames, TlsErrorKind, TlsServerConfig};
use millpond::net::{Endpoint, Listener, ProxyHeader, ProxyVersion, Stream};
use millpond::relay::{Backend, BackendConfig, HandshakeFailure, NameRoutes, Relay, RelayConfig, RelayStats};
use millpond::{BufferPool, BufferPoolConfig};
use tls_servers::{Authority, Issued, NAME, PATIENCE, Server, connect, folder_with, get, handshake, write};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::time::{sleep, timeout};

const OTHER: &str = "mill.example";

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("it took too long")
}

/// A relay that serves, and where.
async fn serve(config: RelayConfig, backend: impl Into<Backend>) -> (Relay, Endpoint) {
    let relay = Relay::new(BufferPool::new(BufferPoolConfig::proxy()), config);
    let listener = Listener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = listener.local_endpoint().clone();
    let (serving, backend) = (relay.clone(), backend.into());
    tokio::spawn(async move { serving.serve(listener, backend, pending()).await });
    (relay, endpoint)
}

fn terminating(issued: &Issued) -> TlsServerConfig {
    TlsServerConfig::new().certificate_pem(issued.certificate.clone(), issued.key.clone())
}

/// The stats once they are as they should be.
async fn until(relay: &Relay, is_so: impl Fn(&RelayStats) -> bool) -> RelayStats {
    let wait = async {
        while !is_so(&relay.stats()) {
            sleep(Duration::from_millis(5)).await;
        }
    };
    if timeout(PATIENCE, wait).await.is_err() {
        panic!("{:?}", relay.stats());
    }
    relay.stats()
}

async fn until_failed(relay: &Relay, failure: HandshakeFailure) {
    until(relay, |stats| stats.handshake_failures[failure as usize] == 1 && stats.failed() == 1).await;
}

#[tokio::test]
async fn tls_of_curl_ends_in_the_relay_and_nginx_sees_plain_bytes() {
    let authority = Authority::new("root");
    let server = Server::nginx(&authority.issue(|_| ()), "");
    let acceptor = terminating(&authority.issue(|_| ())).build().unwrap();
    let (relay, endpoint) = serve(RelayConfig::default().tls(acceptor), &*server.plain()).await;
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let roots = folder.path().join("roots.pem");
    fs::write(&roots, authority.pem()).unwrap();
    let address = endpoint.to_string().replace("tcp://", "");
    let to = format!("{NAME}:443:{address}");
    for version in ["1.2", "1.3"] {
        let curl = Command::new("curl")
            .args(["-sS", "--connect-to", &to, "--tls-max", version, "--cacert", roots.to_str().unwrap()])
            .arg(format!("https://{NAME}/"))
            .stderr(Stdio::inherit())
            .output();
        assert_eq!(within(curl).await.unwrap().stdout, b"plain");
    }
    let stats = until(&relay, |stats| stats.active == 0).await;
    assert_eq!((stats.closed, stats.failed()), (2, 0));
}

#[tokio::test]
async fn the_relay_speaks_tls_to_a_server_that_it_verifies() {
    let authority = Authority::new("root");
    let server = Server::nginx(&authority.issue(|_| ()), "");
    let config = BackendConfig::default().tls(authority.trusted().build().unwrap()).tls_name(NAME);
    let backend = Backend::new([&*server.endpoint], config);
    let (_relay, endpoint) = serve(RelayConfig::default(), backend).await;
    let mut client = connect(&endpoint.to_string()).await;
    client.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    within(client.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.ends_with(&format!("[.] [TLSv1.3] [{NAME}] [] [NONE]")), "{answer}");
}

#[tokio::test]
async fn a_server_that_is_not_trusted_is_not_used() {
    let server = Server::nginx(&Authority::new("root").issue(|_| ()), "");
    let config =
        BackendConfig::default().tls(Authority::new("other").trusted().build().unwrap()).tls_name(NAME);
    let (relay, endpoint) = serve(RelayConfig::default(), Backend::new([&*server.endpoint], config)).await;
    let mut client = connect(&endpoint.to_string()).await;
    let error = within(client.read(&mut [0])).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(until(&relay, |stats| stats.active == 0).await.upstream_tls_errors, 1);
}

#[tokio::test]
async fn a_server_is_offered_the_protocol_that_was_chosen_with_the_client() {
    let authority = Authority::new("root");
    let server = Server::nginx(&authority.issue(|_| ()), "");
    let acceptor = terminating(&authority.issue(|_| ())).alpn(["h2", "http/1.1"]).build().unwrap();
    let config =
        BackendConfig::default().tls(authority.trusted().alpn(["h2"]).build().unwrap()).tls_name(NAME);
    let backend = Backend::new([&*server.endpoint], config);
    let (_relay, endpoint) = serve(RelayConfig::default().tls(acceptor), backend).await;
    for (offered, seen) in [(&["http/1.1"][..], "http/1.1"), (&[], "")] {
        let connector = authority.trusted().alpn(offered).build().unwrap();
        let mut client = handshake(&connector, NAME, connect(&endpoint.to_string()).await).await.unwrap();
        let answer = get(&mut client).await;
        assert!(answer.ends_with(&format!("[{NAME}] [{seen}] [NONE]")), "{answer}");
    }
}

#[tokio::test]
async fn bytes_pass_both_ways_and_each_direction_ends_cleanly() {
    const MANY: usize = 3_000_000;
    let authority = Authority::new("root");
    let acceptor = terminating(&authority.issue(|_| ())).build().unwrap();
    let upstream = Listener::bind("127.0.0.1:0").await.unwrap();
    let (relay, endpoint) =
        serve(RelayConfig::default().tls(acceptor), upstream.local_endpoint().clone()).await;
    let connector = authority.trusted().build().unwrap();
    let mut client = handshake(&connector, NAME, connect(&endpoint.to_string()).await).await.unwrap();
    let mut server = within(upstream.accept()).await.unwrap();
    let sent: Vec<u8> = (0..MANY).map(|n| (n * 7 + n / 251) as u8).collect();
    let (mut seen, mut back) = (Vec::new(), Vec::new());
    within(async {
        let up = async {
            client.write_all(&sent).await.unwrap();
            client.shutdown().await.unwrap();
            client.read_to_end(&mut back).await.unwrap();
        };
        let down = async {
            server.read_to_end(&mut seen).await.unwrap();
            server.write_all(&sent).await.unwrap();
            server.shutdown().await.unwrap();
        };
        tokio::join!(up, down);
    })
    .await;
    assert!(seen == sent, "{} bytes", seen.len());
    assert!(back == sent, "{} bytes", back.len());
    assert_eq!(until(&relay, |stats| stats.active == 0).await.closed, 1);
}

#[tokio::test]
async fn a_truncation_by_the_client_is_a_reset_for_the_server() {
    let authority = Authority::new("root");
    let acceptor = terminating(&authority.issue(|_| ())).build().unwrap();
    let upstream = Listener::bind("127.0.0.1:0").await.unwrap();
    let (_relay, endpoint) =
        serve(RelayConfig::default().tls(acceptor), upstream.local_endpoint().clone()).await;
    let connector = authority.trusted().build().unwrap();
    let mut client = handshake(&connector, NAME, connect(&endpoint.to_string()).await).await.unwrap();
    client.write_all(b"a part").await.unwrap();
    client.flush().await.unwrap();
    let mut server = within(upstream.accept()).await.unwrap();
    within(server.read_exact(&mut [0; 6])).await.unwrap();
    // The end of TCP without the end of TLS.
    client.get_mut().shutdown().await.unwrap();
    let error = within(server.read(&mut [0])).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_reset_by_the_server_is_no_clean_end_for_the_client() {
    let authority = Authority::new("root");
    let acceptor = terminating(&authority.issue(|_| ())).build().unwrap();
    let upstream = Listener::bind("127.0.0.1:0").await.unwrap();
    let (_relay, endpoint) =
        serve(RelayConfig::default().tls(acceptor), upstream.local_endpoint().clone()).await;
    let connector = authority.trusted().build().unwrap();
    let mut client = handshake(&connector, NAME, connect(&endpoint.to_string()).await).await.unwrap();
    let Stream::Tcp(mut server) = within(upstream.accept()).await.unwrap() else { unreachable!("it is TCP") };
    server.write_all(b"a part").await.unwrap();
    within(client.read_exact(&mut [0; 6])).await.unwrap();
    server.set_zero_linger().unwrap();
    drop(server);
    within(client.read(&mut [0])).await.unwrap_err();
}

#[tokio::test]
async fn handshakes_that_fail_are_counted_by_reason() {
    let (authority, clients) = (Authority::new("root"), Authority::new("clients"));
    let config = |config: TlsServerConfig| RelayConfig::default().tls(config.build().unwrap());
    let presenting = || terminating(&authority.issue(|_| ()));
    let quick = Duration::from_millis(50);
    let failures: [(_, &[u8], _); 3] = [
        (presenting().handshake_timeout(quick), b"", HandshakeFailure::Timeout),
        (presenting(), b"GET / HTTP/1.0\r\n\r\n", HandshakeFailure::NotTls),
        (presenting(), &[22, 3, 1, 0x40, 0, 1, 0, 0x40, 0], HandshakeFailure::Protocol),
    ];
    for (tls, bytes, failure) in failures {
        let (relay, endpoint) = serve(config(tls), "127.0.0.1:1").await;
        let mut client = connect(&endpoint.to_string()).await;
        client.write_all(bytes).await.unwrap();
        until_failed(&relay, failure).await;
    }
    let (relay, endpoint) = serve(config(presenting().client_root_pem(clients.pem())), "127.0.0.1:1").await;
    let connector = authority.trusted().build().unwrap();
    let client = handshake(&connector, NAME, connect(&endpoint.to_string()).await).await;
    until_failed(&relay, HandshakeFailure::ClientCertificate).await;
    drop(client);
}

#[tokio::test]
async fn a_client_that_leaves_without_a_byte_is_no_failure() {
    let acceptor = terminating(&Authority::new("root").issue(|_| ())).build().unwrap();
    let (relay, endpoint) = serve(RelayConfig::default().tls(acceptor), "127.0.0.1:1").await;
    drop(connect(&endpoint.to_string()).await);
    let stats = until(&relay, |stats| stats.accepted == 1 && stats.active == 0).await;
    assert_eq!((stats.closed, stats.failed()), (1, 0));
}

/// Two servers behind a relay that routes by name, and one that has the others.
struct Routed {
    authority: Authority,
    servers: [Server; 3],
}

impl Routed {
    fn new() -> Self {
        let authority = Authority::new("root");
        let servers = [(); 3].map(|()| Server::nginx(&authority.issue(|_| ()), ""));
        Self { authority, servers }
    }

    fn routes(&self) -> NameRoutes {
        let mut names = ServerNames::new();
        names.insert(NAME, Backend::from(&*self.servers[0].endpoint)).unwrap();
        names.insert("*.pond.example", Backend::from(&*self.servers[1].endpoint)).unwrap();
        NameRoutes::new(names)
    }

    fn other(&self) -> &str {
        &self.servers[2].endpoint
    }
}

#[tokio::test]
async fn a_name_leads_to_its_server_and_tls_ends_only_there() {
    let authority = Authority::new("root");
    let named = |name: &str| {
        let name = name.to_owned();
        let sans = vec![rcgen::SanType::DnsName(name.try_into().unwrap())];
        Server::nginx(&authority.issue(|params| params.subject_alt_names = sans), "")
    };
    let servers = [NAME, "www.pond.example", OTHER].map(named);
    let mut names = ServerNames::new();
    names.insert(NAME, Backend::from(&*servers[0].endpoint)).unwrap();
    names.insert("*.pond.example", Backend::from(&*servers[1].endpoint)).unwrap();
    let config = RelayConfig::default().name_routes(NameRoutes::new(names));
    let (relay, endpoint) = serve(config, &*servers[2].endpoint).await;
    let connector = authority.trusted().build().unwrap();
    // Each has a certificate for its own name alone, so a wrong server fails the handshake.
    for name in [NAME, "www.pond.example", OTHER] {
        let stream = connect(&endpoint.to_string()).await;
        let mut client = handshake(&connector, name, stream).await.unwrap();
        assert_eq!(get(&mut client).await, format!("[.] [TLSv1.3] [{name}] [] [NONE]"));
    }
    assert_eq!(until(&relay, |stats| stats.active == 0).await.closed, 3);
}

#[tokio::test]
async fn without_a_route_a_client_gets_an_alert_if_others_are_refused() {
    let routed = Routed::new();
    let config = RelayConfig::default().name_routes(routed.routes().refuse_others(true));
    let (relay, endpoint) = serve(config, routed.other()).await;
    let connector = routed.authority.trusted().build().unwrap();
    let error = handshake(&connector, OTHER, connect(&endpoint.to_string()).await).await.unwrap_err();
    assert_eq!(*error.kind(), TlsErrorKind::UnknownName);
    until_failed(&relay, HandshakeFailure::UnknownName).await;
}

#[tokio::test]
async fn a_client_that_does_not_speak_tls_goes_where_others_go_or_is_refused() {
    let routed = Routed::new();
    let config = RelayConfig::default().name_routes(routed.routes());
    let (_relay, endpoint) = serve(config, &*routed.servers[2].plain()).await;
    let mut client = connect(&endpoint.to_string()).await;
    client.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    within(client.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.ends_with("plain"), "{answer}");

    let config = RelayConfig::default().name_routes(routed.routes().refuse_others(true));
    let (relay, endpoint) = serve(config, routed.other()).await;
    let mut client = connect(&endpoint.to_string()).await;
    client.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    until_failed(&relay, HandshakeFailure::NotTls).await;
}

#[tokio::test]
async fn certificates_are_reloaded_while_connections_run() {
    let authority = Authority::new("root");
    let folder = folder_with(&authority.issue(|_| ()));
    let [chain, key] = ["chain.pem", "key.pem"].map(|name| folder.path().join(name));
    let acceptor = TlsServerConfig::new().certificate_files(chain, key).build().unwrap();
    let upstream = Listener::bind("127.0.0.1:0").await.unwrap();
    let config = RelayConfig::default().tls(acceptor.clone());
    let (_relay, endpoint) = serve(config, upstream.local_endpoint().clone()).await;
    let connector = authority.trusted().build().unwrap();
    let mut before = handshake(&connector, NAME, connect(&endpoint.to_string()).await).await.unwrap();
    let mut server = within(upstream.accept()).await.unwrap();
    write(folder.path(), &authority.issue(|_| ()));
    assert!(acceptor.reload().unwrap());
    let after = handshake(&connector, NAME, connect(&endpoint.to_string()).await).await.unwrap();
    assert_ne!(after.peer_certificates(), before.peer_certificates());
    server.write_all(b"still here").await.unwrap();
    within(before.read_exact(&mut [0; 10])).await.unwrap();
}

#[tokio::test]
async fn a_proxy_header_comes_before_tls_on_both_sides() {
    let authority = Authority::new("root");
    let acceptor = terminating(&authority.issue(|_| ())).build().unwrap();
    let upstream = Listener::bind("127.0.0.1:0").await.unwrap();
    let config = BackendConfig::default()
        .send_proxy(Some(ProxyVersion::V2))
        .tls(authority.trusted().build().unwrap())
        .tls_name(NAME);
    let backend = Backend::new([upstream.local_endpoint().clone()], config);
    let trusted = ["127.0.0.1".parse().unwrap()].into_iter().collect();
    let (_relay, endpoint) =
        serve(RelayConfig::default().tls(acceptor.clone()).accept_proxy(trusted), backend).await;

    let (source, destination) = ("192.0.2.1:40000".parse().unwrap(), "198.51.100.1:443".parse().unwrap());
    let header = ProxyHeader::Tcp { source, destination };
    let mut client = connect(&endpoint.to_string()).await;
    client.write_all(&header.encode(ProxyVersion::V1, None)).await.unwrap();
    let connector = authority.trusted().build().unwrap();
    let greet = async {
        let mut client = connector.connect(NAME, client).await.unwrap();
        client.write_all(b"hello").await.unwrap();
        client
    };
    let serve = async {
        let mut server = upstream.accept().await.unwrap();
        // With the name that the client asked for, which the server does not see in the handshake with the relay.
        let expected = header.encode(ProxyVersion::V2, Some(NAME));
        let mut bytes = vec![0; expected.len()];
        server.read_exact(&mut bytes).await.unwrap();
        assert_eq!(bytes, expected);
        let mut server = acceptor.accept(server).await.unwrap();
        let mut bytes = [0; 5];
        server.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"hello");
    };
    within(async { tokio::join!(greet, serve) }).await;
}
