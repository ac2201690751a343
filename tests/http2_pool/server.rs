//! An HTTP/2 server of node that says what happens to it.

use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, Command, Stdio};

use http::{Request, Response};
use http_body_util::BodyExt;
use millpond::connection::https::{Http2Body, Http2Pool, Http2PoolConfig, HttpsError, RequestBody};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;

use crate::upstream::{PATIENCE, Program};

/// Without TLS. It says `session` and `closed` for connections, `begin PATH` and `end PATH CODE` for streams.
///
/// | path | answer |
/// |---|---|
/// | `/large` | 1 MiB |
/// | `/hold…` | nothing, until `free` is written to its standard input |
/// | `/half` | a head and `grist`; the rest, `mill`, at `free` |
/// | `/own…` | by the test's own `handle(stream, path, session)` |
/// | others | `grist` |
pub(crate) struct Node {
    _program: Program,
    pub(crate) port: u16,
    stdin: ChildStdin,
    lines: UnboundedReceiver<String>,
}

const SCRIPT: &str = "
const http2 = require('http2');
const c = http2.constants;
const server = http2.createServer(OPTIONS);
const held = [];
const large = Buffer.alloc(1024 * 1024, 'g');
let sessions = 0;
let handle = () => {};
OWN
server.on('session', session => {
    session.number = ++sessions;
    console.log('session');
    session.on('error', () => {});
    session.on('close', () => console.log('closed'));
});
server.on('sessionError', () => {});
server.on('stream', (stream, headers) => {
    const path = headers[':path'];
    console.log('begin ' + path);
    stream.on('error', () => {});
    stream.on('close', () => console.log('end ' + path + ' ' + stream.rstCode));
    const answer = end => { if (!stream.destroyed) { if (!stream.headersSent) stream.respond(); stream.end(end); } };
    if (path.startsWith('/own')) return handle(stream, path, stream.session);
    if (path === '/large') return answer(large);
    if (path.startsWith('/hold')) return held.push(() => answer('grist'));
    if (path.startsWith('/half')) {
        stream.respond();
        stream.write('grist');
        return held.push(() => answer('mill'));
    }
    answer('grist');
});
require('readline').createInterface({ input: process.stdin }).on('line', line => {
    if (line === 'free') held.splice(0).forEach(free => free());
}).on('close', () => process.exit());
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
";

impl Node {
    pub(crate) fn start() -> Self {
        Self::with("{}", "")
    }

    /// With options for node's server, and a handler of one's own.
    pub(crate) fn with(options: &str, own: &str) -> Self {
        let script = SCRIPT.replace("OPTIONS", options).replace("OWN", own);
        let mut command = Command::new("node");
        command.args(["-e", &script]).stdout(Stdio::piped()).stdin(Stdio::piped());
        let mut program = Program::start(&mut command);
        let stdin = program.stdin();
        let mut lines = BufReader::new(program.stdout()).lines().map_while(Result::ok);
        let port = lines.next().unwrap().trim().parse().unwrap();
        let (sender, receiver) = unbounded_channel();
        std::thread::spawn(move || lines.try_for_each(|line| sender.send(line)));
        Self { _program: program, port, stdin, lines: receiver }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn pool(&self, config: Http2PoolConfig) -> Http2Pool {
        Http2Pool::new(&self.url(), config).unwrap()
    }

    /// Answers what it holds.
    pub(crate) fn free(&mut self) {
        self.stdin.write_all(b"free\n").unwrap();
    }

    /// Waits until it has said this. What it says before is skipped.
    pub(crate) async fn says(&mut self, expected: &str) {
        self.says_times(expected, 1).await;
    }

    /// Waits until it has said this so often. Returns what else it said meanwhile.
    pub(crate) async fn says_times(&mut self, expected: &str, times: usize) -> Vec<String> {
        let (mut seen, mut others) = (0, Vec::new());
        while seen < times {
            let line = timeout(PATIENCE, self.lines.recv()).await;
            let line = line.unwrap_or_else(|_| panic!("no {expected} among {others:?}")).unwrap();
            if line.starts_with(expected) {
                seen += 1;
            } else {
                others.push(line);
            }
        }
        others
    }

    /// What it has said until now.
    pub(crate) fn said(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.lines.try_recv().ok()).collect()
    }

    pub(crate) fn signal(&self, signal: nix::sys::signal::Signal) {
        self._program.signal(signal);
    }
}

pub(crate) fn get(path: &str) -> Request<RequestBody> {
    Request::get(path).body(RequestBody::empty()).unwrap()
}

/// The body of the response to a request for this path.
pub(crate) async fn fetch(pool: &Http2Pool, path: &str) -> Result<Vec<u8>, HttpsError> {
    read(pool.send(get(path)).await?).await
}

pub(crate) async fn read(response: Response<Http2Body>) -> Result<Vec<u8>, HttpsError> {
    Ok(response.into_body().collect().await?.to_bytes().to_vec())
}

/// Waits until this holds. The pool says so to nobody.
pub(crate) async fn eventually(
    pool: &Http2Pool,
    holds: impl Fn(&millpond::connection::https::Http2State) -> bool,
) {
    let waited = timeout(PATIENCE, async {
        while !holds(&pool.state()) {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    });
    assert!(waited.await.is_ok(), "{:?}", pool.state());
}
