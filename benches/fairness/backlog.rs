//! Many clients at once: how long each takes until it is connected, and until it has its answer.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::peers::Ask;

/// A lost SYN is repeated after 1 s.
pub(crate) const LATE: Duration = Duration::from_millis(900);
const PATIENCE: Duration = Duration::from_secs(20);

/// Seconds of all clients that were served: from its own start until it was connected, and from the common start until it
/// had its answer.
#[derive(Debug, Default)]
pub(crate) struct Rush {
    pub(crate) connected: Vec<f64>,
    pub(crate) answered: Vec<f64>,
    pub(crate) failures: usize,
}

impl Rush {
    pub(crate) fn late(&self) -> usize {
        self.failures + self.connected.iter().filter(|&&seconds| seconds > LATE.as_secs_f64()).count()
    }

    pub(crate) fn slowest(values: &[f64]) -> f64 {
        values.iter().copied().fold(0.0, f64::max)
    }
}

/// Each client sends a byte, waits for its echo, and leaves after `stay`.
pub(crate) async fn rush(address: SocketAddr, clients: usize, stay: Duration) -> Rush {
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..clients {
        tasks.spawn(timeout(PATIENCE, client(address, start, stay)));
    }
    let mut rush = Rush::default();
    for outcome in tasks.join_all().await {
        match outcome {
            Ok(Ok((connected, answered))) => {
                rush.connected.push(connected.as_secs_f64());
                rush.answered.push(answered.as_secs_f64());
            }
            _ => rush.failures += 1,
        }
    }
    rush
}

async fn client(address: SocketAddr, start: Instant, stay: Duration) -> io::Result<(Duration, Duration)> {
    let called = Instant::now();
    let mut stream = TcpStream::connect(address).await?;
    let connected = called.elapsed();
    stream.write_all(&Ask::Echo.encode()).await?;
    stream.write_all(b"x").await?;
    stream.read_exact(&mut [0]).await?;
    let answered = start.elapsed();
    sleep(stay).await;
    Ok((connected, answered))
}
