//! The proxies under test, each in its own process, and their CPU time as the kernel counts it.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use tokio::io::{AsyncWriteExt, copy_bidirectional_with_sizes};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// The proxy under test. All set `TCP_NODELAY` on both sides. The rivals use glibc's malloc, as `millpond proxy` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `millpond proxy`.
    Millpond,
    /// `tokio::io::copy_bidirectional_with_sizes`: two buffers of this size per connection.
    Copy(usize),
    /// One read at a time into a `Vec` of this size, which is freed once its bytes are written: no pool, no limit.
    Fresh(usize),
}

impl Kind {
    pub(crate) const ALL: [Self; 5] = [
        Self::Millpond,
        Self::Copy(8 * KIB),
        Self::Copy(64 * KIB),
        Self::Fresh(8 * KIB),
        Self::Fresh(64 * KIB),
    ];

    pub(crate) fn name(self) -> String {
        match self {
            Self::Millpond => "millpond".to_owned(),
            Self::Copy(size) => format!("copy {} KiB", size / KIB),
            Self::Fresh(size) => format!("Vec per read, {} KiB", size / KIB),
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
        let to = format!("tcp://127.0.0.1:{upstream_port}");
        let mut command = match kind {
            Kind::Millpond => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_millpond"));
                command.args(["proxy", "--listen", "tcp://127.0.0.1:0", "--to", &to]);
                command
            }
            Kind::Copy(_) | Kind::Fresh(_) => {
                let mut command = Command::new(std::env::current_exe().unwrap());
                command.env("RIVAL", kind.name()).env("UPSTREAM", upstream_port.to_string());
                command
            }
        };
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().rsplit(':').next().unwrap().parse().unwrap_or_else(|_| panic!("{line}"));
        Self { child, port }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
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
    let kind = Kind::ALL.into_iter().find(|kind| kind.name() == rival).expect("the name of a kind");
    let upstream: u16 = std::env::var("UPSTREAM").unwrap().parse().unwrap();
    raise_descriptor_limit();
    tokio::runtime::Runtime::new().unwrap().block_on(async move {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("listening on {}", listener.local_addr().unwrap());
        loop {
            let (client, _) = listener.accept().await.unwrap();
            // One task type per kind, so that no connection pays for the state of another kind's future.
            match kind {
                Kind::Copy(size) => drop(tokio::spawn(copied(client, upstream, size))),
                Kind::Fresh(size) => drop(tokio::spawn(in_fresh_vectors(client, upstream, size))),
                Kind::Millpond => unreachable!("it is a program of its own"),
            }
        }
    });
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
}

impl Arguments {
    pub(crate) fn parse() -> Self {
        let mut arguments = Self { number: None, write: false, record: false };
        for argument in std::env::args().skip(1) {
            match argument.as_str() {
                // Cargo's own, for harnesses that also have tests.
                "--bench" => {}
                "--write" => arguments.write = true,
                "--record" => arguments.record = true,
                number => arguments.number = Some(number.parse().expect("a number, --write or --record")),
            }
        }
        arguments
    }
}
