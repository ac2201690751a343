//! One direction of a relayed connection.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::sync::{Semaphore, SemaphorePermit, TryAcquireError};

use super::stats::Flow;
use crate::net::Stream;
use crate::pool::{BufferPool, PooledBuffer};
use crate::size::ReadSize;

const SMALL: usize = ReadSize::SMALL;

/// What one permit of the budget stands for: all loans are multiples, and a semaphore counts to 2^29 at least.
const PERMIT: usize = 1024;

/// Lends buffers under a budget.
#[derive(Debug)]
pub(super) struct Lender {
    pool: BufferPool,
    budget: usize,
    permits: Semaphore,
}

/// A buffer, and the part of the budget it takes. Dropping it gives both back.
pub(super) struct Loan<'a> {
    buffer: PooledBuffer,
    _permit: SemaphorePermit<'a>,
}

impl Lender {
    pub(super) fn new(pool: BufferPool, budget: usize) -> Self {
        let permits = (budget / PERMIT).clamp(SMALL / PERMIT, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        Self { pool, budget: permits * PERMIT, permits: Semaphore::new(permits) }
    }

    pub(super) fn pool(&self) -> &BufferPool {
        &self.pool
    }

    pub(super) fn bytes_on_loan(&self) -> usize {
        self.budget - self.permits.available_permits() * PERMIT
    }

    /// A loan of `size` or, if the budget has no room for it now, a small one; `None` if not even that.
    fn lend(&self, size: usize) -> Option<Loan<'_>> {
        self.try_lend(size).or_else(|| self.try_lend(SMALL))
    }

    fn try_lend(&self, size: usize) -> Option<Loan<'_>> {
        match self.permits.try_acquire_many((size / PERMIT) as u32) {
            Ok(permit) => Some(Loan { buffer: self.pool.acquire(size), _permit: permit }),
            Err(TryAcquireError::NoPermits | TryAcquireError::Closed) => None,
        }
    }

    /// Waits in line for a small loan.
    ///
    /// # Cancel safety
    ///
    /// Cancelled, it leaves the line and holds nothing.
    async fn wait(&self) -> io::Result<Loan<'_>> {
        let permit = self.permits.acquire_many((SMALL / PERMIT) as u32).await.map_err(io::Error::other)?;
        Ok(Loan { buffer: self.pool.acquire(SMALL), _permit: permit })
    }
}

/// One direction of a connection, as a state machine: it is as large as its largest state, which is one loan.
pub(super) struct Pump<'a> {
    lender: &'a Lender,
    flow: &'a Flow,
    state: State<'a>,
    read_size: ReadSize,
    /// The side it reads from is known to be gone; an end read from it now is none.
    source_broken: bool,
    pub(super) written: u64,
}

enum State<'a> {
    /// Nothing to say, nothing held.
    Idle,
    /// There is something to read, and the budget is used up. The box is made only here.
    Queued(Pin<Box<dyn Future<Output = io::Result<Loan<'a>>> + Send + 'a>>),
    /// Read, and written up to the offset.
    Writing(Loan<'a>, usize),
    /// The reader's side has ended, the writer's side is being told.
    Ending,
    Ended,
}

/// Which side an error came from.
pub(super) enum PumpError {
    Read(io::Error),
    Write(io::Error),
}

impl<'a> Pump<'a> {
    pub(super) fn new(lender: &'a Lender, flow: &'a Flow) -> Self {
        Self {
            lender,
            flow,
            state: State::Idle,
            read_size: ReadSize::default(),
            source_broken: false,
            written: 0,
        }
    }

    /// Moves what can be moved. `moved` is set if any byte was.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Stream,
        to: &mut Stream,
        moved: &mut bool,
    ) -> Poll<Result<(), PumpError>> {
        loop {
            match &mut self.state {
                State::Idle => {
                    ready!(from.poll_read_ready(cx)).map_err(PumpError::Read)?;
                    match self.lender.lend(self.read_size.size()) {
                        Some(loan) => ready!(self.poll_fill(cx, from, loan))?,
                        None => self.state = State::Queued(Box::pin(self.lender.wait())),
                    }
                }
                State::Queued(wait) => {
                    let loan = ready!(wait.as_mut().poll(cx)).map_err(PumpError::Read)?;
                    self.state = State::Idle;
                    ready!(self.poll_fill(cx, from, loan))?;
                }
                State::Writing(loan, offset) => {
                    let rest = loan.buffer.get(*offset..).unwrap_or_default();
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
                }
                State::Ended => return Poll::Ready(Ok(())),
            }
        }
    }

    /// Gives back what it holds; no byte goes this way any more.
    pub(super) fn stop(&mut self) {
        self.state = State::Ended;
    }

    /// From now on an end of the side it reads from is a reset: the error that said so went to a write.
    pub(super) fn break_source(&mut self) {
        self.source_broken = true;
    }

    /// Whether bytes are under way: taken from one side or waiting there, and not yet written to the other.
    pub(super) fn owes(&self) -> bool {
        matches!(self.state, State::Queued(_) | State::Writing(..))
    }

    /// One read into the loan. Pending: there was nothing after all, and the loan goes back.
    ///
    /// `poll_read` and not `try_read`: after a read that did not fill its buffer the runtime takes the socket
    /// for drained, so that the next wait costs no system call to find that out.
    fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Stream,
        mut loan: Loan<'a>,
    ) -> Poll<Result<(), PumpError>> {
        let capacity = loan.buffer.capacity();
        let count = {
            let mut room = loan.buffer.as_buf_mut();
            let read = pin!(from.read_buf(&mut room));
            ready!(read.poll(cx)).map_err(PumpError::Read)?
        };
        if count == 0 && self.source_broken {
            return Poll::Ready(Err(PumpError::Read(io::ErrorKind::ConnectionReset.into())));
        }
        self.state = if count == 0 { State::Ending } else { State::Writing(loan, 0) };
        self.read_size.learn(count, capacity);
        Poll::Ready(Ok(()))
    }
}
