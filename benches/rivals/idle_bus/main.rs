//! User-space memory of an idle connection to a `TcpTransport`.
//!
//! `cargo bench -p rivals --bench idle_bus [-- [CONNECTIONS] [--write] [--record]]`
//!
//! The server is a process of its own, this binary again, and its allocator counts what lives, by size. Its clients
//! are plain sockets of this process: they connect, then each sends a frame of 64 KiB, which a subscriber drops, and
//! then nobody says a word for 10 s. What the kernel keeps for a socket is not counted.
//!
//! | file | idea |
//! |---|---|
//! | `census` | an allocator that knows what lives, by size |
//! | `server` | the process that is measured |
//! | `report`, `../../results/mod.rs` | Markdown |

mod census;
mod report;
#[path = "../../results/mod.rs"]
mod results;
mod server;

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::thread::{self, sleep};
use std::time::Duration;

use census::Census;
use millpond::frame::tlv::{HEADER_LEN, Header};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use server::{PAYLOAD, TYPE_ID};

const USAGE: &str = "\
usage: cargo bench -p rivals --bench idle_bus [-- [CONNECTIONS] [--write] [--record]]

  CONNECTIONS   10000 unless told
  --write       replace the section of benches/results/bus.md
  --record      add the figures to benches/results/runs.tsv";

const REST: Duration = Duration::from_secs(10);
/// Threads that send: no more frames are under way at once.
const SENDERS: usize = 4;

/// What the server has at a moment.
pub(crate) struct Moment {
    pub(crate) name: &'static str,
    /// Kernel's figure, in bytes.
    pub(crate) resident: u64,
    /// Idle in the server's pool, in bytes; a part of what lives.
    pub(crate) pooled: u64,
    pub(crate) census: Census,
}

fn main() -> ExitCode {
    let (mut connections, mut write, mut record) = (10_000, false, false);
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            // Cargo's own, for harnesses that also have tests.
            "--bench" => {}
            "--serve" => {
                server::run();
                return ExitCode::SUCCESS;
            }
            "--write" => write = true,
            "--record" => record = true,
            number => match number.parse() {
                Ok(number) => connections = number,
                Err(_) => {
                    println!("{USAGE}");
                    return ExitCode::from(2);
                }
            },
        }
    }
    match measure(connections, write, record) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("idle_bus: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(connections: usize, write: bool, record: bool) -> io::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    let mut server = Server::start()?;
    let mut moments = vec![server.ask("empty", 0, 0, false)?];
    let mut streams = Vec::with_capacity(connections);
    for _ in 0..connections {
        streams.push(TcpStream::connect(server.address)?);
    }
    moments.push(server.ask("connected", connections, 0, false)?);
    eprintln!("{connections} connections");
    send(&mut streams)?;
    moments.push(server.ask("after one frame each", connections, connections, false)?);
    eprintln!("{connections} frames");
    sleep(REST);
    moments.push(server.ask("10 s later", connections, connections, false)?);
    // What it held for these connections must serve as many again.
    send(&mut streams)?;
    server.ask("", connections, 2 * connections, false)?;
    sleep(REST);
    moments.push(server.ask("after another, and 10 s", connections, 2 * connections, false)?);
    moments.push(server.ask("and `malloc_trim`", connections, 2 * connections, true)?);
    drop(streams);
    moments.push(server.ask("all closed", 0, 0, true)?);
    let text = report::section_text(connections, &moments);
    println!("{text}");
    if write {
        results::replace("bus", "idle_bus", &format!("\n{text}\n"))?;
    }
    if record {
        results::record(&report::figures(connections, &moments))?;
    }
    Ok(())
}

/// Each stream sends one frame.
fn send(streams: &mut [TcpStream]) -> io::Result<()> {
    let mut frame = Header::new(TYPE_ID, PAYLOAD).map_err(io::Error::other)?.encode().to_vec();
    frame.resize(HEADER_LEN + PAYLOAD, 7);
    let share = streams.len().div_ceil(SENDERS).max(1);
    thread::scope(|scope| {
        let senders: Vec<_> = streams
            .chunks_mut(share)
            .map(|streams| scope.spawn(|| streams.iter_mut().try_for_each(|stream| stream.write_all(&frame))))
            .collect();
        senders.into_iter().try_for_each(|sender| {
            sender.join().unwrap_or_else(|_| Err(io::Error::other("a thread panicked")))
        })
    })
}

/// The server's process; killed when dropped.
struct Server {
    child: Child,
    questions: ChildStdin,
    answers: BufReader<std::process::ChildStdout>,
    address: SocketAddr,
}

impl Server {
    fn start() -> io::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("--serve")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let gone = || io::Error::other("the server's pipes were asked for");
        let questions = child.stdin.take().ok_or_else(gone)?;
        let mut answers = BufReader::new(child.stdout.take().ok_or_else(gone)?);
        let mut address = String::new();
        answers.read_line(&mut address)?;
        let address = address.trim().parse().map_err(io::Error::other)?;
        Ok(Self { child, questions, answers, address })
    }

    /// What it has, once this many connections are open and this many frames were received; and once its allocator was
    /// asked to give back what is free.
    fn ask(&mut self, name: &'static str, open: usize, received: usize, trim: bool) -> io::Result<Moment> {
        writeln!(self.questions, "{open} {received} {}", u8::from(trim))?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        let mut numbers = answer.split_whitespace().map(|number| number.parse().map_err(io::Error::other));
        let mut next = || numbers.next().unwrap_or_else(|| Err(io::Error::other("the server is gone")));
        let (resident, pooled) = (next()?, next()?);
        Ok(Moment { name, resident, pooled, census: Census::read(&answer)? })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
