//! One connection: reads, writes, and one timer for all timeouts.

mod deadlines;

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use self::deadlines::Times;
use super::config::UnknownTypes;
use super::error::{Cause, ConnectionError, ConnectionErrorKind};
use super::hub::Shared;
use super::peer::{Peer, Stop};
use super::role::Role;
use super::topic::Route;
use crate::frame::tlv::{Frame, HEADER_LEN, Header, Tlv, handshake};
use crate::frame::{Assembler, SHARE_ABOVE};
use crate::net::{AsyncStream, FrameReader, HangUp, PushError, ReadFrameError, WriteQueue};

/// Frames delivered before other tasks run.
const FRAMES_PER_POLL: usize = 256;
/// Bytes, and bytes of storage, taken from the peer's queue before some are written.
const WRITE_AHEAD: usize = 256 * 1024;
/// Time for the first byte where a handshake is required, and so the time in which a server refuses a handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(15);
/// Types whose channels are cached: in a stream of few types, frames do not take the lock that all connections share.
const ROUTES: usize = 8;

/// One connection, as a future that reads and writes.
pub(super) struct Connection<'a, S: AsyncStream> {
    shared: &'a Shared,
    peer: &'a Peer,
    role: Role,
    reader: FrameReader<S, Tlv>,
    writes: WriteQueue,
    /// Channels of the first types that arrived: most later frames are of one of them.
    routes: Vec<(u16, Route)>,
    /// The peer has not ended its direction.
    reads: bool,
    /// Something was written since the last flush.
    dirty: bool,
    /// This side ends the connection once everything is written.
    drains: bool,
    /// Our direction is being shut down.
    ending: bool,
    /// Our direction was shut down.
    ended: bool,
    /// A write has failed. What the peer sent before is still received.
    broken: Option<io::Error>,
    /// Something that the peer sent was refused.
    refused: bool,
    first_byte_timeout: Option<Duration>,
    times: Times,
    /// While it waits for memory.
    hang_up: Option<HangUp>,
    received: u64,
    shrink_due: bool,
}

/// What one poll received, and what of it nobody got.
#[derive(Default)]
struct Turn {
    frames: usize,
    /// Bytes of payload.
    bytes: usize,
    unsubscribed: u64,
    skipped: u64,
}

impl<'a, S: AsyncStream> Connection<'a, S> {
    pub(super) fn new(shared: &'a Shared, peer: &'a Peer, stream: S, role: Role) -> Self {
        let config = &shared.config;
        let (mut framing, mut writes) = (Tlv::new(config.max_payload), WriteQueue::new(shared.pool.clone()));
        match (config.schema_digest, role) {
            (Some(digest), Role::Server) => framing = framing.expecting(digest),
            (Some(digest), Role::Client) => {
                let handshake = handshake(digest);
                writes.push_copy(&handshake).unwrap_or_else(|_| writes.push_uncopied(&handshake, None));
            }
            (None, _) => {}
        }
        let demanded = config.schema_digest.map(|_| HANDSHAKE_TIMEOUT);
        let first_byte_timeout = config.first_byte_timeout.or(demanded).filter(|_| role == Role::Server);
        let now = Instant::now();
        let frames = Assembler::new(framing, shared.pool.clone(), config.read_mode);
        Self {
            shared,
            peer,
            role,
            reader: FrameReader::new(stream, frames.with_read_sizes(config.read_sizes.clone())),
            writes,
            routes: Vec::new(),
            reads: true,
            dirty: false,
            drains: false,
            ending: false,
            ended: false,
            broken: None,
            refused: false,
            first_byte_timeout,
            times: Times::new(now),
            hang_up: None,
            received: 0,
            shrink_due: false,
        }
    }

    /// Runs until both directions have ended.
    ///
    /// It borrows the connection: a future that takes it by value would hold it twice, as an argument and as a variable.
    pub(super) async fn run(&mut self) -> Result<(), ConnectionError> {
        let mut timer = pin!(None::<Sleep>);
        let outcome = poll_fn(|cx| {
            let done = match self.poll(cx) {
                Poll::Pending => self.poll_deadline(cx, timer.as_mut()).map(Err),
                done => done,
            };
            let held = self.reader.frames().held_bytes() + self.writes.held_bytes();
            self.peer.note_held(held);
            done
        })
        .await;
        match outcome {
            Err(error) if error.kind() != ConnectionErrorKind::Reset => Err(error),
            _ if self.seems_refused() => Err(ConnectionError(Cause::HandshakeRefused)),
            outcome => outcome,
        }
    }

