//! nginx, two proxies before it, and a name that is at one of them.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use millpond::net::Dns;
use tempfile::TempDir;
use tokio::time::sleep;

use crate::chaos::{Chaos, listen};
use crate::dice::Dice;
use crate::dnsmasq::Dnsmasq;
use crate::upstream::{Nginx, PATIENCE};

const ADDRESSES: [Ipv4Addr; 2] = [Ipv4Addr::new(127, 0, 0, 1), Ipv4Addr::new(127, 0, 0, 2)];
/// Seconds.
const TTL: u32 = 1;
/// The longest that the name stays.
const STAY: u64 = 2000;

pub(crate) struct Network {
    pub(crate) nginx: Nginx,
    names: Dnsmasq,
    proxies: [Arc<Chaos>; 2],
    port: u16,
    moves: AtomicUsize,
    folder: TempDir,
}

impl Network {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = format!(
            "keepalive_requests 200;
            location /echo/ {{ return 200 $request_uri; }}
            location /post/ {{ access_log {}/posts combined; return 200 $request_uri; }}",
            folder.path().display()
        );
        let nginx = Nginx::reloadable(&settings, "mill.test");
        let proxies = [(); 2].map(|()| Arc::new(Chaos::default()));
        let mut port = 0;
        for (address, proxy) in ADDRESSES.into_iter().zip(&proxies) {
            let listener = listen(SocketAddr::new(address.into(), port)).unwrap();
            port = listener.local_addr().unwrap().port();
            tokio::spawn(Arc::clone(proxy).serve(listener, nginx.tls_address().to_string()));
        }
        let names = Dnsmasq::start(ADDRESSES[0], TTL);
        Self { nginx, names, proxies, port, moves: AtomicUsize::new(0), folder }
    }

    pub(crate) fn url(&self) -> String {
        format!("https://mill.test:{}", self.port)
    }

    pub(crate) fn resolver(&self) -> Dns {
        self.names.resolver()
    }

    /// Moves the name and reloads nginx, until then.
    pub(crate) async fn change_until(&self, end: Instant) {
        let mut dice = Dice(0);
        while Instant::now() < end {
            self.nginx.reload();
            sleep(dice.millis(STAY)).await;
            self.change().await;
        }
    }

    /// Moves the name. Connections to the other address must end, and none may follow.
    pub(crate) async fn change(&self) {
        let left = &self.proxies[self.moves.fetch_add(1, Ordering::Relaxed) % 2];
        self.names.change(ADDRESSES[self.moves() % 2]).await;
        let begun = Instant::now();
        while left.open() > 0 {
            assert!(begun.elapsed() < PATIENCE, "{} connections stay where the server was", left.open());
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Where the name is.
    pub(crate) fn there(&self) -> SocketAddr {
        SocketAddr::new(ADDRESSES[self.moves() % 2].into(), self.port)
    }

    pub(crate) fn moves(&self) -> usize {
        self.moves.load(Ordering::Relaxed)
    }

    pub(crate) fn calm_down(&self) {
        self.proxies.iter().for_each(|proxy| proxy.calm_down());
    }

    /// Connections through the proxies that are open.
    pub(crate) fn open(&self) -> usize {
        self.proxies.iter().map(|proxy| proxy.open()).sum()
    }

    /// Connections through the proxies so far.
    pub(crate) fn connections(&self) -> u64 {
        self.proxies.iter().map(|proxy| proxy.connections()).sum()
    }

    /// The targets of the POSTs that nginx has seen.
    pub(crate) fn posts(&self) -> Vec<String> {
        let log = fs::read_to_string(self.folder.path().join("posts")).unwrap();
        log.lines()
            .filter_map(|line| Some(line.split_once("POST ")?.1.split(' ').next()?.to_owned()))
            .collect()
    }
}
