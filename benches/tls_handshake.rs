//! TLS handshakes with a real nginx over loopback: how long a full and a resumed one takes, and what share a pool resumes.
//!
//! `cargo bench --features tls --bench tls_handshake [-- [--write] [--record]]`
//!
//! The certificate is ECDSA P-256. Times are those of the handshake alone, from the first byte of TLS to its end; the TCP
//! connection exists before. Shares are by the server's own count. The rival is tokio-rustls as it comes, with the session
//! store of rustls. `--write` replaces the section of `benches/results/tls.md`, and `--record` keeps the figures for the
//! claims.

mod results;
#[path = "../tests/tls_servers/mod.rs"]
mod tls_servers;

use std::env;
use std::fmt::Write as _;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use millpond::net::Stream;
use millpond::net::tls::{TlsConfig, TlsConnector};
use rcgen::CertificateParams;
use tls_servers::{Authority, NAME, Server, connect};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Handshakes per row.
const HANDSHAKES: usize = 2_000;
/// Those before that do not count.
const WARM_UP: usize = 100;
/// Connections of a pool, which are made this many at once.
const POOL: usize = 100;
const WAVES: [usize; 3] = [8, 16, 32];
/// Servers to which one connection each is made, twice.
const SERVERS: usize = 200;

fn main() {
    let flag = |name: &str| env::args().any(|argument| argument == name);
    let (table, figures) =
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(measure());
    println!("{table}");
    if flag("--write") {
        results::replace("tls", "tls_handshake", &table).unwrap();
    }
    if flag("--record") {
        results::record(&figures).unwrap();
    }
}

type Figures = Vec<(String, f64)>;

async fn measure() -> (String, Figures) {
    let authority = Authority::new("root");
    let issued = authority.issue(|params| {
        *params = CertificateParams::new([NAME.to_owned(), format!("*.{NAME}")]).unwrap();
    });
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let listen = format!("listen 127.0.0.1:{port} ssl http2; keepalive_requests 1000000;");
    let server = Server::nginx(&issued, &listen);
    let endpoint = format!("tcp://127.0.0.1:{port}");
    let older = Server::openssl(&issued, &["-tls1_2", "-www"]);
    let (mut text, mut figures) =
        (format!("\n{}; servers beside it.\n\n", results::machine()), Figures::new());

    text += "| handshake | median | 99 % | the server resumed |\n|---|---|---|---|\n";
    for (server, endpoint) in [("TLS 1.3, nginx", &endpoint), ("TLS 1.2, openssl s_server", &older.endpoint)]
    {
        for (kind, sessions) in [("full", 0), ("resumed", 1)] {
            let row = Row::measure(endpoint, authority.trusted().session_servers(sessions)).await;
            let _ = writeln!(
                text,
                "| {server}, {kind} | {:.2} ms | {:.2} ms | {:.1} % |",
                row.at(0.5),
                row.at(0.99),
                100.0 * row.resumed
            );
            figures.push((format!("tls/{server}/{kind}/median ms"), row.at(0.5)));
            figures.push((format!("tls/{server}/{kind}/resumed"), row.resumed));
        }
    }

    text += "\n| share that the server resumed | millpond | tokio-rustls |\n|---|---|---|\n";
    let ours = || Client::Ours(authority.trusted().build().unwrap());
    let theirs = || Client::theirs(&authority.pem());
    for wave in WAVES {
        let name = format!("{POOL} connections replaced, {wave} at once");
        let both = [pool(&endpoint, wave, ours()).await, pool(&endpoint, wave, theirs()).await];
        shares(&mut text, &mut figures, &name, both);
    }
    let name = format!("second connections to {SERVERS} servers");
    let both = [many_servers(&endpoint, ours()).await, many_servers(&endpoint, theirs()).await];
    shares(&mut text, &mut figures, &name, both);
    drop(server);
    (text, figures)
}

fn shares(text: &mut String, figures: &mut Figures, name: &str, [ours, theirs]: [f64; 2]) {
    let _ = writeln!(text, "| {name} | {:.0} % | {:.0} % |", 100.0 * ours, 100.0 * theirs);
    figures.push((format!("tls/{name}/millpond"), ours));
    figures.push((format!("tls/{name}/tokio-rustls"), theirs));
}

/// Handshakes of one kind.
struct Row {
    times: Vec<Duration>,
    resumed: f64,
}

impl Row {
    async fn measure(endpoint: &str, config: TlsConfig) -> Self {
        let connector = config.build().unwrap();
        let (mut times, mut resumed) = (Vec::new(), 0);
        for nth in 0..WARM_UP + HANDSHAKES {
            let mut stream = connector.connect(NAME, connect(endpoint).await).await.unwrap();
            let time = stream.handshake_time();
            let said = answer(&mut stream).await;
            if nth >= WARM_UP {
                times.push(time);
                resumed += usize::from(is_resumed(&said));
            }
        }
        times.sort_unstable();
        Self { times, resumed: resumed as f64 / HANDSHAKES as f64 }
    }

    /// Milliseconds.
    fn at(&self, quantile: f64) -> f64 {
        self.times[(self.times.len() as f64 * quantile) as usize].as_secs_f64() * 1000.0
    }
}

/// The resumed share of a pool's connections, which are all made and then all replaced, some at once.
async fn pool(endpoint: &str, at_once: usize, client: Client) -> f64 {
    waves(endpoint, at_once, &client).await;
    waves(endpoint, at_once, &client).await as f64 / POOL as f64
}

/// Makes the connections of a pool; returns how many the server resumed.
async fn waves(endpoint: &str, at_once: usize, client: &Client) -> usize {
    let mut resumed = 0;
    for made in (0..POOL).step_by(at_once) {
        let mut streams = Vec::new();
        for _ in made..POOL.min(made + at_once) {
            streams.push(connect(endpoint).await);
        }
        let mut wave = JoinSet::new();
        for stream in streams {
            let client = client.clone();
            wave.spawn(async move { client.resumes(NAME, stream).await });
        }
        resumed += wave.join_all().await.into_iter().filter(|&resumed| resumed).count();
    }
    resumed
}

/// The resumed share of second connections, when each of many servers has had a first one.
async fn many_servers(endpoint: &str, client: Client) -> f64 {
    let mut resumed = 0;
    for round in 0..2 {
        for number in 0..SERVERS {
            let name = format!("n{number}.{NAME}");
            resumed += usize::from(client.resumes(&name, connect(endpoint).await).await && round > 0);
        }
    }
    resumed as f64 / SERVERS as f64
}

#[derive(Clone)]
enum Client {
    Ours(TlsConnector),
    Theirs(tokio_rustls::TlsConnector),
}

impl Client {
    /// As its documentation shows.
    fn theirs(root: &str) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(root.as_bytes()).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self::Theirs(Arc::new(config).into())
    }

    /// Makes a connection and reads an answer, and with it the tickets. Returns whether the server resumed a session.
    async fn resumes(&self, name: &str, stream: Stream) -> bool {
        let said = match self {
            Self::Ours(connector) => answer(&mut connector.connect(name, stream).await.unwrap()).await,
            Self::Theirs(connector) => {
                let name = ServerName::try_from(name.to_owned()).unwrap();
                answer(&mut connector.connect(name, stream).await.unwrap()).await
            }
        };
        is_resumed(&said)
    }
}

/// Whether nginx or `s_server` says that it resumed a session.
fn is_resumed(said: &str) -> bool {
    said.contains("[r]") || said.contains("Reused, ")
}

async fn answer(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> String {
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    stream.flush().await.unwrap();
    let mut answer = Vec::new();
    // `s_server` sends no end of TLS.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}
