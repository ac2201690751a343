//! A resolver of our own, with dnsmasq as the name server.

mod dnsmasq;

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dnsmasq::Dnsmasq;
use millpond::net::{Dial, Dns, ErrorKind, Resolve, Stream};
use tokio::net::{TcpListener, UdpSocket};
use tokio::time::sleep;

const PATIENCE: Duration = Duration::from_secs(20);
const OLD: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
const NEW: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// Asks that server.
fn dial(server: &Dnsmasq) -> Dial {
    Dial::default().resolver(Some(Arc::new(server.resolver())))
}

/// The address that a connect to the name ends at.
async fn connected(dial: &Dial, port: u16) -> IpAddr {
    let Stream::Tcp(stream) = dial.connect(format!("mill.test:{port}")).await.unwrap().stream else {
        panic!("not TCP")
    };
    stream.peer_addr().unwrap().ip()
}

#[tokio::test]
async fn a_change_is_seen_when_the_ttl_is_over_and_not_before() {
    let server = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let port = server.local_addr().unwrap().port();
    let [long, short] = [300, 1].map(|ttl| Dnsmasq::start(OLD, ttl));
    let [kept, moved] = [&long, &short].map(dial);
    assert_eq!([connected(&kept, port).await, connected(&moved, port).await], [OLD; 2]);
    long.change(NEW).await;
    assert_eq!(connected(&kept, port).await, OLD);
    short.change(NEW).await;
    let begun = Instant::now();
    while connected(&moved, port).await != NEW {
        assert!(begun.elapsed() < PATIENCE, "the change is not seen");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_an_error_of_the_lookup() {
    let error = dial(&Dnsmasq::start(OLD, 1)).connect("pond.test:80").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Lookup);
}

#[tokio::test]
async fn that_a_name_does_not_exist_is_told_from_a_server_that_refuses() {
    let server = Dnsmasq::start(OLD, 1);
    let resolver = server.resolver();
    let kind = async |name| resolver.resolve(name).await.unwrap_err().kind();
    assert_eq!(kind("pond.test").await, io::ErrorKind::NotFound);
    // It is asked only for names below `test`.
    assert_ne!(kind("mill.example").await, io::ErrorKind::NotFound);
}

#[tokio::test]
async fn a_name_that_begins_to_exist_is_found_long_before_its_zone_allows() {
    const DAY: u32 = 86_400;
    let soa = format!("--auth-soa=1,miller.test,{DAY},{DAY},{DAY}");
    let ttl = format!("--auth-ttl={DAY}");
    let server =
        Dnsmasq::start_with(OLD, &["--auth-zone=test", "--auth-server=ns.test,127.0.0.1", &soa, &ttl]);
    let resolver = server.resolver();
    resolver.resolve("pond.test").await.unwrap_err();
    server.serve(&[(NEW, "pond.test")]).await;
    let begun = Instant::now();
    while resolver.resolve("pond.test").await.is_err() {
        assert!(begun.elapsed() < PATIENCE, "it is not found");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn lookups_begin_with_each_address_in_turn() {
    const ADDRESSES: [Ipv4Addr; 3] = [OLD, NEW, Ipv4Addr::new(127, 0, 0, 3)];
    let server = Dnsmasq::start(OLD, 300);
    server.serve(&ADDRESSES.map(|address| (address, "mill.test"))).await;
    let resolver = server.resolver();
    let mut first = BTreeSet::new();
    for _ in ADDRESSES {
        first.insert(resolver.resolve("mill.test").await.unwrap()[0]);
    }
    assert_eq!(first, ADDRESSES.map(IpAddr::from).into());
}

#[tokio::test]
async fn a_silent_name_server_is_a_timeout_of_the_lookup() {
    const LIMIT: Duration = Duration::from_millis(300);
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let resolver = Dns::with_servers([silent.local_addr().unwrap()]).unwrap();
    let dial = Dial::default().timeout(LIMIT).resolver(Some(Arc::new(resolver)));
    let error = dial.connect("mill.test:80").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LookupTimeout { after: LIMIT });
}
