//! One relayed connection: two streams, two pumps, one timer. `Pair::conclude` sees which side ended or failed.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep, sleep};

use super::error::{Cause, RelayError, Side};
use super::pump::{Pump, PumpError};
use super::{Shared, Transferred};
use crate::net::AsyncStream;

/// One connection. It ends when both directions have ended, or at the first error that affects both.
pub(super) struct Pair<'a, C: AsyncStream, U: AsyncStream> {
    shared: &'a Shared,
    client: C,
    upstream: U,
    up: Pump<'a>,
    down: Pump<'a>,
    /// The first side to which a write failed. The direction that reads from it continues.
    unwritable: Option<(Side, io::Error)>,
    last_byte: Instant,
}

impl<'a, C: AsyncStream, U: AsyncStream> Pair<'a, C, U> {
    pub(super) fn new(client: C, upstream: U, shared: &'a Shared) -> Self {
        let pump = |flow| Pump::new(&shared.pool, flow);
        let (up, down) = (pump(&shared.counters.to_upstream), pump(&shared.counters.to_client));
        Self { shared, client, upstream, up, down, unwritable: None, last_byte: Instant::now() }
    }

    /// Runs until it ends.
    ///
    /// It borrows the pair: a future that takes it by value would hold it twice, as an argument and as a variable.
    pub(super) async fn run(&mut self) -> Result<Transferred, RelayError> {
        // One timer per connection. It is reset when it fires, because resetting it per byte relayed would cost more.
        let mut idle = pin!(self.shared.config.idle_timeout.map(sleep));
        poll_fn(|cx| match self.poll(cx) {
            Poll::Pending => match self.poll_idle(cx, idle.as_mut()) {
                Poll::Ready(cause) => Poll::Ready(Err(cause)),
                Poll::Pending => Poll::Pending,
            },
            Poll::Ready(outcome) => Poll::Ready(outcome),
        })
        .await
        .map(|()| self.transferred())
        .map_err(|cause| RelayError::new(cause, self.transferred()))
    }

    pub(super) fn transferred(&self) -> Transferred {
        Transferred { to_upstream: self.up.written, to_client: self.down.written }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Cause>> {
        let mut moved = false;
        let up = self.up.poll(cx, &mut self.client, &mut self.upstream, &mut moved);
        let up = self.conclude(up, Side::Client)?;
        let down = self.down.poll(cx, &mut self.upstream, &mut self.client, &mut moved);
        let down = self.conclude(down, Side::Upstream)?;
        if moved {
            self.last_byte = Instant::now();
        }
        if up.is_pending() || down.is_pending() {
            return Poll::Pending;
        }
        Poll::Ready(match self.unwritable.take() {
            Some((side, source)) => Err(Cause::Write { side, source }),
            None => Ok(()),
        })
    }

    /// Decides what the outcome of the pump that reads from `side` means for the connection.
    ///
    /// `Ok(())` means that the direction from `side` has ended. Later polls of the connection report it again.
    fn conclude(&mut self, outcome: Poll<Result<(), PumpError>>, side: Side) -> Result<Poll<()>, Cause> {
        match outcome {
            Poll::Pending => Ok(Poll::Pending),
            Poll::Ready(Ok(())) => Ok(Poll::Ready(())),
            Poll::Ready(Err(PumpError::Read(source))) => {
                self.client.reset_on_close();
                self.upstream.reset_on_close();
                Err(match self.unwritable.take() {
                    Some((side, source)) => Cause::Write { side, source },
                    None => Cause::Read { side, source },
                })
            }
            Poll::Ready(Err(PumpError::Write(source))) => {
                let (pump, opposite, other) = match side {
                    Side::Client => (&mut self.up, &mut self.down, Side::Upstream),
                    Side::Upstream => (&mut self.down, &mut self.up, Side::Client),
                };
                pump.stop();
                // A socket reports an error only once: after a failed write, the next read sees an end of stream.
                // A broken pipe means that the peer had already closed its direction, so that end is a clean one.
                if source.kind() != io::ErrorKind::BrokenPipe {
                    opposite.break_source();
                }
                self.unwritable.get_or_insert((other, source));
                Ok(Poll::Ready(()))
            }
        }
    }

    fn poll_idle(&self, cx: &mut Context<'_>, mut timer: Pin<&mut Option<Sleep>>) -> Poll<Cause> {
        let Some(after) = self.shared.config.idle_timeout else { return Poll::Pending };
        while let Some(mut timer) = timer.as_mut().as_pin_mut() {
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            let until = self.last_byte + after;
            if until <= Instant::now() {
                return Poll::Ready(Cause::Idle { after });
            }
            timer.reset(until);
        }
        Poll::Pending
    }
}

/// However a connection ends, a side that lacks bytes must not see a clean end of stream.
impl<C: AsyncStream, U: AsyncStream> Drop for Pair<'_, C, U> {
    fn drop(&mut self) {
        if self.up.has_bytes_in_flight() {
            self.upstream.reset_on_close();
        }
        if self.down.has_bytes_in_flight() {
            self.client.reset_on_close();
        }
    }
}
