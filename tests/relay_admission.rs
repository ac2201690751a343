//! Who is refused by a relay: by lists, and by the limits of a source. Each loopback address is a source of its own.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use millpond::net::{AccessList, Endpoint, Listener, PeerSet, SourceLimits, Stream};
use millpond::relay::{Relay, RelayConfig, RelayStats};
use millpond::{BufferPool, BufferPoolConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// A test that waits this long has failed, even on a slow machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A relay to a server that echoes what it gets.
struct Setup {
    relay: Relay,
    at: SocketAddr,
    tasks: [JoinHandle<()>; 2],
}

impl Setup {
    async fn new(config: RelayConfig) -> Self {
        let echo = Listener::bind("127.0.0.1:0").await.unwrap();
        let to = echo.local_endpoint().clone();
        let echo = tokio::spawn(async move {
            let serve = |stream: Stream| async move {
                let (mut reader, mut writer) = tokio::io::split(stream);
                let _ = tokio::io::copy(&mut reader, &mut writer).await;
            };
            echo.serve(1000, PATIENCE, std::future::pending(), serve).await;
        });
        let listener = Listener::bind("[::]:0").await.unwrap();
        let Endpoint::Tcp(at) = listener.local_endpoint() else { panic!("it is TCP") };
        let port = at.parse::<SocketAddr>().unwrap().port();
        let relay = Relay::new(BufferPool::new(BufferPoolConfig::proxy()), config);
        let serving = relay.clone();
        let served =
            tokio::spawn(async move { _ = serving.serve(listener, to, std::future::pending()).await });
        Self { relay, at: (Ipv4Addr::LOCALHOST, port).into(), tasks: [echo, served] }
    }

    /// Connects from 127.0.0.`last`.
    async fn connect(&self, last: u8) -> io::Result<TcpStream> {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((Ipv4Addr::new(127, 0, 0, last), 0).into()).unwrap();
        within(socket.connect(self.at)).await
    }

    async fn from(&self, last: u8) -> TcpStream {
        self.connect(last).await.unwrap()
    }

    /// A refused client may be reset before its connect returns.
    async fn admits(&self, last: u8) -> bool {
        match self.connect(last).await {
            Ok(mut client) => is_relayed(&mut client).await,
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
                false
            }
        }
    }

    async fn eventually(&self, what: &str, condition: impl Fn(&RelayStats) -> bool) {
        let wait = async {
            while !condition(&self.relay.stats()) {
                sleep(Duration::from_millis(2)).await;
            }
        };
        let waited = timeout(PATIENCE, wait).await;
        waited.unwrap_or_else(|_| panic!("never {what}: {}", self.relay.stats()));
    }
}

impl Drop for Setup {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("it took too long")
}

fn set(ranges: &[&str]) -> PeerSet {
    ranges.iter().map(|range| range.parse::<millpond::net::PeerRange>().unwrap()).collect()
}

/// Whether the connection is relayed. Otherwise it was reset.
async fn is_relayed(client: &mut TcpStream) -> bool {
    if client.write_all(b"?").await.is_err() {
        return false;
    }
    match within(client.read(&mut [0])).await {
        Ok(1) => true,
        Ok(count) => panic!("{count} bytes: a close without a reset"),
        Err(error) => {
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
            false
        }
    }
}

#[tokio::test]
async fn denied_clients_are_reset_and_others_are_relayed() {
    let access = AccessList::default().allow(set(&["127.0.0.0/30"])).deny(set(&["127.0.0.2"]));
    let setup = Setup::new(RelayConfig::default().access(access)).await;
    for (last, expected) in [(1, true), (2, false), (3, true), (4, false)] {
        assert_eq!(setup.admits(last).await, expected, "127.0.0.{last}");
    }
    // Without unread bytes the kernel would not reset it by itself.
    if let Ok(mut silent) = setup.connect(2).await {
        let error = within(silent.read(&mut [0])).await.expect_err("it was closed without a reset");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }
    setup.eventually("counted", |stats| stats.refused == [3, 0, 0]).await;
    if let Ok(mut ipv6) = within(TcpStream::connect(("::1", setup.at.port()))).await {
        assert!(!is_relayed(&mut ipv6).await, "::1 is not allowed");
    }
    setup.eventually("counted", |stats| stats.refused == [4, 0, 0]).await;
    assert_eq!(setup.relay.stats().connect_errors, 0);
    assert_eq!(setup.relay.pool().stats().in_use, 0);
}

