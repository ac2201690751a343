//! A resolver of our own, with dnsmasq as the name server.

mod dnsmasq;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dnsmasq::Dnsmasq;
use millpond::net::{Dial, Dns, ErrorKind, Stream};
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
async fn a_silent_name_server_is_a_timeout_of_the_lookup() {
    const LIMIT: Duration = Duration::from_millis(300);
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let resolver = Dns::with_servers([silent.local_addr().unwrap()]).unwrap();
    let dial = Dial::default().timeout(LIMIT).resolver(Some(Arc::new(resolver)));
    let error = dial.connect("mill.test:80").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LookupTimeout { after: LIMIT });
}
