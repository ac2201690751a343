//! Well-behaved clients: how long a small request takes on a new connection, and on one that was there before.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::sleep;
use std::time::{Duration, Instant};

use millpond::frame::tlv::{HEADER_LEN, Header};

use crate::peers::connect;

/// The type of a request's frame. The upstream of a proxy echoes it, and a hub replies with another type.
pub(crate) const REQUEST: u16 = 1;
const PAYLOAD: usize = 8;
/// A request that takes longer has failed, and counts with this time.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// After that many failures nothing more is to be learned.
const FAILURES: usize = 2;

/// Milliseconds of all requests of a kind, and those that failed.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    pub(crate) new: Vec<f64>,
    pub(crate) old: Vec<f64>,
    pub(crate) failures: usize,
}

impl Waits {
    pub(crate) fn extend(&mut self, more: Self) {
        self.new.extend(more.new);
        self.old.extend(more.old);
        self.failures += more.failures;
    }

    /// This quantile of new connections and of the old one, whichever is longer.
    pub(crate) fn worse(&self, at: f64) -> f64 {
        quantile(&self.new, at).max(quantile(&self.old, at))
    }
}

pub(crate) fn quantile(values: &[f64], at: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * at).round() as usize).copied().unwrap_or(f64::NAN)
}

/// Sends requests in turn on a new connection and on its own.
pub(crate) struct Probe {
    address: SocketAddr,
    /// What a connection sends first.
    opener: Vec<u8>,
    old: TcpStream,
    sent: u64,
}

impl Probe {
    pub(crate) fn new(address: SocketAddr, opener: &[u8]) -> io::Result<Self> {
        let old = opened(address, opener)?;
        Ok(Self { address, opener: opener.to_vec(), old, sent: 0 })
    }

    /// Two requests per round, `pause` apart.
    pub(crate) fn run(&mut self, rounds: usize, pause: Duration) -> Waits {
        let mut waits = Waits::default();
        for _ in 0..rounds {
            for new in [true, false] {
                let start = Instant::now();
                let outcome = self.request(new);
                let took = start.elapsed();
                if outcome.is_err() {
                    waits.failures += 1;
                }
                let took = if outcome.is_ok() { took } else { took.max(PATIENCE) };
                let kind = if new { &mut waits.new } else { &mut waits.old };
                kind.push(took.as_secs_f64() * 1e3);
                sleep(pause);
            }
            if waits.failures >= FAILURES {
                break;
            }
        }
        waits
    }

    fn request(&mut self, new: bool) -> io::Result<()> {
        self.sent += 1;
        if new {
            exchange(&mut opened(self.address, &self.opener)?, self.sent)
        } else {
            exchange(&mut self.old, self.sent)
        }
    }
}

fn opened(address: SocketAddr, opener: &[u8]) -> io::Result<TcpStream> {
    let mut stream = connect(address, None, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(opener)?;
    Ok(stream)
}

/// Sends a request, and reads until its answer has arrived: a hub sends the answers of all clients to each.
fn exchange(stream: &mut TcpStream, id: u64) -> io::Result<()> {
    let mut frame = Header::new(REQUEST, PAYLOAD).map_err(io::Error::other)?.encode().to_vec();
    frame.extend(id.to_le_bytes());
    stream.write_all(&frame)?;
    loop {
        stream.read_exact(&mut frame)?;
        if frame[HEADER_LEN..] == id.to_le_bytes() {
            return Ok(());
        }
    }
}
