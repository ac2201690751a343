//! `millpond get`: requests through the pool of connections, to try an upstream.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::{self, Write};
use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::BodyExt;
use indicatif::{ProgressBar, ProgressStyle};
use millpond::connection::Pool;
use millpond::connection::https::{
    ConnectionInfo, Http2PoolConfig, HttpVersion, HttpsConfig, HttpsError, HttpsErrorKind, Protocol,
    RequestBody, UpstreamServer, Upstreams, UpstreamsConfig,
};
use millpond::net::Dial;
use millpond::net::tls::{TlsConfig, TlsConfigError, TlsConnector, TlsErrorKind};
use tokio::signal::ctrl_c;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::chain::Chain;
use crate::terminal::{note, output};
use crate::values::{positive, positive_seconds};

pub(crate) const EXAMPLES: &str = "\
Examples:
  millpond get https://example.com
      One request: which protocol and address, how long each phase took, and the state of the pools.
  millpond get https://localhost:8443 --ca ca.pem --http1
      A server with a certificate of your own authority, over HTTP/1.1.
  millpond get http://10.0.0.7:8080/health --repeat 10000 --concurrency 50
      A table of latencies, statuses and errors. Ctrl-C ends it early, with the table of what was done.

Bodies are read and counted, and not printed: curl prints them. Over HTTP/1.1 each request has a connection to itself, so \
--concurrency is also the most connections per server. Over HTTP/2 up to 100 requests share one.

Exit codes: 0 all requests were answered, with whatever status, or below 400 with --fail; 1 a request failed; 2 wrong usage; \
130 Ctrl-C ended --repeat.";

/// The exit code after Ctrl-C, as shells have it: 128 and the number of the signal.
const INTERRUPTED: u8 = 130;

/// The most kinds of errors in the table.
const MAX_ERRORS: usize = 5;

#[derive(Args, Clone, Debug)]
pub(crate) struct GetArgs {
    /// What to request: http:// or https://, which is meant without either. Several URLs are requested in turn
    #[arg(value_name = "URL", required = true, value_parser = url)]
    urls: Vec<Uri>,

    /// How many requests to send, all URLs together, for a table of latencies. Default: one per URL, each shown in detail
    #[arg(long, value_name = "N", value_parser = positive)]
    repeat: Option<usize>,

    /// How many requests of --repeat are under way at once
    #[arg(long, value_name = "C", default_value = "1", value_parser = concurrency, requires = "repeat")]
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

    /// Exits with 1 also if a status was 400 or more
    #[arg(long)]
    fail: bool,

    /// How long connecting may take, and then the TLS handshake. The whole answer may take twice as long and 1 s more, and
    /// then its body again
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = positive_seconds)]
    timeout: Duration,
}

const SCHEMES: &str = "write http:// or https://";

fn url(text: &str) -> Result<Uri, String> {
    let is_scheme = |text: &str| ["http", "https"].iter().any(|scheme| text.eq_ignore_ascii_case(scheme));
    let text = match (text.split_once("://"), text.split_once([':', '/'])) {
        (Some((scheme, _)), _) if is_scheme(scheme) => text.to_owned(),
        // Another scheme, or `http:/` and `http/`, which would be a host of that name.
        (Some(_), _) => return Err(SCHEMES.to_owned()),
        (None, Some((start, _))) if is_scheme(start) => return Err(SCHEMES.to_owned()),
        (None, _) => format!("https://{text}"),
    };
    let uri =
        text.parse::<Uri>().map_err(|error| format!("{error}; write it as in https://example.com/path"))?;
    // With a user it is refused later, and not repeated.
    let port = uri.authority().and_then(|authority| authority.as_str().strip_prefix(authority.host()));
    match port.and_then(|port| port.strip_prefix(':')) {
        Some(port) if !port.is_empty() && port.parse::<u16>().is_err() => {
            Err("write a port from 0 to 65535".to_owned())
        }
        _ => Ok(uri),
    }
}

/// A local address has no more ports, and each connection takes one.
fn concurrency(text: &str) -> Result<usize, String> {
    positive(text)
        .ok()
        .filter(|&most| most <= 65_535)
        .ok_or_else(|| "write a number from 1 to 65535".to_owned())
}

