//! One connection: reads, writes, and one timer for all timeouts.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use super::config::UnknownTypes;
use super::error::{Cause, ConnectionError, ConnectionErrorKind};
use super::hub::Shared;
use super::peer::{Hold, Peer, Stop};
use super::pressure::{ASK_EVERY, TURNOVER};
use super::role::Role;
use super::topic::Route;
use crate::frame::tlv::{Frame, HEADER_LEN, Header, Tlv, handshake};
use crate::frame::{Assembler, SHARE_ABOVE};
use crate::net::{AsyncStream, FrameReader, HangUp, PushError, ReadFrameError, WriteQueue};

/// Frames delivered before other tasks run.
const FRAMES_PER_POLL: usize = 256;
/// Bytes, and bytes of storage, taken from the peer's queue before some are written.
const WRITE_AHEAD: usize = 256 * 1024;
/// After this time without a byte, memory beyond need is freed. This long after a frame began, its buffer shrinks to what
/// has arrived, so that a peer that sends a byte now and then does not hold a large one.
const SHRINK_AFTER: Duration = Duration::from_secs(1);
/// Time for the first byte where a handshake is required, and so the time in which a server refuses a handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(15);
/// Bytes of a frame that extend its timeout by one second.
const SLOWEST_RATE: u32 = 64 * 1024;
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

struct Times {
    began: Instant,
    last_byte: Instant,
    frame: Option<Unfinished>,
    write: Option<Unwritten>,
    /// When it asks again that others release memory.
    ask: Option<Instant>,
}

/// Bytes that wait to be written.
#[derive(Clone, Copy)]
struct Unwritten {
    /// Since when none was written.
    since: Instant,
    stalls_at: Instant,
}

/// A frame of which a part has arrived, or one that waits for memory.
#[derive(Clone, Copy)]
struct Unfinished {
    /// Since when it does not wait for memory, or does.
    since: Instant,
    /// When it times out. `None` means never.
    ends: Option<Instant>,
    stalls_at: Instant,
    /// How long it waited for memory before.
    waited: Duration,
    /// Its offset in the stream.
    start: u64,
    /// It waits for memory, which is not the peer's fault.
    waits_for_memory: bool,
    shrunk: bool,
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
            times: Times { began: now, last_byte: now, frame: None, write: None, ask: None },
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

    fn note_progress(&mut self, news: u64, written: usize) {
        let wrote = written > 0;
        let waits_for_memory = self.reader.is_waiting_for_memory();
        let partial = self.reader.frames().is_partial() || waits_for_memory;
        let waits = self.has_unwritten() || (self.ending && !self.ended);
        if news == 0
            && !wrote
            && waits == self.times.write.is_some()
            && partial == self.times.frame.is_some()
            && self.times.frame.is_none_or(|frame| frame.waits_for_memory == waits_for_memory)
        {
            return;
        }
        let now = Instant::now();
        if news > 0 || wrote {
            self.shrink_due = true;
        }
        // To wait for our own memory is not the peer's silence.
        if news > 0 || wrote || self.times.frame.is_some_and(|frame| frame.waits_for_memory) {
            self.times.last_byte = now;
        }
        // Each frame has its own timeout, and so has the wait for memory.
        let start = self.reader.frames().frame_start();
        let (before, other) = match self.times.frame {
            Some(frame) if frame.start == start => (Some(frame), None),
            other => (None, other),
        };
        if other.is_some_and(|frame| frame.waits_for_memory || frame.waited > Duration::ZERO) {
            self.shared.pressure.note_served(now);
        }
        let waited = before.map_or(Duration::ZERO, |frame| match frame.waits_for_memory {
            true => frame.waited + (now - frame.since),
            false => frame.waited,
        });
        let same = before.filter(|frame| frame.waits_for_memory == waits_for_memory);
        let ends = now.checked_add(self.shared.config.frame_timeout);
        // What arrives earns time, but the time left never exceeds the timeout: a peer that stops is closed, no matter
        // how much it sent before.
        let earned = Duration::from_secs(news) / SLOWEST_RATE;
        let held = self.reader.frames().held_bytes();
        let same = same.map(|frame| Unfinished {
            ends: frame.ends.map(|at| at.checked_add(earned).into_iter().chain(ends).min().unwrap_or(at)),
            stalls_at: self.stalls_at(now, Some(frame.stalls_at), news, held),
            ..frame
        });
        let stalls_at = self.stalls_at(now, None, 0, 0);
        let new = Unfinished { since: now, ends, stalls_at, waited, start, waits_for_memory, shrunk: false };
        self.times.frame = partial.then(|| same.unwrap_or(new));
        let held = self.writes.held_bytes() + self.peer.queued();
        self.times.write = waits.then(|| match self.times.write {
            Some(write) => Unwritten {
                since: if wrote { now } else { write.since },
                stalls_at: self.stalls_at(now, Some(write.stalls_at), written as u64, held),
            },
            None => Unwritten { since: now, stalls_at },
        });
        self.note_hold();
    }

    /// When it stalls, now that `moved` bytes have passed of those that it holds: they earn their part of the time in which
    /// all of it must pass. The time left never exceeds the stall timeout.
    fn stalls_at(&self, now: Instant, before: Option<Instant>, moved: u64, held: usize) -> Instant {
        let timeout = self.shared.config.stall_timeout;
        // A timeout beyond the clock's range is one of a day: long enough to be none.
        let latest = now.checked_add(timeout).unwrap_or(now + Duration::from_secs(86_400));
        let micros = u64::try_from(timeout.as_micros()).unwrap_or(u64::MAX);
        let earned = micros.saturating_mul(TURNOVER).saturating_mul(moved) / (held as u64).max(1);
        let earned = before.and_then(|before| before.checked_add(Duration::from_micros(earned)));
        earned.map_or(latest, |at| at.min(latest))
    }

