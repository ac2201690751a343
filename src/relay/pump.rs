//! One direction of a relayed connection.

use std::io;
use std::mem::{self, MaybeUninit};
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::Buf;
use tokio::io::{AsyncRead, ReadBuf};

use super::connections::Direction;
use super::stats::Flow;
use crate::net::AsyncStream;
use crate::pool::{Acquire, BufferPool, PooledBuffer};
use crate::size::ReadSize;

/// Bytes on the stack that relay a piece when the pool has no memory.
const STACK_BYTES: usize = 16 * 1024;
/// The number of pieces in a row that the destination takes whole, after which it no longer counts as slow.
const PATIENCE: u8 = 8;

/// One direction of a connection, as a state machine. It holds at most one buffer.
pub(super) struct Pump<'a> {
    pool: &'a BufferPool,
    flow: &'a Flow,
    /// The same of this connection alone.
    direction: &'a Direction,
    state: State,
    read_size: ReadSize,
    /// Not 0 if the destination has just blocked: then a piece is read only as far as the destination takes it.
    slow: u8,
    /// Whether bytes were written and not flushed since.
    unflushed: bool,
    /// Whether the source is known to be reset, so that an end of stream read from it is not a clean one.
    source_broken: bool,
    /// Whether bytes were written since the last poll began.
    moved: bool,
    /// Whether the last poll left the task's waker with the source, and with nobody else.
    asleep: bool,
}

enum State {
    /// Waits until the source is readable, and holds no buffer.
    Idle,
    /// The source is readable, and the destination takes nothing. Holds no buffer.
    Blocked,
    /// The source is readable and cannot be peeked, and the pool has no memory. Only this state allocates a box.
    Waiting(Pin<Box<Acquire>>),
    /// The buffer is written up to the offset.
    Writing(PooledBuffer, usize),
    /// The source has ended, and the destination is being shut down.
    Ending,
    /// Both are done.
    Ended,
}

/// An error, and the operation that failed: a read from the source or a write to the destination.
pub(super) enum PumpError {
    Read(io::Error),
    Write(io::Error),
}

impl<'a> Pump<'a> {
    pub(super) fn new(pool: &'a BufferPool, flow: &'a Flow, direction: &'a Direction) -> Self {
        Self {
            pool,
            flow,
            direction,
            state: State::Idle,
            read_size: ReadSize::at_most(pool.largest_class()),
            slow: 0,
            unflushed: false,
            source_broken: false,
            moved: false,
            asleep: false,
        }
    }

