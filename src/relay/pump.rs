//! One direction of a relayed connection.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use tokio::io::AsyncReadExt;

use super::stats::Flow;
use crate::net::AsyncStream;
use crate::pool::{Acquire, AcquireError, BufferPool, PooledBuffer};
use crate::size::ReadSize;

/// One direction of a connection, as a state machine. It holds at most one buffer.
pub(super) struct Pump<'a> {
    pool: &'a BufferPool,
    flow: &'a Flow,
    state: State,
    read_size: ReadSize,
    /// Written, and not flushed yet.
    unflushed: bool,
    /// The side it reads from is known to be gone, so that an end read from it now is no good end.
    source_broken: bool,
    pub(super) written: u64,
}

enum State {
    /// Nothing to read, nothing held.
    Idle,
    /// There is something to read, and no memory for it. The box is made only here.
    Waiting(Pin<Box<Acquire>>),
    /// Read, and written up to the offset.
    Writing(PooledBuffer, usize),
    /// The reader's side has ended, and the writer's side is being told.
    Ending,
    Ended,
}

/// Which side an error came from.
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
            read_size: ReadSize::default(),
            unflushed: false,
            source_broken: false,
            written: 0,
        }
    }

    /// Moves what can be moved. `moved` is set if any byte was.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut impl AsyncStream,
        to: &mut impl AsyncStream,
        moved: &mut bool,
    ) -> Poll<Result<(), PumpError>> {
        loop {
            match &mut self.state {
                State::Idle => {
                    if self.unflushed
                        && Pin::new(&mut *to).poll_flush(cx).map_err(PumpError::Write)?.is_ready()
                    {
                        self.unflushed = false;
                    }
                    ready!(from.poll_read_ready(cx)).map_err(PumpError::Read)?;
                    match self.acquire() {
                        Ok(buffer) => ready!(self.poll_fill(cx, from, buffer))?,
                        Err(_) => {
                            let size = ReadSize::SMALL.min(self.pool.largest_class());
                            self.state = State::Waiting(Box::pin(self.pool.acquire_async(size)));
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
                        // The peer went first.
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

    /// Gives back what it holds. Nothing moves in this direction any more.
    pub(super) fn stop(&mut self) {
        self.state = State::Ended;
        self.unflushed = false;
    }

    /// From now on an end of the side it reads from is a reset: the error that said so went to a write.
    pub(super) fn break_source(&mut self) {
        self.source_broken = true;
    }

    /// Whether bytes are under way: taken from one side or waiting there, and not yet written to the other.
    pub(super) fn has_bytes_under_way(&self) -> bool {
        self.unflushed || matches!(self.state, State::Waiting(_) | State::Writing(..))
    }

    /// A buffer of the size that the last reads call for or, if memory is short, a small one.
    fn acquire(&self) -> Result<PooledBuffer, AcquireError> {
        let largest = self.pool.largest_class();
        let small = ReadSize::SMALL.min(largest);
        match self.read_size.size().min(largest) {
            size if size > small => self.pool.try_acquire(size).or_else(|_| self.pool.try_acquire(small)),
            _ => self.pool.try_acquire(small),
        }
    }

    /// One read into the buffer. Pending: there was nothing after all, and the buffer goes back.
    ///
    /// `poll_read` and not `try_read`: after a read that did not fill its buffer the runtime takes the socket
    /// for drained, so that the next wait costs no system call to find that out.
    fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut impl AsyncStream,
        mut buffer: PooledBuffer,
    ) -> Poll<Result<(), PumpError>> {
        let capacity = buffer.capacity();
        let count = {
            let mut room = buffer.as_buf_mut();
            let read = pin!(from.read_buf(&mut room));
            ready!(read.poll(cx)).map_err(PumpError::Read)?
        };
        if count == 0 && self.source_broken {
            return Poll::Ready(Err(PumpError::Read(io::ErrorKind::ConnectionReset.into())));
        }
        self.state = if count == 0 { State::Ending } else { State::Writing(buffer, 0) };
        self.read_size.learn(count, capacity);
        Poll::Ready(Ok(()))
    }
}
