//! The proxies under test, each in its own process, and their CPU time and memory as the kernel counts them.
#![allow(dead_code, clippy::allow_attributes, reason = "each bench uses its part")]

use std::fs;
use std::future::pending;
use std::io::{self, BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use millpond::net::Listener;
use millpond::relay::{Relay, RelayConfig};
use millpond::{BufferPool, BufferPoolConfig};
use tokio::io::{AsyncWriteExt, copy, copy_bidirectional_with_sizes};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;

/// The proxy under test. All set `TCP_NODELAY` on both sides. The rivals use glibc's malloc, as `millpond proxy` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `millpond proxy`.
    Millpond,
    /// `tokio::io::copy_bidirectional_with_sizes`: two buffers of this size per connection.
    Copy(usize),
    /// One read at a time into a `Vec` of this size, which is freed once its bytes are written: no pool, no limit.
    Fresh(usize),
    /// The relay of the library on a current-thread runtime.
    RelayHere,
    /// `tokio::io::copy_bidirectional` on such a runtime.
    CopyHere,
    /// `tokio::io::copy` in two tasks on such a runtime, one per direction.
    CopiesHere,
    /// haproxy with one thread.
    Haproxy,
}

impl Kind {
    pub(crate) const ALL: [Self; 5] = [
        Self::Millpond,
        Self::Copy(8 * KIB),
        Self::Copy(64 * KIB),
        Self::Fresh(8 * KIB),
        Self::Fresh(64 * KIB),
    ];

    /// With one thread each.
    pub(crate) const ONE_THREAD: [Self; 4] =
        [Self::RelayHere, Self::CopyHere, Self::CopiesHere, Self::Haproxy];

    pub(crate) fn name(self) -> String {
        match self {
            Self::Millpond => "millpond".to_owned(),
            Self::Copy(size) => format!("copy {} KiB", size / KIB),
            Self::Fresh(size) => format!("Vec per read, {} KiB", size / KIB),
            Self::RelayHere => "millpond, one thread".to_owned(),
            Self::CopyHere => "copy_bidirectional, one thread".to_owned(),
            Self::CopiesHere => "two tasks with copy, one thread".to_owned(),
            Self::Haproxy => "haproxy, one thread".to_owned(),
        }
    }
}

const KIB: usize = 1024;

/// A running proxy; killed when dropped.
pub(crate) struct Proxy {
    child: Child,
    pub(crate) port: u16,
}

impl Proxy {
    pub(crate) fn start(kind: Kind, upstream_port: u16) -> Self {
        match kind {
            Kind::Millpond => Self::millpond(upstream_port, &[], Stdio::inherit()),
            Kind::Haproxy => Self::haproxy(upstream_port, 9000, 1),
            Kind::Copy(_) | Kind::Fresh(_) | Kind::RelayHere | Kind::CopyHere | Kind::CopiesHere => {
                let mut command = Command::new(std::env::current_exe().unwrap());
                command.env("RIVAL", kind.name()).env("UPSTREAM", upstream_port.to_string());
                Self::spawn(&mut command)
            }
        }
    }

    /// `millpond proxy` with more options.
    pub(crate) fn millpond(upstream_port: u16, more: &[&str], log: Stdio) -> Self {
        let to = format!("tcp://127.0.0.1:{upstream_port}");
        let mut command = Command::new(env!("CARGO_BIN_EXE_millpond"));
        command.args(["proxy", "--listen", "tcp://127.0.0.1:0", "--to", &to]).args(more).stderr(log);
        Self::spawn(&mut command)
    }

