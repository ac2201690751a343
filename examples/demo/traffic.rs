//! Both ends of the demo: a load generator that checks every byte of the replies, and an echo server.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use hdrhistogram::Histogram;
use millpond::frame::tlv::Frame;
use millpond::net::{Endpoint, Listener, Stream, read_frame_pooled, write_frame};
use millpond::{BufferPool, PooledBuffer};
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::time::Duration;

/// Messages that a connection sends before it waits for their echoes.
pub(crate) const WINDOW: usize = 16;
/// Sizes of payloads in bytes, used in turn: mostly small, as messages usually are, and some that fill a buffer.
pub(crate) const SIZES: [usize; 8] = [64, 256, 64, 1024, 64, 4096, 256, 16 * 1024];
/// Bytes of the pattern that payloads are cut from: long enough that successive payloads differ.
const PATTERN_LEN: usize = 32 * 1024;
/// Read buffer of each socket, so that one system call reads a header with its payload, or several frames.
const READ_AHEAD: usize = 64 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The range of latencies in ns, 1 ns to 1 min, and their significant digits.
const LATENCY_NS: (u64, u64, u8) = (1, 60_000_000_000, 3);

/// Counters of all connections, read while they run.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    pub(crate) sent: AtomicU64,
    pub(crate) received: AtomicU64,
    pub(crate) altered: AtomicU64,
    pub(crate) bytes: AtomicU64,
}

/// Sends messages and checks their echoes until `until`. Returns the latencies of messages sent after `measure_from`.
pub(crate) async fn generate(
    proxy: Endpoint,
    pool: BufferPool,
    progress: &Progress,
    (measure_from, until): (Instant, Instant),
) -> Result<Histogram<u64>, Box<dyn std::error::Error + Send + Sync>> {
    let mut latencies = latencies()?;
    let pattern = pattern();
    let mut stream = BufReader::with_capacity(READ_AHEAD, Stream::connect(&proxy, CONNECT_TIMEOUT).await?);
    let mut sent_at = [Instant::now(); WINDOW];
    let mut next = 0_u64;
    while Instant::now() < until {
        for (number, sent_at) in (next..).zip(&mut sent_at) {
            let payload = payload(number, &pattern, &pool);
            *sent_at = Instant::now();
            progress.sent.fetch_add(1, Ordering::Relaxed);
            write_frame(&mut stream, type_of(number), &payload).await?;
        }
        let mut bytes = 0;
        for (number, sent_at) in (next..).zip(&sent_at) {
            let frame =
                read_frame_pooled(&mut stream, &pool).await?.ok_or("the proxy closed the connection")?;
            if *sent_at >= measure_from {
                latencies.saturating_record(u64::try_from(sent_at.elapsed().as_nanos()).unwrap_or(u64::MAX));
            }
            if !is_intact(&frame, number, &pattern) {
                progress.altered.fetch_add(1, Ordering::Relaxed);
            }
            bytes += frame.payload.len() as u64;
        }
        next += WINDOW as u64;
        progress.received.fetch_add(WINDOW as u64, Ordering::Relaxed);
        progress.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
    stream.shutdown().await?;
    match read_frame_pooled(&mut stream, &pool).await? {
        None => Ok(latencies),
        Some(_) => Err("received a message that was never sent".into()),
    }
}

/// Echoes every frame, forever.
pub(crate) async fn echo(listener: Listener, pool: BufferPool) {
    loop {
        let Ok(stream) = listener.accept().await else { continue };
        let pool = pool.clone();
        tokio::spawn(async move {
            let mut stream = BufReader::with_capacity(READ_AHEAD, stream);
            // The generator notices every failure here.
            while let Ok(Some(frame)) = read_frame_pooled(&mut stream, &pool).await {
                if write_frame(&mut stream, frame.type_id, &frame.payload).await.is_err() {
                    break;
                }
            }
        });
    }
}

pub(crate) fn latencies() -> Result<Histogram<u64>, hdrhistogram::CreationError> {
    let (low, high, digits) = LATENCY_NS;
    Histogram::new_with_bounds(low, high, digits)
}

pub(crate) fn pattern() -> Vec<u8> {
    (0..PATTERN_LEN as u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn payload(number: u64, pattern: &[u8], pool: &BufferPool) -> PooledBuffer {
    let filling = filling(number, pattern);
    let mut payload = pool.acquire(8 + filling.len());
    payload.extend_from_slice(&number.to_le_bytes());
    payload.extend_from_slice(filling);
    payload
}

fn is_intact(frame: &Frame, number: u64, pattern: &[u8]) -> bool {
    frame.type_id == type_of(number)
        && frame.payload.split_first_chunk() == Some((&number.to_le_bytes(), filling(number, pattern)))
}

/// The bytes after the number: a different part of the pattern for each message.
fn filling(number: u64, pattern: &[u8]) -> &[u8] {
    let number = number as usize;
    let len = SIZES[number % SIZES.len()] - 8;
    let start = number % (pattern.len() - len);
    &pattern[start..start + len]
}

fn type_of(number: u64) -> u16 {
    1000 + (number % 1000) as u16
}
