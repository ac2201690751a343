//! One relayed connection: two streams, two pumps, one timer. `Pair::conclude` sees which side ended or failed.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::task::coop::has_budget_remaining;
use tokio::time::{Instant, Sleep, sleep_until};

use super::config::RelayConfig;
use super::connections::Activity;
use super::error::{Cause, RelayError, Side};
use super::pump::{Pump, PumpError};
use super::timeouts::{Moments, Now, Timeout};
use super::{Shared, Transferred};
use crate::net::{AsyncStream, HangUp};

/// A side that is not read from for this long gets a watch for its hang-up. Most connections end sooner after the first
/// end of a stream, or take more bytes, and the watch costs a descriptor and four system calls.
const UNREAD: Duration = Duration::from_millis(100);
/// The pause until the next attempt if no descriptor is left for a watch, or the stream has none.
const RETRY: Duration = Duration::from_secs(1);

/// One connection. It ends when both directions have ended, or at the first error that affects both.
pub(super) struct Pair<'a, C: AsyncStream, U: AsyncStream> {
    config: &'a RelayConfig,
    activity: &'a Activity,
    client: C,
    upstream: U,
    up: Pump<'a>,
    down: Pump<'a>,
    /// The first side to which a write failed. The direction that reads from it continues.
    unwritable: Option<(Side, io::Error)>,
    moments: Moments,
    /// On the side `watched`, which is not read from. It is never both: the connection has ended if neither is read from,
    /// and a pump that is blocked in writing to a side sees that hang-up itself.
    watch: Option<HangUp>,
    watched: Side,
    /// Whether the client has closed both of its directions, so that there is nothing left to watch for.
    client_closed: bool,
    /// Whether the timer fires within [`UNREAD`].
    fires_soon: bool,
    /// The waker that everything waited for has, so that a poll need not store it again. `None` if a part may lack it.
    waker: Option<Waker>,
}

impl<'a, C: AsyncStream, U: AsyncStream> Pair<'a, C, U> {
    pub(super) fn new(
        client: C,
        upstream: U,
        shared: &'a Shared,
        config: &'a RelayConfig,
        activity: &'a Activity,
    ) -> Self {
        let (up, down) = (&activity.to_upstream, &activity.to_client);
        let flows = shared.counters.flows();
        let up = Pump::new(&shared.pool, &flows.to_upstream, up);
        let down = Pump::new(&shared.pool, &flows.to_client, down);
        let now = Instant::now();
        activity.note_move(now);
        Self {
            config,
            activity,
            client,
            upstream,
            up,
            down,
            unwritable: None,
            moments: Moments::new(activity.start(), now),
            watch: None,
            watched: Side::Client,
            client_closed: false,
            fires_soon: false,
            waker: None,
        }
    }

    /// Runs until it ends.
    ///
    /// It borrows the pair: a future that takes it by value would hold it twice, as an argument and as a variable.
    pub(super) async fn run(&mut self) -> Result<Transferred, RelayError> {
        // One timer per connection. It is reset when it fires, because resetting it per byte relayed would cost more.
        let now = Instant::now();
        let mut timer = pin!(sleep_until(self.moments.next(self.config, now).unwrap_or(now)));
        poll_fn(|cx| self.poll(cx, timer.as_mut()))
            .await
            .map(|()| self.activity.transferred())
            .map_err(|cause| RelayError::new(cause, self.activity.transferred()))
    }