    /// Whether the server has probably refused the handshake: it ended the connection soon, and without a byte. Servers do
    /// not reply to a handshake, so a client can know no more.
    fn seems_refused(&self) -> bool {
        self.role == Role::Client
            && self.shared.config.schema_digest.is_some()
            && self.received == 0
            && !self.drains
            && self.times.began.elapsed() < HANDSHAKE_TIMEOUT
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ConnectionError>> {
        let (mut stop, mut written) = self.write_or_break(cx);
        self.drains |= stop != Stop::No;
        let read = self.reads;
        let outcome = self.poll_read(cx);
        // Also those before an error.
        let news = self.count_received();
        self.refused |= outcome.as_ref().is_err_and(ConnectionError::is_refusal);
        outcome?;
        if read && !self.reads && self.role == Role::Server {
            // What was published before is still sent. Nothing is queued after that, or this might never end.
            self.peer.refuse_more();
            let (stops, writes) = self.write_or_break(cx);
            (stop, written) = (stops, written + writes);
        }
        match stop {
            Stop::Abort => return Poll::Ready(Err(ConnectionError(Cause::Aborted))),
            Stop::Evict => {
                let (held, after) = (self.peer.held(), self.shared.config.stall_timeout);
                return Poll::Ready(Err(ConnectionError(Cause::Stalled { held, after })));
            }
            Stop::No | Stop::Drain => {}
        }
        if let Some(error) = self.broken.take_if(|_| !self.reads) {
            return Poll::Ready(Err(ConnectionError(Cause::Write(error))));
        }
        let all_written = !self.has_unwritten() && self.broken.is_none();
        self.ending |= all_written && (stop == Stop::Drain || !self.reads);
        if self.ending && !self.ended {
            match Pin::new(self.reader.get_mut()).poll_shutdown(cx) {
                Poll::Pending => {}
                // `NotConnected` means that the peer closed first.
                Poll::Ready(Err(error)) if error.kind() != io::ErrorKind::NotConnected => {
                    return Poll::Ready(Err(ConnectionError(Cause::Write(error))));
                }
                Poll::Ready(_) => self.ended = true,
            }
        }
        self.note_progress(news, written);
        self.ask_for_memory(cx).map_err(ReadFrameError::from)?;
        if self.ended && !self.reads { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn has_unwritten(&self) -> bool {
        !self.writes.is_empty() || self.dirty
    }

    /// [`poll_write`](Self::poll_write). After an error only reading continues.
    fn write_or_break(&mut self, cx: &mut Context<'_>) -> (Stop, usize) {
        self.poll_write(cx).unwrap_or_else(|error| {
            self.broken = Some(error);
            if self.role == Role::Server {
                self.peer.refuse_more();
            }
            self.writes.clear();
            self.dirty = false;
            (Stop::No, 0)
        })
    }

    /// Takes frames from the peer's queue and writes them. Returns whether to stop, and the number of bytes written.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> io::Result<(Stop, usize)> {
        let mut progress = 0;
        loop {
            let (mut frames, mut bytes, mut missed) = (0, 0, 0);
            let (writes, ended) = (&mut self.writes, self.ended);
            let room = WRITE_AHEAD.saturating_sub(writes.len().max(writes.held_bytes()));
            // Once a client's server has ended, its queued frames are for the next connection.
            let sends = self.broken.is_none() && (self.reads || self.role == Role::Server);
            let wanted = match sends {
                true if ended => usize::MAX,
                true => room,
                false => 0,
            };
            let before = Cell::new(0);
            let size = |frame: &Frame| {
                let (len, storage) = (frame.payload.len(), frame.payload.storage_id());
                let costs_storage = len > SHARE_ABOVE && before.replace(storage) != storage;
                HEADER_LEN + if costs_storage { len.max(frame.payload.storage_len()) } else { len }
            };
            let taken = self.peer.poll_take(cx, wanted, size, |frame| {
                let len = HEADER_LEN + frame.payload.len();
                // After our shutdown nothing can be sent: the frame is dropped.
                if !ended && push(writes, frame) {
                    (frames, bytes) = (frames + 1, bytes + len);
                } else {
                    missed += 1;
                }
            });
            self.shared.missed(self.peer, missed);
            if frames > 0 {
                self.shared.counters.sent_frames.add(frames);
                self.shared.counters.sent_bytes.add(bytes as u64);
            }
            let stop = match taken {
                Poll::Ready(stop) => stop,
                Poll::Pending => Stop::No,
            };
            if stop >= Stop::Evict {
                return Ok((stop, progress));
            }
            let before = self.writes.len();
            self.dirty |= before > 0;
            let mut socket = Pin::new(self.reader.get_mut());
            let written = self.writes.poll_write(cx, socket.as_mut());
            progress += before - self.writes.len();
            match written {
                Poll::Ready(written) => written?,
                Poll::Pending => return Ok((stop, progress)),
            }
            if self.dirty && socket.poll_flush(cx)?.is_ready() {
                self.dirty = false;
            }
            if frames == 0 && room > 0 {
                return Ok((stop, progress));
            }
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Result<(), ConnectionError> {
        // Half of a channel, so that prompt subscribers run before it is full.
        let config = &self.shared.config;
        let most_frames = FRAMES_PER_POLL.min(config.channel_capacity / 2).max(1);
        let most_bytes = config.channel_byte_limit() / 2;
        let mut turn = Turn::default();
        let outcome = loop {
            if !self.reads || turn.frames == most_frames || turn.bytes > most_bytes {
                break Ok(());
            }
            match self.reader.poll_next_frame(cx) {
                Poll::Ready(Ok(Some(frame))) => {
                    if let Err(error) = self.deliver(frame, &mut turn) {
                        break Err(error);
                    }
                }
                Poll::Ready(Ok(None)) => self.reads = false,
                Poll::Ready(Err(error)) => break Err(error.into()),
                Poll::Pending => break Ok(()),
            }
        };
        let Turn { frames, bytes, unsubscribed, skipped } = turn;
        let counters = &self.shared.counters;
        if frames > 0 {
            self.peer.received_frames.add(frames as u64);
            counters.received_frames.add(frames as u64);
        }
        if unsubscribed > 0 {
            counters.unsubscribed_frames.add(unsubscribed);
        }
        if skipped > 0 {
            counters.skipped_frames.add(skipped);
        }
        if frames == most_frames || bytes > most_bytes {
            cx.waker().wake_by_ref();
        }
        outcome
    }

    #[inline]
    fn deliver(&mut self, frame: Frame, turn: &mut Turn) -> Result<(), ConnectionError> {
        turn.frames += 1;
        turn.bytes += frame.payload.len();
        let type_id = frame.type_id;
        let has_subscriber = if let Some((_, route)) = self.routes.iter().find(|(known, _)| *known == type_id)
        {
            route.deliver(frame)
        } else if let Some(route) = self.shared.topics.route(type_id) {
            let has_subscriber = route.deliver(frame);
            if self.routes.len() < ROUTES {
                self.routes.push((type_id, route));
            }
            has_subscriber
        } else {
            match self.shared.config.unknown_types_of(self.role) {
                UnknownTypes::Reject => return Err(ConnectionError(Cause::UnknownType(type_id))),
                UnknownTypes::Skip => {
                    turn.skipped += 1;
                    return Ok(());
                }
                UnknownTypes::PassThrough => self.shared.topics.deliver_opaque(frame),
            }
        };
        turn.unsubscribed += u64::from(!has_subscriber);
        Ok(())
    }

    /// Counts the bytes that have arrived since the last call, and returns their number.
    fn count_received(&mut self) -> u64 {
        let received = self.reader.received();
        let news = received - self.received;
        if news > 0 {
            self.received = received;
            self.peer.received_bytes.add(news);
            self.shared.counters.received_bytes.add(news);
        }
        news
    }
}

/// However the connection ends, a peer that lacks bytes, or whose bytes were refused or not awaited, must not see a good end.
impl<S: AsyncStream> Drop for Connection<'_, S> {
    fn drop(&mut self) {
        if self.has_unwritten() || self.refused || self.times.is_partial() {
            self.reader.get_mut().reset_on_close();
        }
        self.peer.note_held(0);
    }
}

/// Queues the frame. If the pool has no memory to copy a small one, its payload is written without a copy. Returns
/// whether the payload's length fits a header; because of `max_payload` it always does.
#[inline]
fn push(writes: &mut WriteQueue, frame: Frame) -> bool {
    match writes.push(&Tlv::default(), frame) {
        Ok(()) => true,
        Err(PushError::Memory { message: Frame { type_id, payload, .. }, .. }) => {
            let header = Header::new(type_id, payload.len());
            header.map(|header| writes.push_uncopied(&header.encode(), Some(payload))).is_ok()
        }
        Err(_) => false,
    }
}