fn method(text: &str) -> Result<Method, String> {
    text.parse().map_err(|_| "write a method, as in GET or HEAD".to_owned())
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("write a name, a colon and a value")?;
    let name = name.trim().parse().map_err(|_| format!("{name:?} is not a name of a header"))?;
    let value = value.trim().parse().map_err(|_| format!("{value:?} is no value of a header"))?;
    Ok((name, value))
}

pub(crate) fn run(args: &GetArgs) -> Result<ExitCode, Box<dyn Error>> {
    let tls = match tls(args) {
        Err(error) if error.path().is_some() => {
            note(format!("millpond: --ca: {}", Chain(&error)));
            return Ok(ExitCode::from(2));
        }
        tls => tls?,
    };
    // Here, because clap repeats what it refuses, and the password with it.
    if args.urls.iter().any(|uri| uri.authority().is_some_and(|authority| authority.as_str().contains('@'))) {
        note("millpond: a URL has a user; leave it out, and use --header 'authorization: ...'".to_owned());
        return Ok(ExitCode::from(2));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(get(args, tls));
    // A lookup of a name cannot be cancelled, and must not delay the exit.
    runtime.shutdown_background();
    outcome
}

/// For all servers, which share its sessions, too. `None` if nobody needs it.
fn tls(args: &GetArgs) -> Result<Option<TlsConnector>, TlsConfigError> {
    let tls = match &args.ca {
        Some(file) => TlsConfig::new().add_root_file(file),
        None if args.urls.iter().any(|uri| uri.scheme_str() == Some("https")) => TlsConfig::new(),
        None => return Ok(None),
    };
    tls.build().map(Some)
}

async fn get(args: &GetArgs, tls: Option<TlsConnector>) -> Result<ExitCode, Box<dyn Error>> {
    let upstreams = upstreams(args, tls)?;
    let code = match args.repeat {
        None => u8::from(each(&upstreams, args).await?),
        Some(repeat) => {
            let started = Instant::now();
            let tally = repeated(&upstreams, args, repeat).await?;
            output(&tally.table(started.elapsed(), args.concurrency))?;
            if tally.is_interrupted {
                let answered = tally.latencies.len();
                note(format!("millpond: interrupted: {answered} of {repeat} requests were answered"));
                INTERRUPTED
            } else {
                let has_bad_status = tally.statuses.keys().any(|&status| args.fail && status >= 400);
                u8::from(!tally.errors.is_empty() || has_bad_status)
            }
        }
    };
    let mut servers = upstreams.servers();
    servers.sort_by_key(|server| args.urls.iter().position(|uri| origin(uri) == origin(&server.uri)));
    for server in servers {
        output(&format!("\n{}", state(&server)))?;
    }
    Ok(ExitCode::from(code))
}

/// Requests each URL once. Says whether one failed.
async fn each(upstreams: &Upstreams, args: &GetArgs) -> Result<bool, Box<dyn Error>> {
    let mut has_failed = false;
    for uri in &args.urls {
        match answer(upstreams, uri, args).await {
            Ok(answer) => {
                output(&format!("{uri}\n{answer}"))?;
                has_failed |= args.fail && answer.status.as_u16() >= 400;
            }
            Err(error) => {
                has_failed = true;
                note(format!("millpond: {uri}: {error}"));
            }
        }
    }
    Ok(has_failed)
}

fn upstreams(args: &GetArgs, tls: Option<TlsConnector>) -> Result<Upstreams, Box<dyn Error>> {
    let version = match (args.http1, args.http2) {
        (true, _) => HttpVersion::Http1,
        (_, true) => HttpVersion::Http2,
        _ => HttpVersion::Negotiated,
    };
    let https = HttpsConfig::default().version(version).dial(Dial::default().timeout(args.timeout));
    let https = https.handshake_timeout(args.timeout).tls(tls);
    let most = u32::try_from(args.concurrency)?;
    // Connecting has failed by then, and says why.
    let wait = args.timeout + Duration::from_secs(1);
    let http2 = Http2PoolConfig::default().wait_timeout(wait);
    let http2 = http2.max_connections(args.concurrency).max_waiting(args.concurrency);
    let config = UpstreamsConfig::default().https(https).http2(http2);
    let config = config.http1(move || {
        Pool::builder().max_size(most).min_idle(0).retry_connection(false).connection_timeout(wait)
    });
    Ok(Upstreams::new(config)?)
}

/// Why there is no answer.
enum Failure {
    Https(HttpsError),
    /// What there was not within the time.
    Late(&'static str, Duration),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Https(error) => {
                write!(f, "{}", Chain(error))?;
                match error.kind() {
                    HttpsErrorKind::Tls(TlsErrorKind::UnknownAuthority | TlsErrorKind::BadSignature) => {
                        f.write_str("; --ca FILE trusts another root")
                    }
                    HttpsErrorKind::Tls(TlsErrorKind::NoCommonProtocol) => {
                        f.write_str("; without --http1 and --http2, the server chooses")
                    }
                    HttpsErrorKind::WrongVersion => f.write_str("; --http1 and --http2 choose one"),
                    HttpsErrorKind::Tls(TlsErrorKind::NotTls) => {
                        f.write_str("; write http:// if it speaks no TLS")
                    }
                    _ => Ok(()),
                }
            }
            Self::Late(what, after) => {
                write!(f, "no {what} within {after:?} (twice --timeout, and 1s)")
            }
        }
    }
}

