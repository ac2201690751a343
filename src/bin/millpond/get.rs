//! `millpond get`: requests through the pool of connections, to try an upstream.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::BodyExt;
use indicatif::{ProgressBar, ProgressStyle};
use millpond::connection::https::{
    ConnectTimings, HttpVersion, HttpsConfig, HttpsConnection, HttpsConnectionManager, HttpsError, Protocol,
    RequestBody,
};
use millpond::connection::{Pool, RunError, State};
use millpond::net::Dial;
use millpond::net::tls::TlsConfig;
use tokio::signal::ctrl_c;
use tokio::task::JoinSet;

use crate::chain::Chain;
use crate::terminal::{note, output};
use crate::values::{positive, positive_seconds};

pub(crate) const EXAMPLES: &str = "\
Examples:
  millpond get https://example.com
      One request: which protocol and address, how long each phase took, and the state of the pool.
  millpond get https://localhost:8443 --ca ca.pem --http1
      A server with a certificate of your own authority, over HTTP/1.1.
  millpond get http://10.0.0.7:8080/health --repeat 10000 --concurrency 50
      A table of latencies, statuses and errors. Ctrl-C ends it early, with the table of what was done.

Bodies are read and counted, and not printed: curl prints them. Each request has a connection of the pool to itself, over \
HTTP/2 too, so --concurrency is also the most connections per server.

Exit codes: 0 all requests were answered, with whatever status; 1 a request failed; 2 wrong usage.";

/// The most kinds of errors in the table.
const MAX_ERRORS: usize = 5;

#[derive(Args, Clone, Debug)]
pub(crate) struct GetArgs {
    /// What to request: http:// or https://. Several take turns
    #[arg(value_name = "URL", required = true, value_parser = url)]
    urls: Vec<Uri>,

    /// How many requests to send, all URLs together. 1 per URL is the default, and shows each request
    #[arg(long, value_name = "N", value_parser = positive)]
    repeat: Option<usize>,

    /// How many requests are under way at once, each on a connection of its own
    #[arg(long, value_name = "C", default_value = "1", value_parser = positive, requires = "repeat")]
    concurrency: usize,

    /// Speaks HTTP/1.1 only
    #[arg(long, conflicts_with = "http2")]
    http1: bool,

    /// Speaks HTTP/2 only, by prior knowledge where there is no TLS
    #[arg(long)]
    http2: bool,

    /// The method
    #[arg(long, value_name = "METHOD", default_value = "GET", value_parser = method)]
    method: Method,

    /// A header of each request, as in 'accept: text/html'. May be repeated
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(HeaderName, HeaderValue)>,

    /// A file with certificates of authorities to trust, beside those of the system
    #[arg(long, value_name = "PEM")]
    ca: Option<PathBuf>,

    /// The time that a request may wait for a connection, and then for its answer
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = positive_seconds)]
    timeout: Duration,
}

fn url(text: &str) -> Result<Uri, String> {
    let text = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    let uri =
        text.parse::<Uri>().map_err(|error| format!("{error}; write it as in https://example.com/path"))?;
    match uri.scheme_str() {
        Some("http" | "https") => Ok(uri),
        _ => Err("write http:// or https://".to_owned()),
    }
}

fn method(text: &str) -> Result<Method, String> {
    text.parse().map_err(|_| "write a method, as in GET or HEAD".to_owned())
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("write a name, a colon and a value")?;
    let name = name.trim().parse().map_err(|_| format!("{name:?} is no name of a header"))?;
    let value = value.trim().parse().map_err(|_| format!("{value:?} is no value of a header"))?;
    Ok((name, value))
}

pub(crate) fn run(args: &GetArgs) -> Result<ExitCode, Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(get(args))
}

type HttpsPool = Pool<HttpsConnectionManager>;

/// A URL, and the pool of its server.
struct Target {
    uri: Uri,
    pool: HttpsPool,
}