#[tokio::test]
async fn a_new_list_concerns_new_connections_only() {
    let setup = Setup::new(RelayConfig::default()).await;
    let mut old = setup.from(2).await;
    assert!(is_relayed(&mut old).await);
    let access = AccessList::default().deny(set(&["127.0.0.2"]));
    setup.relay.replace_config(RelayConfig::default().access(access));
    assert!(!setup.admits(2).await);
    assert!(is_relayed(&mut old).await, "it stays");
}

#[tokio::test]
async fn a_source_at_its_limit_is_reset_until_one_of_its_connections_ends_in_any_way() {
    let limits = SourceLimits::default().max_connections(Some(2));
    let setup = Setup::new(RelayConfig::default().source_limits(limits)).await;
    let (mut first, mut second) = (setup.from(2).await, setup.from(2).await);
    assert!(is_relayed(&mut first).await);
    assert!(is_relayed(&mut second).await);
    assert!(!setup.admits(2).await);
    assert!(setup.admits(3).await, "another source");
    setup.eventually("counted", |stats| stats.refused == [0, 1, 0]).await;

    first.shutdown().await.unwrap();
    assert_eq!(within(first.read(&mut [0])).await.unwrap(), 0);
    setup.eventually("closed", |stats| stats.active == 1).await;
    let mut third = setup.from(2).await;
    assert!(is_relayed(&mut third).await, "one has closed");

    socket2::SockRef::from(&third).set_linger(Some(Duration::ZERO)).unwrap();
    drop(third);
    setup.eventually("reset", |stats| stats.reset == 1).await;
    assert!(setup.admits(2).await, "one was reset");
}

#[tokio::test]
async fn a_source_that_floods_is_reset_and_slows_nobody_down() {
    const RATE: u32 = 20;
    const FLOOD: usize = 500;
    let limits = SourceLimits::default().rate(Some(RATE));
    let setup = Setup::new(RelayConfig::default().source_limits(limits)).await;
    let flood = async {
        let mut clients = Vec::new();
        for _ in 0..FLOOD {
            clients.extend(setup.connect(2).await);
        }
        clients
    };
    let other = async {
        let mut client = setup.from(3).await;
        for _ in 0..100 {
            assert!(is_relayed(&mut client).await);
        }
    };
    let (clients, ()) = tokio::join!(flood, other);
    setup.eventually("all accepted", |stats| stats.accepted == FLOOD as u64 + 1).await;
    setup.eventually("refused", |stats| stats.refused[2] > 0).await;
    drop(clients);
    setup.eventually("over", |stats| stats.active == 0).await;
    let refused = setup.relay.stats().refused;
    assert_eq!((refused[0], refused[1]), (0, 0));
    assert!(setup.admits(4).await);
}

#[tokio::test]
async fn of_a_trusted_proxy_the_client_is_checked_and_not_the_proxy() {
    let access = AccessList::default().allow(set(&["192.0.2.0/24"]));
    let limits = SourceLimits::default().max_connections(Some(1));
    let config = RelayConfig::default().access(access).source_limits(limits);
    let setup = Setup::new(config.accept_proxy(set(&["127.0.0.2"]))).await;
    let mut held = Vec::new();
    for (source, expected) in
        [("192.0.2.1", true), ("192.0.2.1", false), ("192.0.2.2", true), ("198.51.100.1", false)]
    {
        let mut client = setup.from(2).await;
        let header = format!("PROXY TCP4 {source} 203.0.113.1 40000 443\r\n");
        client.write_all(header.as_bytes()).await.unwrap();
        assert_eq!(is_relayed(&mut client).await, expected, "{source}");
        held.push(client);
    }
    setup.eventually("counted", |stats| stats.refused == [1, 1, 0]).await;
    assert!(!setup.admits(3).await, "127.0.0.3 is no proxy, and not allowed");
}