    fn poll(&mut self, cx: &mut Context<'_>, timer: Pin<&mut Sleep>) -> Poll<Result<(), Cause>> {
        let mut again = self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
        let mut moved = false;
        let mut ended = self.poll_pumps(cx, again, &mut moved)?;
        if again && !moved {
            again = false;
            ended = self.poll_pumps(cx, again, &mut moved)?;
        }
        if moved {
            self.moments.last_byte = Instant::now();
            self.activity.note_move(self.moments.last_byte);
        }
        let (up, down) = &mut ended;
        if self.watch.is_some() {
            self.poll_watch(cx, up, down)?;
        }
        if ended == (Poll::Ready(()), Poll::Ready(())) {
            return Poll::Ready(match self.unwritable.take() {
                Some((side, source)) => Err(Cause::Write { side, source }),
                None => Ok(()),
            });
        }
        if let Poll::Ready(ended) = self.poll_timer(cx, timer, again) {
            return Poll::Ready(ended);
        }
        if !has_budget_remaining() {
            self.waker = None;
        } else if !again {
            self.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Whether each direction has ended: the one from the client, and the one from the upstream.
    ///
    /// Most polls are for one direction, and the waker of the other is where it was: `again` says so of both.
    fn poll_pumps(
        &mut self,
        cx: &mut Context<'_>,
        again: bool,
        moved: &mut bool,
    ) -> Result<(Poll<()>, Poll<()>), Cause> {
        let up = match self.up.poll(cx, &mut self.client, &mut self.upstream, again, moved) {
            Poll::Ready(outcome) => Poll::Ready(self.conclude(outcome, Side::Client)?),
            Poll::Pending => Poll::Pending,
        };
        let down = match self.down.poll(cx, &mut self.upstream, &mut self.client, again, moved) {
            Poll::Ready(outcome) => Poll::Ready(self.conclude(outcome, Side::Upstream)?),
            Poll::Pending => Poll::Pending,
        };
        Ok((up, down))
    }

    /// Decides what the outcome of the pump that reads from `side` means for the connection.
    ///
    /// `Ok` means that the direction from `side` has ended. Later polls of the connection report it again.
    fn conclude(&mut self, outcome: Result<(), PumpError>, side: Side) -> Result<(), Cause> {
        match outcome {
            Ok(()) => Ok(()),
            Err(PumpError::Read(source)) => Err(self.reset(side, source)),
            Err(PumpError::Write(source)) => {
                let (pump, opposite, other) = match side {
                    Side::Client => (&mut self.up, &mut self.down, Side::Upstream),
                    Side::Upstream => (&mut self.down, &mut self.up, Side::Client),
                };
                pump.stop();
                // A socket reports an error only once: after a failed write, the next read sees an end of stream.
                // A broken pipe means that the peer had already closed its direction, so that end is a clean one.
                let is_clean = source.kind() == io::ErrorKind::BrokenPipe;
                if !is_clean {
                    opposite.break_source();
                }
                let abandoned = !is_clean && other == Side::Client && self.up.waits();
                let (side, source) = self.unwritable.take().unwrap_or((other, source));
                if abandoned {
                    self.reset_both();
                    return Err(Cause::Write { side, source });
                }
                self.unwritable = Some((side, source));
                Ok(())
            }
        }
    }

    /// A side was reset, so both are.
    fn reset(&mut self, side: Side, source: io::Error) -> Cause {
        self.reset_both();
        match self.unwritable.take() {
            Some((side, source)) => Cause::Write { side, source },
            None => Cause::Read { side, source },
        }
    }

    fn reset_both(&mut self) {
        self.client.reset_on_close();
        self.upstream.reset_on_close();
    }

    /// The side that nobody reads from, if its hang-up would not be noticed otherwise.
    ///
    /// Bytes of the upstream that wait for the client are delivered even if the upstream has reset the connection after
    /// them. The client's are worth nothing without the client.
    fn unread(&self) -> Option<Side> {
        if self.up.has_ended() || self.up.waits() {
            (!self.down.is_blocked() && !self.client_closed).then_some(Side::Client)
        } else {
            self.down.has_ended().then_some(Side::Upstream)
        }
    }

    /// Waits until the watched side hangs up. If that is no reset, only the direction to it ends.
    fn poll_watch(
        &mut self,
        cx: &mut Context<'_>,
        up: &mut Poll<()>,
        down: &mut Poll<()>,
    ) -> Result<(), Cause> {
        let (unread, side) = (self.unread(), self.watched);
        let Some(watch) = self.watch.as_mut().filter(|_| unread == Some(side)) else {
            self.watch = None;
            return Ok(());
        };
        let Poll::Ready(hung_up) = watch.poll(cx) else { return Ok(()) };
        self.watch = None;
        hung_up.map_err(|source| self.reset(side, source))?;
        self.client_closed |= side == Side::Client;
        let (pump, from, ended) = match side {
            Side::Client => (&mut self.down, &mut self.upstream as &mut dyn AsyncStream, down),
            Side::Upstream => (&mut self.up, &mut self.client as &mut dyn AsyncStream, up),
        };
        if pump.lacks_bytes(from) {
            self.unwritable.get_or_insert((side, io::ErrorKind::BrokenPipe.into()));
        }
        pump.stop();
        *ended = Poll::Ready(());
        Ok(())
    }

    /// Starts a watch when one is due. Ready at a timeout, or with the error of the last write before it.
    fn poll_timer(
        &mut self,
        cx: &mut Context<'_>,
        mut timer: Pin<&mut Sleep>,
        mut again: bool,
    ) -> Poll<Result<(), Cause>> {
        let mut earliest = timer.deadline();
        if !self.fires_soon && self.watch.is_none() && self.unread().is_some() {
            self.fires_soon = true;
            earliest = earliest.min(Instant::now() + UNREAD);
        }
        if self.note_quiet() {
            let now = Instant::now();
            earliest = earliest.min(self.moments.next(self.config, now).unwrap_or(now));
        }
        if earliest < timer.deadline() {
            timer.as_mut().reset(earliest);
            again = false;
        }
        if again && !timer.is_elapsed() {
            return Poll::Pending;
        }
        while timer.as_mut().poll(cx).is_ready() {
            self.fires_soon = false;
            let now = Instant::now();
            if self.watch.is_none()
                && let Some(side) = self.unread()
            {
                self.watched = side;
                self.watch = match side {
                    Side::Client => self.client.hang_up(),
                    Side::Upstream => self.upstream.hang_up(),
                };
                cx.waker().wake_by_ref();
            }
            let mut next = match self.moments.next(self.config, now) {
                Ok(next) => next,
                Err((timeout, after)) => {
                    if let Some(cause) = self.expired(cx, timeout, after)? {
                        return Poll::Ready(Err(cause));
                    }
                    self.moments.restart(timeout, now);
                    cx.waker().wake_by_ref();
                    now + UNREAD
                }
            };
            if self.watch.is_none() && self.unread().is_some() {
                self.fires_soon = true;
                next = next.min(now + RETRY);
            }
            timer.as_mut().reset(next);
        }
        Poll::Pending
    }

    /// Whether something has begun that has a timeout of its own.
    #[inline]
    fn note_quiet(&mut self) -> bool {
        if self.config.half_closed_timeout.is_none() && self.config.stalled_timeout.is_none() {
            return false;
        }
        self.moments.note(
            self.config,
            Now {
                half_closed: self.up.has_ended() != self.down.has_ended(),
                client_stalls: self.down.is_stalled(),
                upstream_stalls: self.up.is_stalled(),
                client_took: self.down.has_moved(),
                upstream_took: self.up.has_moved(),
            },
        )
    }

    /// Why the connection ends at this timeout. `None` if a peer is not to blame after all.
    #[cold]
    fn expired(
        &mut self,
        cx: &mut Context<'_>,
        timeout: Timeout,
        after: Duration,
    ) -> Result<Option<Cause>, Cause> {
        Ok(match timeout {
            Timeout::Lifetime => Some(Cause::Lifetime { after }),
            Timeout::Stalled(side) => (!self.try_write(cx, side)?).then_some(Cause::Stalled { after, side }),
            Timeout::HalfClosed => self.is_idle(cx)?.then(|| Cause::HalfClosed { after, side: self.quiet() }),
            Timeout::Idle => self.is_idle(cx)?.then(|| self.idle(after)),
        })
    }

    /// Of a half-closed connection, the side that sends nothing, or takes nothing.
    fn quiet(&self) -> Side {
        let (open, from, to) = if self.up.has_ended() {
            (&self.down, Side::Upstream, Side::Client)
        } else {
            (&self.up, Side::Client, Side::Upstream)
        };
        if open.is_stalled() { to } else { from }
    }

    fn idle(&self, after: Duration) -> Cause {
        let stalled = match (self.down.is_blocked(), self.up.is_blocked()) {
            (true, _) => Some(Side::Client),
            (false, true) => Some(Side::Upstream),
            (false, false) => None,
        };
        Cause::Idle { after, stalled }
    }

    /// Whether the peers are to blame that no byte was relayed: none waits for our memory, and a last attempt to write
    /// fails.
    fn is_idle(&mut self, cx: &mut Context<'_>) -> Result<bool, Cause> {
        let wrote = [self.try_write(cx, Side::Upstream)?, self.try_write(cx, Side::Client)?];
        let waits = self.up.is_waiting_for_memory() || self.down.is_waiting_for_memory();
        Ok(!waits && wrote == [false, false])
    }

    /// Tries to write what waits for this side. Returns whether that changed anything: it took a byte, or failed in a way that
    /// ends one direction only, which the next poll sees.
    fn try_write(&mut self, cx: &mut Context<'_>, to: Side) -> Result<bool, Cause> {
        let (wrote, from) = match to {
            Side::Upstream => (self.up.try_write(cx, &mut self.client, &mut self.upstream), Side::Client),
            Side::Client => (self.down.try_write(cx, &mut self.upstream, &mut self.client), Side::Upstream),
        };
        wrote.or_else(|error| self.conclude(Err(error), from).map(|()| true))
    }
}

/// However a connection ends, only a side that got all from the other sees a clean end of stream. A source that has not
/// ended may be in the middle of an answer, even if none of its bytes is under way.
impl<C: AsyncStream, U: AsyncStream> Drop for Pair<'_, C, U> {
    fn drop(&mut self) {
        if !self.up.is_complete() {
            self.upstream.reset_on_close();
        }
        if !self.down.is_complete() {
            self.client.reset_on_close();
        }
    }
}
