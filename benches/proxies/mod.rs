//! The proxies under test, each in its own process, and their CPU time as the kernel counts it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use tokio::io::{copy_bidirectional, copy_bidirectional_with_sizes};
use tokio::net::{TcpListener, TcpStream};

/// The proxy under test. The rivals use tokio's copy functions, with `TCP_NODELAY` on both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `millpond proxy`.
    Millpond,
    /// `tokio::io::copy_bidirectional`: two buffers of 8 KiB per connection.
    Copy8K,
    /// `tokio::io::copy_bidirectional_with_sizes`: two buffers of 64 KiB per connection.
    Copy64K,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Millpond, Self::Copy8K, Self::Copy64K];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Millpond => "millpond",
            Self::Copy8K => "copy 8 KiB",
            Self::Copy64K => "copy 64 KiB",
        }
    }
}

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
            Kind::Copy8K | Kind::Copy64K => {
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
    let large = rival == Kind::Copy64K.name();
    let upstream: u16 = std::env::var("UPSTREAM").unwrap().parse().unwrap();
    raise_descriptor_limit();
    tokio::runtime::Runtime::new().unwrap().block_on(async move {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("listening on {}", listener.local_addr().unwrap());
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let address = SocketAddr::from(([127, 0, 0, 1], upstream));
                let mut upstream = TcpStream::connect(address).await?;
                client.set_nodelay(true)?;
                upstream.set_nodelay(true)?;
                if large {
                    copy_bidirectional_with_sizes(&mut client, &mut upstream, 65_536, 65_536).await
                } else {
                    copy_bidirectional(&mut client, &mut upstream).await
                }
            });
        }
    });
}

pub(crate) fn raise_descriptor_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
}