    /// Copies as much as it can without waiting. Sets `moved` if it wrote any byte.
    ///
    /// `again` says that wherever the last poll left a waker, it is there, unless it woke the task since.
    #[inline]
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut impl AsyncStream,
        to: &mut impl AsyncStream,
        again: bool,
        moved: &mut bool,
    ) -> Poll<Result<(), PumpError>> {
        self.moved = false;
        let is_readable = again && self.asleep;
        if is_readable {
            ready!(from.poll_read_ready_again(cx)).map_err(PumpError::Read)?;
        }
        self.poll_awake(cx, from, to, is_readable, moved)
    }

    /// A function of its own, so that a direction that sleeps on pays for none of it.
    #[inline(never)]
    fn poll_awake(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut impl AsyncStream,
        to: &mut impl AsyncStream,
        is_readable: bool,
        moved: &mut bool,
    ) -> Poll<Result<(), PumpError>> {
        let outcome = self.poll_states(cx, from, to, is_readable);
        *moved |= self.moved;
        self.note_held();
        outcome
    }

    fn poll_states(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut impl AsyncStream,
        to: &mut impl AsyncStream,
        mut is_readable: bool,
    ) -> Poll<Result<(), PumpError>> {
        loop {
            // Also while it waits for memory, which may be held by the peer that waits for these bytes.
            if self.unflushed
                && matches!(self.state, State::Idle | State::Blocked | State::Waiting(_))
                && Pin::new(&mut *to).poll_flush(cx).map_err(PumpError::Write)?.is_ready()
            {
                self.unflushed = false;
            }
            match &mut self.state {
                State::Idle | State::Blocked => {
                    if !mem::take(&mut is_readable) {
                        let readable = from.poll_read_ready(cx);
                        self.asleep = readable.is_pending() && !self.unflushed;
                        ready!(readable).map_err(PumpError::Read)?;
                    }
                    self.asleep = false;
                    if to.poll_write_ready(cx).map_err(PumpError::Write)?.is_pending() {
                        self.state = State::Blocked;
                        return Poll::Pending;
                    }
                    if matches!(self.state, State::Blocked) {
                        self.state = State::Idle;
                    }
                    match self.pool.acquire_for_read(self.read_size) {
                        Ok(buffer) if self.slow > 0 && from.can_peek() => {
                            let mut to = Pin::new(&mut *to);
                            ready!(self.poll_peek_pooled(cx, from, buffer, |cx, bytes| {
                                to.as_mut().poll_write(cx, bytes)
                            }))?;
                        }
                        Ok(buffer) => ready!(self.poll_fill(cx, from, to, buffer))?,
                        Err(_) if from.can_peek() => {
                            let mut to = Pin::new(&mut *to);
                            ready!(
                                self.poll_peek_stack(cx, from, |cx, bytes| to.as_mut().poll_write(cx, bytes))
                            )?;
                        }
                        Err(_) => {
                            let acquire = self.pool.acquire_async(self.read_size.small());
                            self.state = State::Waiting(Box::pin(acquire));
                        }
                    }
                }
                State::Waiting(acquire) => {
                    let buffer = ready!(acquire.as_mut().poll(cx));
                    let buffer = buffer.map_err(|error| PumpError::Read(io::Error::other(error)))?;
                    self.state = State::Idle;
                    ready!(self.poll_fill(cx, from, to, buffer))?;
                }
                State::Writing(buffer, offset) => {
                    let rest = buffer.get(*offset..).unwrap_or_default();
                    if rest.is_empty() {
                        self.state = State::Idle;
                        continue;
                    }
                    match Pin::new(&mut *to).poll_write(cx, rest) {
                        Poll::Ready(written) => {
                            let count = at_least_one(written)?;
                            *offset += count;
                            self.note_written(count);
                        }
                        Poll::Pending => {
                            self.keep_rest();
                            return Poll::Pending;
                        }
                    }
                }
                State::Ending => {
                    match ready!(Pin::new(&mut *to).poll_shutdown(cx)) {
                        // Not connected: the peer has closed already.
                        Err(error) if error.kind() != io::ErrorKind::NotConnected => {
                            return Poll::Ready(Err(PumpError::Write(error)));
                        }
                        _ => self.state = State::Ended,
                    }
                    self.unflushed = false;
                }
                State::Ended => return Poll::Ready(Ok(())),
            }
        }
    }

    /// Ends this direction and returns its buffer to the pool.
    pub(super) fn stop(&mut self) {
        self.state = State::Ended;
        (self.unflushed, self.asleep) = (false, false);
        self.note_held();
    }

    fn note_held(&self) {
        let State::Writing(buffer, _) = &self.state else { return self.direction.note_held(0) };
        self.direction.note_held(buffer.capacity());
    }

    /// From now on an end of stream from the source counts as a reset: a write has consumed the socket's error.
    pub(super) fn break_source(&mut self) {
        self.source_broken = true;
    }

    /// Whether nothing is read from the source any more.
    pub(super) fn has_ended(&self) -> bool {
        matches!(self.state, State::Ending | State::Ended)
    }

    /// Whether bytes wait until the destination takes some.
    pub(super) fn is_blocked(&self) -> bool {
        matches!(self.state, State::Blocked | State::Writing(..))
    }

    /// Whether bytes wait for the destination, also in a buffer of its own.
    pub(super) fn is_stalled(&self) -> bool {
        self.is_blocked() || self.unflushed
    }

    /// Whether the last poll wrote any byte.
    pub(super) fn has_moved(&self) -> bool {
        self.moved
    }

    /// Whether bytes wait, for the destination or for memory.
    pub(super) fn waits(&self) -> bool {
        self.is_blocked() || self.is_waiting_for_memory()
    }

    /// Whether bytes wait for memory.
    pub(super) fn is_waiting_for_memory(&self) -> bool {
        matches!(self.state, State::Waiting(_))
    }

    /// Whether the destination got all: this direction ended, or was stopped because the destination takes no more.
    pub(super) fn is_complete(&self) -> bool {
        matches!(self.state, State::Ended) && !self.unflushed
    }

    /// Whether the destination lacks bytes of the source: some are read and not yet written and flushed, or wait there.
    ///
    /// For the end of this direction: it may leave no waker of this task.
    pub(super) fn lacks_bytes(&self, from: &mut (impl AsyncStream + ?Sized)) -> bool {
        match self.state {
            _ if self.unflushed => true,
            State::Ending | State::Ended => false,
            State::Waiting(_) | State::Writing(..) => true,
            State::Idle | State::Blocked => {
                let (mut byte, cx) = ([MaybeUninit::uninit()], &mut Context::from_waker(Waker::noop()));
                let mut room = ReadBuf::uninit(&mut byte);
                match from.poll_peek(cx, &mut room) {
                    Poll::Ready(Ok(())) => !room.filled().is_empty(),
                    Poll::Ready(Err(error)) if error.kind() != io::ErrorKind::Unsupported => true,
                    Poll::Ready(Err(_)) | Poll::Pending => matches!(self.state, State::Blocked),
                }
            }
        }
    }

    /// Tries to write although the destination is not known to be writable. Returns whether it took a byte.
    ///
    /// A Unix socket is writable again only when three quarters of its buffer are empty. For a peer that reads slowly and
    /// steadily that can take longer than the idle timeout.
    #[cold]
    pub(super) fn try_write(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut impl AsyncStream,
        to: &mut impl AsyncStream,
    ) -> Result<bool, PumpError> {
        (self.moved, self.asleep) = (false, false);
        match &mut self.state {
            State::Writing(buffer, offset) => {
                // An error is seen by the next write, too.
                if let Ok(count) = to.write_now(buffer.get(*offset..).unwrap_or_default()) {
                    *offset += count;
                    self.note_written(count);
                }
            }
            State::Blocked if from.can_peek() => {
                let write = |_: &mut Context<'_>, bytes: &[u8]| match to.write_now(bytes) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
                    written => Poll::Ready(written),
                };
                if let Poll::Ready(outcome) = self.poll_peek_stack(cx, from, write) {
                    outcome?;
                }
            }
            _ => {}
        }
        Ok(self.moved)
    }

    fn note_written(&mut self, count: usize) {
        (self.unflushed, self.moved) = (true, true);
        self.direction.note_written(count);
        self.flow.add(count);
    }

    /// The destination has blocked: the rest of the buffer moves to a smaller one.
    #[cold]
    fn keep_rest(&mut self) {
        self.slow = PATIENCE;
        if let State::Writing(buffer, offset) = &mut self.state {
            buffer.advance(mem::take(offset));
            buffer.shrink_to_fit();
        }
    }

    /// Reads once into the buffer, and writes that. A destination that takes all at once, as most do, so has the buffer
    /// returned without a state for it. Pending means that there was nothing to read after all, and the buffer is returned.
    ///
    /// This uses `poll_read` and not `try_read`: after a read that did not fill its buffer, the runtime knows that the
    /// socket is drained, so the next wait needs no system call.
    fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut impl AsyncStream,
        to: &mut impl AsyncStream,
        mut buffer: PooledBuffer,
    ) -> Poll<Result<(), PumpError>> {
        let capacity = buffer.capacity();
        let count = ready!(buffer.poll_read_from(cx, Pin::new(from))).map_err(PumpError::Read)?;
        if count == 0 {
            return Poll::Ready(self.end());
        }
        self.slow = self.slow.saturating_sub(1);
        self.read_size.learn(count, capacity);
        let mut offset = 0;
        if let Poll::Ready(written) = Pin::new(to).poll_write(cx, &buffer) {
            offset = at_least_one(written)?;
            self.note_written(offset);
        }
        if offset < count {
            self.state = State::Writing(buffer, offset);
        }
        Poll::Ready(Ok(()))
    }

    /// The source has ended.
    fn end(&mut self) -> Result<(), PumpError> {
        if self.source_broken {
            return Err(PumpError::Read(io::ErrorKind::ConnectionReset.into()));
        }
        self.state = State::Ending;
        Ok(())
    }

    /// Relays a piece without holding memory for longer than this call: peeks, writes, and consumes what was written.
    #[cold]
    #[inline(never)]
    fn poll_peek_pooled(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut impl AsyncStream,
        mut buffer: PooledBuffer,
        write: impl FnOnce(&mut Context<'_>, &[u8]) -> Poll<io::Result<usize>>,
    ) -> Poll<Result<(), PumpError>> {
        let capacity = buffer.capacity();
        ready!(buffer.poll_read_from(cx, Pin::new(&mut Peek(&mut *from)))).map_err(PumpError::Read)?;
        let count = ready!(self.poll_write_peeked(cx, from, &mut buffer, write))?;
        self.read_size.learn(count, capacity);
        Poll::Ready(Ok(()))
    }

    /// The same without the pool.
    #[cold]
    #[inline(never)]
    fn poll_peek_stack(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut impl AsyncStream,
        write: impl FnOnce(&mut Context<'_>, &[u8]) -> Poll<io::Result<usize>>,
    ) -> Poll<Result<(), PumpError>> {
        let mut stack = [MaybeUninit::uninit(); STACK_BYTES];
        let mut buffer = ReadBuf::uninit(&mut stack);
        ready!(from.poll_peek(cx, &mut buffer)).map_err(PumpError::Read)?;
        ready!(self.poll_write_peeked(cx, from, buffer.filled_mut(), write))?;
        Poll::Ready(Ok(()))
    }

    /// Writes once, and consumes what was written in the same poll: no cancellation can come in between.
    fn poll_write_peeked(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut impl AsyncStream,
        peeked: &mut [u8],
        write: impl FnOnce(&mut Context<'_>, &[u8]) -> Poll<io::Result<usize>>,
    ) -> Poll<Result<usize, PumpError>> {
        if peeked.is_empty() {
            return Poll::Ready(self.end().map(|()| 0));
        }
        let Poll::Ready(written) = write(cx, peeked) else {
            (self.state, self.slow) = (State::Blocked, PATIENCE);
            return Poll::Pending;
        };
        let count = at_least_one(written)?;
        self.note_written(count);
        self.slow = if count < peeked.len() { PATIENCE } else { self.slow.saturating_sub(1) };
        // After an error here the destination has bytes that the source may give again, so nothing more can be relayed.
        from.consume_peeked(peeked.get_mut(..count).unwrap_or_default()).map_err(PumpError::Read)?;
        Poll::Ready(Ok(count))
    }
}

fn at_least_one(written: io::Result<usize>) -> Result<usize, PumpError> {
    match written {
        Ok(0) => Err(PumpError::Write(io::ErrorKind::WriteZero.into())),
        written => written.map_err(PumpError::Write),
    }
}

/// Reads by peeking.
struct Peek<'a, S>(&'a mut S);

impl<S: AsyncStream> AsyncRead for Peek<'_, S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.poll_peek(cx, buffer)
    }
}
