//! The tasks of a pool: a connect, the driver of a connection, and the look after all of them.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, Sleep, sleep, timeout};
use tracing::Instrument;

use super::super::connection::Facts;
use super::super::error::{ConnectPhase, HttpsError, HttpsErrorKind};
use super::super::manager::Dialed;
use super::super::multiplexed::{self, Client, Driver};
use super::config::StalledReader;
use super::reader::{Reader, Verdict};
use super::shared::Shared;
use crate::connection::clock::millis;
use crate::connection::pool::caught;
use crate::sync::{Arc, Weak};

/// How long data may wait before its reader counts as away, and the others get what it holds of the window. The clock is
/// coarse.
const GRACE: Duration = Duration::from_millis(20);

impl Shared {
    /// Begins a connect as a task of its own: who waits for it may be cancelled.
    pub(super) fn connect(self: &Arc<Self>) {
        let connecting = Connecting(Some(Arc::clone(self)));
        // A body may be dropped where there is none.
        if let Ok(runtime) = Handle::try_current() {
            // A part of what asks for it.
            runtime.spawn(connecting.run().in_current_span());
        }
    }

    /// Looks after the connections and their readers until there is no connection.
    pub(super) fn watch(self: &Arc<Self>) {
        let (pool, busy) = (Arc::downgrade(self), Arc::clone(&self.busy));
        let (slow, fast) = self.config.ticks();
        tokio::spawn(async move {
            let mut is_busy = true;
            loop {
                if is_busy {
                    sleep(fast).await;
                } else {
                    // A request begins, or it is time.
                    let _ = timeout(slow, busy.notified()).await;
                }
                let Some(pool) = pool.upgrade() else { return };
                let Some(readers) = pool.look() else { return };
                is_busy = !readers.is_empty();
                readers.into_iter().for_each(|reader| pool.examine(reader));
            }
        });
    }

    fn examine(self: &Arc<Self>, reader: Arc<Reader>) {
        let stalled = &self.config.stalled_reader;
        let spill = match stalled {
            StalledReader::Reset { .. } => None,
            StalledReader::Spill { buffers, .. } => Some(buffers),
        };
        match (reader.examine(millis(stalled.after()), spill.is_some()), spill) {
            (Verdict::Reset, _) => self.on_stalled_reset(&reader),
            (Verdict::Spill, Some(buffers)) => {
                self.count(|statistics| statistics.spills += 1);
                let (pool, buffers) = (Arc::downgrade(self), buffers.clone());
                tokio::spawn(async move {
                    let was_reset = reader.spill(&buffers).await;
                    if was_reset && let Some(pool) = pool.upgrade() {
                        pool.on_stalled_reset(&reader);
                    }
                });
            }
            _ => {}
        }
    }

    /// A stream was reset because nobody read it. Its reader may never hear of that.
    fn on_stalled_reset(&self, reader: &Reader) {
        self.count_error(reader, &self.stalled());
        self.count(|statistics| statistics.stalled_resets += 1);
    }

    /// What a reader hears whose stream was reset.
    pub(super) fn stalled(&self) -> HttpsErrorKind {
        HttpsErrorKind::ReaderStalled { after: self.config.stalled_reader.after() }
    }
}

/// A connect that is under way. It may be dropped before its end, by a pool that closes, or a runtime that shuts down.
struct Connecting(Option<Arc<Shared>>);

impl Connecting {
    async fn run(mut self) {
        let Some(pool) = &self.0 else { return };
        let generation = pool.next_generation();
        let started = Instant::now();
        let made = tokio::select! {
            // Nobody waits for it any more, and closing the pool must not wait for it either.
            () = pool.closing.cancelled() => return,
            made = caught(make(pool)) => made,
        };
        let Some(pool) = self.0.take() else { return };
        match made {
            Some(Ok((client, driver, allowed, facts))) => {
                pool.counters.on_created(Some(started.elapsed()));
                pool.install(generation, client, allowed, facts);
                let pool = Arc::downgrade(&pool);
                let unread = Box::pin(sleep(GRACE));
                tokio::spawn(Driving {
                    driver,
                    pool,
                    generation,
                    allowed,
                    received: 0,
                    unread,
                    is_armed: false,
                });
            }
            Some(Err(error)) => pool.fail(error),
            None => {
                let error = HttpsError::new(HttpsErrorKind::ConnectPanicked).named(pool.manager.origin());
                pool.manager.on_failed(&error);
                pool.fail(error);
            }
        }
    }
}

impl Drop for Connecting {
    fn drop(&mut self) {
        if let Some(pool) = self.0.take() {
            pool.abandon();
        }
    }
}

async fn make(pool: &Shared) -> Result<(Client, Driver, usize, Facts), HttpsError> {
    let manager = &pool.manager;
    let named = |error: HttpsError| error.named(manager.origin());
    let dialed = manager.dial(None).await.map_err(named)?;
    if !dialed.is_http2
        && let Some(http1) = &pool.http1
    {
        http1.take_over(dialed);
        return Err(named(HttpsError::new(HttpsErrorKind::WrongVersion).in_phase(ConnectPhase::Http)));
    }
    let Dialed { wire, facts, connecting: _connecting, .. } = dialed;
    let begun =
        manager.in_time(ConnectPhase::Http, multiplexed::begin(wire, manager.config())).await.flatten();
    let at = |error: HttpsError| named(error.in_phase(ConnectPhase::Http).at(facts.remote_address));
    let begun = begun.map_err(at).inspect_err(|error| manager.on_failed(error));
    let (client, driver, allowed) = begun?;
    Ok((client, driver, allowed, facts))
}

/// Drives a connection, and tells the pool what the server says. Dropped, as by a runtime that shuts down, the connection is
/// gone.
struct Driving {
    driver: Driver,
    pool: Weak<Shared>,
    generation: u64,
    allowed: usize,
    received: u64,
    /// When to look for responses that nobody reads, if any data came.
    unread: Pin<Box<Sleep>>,
    is_armed: bool,
}

impl Driving {
    fn look(&mut self, cx: &mut Context<'_>) {
        while self.is_armed && self.unread.as_mut().poll(cx).is_ready() {
            let pool = self.pool.upgrade();
            self.is_armed = pool.is_some_and(|pool| pool.widen(self.generation, millis(GRACE) - 5));
            self.unread.as_mut().reset(Instant::now() + GRACE);
        }
    }
}

impl Future for Driving {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let observed = self.driver.observe(cx);
        if observed.received > self.received {
            self.received = observed.received;
            if !std::mem::replace(&mut self.is_armed, true) {
                self.unread.as_mut().reset(Instant::now() + GRACE);
            }
        }
        self.look(cx);
        if let Some(ended) = observed.retired
            && let Some(pool) = self.pool.upgrade()
        {
            let error = ended.err().map(|error| error.named(pool.manager.origin()));
            if let Some(error) = &error {
                tracing::debug!(error = error as &dyn std::error::Error, "an HTTP/2 connection ends");
            }
            pool.retire(self.generation, error.as_ref());
        }
        if let Some(allowed) = observed.allowed
            && allowed != self.allowed
        {
            self.allowed = allowed;
            if let Some(pool) = self.pool.upgrade() {
                pool.allow(self.generation, allowed);
            }
        }
        if observed.is_closed { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for Driving {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.upgrade() {
            pool.gone(self.generation);
        }
    }
}
