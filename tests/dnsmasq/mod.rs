//! A name server for `mill.test`, whose address changes when told: dnsmasq.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use millpond::net::{Dns, Resolve};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::time::sleep;

const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Dnsmasq {
    child: Child,
    address: SocketAddr,
    folder: TempDir,
}

impl Dnsmasq {
    /// Says that `mill.test` is there, and that this is so for `ttl` seconds.
    pub(crate) fn start(there: Ipv4Addr, ttl: u32) -> Self {
        Self::start_with(there, &[&format!("--local-ttl={ttl}")])
    }

    pub(crate) fn start_with(there: Ipv4Addr, options: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let hosts = folder.path().join("hosts");
        fs::write(&hosts, format!("{there} mill.test")).unwrap();
        let child = Command::new("dnsmasq")
            .args(["--no-daemon", "--no-resolv", "--no-hosts", "--conf-file=/dev/null", "--bind-interfaces"])
            .args(["--user=", "--group=", "--listen-address=127.0.0.1", "--local=/test/"])
            .arg("--log-facility=/dev/null")
            .arg(format!("--port={}", address.port()))
            .args(options)
            .arg(format!("--addn-hosts={}", hosts.display()))
            .arg(format!("--pid-file={}", folder.path().join("pid").display()))
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("dnsmasq is missing: run tests/run ({error})"));
        let begun = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(begun.elapsed() < PATIENCE, "dnsmasq does not listen");
            thread::sleep(Duration::from_millis(5));
        }
        Self { child, address, folder }
    }

    /// Moves `mill.test`, and waits until the server says so.
    pub(crate) async fn change(&self, there: Ipv4Addr) {
        self.serve(&[(there, "mill.test")]).await;
    }

    /// Knows these names from now on. Waits until the server says so of the last one.
    pub(crate) async fn serve(&self, names: &[(Ipv4Addr, &str)]) {
        let hosts: String = names.iter().map(|(address, name)| format!("{address} {name}\n")).collect();
        fs::write(self.folder.path().join("hosts"), hosts).unwrap();
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGHUP).unwrap();
        let (address, name) = *names.last().unwrap();
        let begun = Instant::now();
        while !self.resolver().resolve(name).await.is_ok_and(|found| found.contains(&address.into())) {
            assert!(begun.elapsed() < PATIENCE, "dnsmasq does not know {name} {address}");
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// A resolver that asks this server, and has no answers yet.
    pub(crate) fn resolver(&self) -> Dns {
        Dns::with_servers([self.address]).unwrap()
    }
}

impl Drop for Dnsmasq {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
