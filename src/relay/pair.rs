//! One relayed connection: two streams, two pumps, one timer. `Pair::conclude` sees which side ended or failed.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::task::coop::has_budget_remaining;
use tokio::time::{Instant, Sleep, sleep};

use super::config::RelayConfig;
use super::connections::Activity;
use super::error::{Cause, RelayError, Side};
use super::pump::{Pump, PumpError};
use super::{Shared, Transferred};
use crate::net::{AsyncStream, HangUp};

/// A side that is not read from for this long gets a watch for its hang-up. Most connections end sooner after the first
/// end of a stream, or take more bytes, and the watch costs a descriptor and four system calls.
const UNREAD: Duration = Duration::from_millis(100);
/// The pause until the next attempt if no descriptor is left for a watch, or the stream has none.
const RETRY: Duration = Duration::from_secs(1);
/// A timer that need not fire: a year.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

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
    last_byte: Instant,
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
        let up = Pump::new(&shared.pool, &shared.counters.to_upstream, up);
        let down = Pump::new(&shared.pool, &shared.counters.to_client, down);
        let last_byte = Instant::now();
        activity.note_move(last_byte);
        Self {
            config,
            activity,
            client,
            upstream,
            up,
            down,
            unwritable: None,
            last_byte,
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
        let mut timer = pin!(sleep(self.config.idle_timeout.unwrap_or(NEVER)));
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
            self.last_byte = Instant::now();
            self.activity.note_move(self.last_byte);
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

    /// Starts a watch when one is due. Ready at the idle timeout, or with the error of the last write before it.
    fn poll_timer(
        &mut self,
        cx: &mut Context<'_>,
        mut timer: Pin<&mut Sleep>,
        mut again: bool,
    ) -> Poll<Result<(), Cause>> {
        if !self.fires_soon && self.watch.is_none() && self.unread().is_some() {
            self.fires_soon = true;
            let soon = Instant::now() + UNREAD;
            if soon < timer.deadline() {
                timer.as_mut().reset(soon);
                again = false;
            }
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
            let mut next = now + NEVER;
            if let Some(after) = self.config.idle_timeout
                && let Some(deadline) = self.last_byte.checked_add(after)
            {
                next = deadline;
                if deadline <= now {
                    if self.is_idle(cx)? {
                        return Poll::Ready(Err(self.idle(after)));
                    }
                    self.last_byte = now;
                    next = now + after.max(UNREAD);
                    cx.waker().wake_by_ref();
                }
            }
            if self.watch.is_none() && self.unread().is_some() {
                self.fires_soon = true;
                next = next.min(now + RETRY);
            }
            timer.as_mut().reset(next);
        }
        Poll::Pending
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
        let up = self.up.try_write(cx, &mut self.client, &mut self.upstream);
        let down = self.down.try_write(cx, &mut self.upstream, &mut self.client);
        let mut is_idle = !self.up.is_waiting_for_memory() && !self.down.is_waiting_for_memory();
        for (wrote, side) in [(up, Side::Client), (down, Side::Upstream)] {
            match wrote {
                Ok(wrote) => is_idle &= !wrote,
                Err(error) => {
                    // If that ends one direction only, the next poll sees it.
                    is_idle = false;
                    self.conclude(Err(error), side)?;
                }
            }
        }
        Ok(is_idle)
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