    /// Tells others whether the memory that is held moves.
    fn note_hold(&self) {
        let Times { frame, write, .. } = &self.times;
        let at = |at: Instant| self.shared.pressure.millis(at);
        let frame_stalls = frame.filter(|frame| !frame.waits_for_memory).map(|frame| frame.stalls_at);
        let stalls_at = frame_stalls.into_iter().chain(write.map(|write| write.stalls_at)).min();
        let waits = frame.filter(|frame| frame.waits_for_memory);
        let waits_since =
            waits.map(|frame| at(frame.since).saturating_sub(frame.waited.as_millis() as usize));
        self.peer.note_hold(Hold {
            stalls_at: stalls_at.map_or(Hold::NEVER, at),
            waits_since: waits_since.unwrap_or(Hold::NEVER),
        });
    }

    /// While it waits for memory, others release some: at first, and from time to time.
    /// Meanwhile nothing is read, so a reset must be watched for. What a closed peer has sent is still received.
    fn ask_for_memory(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if !self.reader.is_waiting_for_memory() {
            (self.times.ask, self.hang_up) = (None, None);
            return Ok(());
        }
        let now = Instant::now();
        if self.times.ask.is_none_or(|at| at <= now) {
            // Not at first: most waits are short, and the watch takes a descriptor.
            if self.times.ask.is_some() && self.hang_up.is_none() && !self.ended {
                self.hang_up = self.reader.get_ref().hang_up();
            }
            self.times.ask = Some(now + ASK_EVERY);
            self.shared.relieve(self.reader.frames().wants().unwrap_or_default());
        }
        match self.hang_up.as_mut().map(|watch| watch.poll(cx)) {
            Some(Poll::Ready(gone)) => gone,
            _ => Ok(()),
        }
    }

    /// The next timeout if no byte moves, and when. One beyond the clock's range never expires.
    fn deadline(&self) -> Option<(Instant, ConnectionErrorKind, Duration)> {
        let config = &self.shared.config;
        let due = |since: Instant, kind, after: Duration| Some((since.checked_add(after)?, kind, after));
        let first =
            self.first_byte_timeout.filter(|_| self.received == 0 && !self.reader.is_waiting_for_memory());
        let first =
            first.and_then(|after| due(self.times.began, ConnectionErrorKind::FirstByteTimeout, after));
        let idle = config.idle_timeout.filter(|_| !self.reader.is_waiting_for_memory());
        let idle = idle.and_then(|after| due(self.times.last_byte, ConnectionErrorKind::IdleTimeout, after));
        let frame = self.times.frame.and_then(|frame| {
            let kind = match frame.waits_for_memory {
                true => ConnectionErrorKind::MemoryTimeout,
                false => ConnectionErrorKind::FrameTimeout,
            };
            Some((frame.ends?, kind, config.frame_timeout))
        });
        let write = self.times.write;
        let write =
            write.and_then(|write| due(write.since, ConnectionErrorKind::WriteTimeout, config.write_timeout));
        [first, idle, frame, write].into_iter().flatten().min_by_key(|(at, ..)| *at)
    }

    fn poll_deadline(
        &mut self,
        cx: &mut Context<'_>,
        mut timer: Pin<&mut Option<Sleep>>,
    ) -> Poll<ConnectionError> {
        loop {
            let deadline = self.deadline();
            let quiet = self.shrink_due.then(|| self.times.last_byte + SHRINK_AFTER);
            let slow = self.times.frame.filter(|frame| !frame.shrunk).map(|frame| frame.since + SHRINK_AFTER);
            let ask = self.times.ask;
            let all = deadline.map(|(at, ..)| at).into_iter().chain(quiet).chain(slow).chain(ask);
            let Some(next) = all.min() else { return Poll::Pending };
            // Reset when it fires or when something is due earlier, not whenever a byte moves.
            match timer.as_mut().as_pin_mut() {
                Some(sleep) if sleep.deadline() <= next => {}
                Some(sleep) => sleep.reset(next),
                None => timer.set(Some(sleep_until(next))),
            }
            let Some(sleep) = timer.as_mut().as_pin_mut() else { return Poll::Pending };
            if sleep.poll(cx).is_pending() {
                return Poll::Pending;
            }
            timer.set(None);
            let now = Instant::now();
            if let Some((at, kind, after)) = deadline
                && at <= now
            {
                return Poll::Ready(ConnectionError::timeout(kind, after));
            }
            if ask.is_some_and(|at| at <= now) {
                // The next poll also looks again for memory that nobody has returned to the queue.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if slow.is_some_and(|at| at <= now) {
                self.shrink(cx);
                self.times.frame.iter_mut().for_each(|frame| frame.shrunk = true);
            }
            if quiet.is_some_and(|at| at <= now) {
                self.shrink(cx);
                self.writes.shrink();
                self.peer.shrink();
                self.routes = Vec::new();
                self.shrink_due = false;
            }
        }
    }

    /// Shrinks the unfinished frame's buffer to what has arrived of it.
    fn shrink(&mut self, cx: &Context<'_>) {
        if self.reader.shrink() {
            cx.waker().wake_by_ref();
        }
    }
}

/// However the connection ends, a peer that lacks bytes, or whose bytes were refused or not awaited, must not see a good end.
impl<S: AsyncStream> Drop for Connection<'_, S> {
    fn drop(&mut self) {
        if self.has_unwritten() || self.refused || self.times.frame.is_some() {
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
