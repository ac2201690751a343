//! What a connection notes of its progress, and what is due when there is none.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use super::Connection;
use crate::bus::error::{ConnectionError, ConnectionErrorKind};
use crate::bus::peer::Hold;
use crate::bus::pressure::{ASK_EVERY, TURNOVER};
use crate::net::AsyncStream;

/// After this time without a byte, memory beyond need is freed. This long after a frame began, its buffer shrinks to what
/// has arrived, so that a peer that sends a byte now and then does not hold a large one.
const SHRINK_AFTER: Duration = Duration::from_secs(1);
/// Bytes of a frame that extend its timeout by one second.
const SLOWEST_RATE: u32 = 64 * 1024;

pub(super) struct Times {
    pub(super) began: Instant,
    pub(super) last_byte: Instant,
    frame: Option<Unfinished>,
    write: Option<Unwritten>,
    /// When it asks again that others release memory.
    ask: Option<Instant>,
    /// When it looks whether others wait for what it holds without progress.
    look: Instant,
}

impl Times {
    pub(super) fn new(now: Instant) -> Self {
        Self { began: now, last_byte: now, frame: None, write: None, ask: None, look: now }
    }

    /// Whether a part of a frame has arrived, or a frame waits for memory.
    pub(super) fn is_partial(&self) -> bool {
        self.frame.is_some()
    }

    /// When it stalls, if it holds memory and does not wait for more.
    fn stalls_at(&self) -> Option<Instant> {
        let frame = self.frame.filter(|frame| !frame.waits_for_memory).map(|frame| frame.stalls_at);
        frame.into_iter().chain(self.write.map(|write| write.stalls_at)).min()
    }
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
    /// When its first byte arrived, or it began to wait.
    began: Instant,
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

impl<S: AsyncStream> Connection<'_, S> {
    pub(super) fn note_progress(&mut self, news: u64, written: usize) {
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
        let began = before.map_or(now, |frame| frame.began);
        let new =
            Unfinished { began, since: now, ends, stalls_at, waited, start, waits_for_memory, shrunk: false };
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
        let at = |at: Instant| self.shared.pressure.millis(at);
        let waits = self.times.frame.filter(|frame| frame.waits_for_memory);
        let waits_since =
            waits.map(|frame| at(frame.since).saturating_sub(frame.waited.as_millis() as usize));
        self.peer.note_hold(Hold {
            stalls_at: self.times.stalls_at().map_or(Hold::NEVER, at),
            waits_since: waits_since.unwrap_or(Hold::NEVER),
            began: waits.map_or(Hold::NEVER, |frame| at(frame.began)),
        });
    }

    /// While it waits for memory, others release some: at first, and from time to time.
    /// Meanwhile nothing is read, so a reset must be watched for. What a closed peer has sent is still received.
    pub(super) fn ask_for_memory(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
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

    pub(super) fn poll_deadline(
        &mut self,
        cx: &mut Context<'_>,
        mut timer: Pin<&mut Option<Sleep>>,
    ) -> Poll<ConnectionError> {
        loop {
            let deadline = self.deadline();
            let quiet = self.shrink_due.then(|| self.times.last_byte + SHRINK_AFTER);
            let slow = self.times.frame.filter(|frame| !frame.shrunk).map(|frame| frame.since + SHRINK_AFTER);
            let ask = self.times.ask;
            let stalled = self.times.stalls_at().map(|at| at.max(self.times.look));
            let all =
                deadline.map(|(at, ..)| at).into_iter().chain(quiet).chain(slow).chain(ask).chain(stalled);
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
            if stalled.is_some_and(|at| at <= now) {
                // Tasks of the program, too, may wait in the pool's queue.
                // With a timeout near zero this must not become a busy loop.
                self.times.look = self.stalls_at(now, None, 0, 0).max(now + ASK_EVERY);
                if self.shared.pool.has_waiters() {
                    self.shared.relieve(1);
                }
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
