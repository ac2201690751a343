//! PROXY headers from and to haproxy and nginx.

mod servers;

use std::net::SocketAddr;
use std::time::Duration;

use millpond::net::{Endpoint, Listener, ProxyHeader, ProxyVersion, Stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use servers::haproxy::Haproxy;
use servers::nginx::Nginx;

/// A test that waits this long has failed, even on a slow machine.
const PATIENCE: Duration = Duration::from_secs(20);

async fn listen() -> (Listener, String) {
    let listener = Listener::bind("127.0.0.1:0").await.unwrap();
    let Endpoint::Tcp(address) = listener.local_endpoint().clone() else { unreachable!("it is TCP") };
    (listener, address)
}

async fn connect(address: &str) -> Stream {
    Stream::connect(address.parse::<Endpoint>().unwrap(), PATIENCE).await.unwrap()
}

fn local(stream: &Stream) -> SocketAddr {
    match stream {
        Stream::Tcp(stream) => stream.local_addr().unwrap(),
        _ => unreachable!("it is TCP"),
    }
}

async fn accept(listener: &Listener) -> (ProxyHeader, Stream) {
    let mut accepted = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
    (accepted.read_proxy_header(PATIENCE).await.unwrap(), accepted)
}

/// A client's bytes and address through a proxy that says who it is.
async fn is_told(listener: &Listener, proxy: &str) {
    let mut client = connect(proxy).await;
    client.write_all(b"hello").await.unwrap();
    let (header, mut accepted) = accept(listener).await;
    let expected = ProxyHeader::Tcp { source: local(&client), destination: proxy.parse().unwrap() };
    assert_eq!(header, expected);
    let mut bytes = [0; 5];
    accepted.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"hello");
}

/// The answer to bytes that are sent after a header through a proxy that takes it.
async fn tell(proxy: &str, source: &str, version: ProxyVersion) {
    let (source, destination) = (source.parse().unwrap(), "198.51.100.1:443".parse().unwrap());
    let mut client = connect(proxy).await;
    client
        .write_all(&ProxyHeader::Tcp { source, destination }.encode(version, Some("example.org")))
        .await
        .unwrap();
    client.write_all(b"hello").await.unwrap();
    let mut answer = [0; 5];
    timeout(PATIENCE, client.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"HELLO");
}

/// A server that answers each connection once.
async fn shout() -> String {
    let (listener, address) = listen().await;
    tokio::spawn(async move {
        while let Ok(mut stream) = listener.accept().await {
            tokio::spawn(async move {
                let mut bytes = [0; 5];
                if stream.read_exact(&mut bytes).await.is_ok() {
                    let _ = stream.write_all(&bytes.to_ascii_uppercase()).await;
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn haproxy_is_understood() {
    let options =
        ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c,unique-id,authority"];
    for option in options {
        let (listener, address) = listen().await;
        let haproxy = Haproxy::start("", &format!("{address} {option}"));
        is_told(&listener, &haproxy.address).await;
    }
}

#[tokio::test]
async fn the_health_checks_of_haproxy_are_understood() {
    for option in ["send-proxy", "send-proxy-v2"] {
        let (listener, address) = listen().await;
        let _haproxy = Haproxy::start("", &format!("{address} {option} check check-send-proxy"));
        let (header, _) = accept(&listener).await;
        // In version 1 it is its own client.
        let to = address.parse().unwrap();
        let is_itself = matches!(header, ProxyHeader::Tcp { destination, .. } if destination == to);
        assert!(if option == "send-proxy" { is_itself } else { header == ProxyHeader::Local }, "{header:?}");
    }
}

#[tokio::test]
async fn nginx_is_understood() {
    let (listener, address) = listen().await;
    let nginx = Nginx::start("", &format!("proxy_pass {address}; proxy_protocol on;"));
    is_told(&listener, &nginx.address).await;
}

#[tokio::test]
async fn haproxy_understands() {
    let haproxy = Haproxy::start("accept-proxy", &shout().await);
    for (version, source) in [(ProxyVersion::V1, "192.0.2.1:40001"), (ProxyVersion::V2, "192.0.2.1:40002")] {
        tell(&haproxy.address, source, version).await;
        haproxy.await_log(&format!("client={source}\n"));
    }
}

#[tokio::test]
async fn nginx_understands() {
    let nginx = Nginx::start("proxy_protocol", &format!("proxy_pass {};", shout().await));
    for (version, source) in [(ProxyVersion::V1, "192.0.2.1:40001"), (ProxyVersion::V2, "192.0.2.1:40002")] {
        tell(&nginx.address, source, version).await;
        nginx.await_log(&format!("client={source}\n"));
    }
}

#[tokio::test]
async fn both_understand_clients_without_an_address() {
    let haproxy = Haproxy::start("accept-proxy", &shout().await);
    let nginx = Nginx::start("proxy_protocol", &format!("proxy_pass {};", shout().await));
    for proxy in [&haproxy.address, &nginx.address] {
        for header in [ProxyHeader::Local, ProxyHeader::Unix] {
            for version in [ProxyVersion::V1, ProxyVersion::V2] {
                let mut client = connect(proxy).await;
                client.write_all(&header.encode(version, None)).await.unwrap();
                client.write_all(b"hello").await.unwrap();
                let mut answer = [0; 5];
                let read = timeout(PATIENCE, client.read_exact(&mut answer)).await.unwrap();
                assert_eq!((read.ok(), &answer), (Some(5), b"HELLO"), "{header:?} {version} {proxy}");
            }
        }
    }
}
