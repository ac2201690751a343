//! Peers that others should not notice. All leave when the crowd is dropped.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use millpond::frame::tlv::Header;

use crate::peers::{Ask, FOR_EVER, connect};
use crate::probe::{PATIENCE, REQUEST};

const MIB: usize = 1024 * 1024;
/// Of a reader that takes nothing, as small as the kernel allows.
const SMALL: usize = 4096;
/// What a dripping reader takes at once, and how often.
const SIP: usize = 30_000;
const SIP_EVERY: Duration = Duration::from_secs(8);
/// The longest payload of the bus.
const LONGEST: usize = 16 * MIB;
const HALF_SENT: usize = 4 * MIB;
const TAKEN_WITHIN: Duration = Duration::from_millis(200);
/// Frames of 1 MiB per second.
const FLOOD: u32 = 100;
/// Bytes per second of a slow sender, in steps.
const SLOW: usize = MIB;
const STEPS: u32 = 20;

/// What a peer of a proxy or of a hub does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Habit {
    /// Asks for an endless answer and reads nothing of it.
    Stalled,
    /// Asks for an endless answer, and takes 30 KB of it every 8 s.
    Dripping,
    /// Sends half a request.
    HalfSent,
    /// Sends to an upstream that does not read.
    Unread,
    /// Sends 4 MiB of a frame of 16 MiB.
    HalfFrame,
    /// Sends a frame of 16 MiB at 1 MiB/s, and connects again.
    SlowFrame,
    /// One peer sends frames of 1 MiB, of that many types in turn.
    Flood { first_type: u16, types: u16 },
}

pub(crate) struct Crowd {
    /// Those that do nothing more.
    silent: Vec<TcpStream>,
    stop: Arc<AtomicBool>,
    busy: Option<JoinHandle<()>>,
}

impl Crowd {
    pub(crate) fn gather(address: SocketAddr, habit: Habit, count: usize) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut streams = (0..count).map(|_| arrive(address, habit)).collect::<io::Result<Vec<_>>>()?;
        match habit {
            Habit::Unread => fill(&streams, LONGEST),
            Habit::HalfFrame => fill(&streams, HALF_SENT),
            _ => {}
        }
        let busy: Option<Box<dyn FnOnce() + Send>> = match habit {
            Habit::Dripping => {
                let (streams, stop) = (std::mem::take(&mut streams), Arc::clone(&stop));
                Some(Box::new(move || drip(&streams, &stop)))
            }
            Habit::SlowFrame => {
                let (streams, stop) = (std::mem::take(&mut streams), Arc::clone(&stop));
                Some(Box::new(move || send_slowly(streams, address, &stop)))
            }
            Habit::Flood { first_type, types } => {
                let (streams, stop) = (std::mem::take(&mut streams), Arc::clone(&stop));
                Some(Box::new(move || {
                    streams.iter().for_each(|stream| flood(stream, first_type, types, &stop));
                }))
            }
            Habit::Stalled | Habit::HalfSent | Habit::Unread | Habit::HalfFrame => None,
        };
        Ok(Self { silent: streams, stop, busy: busy.map(thread::spawn) })
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.silent.clear();
        // Ordering: Relaxed. The thread is joined, and nothing else is handed over.
        self.stop.store(true, Ordering::Relaxed);
        if let Some(busy) = self.busy.take() {
            // Its panic has been printed.
            let _ = busy.join();
        }
    }
}

fn arrive(address: SocketAddr, habit: Habit) -> io::Result<TcpStream> {
    let small = matches!(habit, Habit::Stalled).then_some(SMALL);
    let mut stream = connect(address, small, PATIENCE)?;
    stream.set_nonblocking(true)?;
    match habit {
        Habit::Stalled | Habit::Dripping => stream.write_all(&Ask::Send(0, FOR_EVER).encode())?,
        Habit::HalfSent => {
            stream.write_all(&Ask::Echo.encode())?;
            stream.write_all(&Header::new(REQUEST, 8).map_err(io::Error::other)?.encode())?;
        }
        Habit::Unread => {
            stream.write_all(&Ask::Ignore(FOR_EVER).encode())?;
        }
        Habit::HalfFrame | Habit::SlowFrame => {
            stream.write_all(&Header::new(REQUEST, LONGEST).map_err(io::Error::other)?.encode())?;
        }
        Habit::Flood { .. } => {}
    }
    Ok(stream)
}

/// Writes `len` bytes to each, or as many as are taken without a pause.
fn fill(streams: &[TcpStream], len: usize) {
    let bytes = [7; 64 * 1024];
    let mut sent = vec![0; streams.len()];
    let mut last = Instant::now();
    while last.elapsed() < TAKEN_WITHIN && sent.iter().any(|&sent| sent < len) {
        for (mut stream, sent) in streams.iter().zip(&mut sent) {
            // Zero if the socket is full or closed.
            let count = stream.write(&bytes[..bytes.len().min(len - *sent)]).unwrap_or(0);
            if count > 0 {
                (*sent, last) = (*sent + count, Instant::now());
            }
        }
    }
}

/// One stream after the other, so that they do not all read at once.
fn drip(streams: &[TcpStream], stop: &AtomicBool) {
    let mut sip = vec![0; SIP];
    let pause = SIP_EVERY / streams.len().max(1) as u32;
    for mut stream in streams.iter().cycle() {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        // Nothing may have arrived.
        let _ = stream.read(&mut sip);
        sleep(pause);
    }
}

fn send_slowly(mut streams: Vec<TcpStream>, address: SocketAddr, stop: &AtomicBool) {
    let step = vec![7; SLOW / STEPS as usize];
    let mut sent = vec![0; streams.len()];
    while !stop.load(Ordering::Relaxed) {
        for (stream, sent) in streams.iter_mut().zip(&mut sent) {
            match stream.write(&step[..step.len().min(LONGEST - *sent)]) {
                Ok(count) => *sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => *sent = LONGEST,
            }
            if *sent >= LONGEST
                && let Ok(next) = arrive(address, Habit::SlowFrame)
            {
                (*stream, *sent) = (next, 0);
            }
        }
        sleep(Duration::from_secs(1) / STEPS);
    }
}

fn flood(stream: &TcpStream, first_type: u16, types: u16, stop: &AtomicBool) {
    let mut stream = stream;
    let mut frame = vec![7; MIB];
    let payload = MIB - millpond::frame::tlv::HEADER_LEN;
    for turn in (0..types).cycle() {
        let header = Header::new(first_type + turn, payload).unwrap().encode();
        frame[..header.len()].copy_from_slice(&header);
        let mut rest = &frame[..];
        while !rest.is_empty() {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            match stream.write(rest) {
                Ok(count) => rest = &rest[count..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(Duration::from_millis(1)),
                // It was closed for its behaviour.
                Err(_) => return,
            }
        }
        sleep(Duration::from_secs(1) / FLOOD);
    }
}