async fn get(args: &GetArgs) -> Result<ExitCode, Box<dyn Error>> {
    let targets = Arc::new(targets(args)?);
    let Some(repeat) = args.repeat else {
        let mut failed = false;
        for target in &*targets {
            let asked = async {
                connect(target).await?;
                answer(target, args).await
            };
            match asked.await {
                Ok(answer) => {
                    if !output(&format!("{}\n{answer}  pool        {}\n", target.uri, target.pool.state()))? {
                        break;
                    }
                }
                Err(error) => {
                    failed = true;
                    note(format!("millpond: {}: {error}", target.uri));
                }
            }
        }
        return Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS });
    };
    for target in &*targets {
        connect(target).await?;
    }
    let started = Instant::now();
    let tally = repeated(&targets, args, repeat).await;
    let states = states(&targets);
    output(&tally.table(started.elapsed(), args.concurrency, &states))?;
    Ok(if tally.errors.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn targets(args: &GetArgs) -> Result<Vec<Target>, Box<dyn Error>> {
    let (version, alpn): (_, &[&str]) = match (args.http1, args.http2) {
        (true, _) => (HttpVersion::Http1, &["http/1.1"]),
        (_, true) => (HttpVersion::Http2, &["h2"]),
        _ => (HttpVersion::Negotiated, &["h2", "http/1.1"]),
    };
    let mut config = HttpsConfig::default().version(version).dial(Dial::default().timeout(args.timeout));
    if args.urls.iter().any(|uri| uri.scheme_str() == Some("https")) {
        let mut tls = TlsConfig::new().alpn(alpn);
        if let Some(file) = &args.ca {
            tls = tls.add_root_file(file);
        }
        // All servers share it, and its sessions.
        config = config.tls(Some(tls.build()?));
    }
    let mut pools: BTreeMap<String, HttpsPool> = BTreeMap::new();
    let mut targets = Vec::new();
    for uri in &args.urls {
        let server = format!(
            "{}://{}",
            uri.scheme_str().unwrap_or("https"),
            uri.authority().map_or("", |authority| authority.as_str())
        );
        let pool = match pools.get(&server) {
            Some(pool) => pool.clone(),
            None => {
                let manager = HttpsConnectionManager::with_config(&server, config.clone())?;
                let most = u32::try_from(args.concurrency)?;
                let pool = Pool::builder().max_size(most).min_idle(0).connection_timeout(args.timeout);
                let pool = pool.build_unchecked(manager);
                pools.entry(server).or_insert(pool).clone()
            }
        };
        targets.push(Target { uri: uri.clone(), pool });
    }
    Ok(targets)
}

/// Why there is no answer.
type Failure = String;

/// What one request brought.
struct Answer {
    status: StatusCode,
    protocol: Protocol,
    address: Option<std::net::SocketAddr>,
    /// Present if the connection is new.
    connect: Option<(ConnectTimings, bool)>,
    wait: Duration,
    first_byte: Duration,
    body: Duration,
    bytes: usize,
}

/// Connects once if the pool has no connection. The pool itself would try again until the timeout, while a user wants to see
/// at once that the server refuses.
async fn connect(target: &Target) -> Result<(), Failure> {
    if target.pool.state().connections == 0 {
        let connection =
            target.pool.dedicated_connection().await.map_err(|error| Chain(&error).to_string())?;
        // It is broken or too many only if the server has closed it by now, and then the get tells.
        let _ = target.pool.add(connection);
    }
    Ok(())
}

async fn answer(target: &Target, args: &GetArgs) -> Result<Answer, Failure> {
    let mut request = Request::builder().method(&args.method).uri(&target.uri);
    for (name, value) in &args.headers {
        request = request.header(name, value);
    }
    let request = request.body(RequestBody::empty()).map_err(|error| error.to_string())?;
    let started = Instant::now();
    let connection = target.pool.get_owned().await.map_err(|error| match error {
        RunError::ConnectFailing(failing) => failing.last_error().to_owned(),
        error => error.to_string(),
    })?;
    let wait = started.elapsed();
    let is_new = connection.requests() == 0;
    let mut answer = Answer {
        status: StatusCode::OK,
        protocol: connection.protocol(),
        address: connection.remote_address(),
        connect: is_new.then(|| (connection.timings(), connection.is_resumed())),
        wait,
        first_byte: Duration::ZERO,
        body: Duration::ZERO,
        bytes: 0,
    };
    let sent = Instant::now();
    let read = async {
        let response = HttpsConnection::send(connection, request).await?;
        answer.first_byte = sent.elapsed();
        answer.status = response.status();
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            answer.bytes += frame?.data_ref().map_or(0, bytes::Bytes::len);
        }
        answer.body = sent.elapsed() - answer.first_byte;
        Ok::<_, HttpsError>(())
    };
    match tokio::time::timeout(args.timeout, read).await {
        Ok(Ok(())) => Ok(answer),
        Ok(Err(error)) => Err(Chain(&error).to_string()),
        Err(_) => Err(format!("no answer within {:?}", args.timeout)),
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = match self.protocol {
            Protocol::Http2 => "HTTP/2",
            _ => "HTTP/1.1",
        };
        write!(f, "  connection  ")?;
        match self.address {
            Some(address) => write!(f, "{address}, {protocol}")?,
            None => write!(f, "{protocol}")?,
        }
        if let Some((timings, is_resumed)) = self.connect {
            match timings.tls {
                Some(_) if is_resumed => writeln!(f, ", TLS resumed")?,
                Some(_) => writeln!(f, ", full TLS handshake")?,
                None => writeln!(f)?,
            }
            write!(
                f,
                "  lookup      {}\n  connect     {}\n",
                Millis(timings.lookup),
                Millis(timings.connect)
            )?;
            if let Some(tls) = timings.tls {
                writeln!(f, "  TLS         {}", Millis(tls))?;
            }
        } else {
            writeln!(f, ", used before")?;
        }
        let (first, body) = (Millis(self.first_byte), Millis(self.body));
        writeln!(f, "  first byte  {first}\n  body        {body}, {} bytes", self.bytes)?;
        writeln!(f, "  status      {}", self.status)
    }
}

