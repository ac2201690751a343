//! A real Redis as the upstream of `millpond proxy`: `redis-benchmark` sees no error, and every value is read as it was
//! written.

mod proxy;

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use proxy::{PATIENCE, Proxy};

const MISSING: &str =
    "is missing, and this test needs it: run tests/run, or apt-get install redis-server redis-tools";

#[test]
fn redis_benchmark_reports_no_error() {
    const REQUESTS: usize = 20_000;
    let redis = Redis::start();
    let proxy = Proxy::start("tcp://127.0.0.1:0", &format!("tcp://{}", redis.address), &[]);
    let (_, port) = proxy.address().rsplit_once(':').unwrap();
    let runs = [("1", "64"), ("1", "4096"), ("16", "64"), ("16", "4096")];
    for (pipeline, size) in runs {
        let output = Command::new("redis-benchmark")
            .args(["-h", "127.0.0.1", "-p", port, "-t", "set,get", "-c", "50", "-r", "1000", "--csv"])
            .args(["-n", &REQUESTS.to_string(), "-P", pipeline, "-d", size])
            .output()
            .unwrap_or_else(|error| panic!("redis-benchmark {MISSING} ({error})"));
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        assert!(output.status.success(), "{}: {said:?}", output.status);
        for word in ["error", "err ", "fail", "warn", "refused", "closed"] {
            assert!(!said.join("\n").to_lowercase().contains(word), "{said:?}");
        }
        for command in ["\"SET\",", "\"GET\","] {
            assert!(said[0].lines().any(|line| line.starts_with(command)), "{said:?}");
        }
    }

    // By the counters of Redis itself, every request arrived and none was refused.
    let mut direct = Client::connect(&redis.address).unwrap();
    let stats = direct.info("commandstats").unwrap();
    for command in ["set", "get"] {
        let calls = field(&stats, &format!("cmdstat_{command}:calls="));
        assert!(calls >= runs.len() * REQUESTS, "{calls} {command}");
    }
    assert_eq!(field(&direct.info("stats").unwrap(), "total_error_replies:"), 0);

    proxy.interrupt();
    proxy.wait();
}

#[test]
fn a_thousand_values_are_read_as_they_were_written() {
    let redis = Redis::start();
    let proxy = Proxy::start("tcp://127.0.0.1:0", &format!("tcp://{}", redis.address), &[]);

    let mut writer = Client::connect(proxy.address()).unwrap();
    for number in 0..1000 {
        writer.send(&[b"SET", key(number).as_bytes(), &value(number)]).unwrap();
        assert_eq!(writer.reply().unwrap(), b"OK");
    }
    for reader in [proxy.address(), &redis.address] {
        let mut reader = Client::connect(reader).unwrap();
        // All requests before the first reply, so that the proxy's buffers hold several replies.
        for number in 0..1000 {
            reader.send(&[b"GET", key(number).as_bytes()]).unwrap();
        }
        for number in 0..1000 {
            assert!(reader.reply().unwrap() == value(number), "value {number} is altered");
        }
    }

    drop(writer);
    proxy.interrupt();
    proxy.wait();
}

fn key(number: usize) -> String {
    format!("millpond:{number}")
}

/// A unique value whose length is near a buffer's size.
fn value(number: usize) -> Vec<u8> {
    const LENGTHS: [usize; 8] = [0, 1, 64, 4096, 8 * 1024 - 20, 8 * 1024, 64 * 1024 - 20, 100_000];
    let length = LENGTHS[number % LENGTHS.len()] + number / LENGTHS.len();
    let pattern = (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
    pattern.into_iter().cycle().take(length).collect()
}

/// A Redis server for one test, on a free port, without persistence.
struct Redis {
    child: Child,
    address: String,
}

impl Redis {
    fn start() -> Self {
        // Another process may take the free port before the server binds it.
        (0..5)
            .find_map(|_| Self::try_start())
            .expect("other processes took five free ports before redis-server bound them")
    }

    fn try_start() -> Option<Self> {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .args(["--dir", env!("CARGO_TARGET_TMPDIR")])
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("redis-server {MISSING} ({error})"));
        let mut redis = Self { child, address: format!("127.0.0.1:{port}") };
        let deadline = Instant::now() + PATIENCE;
        while redis.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "redis-server does not answer");
            // A connection that comes while the server starts may be refused or reset.
            if let Ok(server) = Client::connect(&redis.address).and_then(|mut client| client.info("server")) {
                return (field(&server, "process_id:") == redis.child.id() as usize).then_some(redis);
            }
            thread::sleep(Duration::from_millis(20));
        }
        None
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // It may have exited already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client for the part of RESP that the tests use: <https://redis.io/docs/latest/develop/reference/protocol-spec/>.
struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self(BufReader::new(stream)))
    }

    fn send(&mut self, words: &[&[u8]]) -> io::Result<()> {
        let mut command = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            command.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            command.extend_from_slice(word);
            command.extend_from_slice(b"\r\n");
        }
        self.0.get_mut().write_all(&command)
    }

    /// Reads one reply, which must be a simple or a bulk string.
    fn reply(&mut self) -> io::Result<Vec<u8>> {
        let mut head = String::new();
        if self.0.read_line(&mut head)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match head.trim_end().split_at_checked(1) {
            Some(("+", text)) => Ok(text.as_bytes().to_vec()),
            Some(("$", length)) => {
                let mut bytes = vec![0; length.parse::<usize>().expect("a bulk string") + 2];
                self.0.read_exact(&mut bytes)?;
                assert_eq!(bytes.split_off(bytes.len() - 2), b"\r\n");
                Ok(bytes)
            }
            _ => panic!("Redis replied {head:?}"),
        }
    }

    fn info(&mut self, section: &str) -> io::Result<String> {
        self.send(&[b"INFO", section.as_bytes()])?;
        Ok(String::from_utf8(self.reply()?).unwrap())
    }
}

/// The number after `name` in the text of `INFO`.
fn field(info: &str, name: &str) -> usize {
    let (_, rest) = info.split_once(name).unwrap_or_else(|| panic!("no {name} in {info}"));
    rest.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
}
