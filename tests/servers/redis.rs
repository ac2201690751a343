//! Redis, without persistence.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{MISSING, PATIENCE, on_a_free_port};

pub(crate) struct Redis {
    child: Child,
    pub(crate) address: String,
}

impl Redis {
    /// Returns when the server answers.
    pub(crate) fn start() -> Self {
        on_a_free_port(|port| {
            let address = format!("127.0.0.1:{port}");
            Some(Self { child: run(&address)?, address })
        })
    }

    /// For `redis::Client`.
    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// It keeps its connections, and the kernel accepts more, but it does not answer.
    pub(crate) fn stall(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// After `stall`.
    pub(crate) fn go_on(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    /// As a crash does. The kernel closes its connections.
    pub(crate) fn kill(&mut self) {
        // It may have exited already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// After `kill`, on the same port.
    pub(crate) fn start_again(&mut self) {
        self.child = run(&self.address).expect("redis-server starts again");
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The server, when it answers. None if it ended, as it does where the port is taken.
fn run(address: &str) -> Option<Child> {
    let (host, port) = address.split_once(':').unwrap();
    let mut child = Command::new("redis-server")
        .args(["--port", port, "--bind", host, "--save", "", "--appendonly", "no"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("redis-server {MISSING} ({error})"));
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "redis-server does not answer");
        // A connection that comes while the server starts may be refused or reset.
        if let Ok(server) = Client::connect(address).and_then(|mut client| client.info("server")) {
            if field(&server, "process_id:") == child.id() as usize {
                return Some(child);
            }
            // Another process took the port, and ours is about to end.
            let _ = child.kill();
            child.wait().unwrap();
            return None;
        }
        thread::sleep(Duration::from_millis(20));
    }
    None
}

/// A client for the part of RESP that the tests use: <https://redis.io/docs/latest/develop/reference/protocol-spec/>.
pub(crate) struct Client(BufReader<TcpStream>);

impl Client {
    pub(crate) fn connect(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self(BufReader::new(stream)))
    }

    pub(crate) fn send(&mut self, words: &[&[u8]]) -> io::Result<()> {
        let mut command = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            command.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            command.extend_from_slice(word);
            command.extend_from_slice(b"\r\n");
        }
        self.0.get_mut().write_all(&command)
    }

    /// Reads one reply, which must be a simple or a bulk string, or a number.
    pub(crate) fn reply(&mut self) -> io::Result<Vec<u8>> {
        let mut head = String::new();
        if self.0.read_line(&mut head)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match head.trim_end().split_at_checked(1) {
            Some(("+" | ":", text)) => Ok(text.as_bytes().to_vec()),
            Some(("$", length)) => {
                let mut bytes = vec![0; length.parse::<usize>().expect("a bulk string") + 2];
                self.0.read_exact(&mut bytes)?;
                assert_eq!(bytes.split_off(bytes.len() - 2), b"\r\n");
                Ok(bytes)
            }
            _ => panic!("Redis replied {head:?}"),
        }
    }

    /// Sends a command and reads its reply as text.
    pub(crate) fn ask(&mut self, command: &str) -> io::Result<String> {
        let words: Vec<&[u8]> = command.split(' ').map(str::as_bytes).collect();
        self.send(&words)?;
        Ok(String::from_utf8(self.reply()?).unwrap())
    }

    pub(crate) fn info(&mut self, section: &str) -> io::Result<String> {
        self.ask(&format!("INFO {section}"))
    }
}

/// The number after `name` in the text of `INFO`.
pub(crate) fn field(info: &str, name: &str) -> usize {
    let (_, rest) = info.split_once(name).unwrap_or_else(|| panic!("no {name} in {info}"));
    rest.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
}