struct Millis(Duration);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} ms", self.0.as_secs_f64() * 1_000.0)
    }
}

/// What many requests brought.
#[derive(Default)]
struct Tally {
    /// From the get to the end of the body.
    latencies: Vec<Duration>,
    statuses: BTreeMap<u16, usize>,
    errors: BTreeMap<String, usize>,
    bytes: usize,
    handshakes: usize,
    resumed: usize,
}

async fn repeated(targets: &Arc<Vec<Target>>, args: &GetArgs, repeat: usize) -> Tally {
    // Hidden where stderr is no terminal.
    let bar = ProgressBar::new(repeat as u64);
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {pos}/{len}  {per_sec}  {eta} left") {
        bar.set_style(style);
    }
    let next = Arc::new(AtomicUsize::new(0));
    let (sender, mut answers) = tokio::sync::mpsc::channel(1_024);
    let mut workers = JoinSet::new();
    for _ in 0..args.concurrency.min(repeat) {
        let (targets, next, sender) = (Arc::clone(targets), Arc::clone(&next), sender.clone());
        let args = args.clone();
        workers.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some(target) = targets.get(number % targets.len()).filter(|_| number < repeat) else {
                    return;
                };
                // The other end is gone after Ctrl-C.
                if sender.send(answer(target, &args).await).await.is_err() {
                    return;
                }
            }
        });
    }
    drop(sender);
    let mut tally = Tally::default();
    loop {
        tokio::select! {
            answer = answers.recv() => match answer {
                Some(answer) => tally.count(answer),
                None => break,
            },
            _ = ctrl_c() => break,
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    tally
}

/// The states of the pools, each once.
fn states(targets: &[Target]) -> Vec<(String, State)> {
    let mut states = BTreeMap::new();
    for target in targets {
        let server = target.uri.authority().map_or_else(String::new, ToString::to_string);
        states.insert(server, target.pool.state());
    }
    states.into_iter().collect()
}

impl Tally {
    fn count(&mut self, answer: Result<Answer, Failure>) {
        match answer {
            Ok(answer) => {
                self.latencies.push(answer.wait + answer.first_byte + answer.body);
                *self.statuses.entry(answer.status.as_u16()).or_default() += 1;
                self.bytes += answer.bytes;
                if let Some((timings, is_resumed)) = answer.connect
                    && timings.tls.is_some()
                {
                    self.handshakes += 1;
                    self.resumed += usize::from(is_resumed);
                }
            }
            Err(error) => *self.errors.entry(error).or_default() += 1,
        }
    }

    fn table(&self, took: Duration, concurrency: usize, states: &[(String, State)]) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = self.write_table(&mut text, took, concurrency, states);
        text
    }

    fn write_table(
        &self,
        text: &mut String,
        took: Duration,
        concurrency: usize,
        states: &[(String, State)],
    ) -> fmt::Result {
        let answered = self.latencies.len();
        let per_second = answered as f64 / took.as_secs_f64().max(f64::MIN_POSITIVE);
        writeln!(
            text,
            "{answered} answers in {took:.2?}: {per_second:.0} per second, {concurrency} at once"
        )?;
        let mut latencies = self.latencies.clone();
        latencies.sort_unstable();
        let quantile = |share: f64| {
            let rank = (share * answered as f64).ceil() as usize;
            Millis(latencies.get(rank.max(1) - 1).copied().unwrap_or_default())
        };
        if answered > 0 {
            writeln!(text, "\n  latency   p50        p90        p99        p99.9      max")?;
            write!(text, "         ")?;
            for share in [0.5, 0.9, 0.99, 0.999, 1.0] {
                write!(text, " {:<10}", quantile(share).to_string())?;
            }
            writeln!(text, "\n")?;
            for (status, count) in &self.statuses {
                writeln!(text, "  status {status}  {count}")?;
            }
            writeln!(text, "  bodies      {} bytes", self.bytes)?;
        }
        if self.handshakes > 0 {
            writeln!(text, "  handshakes  {}, of which {} resumed a session", self.handshakes, self.resumed)?;
        }
        for (server, state) in states {
            writeln!(text, "  pool        {server}: {state}")?;
        }
        let mut errors: Vec<_> = self.errors.iter().collect();
        errors.sort_unstable_by_key(|(_, count)| std::cmp::Reverse(**count));
        for (error, count) in errors.iter().take(MAX_ERRORS) {
            writeln!(text, "  failed      {count}: {error}")?;
        }
        if let Some(more) = errors.len().checked_sub(MAX_ERRORS).filter(|more| *more > 0) {
            writeln!(text, "  failed      in {more} other ways")?;
        }
        Ok(())
    }
}
