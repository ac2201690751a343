//! One direction of a relayed connection.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::stats::Flow;
use crate::net::AsyncStream;
use crate::pool::{Acquire, BufferPool, PooledBuffer};
use crate::size::ReadSize;

/// One direction of a connection, as a state machine. It holds at most one buffer.
pub(super) struct Pump<'a> {
    pool: &'a BufferPool,
    flow: &'a Flow,
    state: State,
    read_size: ReadSize,
    /// Whether bytes were written and not flushed since.
    unflushed: bool,
    /// Whether the source is known to be reset, so that an end of stream read from it is not a clean one.
    source_broken: bool,
    /// Bytes.
    pub(super) written: u64,
}

enum State {
    /// Waits until the source is readable, and holds no buffer.
    Idle,
    /// The source is readable, and the pool has no memory. Only this state allocates a box.
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
    pub(super) fn new(pool: &'a BufferPool, flow: &'a Flow) -> Self {
        Self {
            pool,
            flow,
            state: State::Idle,
            read_size: ReadSize::at_most(pool.largest_class()),
            unflushed: false,
            source_broken: false,
            written: 0,
        }
    }

    /// Copies as much as it can without waiting. Sets `moved` if it wrote any byte.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut impl AsyncStream,
        to: &mut impl AsyncStream,
        moved: &mut bool,
    ) -> Poll<Result<(), PumpError>> {
        loop {
            // Also while it waits for memory, which may be held by the peer that waits for these bytes.
            if self.unflushed
                && matches!(self.state, State::Idle | State::Waiting(_))
                && Pin::new(&mut *to).poll_flush(cx).map_err(PumpError::Write)?.is_ready()
            {
                self.unflushed = false;
            }
            match &mut self.state {
                State::Idle => {
                    ready!(from.poll_read_ready(cx)).map_err(PumpError::Read)?;
                    match self.pool.acquire_for_read(self.read_size) {
                        Ok(buffer) => ready!(self.poll_fill(cx, from, buffer))?,
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
                    ready!(self.poll_fill(cx, from, buffer))?;
                }
                State::Writing(buffer, offset) => {
                    let rest = buffer.get(*offset..).unwrap_or_default();
                    if rest.is_empty() {
                        self.state = State::Idle;
                        continue;
                    }
                    let count = ready!(Pin::new(&mut *to).poll_write(cx, rest)).map_err(PumpError::Write)?;
                    if count == 0 {
                        return Poll::Ready(Err(PumpError::Write(io::ErrorKind::WriteZero.into())));
                    }
                    *offset += count;
                    *moved = true;
                    self.unflushed = true;
                    self.written += count as u64;
                    self.flow.add(count);
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
        self.unflushed = false;
    }

    /// From now on an end of stream from the source counts as a reset: a write has consumed the socket's error.
    pub(super) fn break_source(&mut self) {
        self.source_broken = true;
    }

    /// Whether bytes are in flight: read from the source or ready there, and not yet written and flushed.
    pub(super) fn has_bytes_in_flight(&self) -> bool {
        self.unflushed || matches!(self.state, State::Waiting(_) | State::Writing(..))
    }

    /// Reads once into the buffer. Pending means that there was nothing to read after all, and the buffer is returned.
    ///
    /// This uses `poll_read` and not `try_read`: after a read that did not fill its buffer, the runtime knows that the
    /// socket is drained, so the next wait needs no system call.
    fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut impl AsyncStream,
        mut buffer: PooledBuffer,
    ) -> Poll<Result<(), PumpError>> {
        let capacity = buffer.capacity();
        let count = ready!(buffer.poll_read_from(cx, Pin::new(from))).map_err(PumpError::Read)?;
        if count == 0 && self.source_broken {
            return Poll::Ready(Err(PumpError::Read(io::ErrorKind::ConnectionReset.into())));
        }
        self.state = if count == 0 { State::Ending } else { State::Writing(buffer, 0) };
        self.read_size.learn(count, capacity);
        Poll::Ready(Ok(()))
    }
}