/// What tells servers apart, however their URLs are written.
fn origin(uri: &Uri) -> (Option<&str>, Option<String>, u16) {
    let default_port = if uri.scheme_str() == Some("https") { 443 } else { 80 };
    (uri.scheme_str(), uri.host().map(str::to_ascii_lowercase), uri.port_u16().unwrap_or(default_port))
}

/// The pools of a server, the outcomes of the connects to it, and the requests that failed on a connection, if any did.
fn state(server: &UpstreamServer) -> String {
    let uri = &server.uri;
    let mut text = format!("  server      {uri}\n");
    // Writing to a string does not fail.
    let (http1, http2) = (&server.http1, &server.http2);
    // One without a connection has at most found out that the server speaks HTTP/1.1.
    if let Some(state) = http2.as_ref().filter(|state| state.statistics.connections_created > 0) {
        let _ = writeln!(text, "  HTTP/2      {state}");
    }
    if let Some(state) = http1 {
        let _ = writeln!(text, "  HTTP/1.1    {state}");
    }
    let _ = writeln!(text, "  connects    {}", server.connects);
    if server.errors.total() > 0 {
        let errors = server.errors.to_string().replacen("total=", "failed=", 1);
        let replays = http2.as_ref().map_or(0, |state| state.http2.replays);
        let replayed = if replays > 0 { format!("; {replays} were sent again") } else { String::new() };
        let _ = writeln!(text, "  requests    {errors}{replayed}");
    }
    text
}

/// What one request brought.
struct Answer {
    status: StatusCode,
    connection: ConnectionInfo,
    /// The wait for a connection included, but not the connect.
    first_byte: Duration,
    body: Duration,
    bytes: usize,
    /// From the request to the end of the body.
    latency: Duration,
}

