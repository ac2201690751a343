//! A resolver of our own, with dnsmasq as the name server.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use millpond::net::{Dial, Dns, ErrorKind, Resolve, Stream};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::net::{TcpListener, UdpSocket};
use tokio::time::sleep;

const PATIENCE: Duration = Duration::from_secs(20);
const OLD: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
const NEW: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// A name server for `mill.test`.
struct Dnsmasq {
    child: Child,
    address: SocketAddr,
    folder: TempDir,
}

impl Dnsmasq {
    fn start(ttl: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        fs::write(folder.path().join("hosts"), format!("{OLD} mill.test")).unwrap();
        let child = Command::new("dnsmasq")
            .args(["--no-daemon", "--no-resolv", "--no-hosts", "--conf-file=/dev/null", "--bind-interfaces"])
            .args([
                "--user=",
                "--group=",
                "--listen-address=127.0.0.1",
                "--local=/test/",
                "--log-facility=/dev/null",
            ])
            .arg(format!("--port={}", address.port()))
            .arg(format!("--local-ttl={ttl}"))
            .arg(format!("--addn-hosts={}", folder.path().join("hosts").display()))
            .arg(format!("--pid-file={}", folder.path().join("pid").display()))
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("dnsmasq is missing: run tests/run ({error})"));
        let begun = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(begun.elapsed() < PATIENCE, "dnsmasq does not listen");
            std::thread::sleep(Duration::from_millis(5));
        }
        Self { child, address, folder }
    }

    /// Moves `mill.test`, and waits until the server says so.
    async fn change(&self) {
        fs::write(self.folder.path().join("hosts"), format!("{NEW} mill.test")).unwrap();
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGHUP).unwrap();
        let begun = Instant::now();
        while self.resolver().resolve("mill.test").await.unwrap() != [IpAddr::from(NEW)] {
            assert!(begun.elapsed() < PATIENCE, "dnsmasq keeps the address");
            sleep(Duration::from_millis(5)).await;
        }
    }

    fn resolver(&self) -> Dns {
        Dns::with_servers([self.address]).unwrap()
    }

    fn dial(&self) -> Dial {
        Dial::default().resolver(Some(Arc::new(self.resolver())))
    }
}

impl Drop for Dnsmasq {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
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
    let [long, short] = [300, 1].map(Dnsmasq::start);
    let [kept, moved] = [long.dial(), short.dial()];
    assert_eq!([connected(&kept, port).await, connected(&moved, port).await], [OLD; 2]);
    long.change().await;
    assert_eq!(connected(&kept, port).await, OLD);
    short.change().await;
    let begun = Instant::now();
    while connected(&moved, port).await != NEW {
        assert!(begun.elapsed() < PATIENCE, "the change is not seen");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_an_error_of_the_lookup() {
    let error = Dnsmasq::start(1).dial().connect("pond.test:80").await.unwrap_err();
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
