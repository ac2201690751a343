//! Real servers for clients of HTTP: nginx, with certificates from an authority of our own.

#![allow(dead_code, clippy::allow_attributes, reason = "each test uses some of it")]

use std::cell::Cell;
use std::fs;
use std::future::pending;
use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use millpond::connection::https::HttpsConfig;
use millpond::net::tls::{TlsConfig, TlsConnector, TlsRoots};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::sync::watch;

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The size of the file that `/large` serves.
pub(crate) const LARGE: usize = 1024 * 1024;

const MISSING: &str = "is missing, and this test needs it: run tests/run";

/// A process that ends with the test.
pub(crate) struct Program(Child);

impl Program {
    pub(crate) fn start(command: &mut Command) -> Self {
        let name = command.get_program().to_owned();
        Self(command.spawn().unwrap_or_else(|error| panic!("{} {MISSING} ({error})", name.display())))
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.0.id() as i32), signal).unwrap();
    }

    pub(crate) fn stdin(&mut self) -> ChildStdin {
        self.0.stdin.take().unwrap()
    }

    pub(crate) fn stdout(&mut self) -> impl Read + use<> {
        self.0.stdout.take().unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // With the processes that it has started, if it has a group of its own.
        let _ = killpg(Pid::from_raw(self.0.id() as i32), Signal::SIGKILL);
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A port that was free a moment ago. The system gives none of these to a client, and each process begins at another one: a
/// server that is about to start finds it free.
pub(crate) fn free_port() -> u16 {
    const FIRST: u16 = 10_240;
    const COUNT: u16 = 20_000;
    static NEXT: LazyLock<AtomicU16> =
        LazyLock::new(|| AtomicU16::new(RandomState::new().hash_one(()) as u16));
    loop {
        let port = FIRST + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Waits until something listens there.
pub(crate) fn wait_for(address: &str) {
    let begun = Instant::now();
    while TcpStream::connect(address).is_err() {
        assert!(begun.elapsed() < PATIENCE, "nothing listens at {address}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// An authority, and certificates that it has signed.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// Writes `cert.pem` and `key.pem`.
    pub(crate) fn certify(&self, folder: &Path, name: &str, change: impl FnOnce(&mut CertificateParams)) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        change(&mut params);
        fs::write(folder.join("cert.pem"), params.signed_by(&key, &self.0).unwrap().pem()).unwrap();
        fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
    }

    /// A connector that trusts this authority alone.
    pub(crate) fn connector(&self, alpn: &[&str]) -> TlsConnector {
        TlsConfig::new().roots(TlsRoots::OnlyAdded).add_root_pem(self.pem()).alpn(alpn).build().unwrap()
    }
}

/// nginx with four ports: HTTPS (HTTP/1.1 and HTTP/2), plain HTTP/1.1, plain HTTP/2, and its own counters.
pub(crate) struct Nginx {
    pub(crate) program: Program,
    pub(crate) authority: Authority,
    ports: [u16; 4],
    /// Its connections for its counters.
    own: Cell<usize>,
    _folder: TempDir,
}

impl Nginx {
    pub(crate) fn start() -> Self {
        Self::with("")
    }

    /// With more settings for its servers.
    pub(crate) fn with(settings: &str) -> Self {
        Self::with_certificate(settings, "localhost", |_| {})
    }

    pub(crate) fn with_certificate(
        settings: &str,
        name: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Self {
        Self::launch(false, settings, name, change)
    }

    /// With a worker process, so that it can `reload`.
    pub(crate) fn reloadable(settings: &str, name: &str) -> Self {
        Self::launch(true, settings, name, |_| {})
    }

    fn launch(
        has_worker: bool,
        settings: &str,
        name: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (path, authority) = (folder.path(), Authority::new());
        authority.certify(path, name, change);
        fs::write(path.join("large"), vec![b'g'; LARGE]).unwrap();
        let ports @ [tls, plain, http2, status] = [(); 4].map(|()| free_port());
        let at = path.display();
        let processes = if has_worker {
            "worker_processes 1; worker_shutdown_timeout 1s;"
        } else {
            "master_process off;"
        };
        let config = format!(
            "
            user root; daemon off; {processes} pid {at}/pid; error_log {at}/errors;
            worker_rlimit_nofile 20000;
            events {{ worker_connections 4096; }}
            http {{
                access_log off; keepalive_timeout 300s; keepalive_requests 1000000;
                client_body_temp_path {at}/1; proxy_temp_path {at}/2; fastcgi_temp_path {at}/3;
                uwsgi_temp_path {at}/4; scgi_temp_path {at}/5;
                server {{
                    listen 127.0.0.1:{tls} ssl http2;
                    listen 127.0.0.1:{plain};
                    listen 127.0.0.1:{http2} http2;
                    ssl_protocols TLSv1.2 TLSv1.3; ssl_certificate {at}/cert.pem; ssl_certificate_key {at}/key.pem;
                    root {at};
                    location = / {{ return 200 'grist'; }}
                    location = /large {{ }}
                    location = /429 {{ add_header Retry-After 7 always; return 429 'later'; }}
                    location = /503 {{ add_header Retry-After 7 always; return 503 'later'; }}
                    {settings}
                }}
                server {{ listen 127.0.0.1:{status}; location / {{ stub_status; }} }}
            }}"
        );
        fs::write(path.join("nginx.conf"), config).unwrap();
        let mut command = Command::new("nginx");
        command.args(["-e", "stderr", "-c"]).arg(path.join("nginx.conf")).stdin(Stdio::null());
        if has_worker {
            command.process_group(0);
        }
        let program = Program::start(&mut command);
        for port in ports {
            wait_for(&format!("127.0.0.1:{port}"));
        }
        let nginx = Self { program, authority, ports, own: Cell::new(ports.len()), _folder: folder };
        while nginx.accepted() < nginx.own.get() {
            thread::sleep(Duration::from_millis(1));
        }
        nginx
    }

    pub(crate) fn https(&self) -> String {
        format!("https://localhost:{}", self.ports[0])
    }

    pub(crate) fn http1(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports[1])
    }

    pub(crate) fn http2(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports[2])
    }

    pub(crate) fn tls_address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.ports[0]).into()
    }

    /// Settings that trust this server's authority, and offer these protocols.
    pub(crate) fn trusting(&self, alpn: &[&str]) -> HttpsConfig {
        HttpsConfig::default().tls(Some(self.authority.connector(alpn)))
    }

    /// A new worker process takes over. The old one ends its connections: with GOAWAY, and where nothing is asked, at once.
    pub(crate) fn reload(&self) {
        self.program.signal(Signal::SIGHUP);
    }

    /// Connections that clients have made.
    pub(crate) fn accepts(&self) -> usize {
        self.accepted() - self.own.get()
    }

    /// Connections that clients have now.
    pub(crate) fn open(&self) -> usize {
        self.counter("Active connections:") - 1
    }

    /// Connections that were accepted, those for its counters included.
    fn accepted(&self) -> usize {
        self.counter("server accepts handled requests\n")
    }

    /// The number after `name`.
    fn counter(&self, name: &str) -> usize {
        let mut status = TcpStream::connect(("127.0.0.1", self.ports[3])).unwrap();
        self.own.set(self.own.get() + 1);
        status.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        let mut text = String::new();
        status.read_to_string(&mut text).unwrap();
        let (_, rest) = text.split_once(name).unwrap_or_else(|| panic!("no {name} in {text}"));
        rest.split_whitespace().next().unwrap().parse().unwrap()
    }
}

/// A server of node: HTTP/1.1 and HTTP/2 on one port with TLS, or HTTP/2 without. `program` handles `(request, response)`.
pub(crate) struct Node {
    _program: Program,
    pub(crate) authority: Authority,
    pub(crate) port: u16,
    _folder: TempDir,
}

impl Node {
    /// With TLS.
    pub(crate) fn https(handler: &str) -> Self {
        Self::start("createSecureServer", handler)
    }

    /// HTTP/2 without TLS.
    pub(crate) fn http2(handler: &str) -> Self {
        Self::start("createServer", handler)
    }

    /// Its address with TLS.
    pub(crate) fn url(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    fn start(create: &str, handler: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new();
        authority.certify(folder.path(), "localhost", |_| {});
        let script = format!(
            "const fs = require('fs');
            const options = {{ cert: fs.readFileSync('cert.pem'), key: fs.readFileSync('key.pem'), allowHTTP1: true }};
            const server = require('http2').{create}(options, (request, response) => {{ {handler} }});
            server.listen(0, '127.0.0.1', () => console.log(server.address().port));"
        );
        let mut command = Command::new("node");
        command.args(["-e", &script]).current_dir(folder.path()).stdout(Stdio::piped());
        let mut program = Program::start(&mut command);
        let mut line = String::new();
        BufReader::new(program.stdout()).read_line(&mut line).unwrap();
        Self { _program: program, authority, port: line.trim().parse().unwrap(), _folder: folder }
    }
}

/// nghttpd, which speaks HTTP/2 without TLS and serves `/large`.
pub(crate) struct Nghttpd {
    _program: Program,
    port: u16,
    _folder: TempDir,
}

impl Nghttpd {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
        fs::write(folder.path().join("large"), vec![b'g'; LARGE]).unwrap();
        let mut command = Command::new("nghttpd");
        command.args(["--no-tls", "--address", "127.0.0.1", "--htdocs"]).arg(folder.path());
        let program = Program::start(command.args(arguments).arg(port.to_string()));
        wait_for(&format!("127.0.0.1:{port}"));
        Self { _program: program, port, _folder: folder }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

/// A relay, whose address this returns. At each word to the sender, the connections that it has stay open and pass nothing on
/// any more, as after a cut cable.
pub(crate) async fn relay(to: SocketAddr) -> (SocketAddr, watch::Sender<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (cut, is_cut) = watch::channel(());
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut is_cut = is_cut.clone();
            is_cut.mark_unchanged();
            tokio::spawn(async move {
                let mut server = tokio::net::TcpStream::connect(to).await.unwrap();
                tokio::select! {
                    _ = copy_bidirectional(&mut client, &mut server) => {}
                    _ = is_cut.changed() => pending().await,
                }
            });
        }
    });
    (address, cut)
}