    /// A process whose first line of output ends with the port that it listens on.
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().rsplit(':').next().unwrap().parse().unwrap_or_else(|_| panic!("{line}"));
        Self { child, port }
    }

    /// haproxy with millpond's timeouts, and as long an accept queue as the system allows.
    pub(crate) fn haproxy(upstream_port: u16, max_connections: usize, threads: usize) -> Self {
        // It cannot tell which free port it takes.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let file = std::env::temp_dir().join(format!("millpond-haproxy-{port}.cfg"));
        let config = format!(
            "global\n nbthread {threads}\n maxconn 9000\ndefaults\n mode tcp\n timeout connect 10s\n timeout client 300s\n \
             timeout server 300s\nlisten bench\n maxconn {max_connections}\n backlog 4096\n bind 127.0.0.1:{port}\n \
             server upstream 127.0.0.1:{upstream_port}\n"
        );
        fs::write(&file, config).unwrap();
        let child = Command::new("haproxy").args(["-db", "-q", "-f"]).arg(&file).spawn();
        let child = child.expect("haproxy is needed: apt-get install haproxy");
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            sleep(Duration::from_millis(20));
        }
        let _ = fs::remove_file(file);
        Self { child, port }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The resident bytes now, and their peak since the last call.
    pub(crate) fn resident_and_peak(&self) -> (u64, u64) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
        };
        let sizes = (field("VmRSS:"), field("VmHWM:"));
        fs::write(format!("/proc/{}/clear_refs", self.id()), "5").unwrap();
        sizes
    }

    /// CPU time of all its threads in nanoseconds, as the scheduler counts it.
    pub(crate) fn cpu_ns(&self) -> u64 {
        fs::read_dir(format!("/proc/{}/task", self.id()))
            .unwrap()
            .map(|task| {
                let text = fs::read_to_string(task.unwrap().path().join("schedstat")).unwrap();
                text.split_whitespace().next().unwrap().parse::<u64>().unwrap()
            })
            .sum()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs as a rival and never returns, if this process was started as one.
pub(crate) fn become_rival_if_asked() {
    let Ok(rival) = std::env::var("RIVAL") else { return };
    let mut kinds = Kind::ALL.into_iter().chain(Kind::ONE_THREAD);
    let kind = kinds.find(|kind| kind.name() == rival).expect("the name of a kind");
    let upstream: u16 = std::env::var("UPSTREAM").unwrap().parse().unwrap();
    raise_descriptor_limit();
    let mut runtime = match kind {
        Kind::RelayHere | Kind::CopyHere | Kind::CopiesHere => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    runtime.enable_all().build().unwrap().block_on(async move {
        if kind == Kind::RelayHere {
            return relay(upstream).await;
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("listening on {}", listener.local_addr().unwrap());
        loop {
            let (client, _) = listener.accept().await.unwrap();
            // One task type per kind, so that no connection pays for the state of another kind's future.
            match kind {
                Kind::Copy(size) => drop(tokio::spawn(copied(client, upstream, size))),
                Kind::Fresh(size) => drop(tokio::spawn(in_fresh_vectors(client, upstream, size))),
                Kind::CopyHere => drop(tokio::spawn(copied(client, upstream, 8 * KIB))),
                Kind::CopiesHere => drop(tokio::spawn(copied_by_two(client, upstream))),
                Kind::Millpond | Kind::RelayHere | Kind::Haproxy => {
                    unreachable!("it is no rival of this kind")
                }
            }
        }
    });
}

async fn relay(upstream: u16) {
    let listener = Listener::bind("127.0.0.1:0").await.unwrap();
    println!("listening on {}", listener.local_endpoint());
    let relay = Relay::new(BufferPool::new(BufferPoolConfig::proxy()), RelayConfig::default());
    relay.serve(listener, &*format!("127.0.0.1:{upstream}"), pending()).await;
}

async fn copied_by_two(client: TcpStream, upstream: u16) -> io::Result<()> {
    let upstream = connect(&client, upstream).await?;
    let ((mut from_client, mut to_client), (mut from_upstream, mut to_upstream)) =
        (client.into_split(), upstream.into_split());
    tokio::spawn(async move { copy(&mut from_client, &mut to_upstream).await });
    copy(&mut from_upstream, &mut to_client).await?;
    Ok(())
}

async fn copied(mut client: TcpStream, upstream: u16, size: usize) -> io::Result<()> {
    let mut upstream = connect(&client, upstream).await?;
    copy_bidirectional_with_sizes(&mut client, &mut upstream, size, size).await?;
    Ok(())
}

async fn in_fresh_vectors(mut client: TcpStream, upstream: u16, size: usize) -> io::Result<()> {
    let mut upstream = connect(&client, upstream).await?;
    let (from_client, to_client) = client.split();
    let (from_upstream, to_upstream) = upstream.split();
    tokio::try_join!(one_way(from_client, to_upstream, size), one_way(from_upstream, to_client, size))?;
    Ok(())
}

async fn one_way(from: ReadHalf<'_>, mut to: WriteHalf<'_>, size: usize) -> io::Result<()> {
    loop {
        from.readable().await?;
        let mut bytes = Vec::with_capacity(size);
        match from.try_read_buf(&mut bytes) {
            Ok(0) => return to.shutdown().await,
            Ok(_) => to.write_all(&bytes).await?,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

async fn connect(client: &TcpStream, upstream: u16) -> io::Result<TcpStream> {
    let upstream = TcpStream::connect(("127.0.0.1", upstream)).await?;
    client.set_nodelay(true)?;
    upstream.set_nodelay(true)?;
    Ok(upstream)
}

pub(crate) fn raise_descriptor_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
}

/// What the command line of a bench says: a number, and what to do with the result.
pub(crate) struct Arguments {
    pub(crate) number: Option<usize>,
    /// Replace the section of the page.
    pub(crate) write: bool,
    /// Add the figures to those of earlier runs.
    pub(crate) record: bool,
    /// Measure only what has one thread.
    pub(crate) one_thread: bool,
}

impl Arguments {
    pub(crate) fn parse() -> Self {
        let mut arguments = Self { number: None, write: false, record: false, one_thread: false };
        for argument in std::env::args().skip(1) {
            match argument.as_str() {
                // Cargo's own, for harnesses that also have tests.
                "--bench" => {}
                "--write" => arguments.write = true,
                "--record" => arguments.record = true,
                "--one-thread" => arguments.one_thread = true,
                number => arguments.number = Some(number.parse().expect("a number, --write or --record")),
            }
        }
        arguments
    }
}