async fn answer(upstreams: &Upstreams, uri: &Uri, args: &GetArgs) -> Result<Answer, Failure> {
    let mut request = Request::new(RequestBody::empty());
    request.method_mut().clone_from(&args.method);
    request.uri_mut().clone_from(uri);
    for (name, value) in &args.headers {
        request.headers_mut().append(name, value.clone());
    }
    let started = Instant::now();
    // Connecting fails before that, and says more.
    let limit = args.timeout * 2 + Duration::from_secs(1);
    let late = |what| move |_| Failure::Late(what, limit);
    let response =
        timeout(limit, upstreams.send(request)).await.map_err(late("answer"))?.map_err(Failure::Https)?;
    let until_head = started.elapsed();
    let connection = response.body().connection();
    let timings = connection.timings;
    let connect = match connection.requests_before {
        0 => timings.lookup + timings.connect + timings.tls.unwrap_or_default(),
        _ => Duration::ZERO,
    };
    let status = response.status();
    let mut body = response.into_body();
    let mut bytes = 0;
    let read = async {
        while let Some(frame) = body.frame().await {
            bytes += frame?.data_ref().map_or(0, bytes::Bytes::len);
        }
        Ok(())
    };
    timeout(limit, read).await.map_err(late("end of the body"))?.map_err(Failure::Https)?;
    let latency = started.elapsed();
    let (first_byte, body) = (until_head.saturating_sub(connect), latency - until_head);
    Ok(Answer { status, connection, first_byte, body, bytes, latency })
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let connection = &self.connection;
        let protocol = match connection.protocol {
            Protocol::Http2 => "HTTP/2",
            _ => "HTTP/1.1",
        };
        write!(f, "  connection  ")?;
        match connection.remote_address {
            Some(address) => write!(f, "{address}, {protocol}")?,
            None => write!(f, "{protocol}")?,
        }
        if connection.requests_before == 0 {
            let timings = &connection.timings;
            match timings.tls {
                Some(_) if connection.is_resumed => writeln!(f, ", TLS resumed")?,
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
    latencies: Vec<Duration>,
    statuses: BTreeMap<u16, usize>,
    errors: BTreeMap<String, usize>,
    bytes: usize,
    /// Ctrl-C ended it early.
    is_interrupted: bool,
}

/// # Errors
///
/// There is no connection to any server at first: then the rest is not sent.
async fn repeated(upstreams: &Upstreams, args: &GetArgs, repeat: usize) -> Result<Tally, String> {
    let mut tally = Tally::default();
    let sent = args.urls.len().min(repeat);
    let mut unreached = 0;
    // One for the whole run: a new one does not hear of a signal that came before it.
    let mut interrupt = pin!(ctrl_c());
    for uri in args.urls.iter().take(repeat) {
        let answer = tokio::select! {
            // The listener must be there before the first request.
            biased;
            _ = &mut interrupt => {
                tally.is_interrupted = true;
                return Ok(tally);
            }
            answer = answer(upstreams, uri, args) => answer,
        };
        unreached += usize::from(matches!(&answer, Err(Failure::Https(error)) if error.phase().is_some()));
        tally.count(answer);
    }
    if unreached == sent {
        let errors = tally.errors.into_keys().collect::<Vec<_>>().join("; ");
        return Err(format!("{errors}; gave up, because no server was reached"));
    }
    // Hidden where stderr is no terminal.
    let bar = ProgressBar::new(repeat as u64);
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {pos}/{len}  {per_sec}  {eta} left") {
        bar.set_style(style);
    }
    bar.inc(sent as u64);
    let next = Arc::new(AtomicUsize::new(sent));
    let (sender, mut answers) = tokio::sync::mpsc::channel(1_024);
    let mut workers = JoinSet::new();
    for _ in 0..args.concurrency.min(repeat - sent) {
        let (upstreams, next, sender) = (upstreams.clone(), Arc::clone(&next), sender.clone());
        let args = args.clone();
        workers.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some(uri) = args.urls.get(number % args.urls.len()).filter(|_| number < repeat) else {
                    return;
                };
                // The other end is gone after Ctrl-C.
                if sender.send(answer(&upstreams, uri, &args).await).await.is_err() {
                    return;
                }
            }
        });
    }
    drop(sender);
    loop {
        tokio::select! {
            answer = answers.recv() => match answer {
                Some(answer) => tally.count(answer),
                None => break,
            },
            _ = &mut interrupt => {
                tally.is_interrupted = true;
                break;
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(tally)
}

impl Tally {
    fn count(&mut self, answer: Result<Answer, Failure>) {
        match answer {
            Ok(answer) => {
                self.latencies.push(answer.latency);
                *self.statuses.entry(answer.status.as_u16()).or_default() += 1;
                self.bytes += answer.bytes;
            }
            Err(error) => *self.errors.entry(error.to_string()).or_default() += 1,
        }
    }

    fn table(&self, took: Duration, concurrency: usize) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = self.write_table(&mut text, took, concurrency);
        text
    }

    fn write_table(&self, text: &mut String, took: Duration, concurrency: usize) -> fmt::Result {
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
