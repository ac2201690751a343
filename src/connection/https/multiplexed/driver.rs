//! Reads and writes a connection. It is polled by one task, which lives as long as the connection.

use std::fmt::Display;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, Connection};
use tokio::time::{Instant, Sleep, sleep};

use super::super::config::{Http2Windows, HttpsConfig};
use super::super::error::{HttpsError, HttpsErrorKind};
use super::super::wire::Wire;
use super::client::{Client, Link, Phase};
use super::pings::{Found, Pings};
use super::tap::{Tap, Tapped, WINDOW};
use crate::sync::{Arc, Mutex};

/// How many streams there may be before the server has said so. No server says this.
const UNKNOWN: usize = usize::MAX - 1;

/// How long a connection without a stream must be silent to be put to rest. What many connections hold at once that are used
/// one after the other grows with it, and glibc keeps that: with 100 ms, a hundred of them took 37 KiB each for good after
/// 1 MiB, with 10 ms 19.
const REST: Duration = Duration::from_millis(10);

/// How long a connection that cannot rest waits to look again.
const AGAIN: Duration = Duration::from_secs(1);

/// How long the end of a connection may take after its last stream: a GOAWAY is written, and what was to be written before. A
/// server that does not read would let it wait for as long as its kernel answers, and nobody needs the connection any more. A
/// server that reads too slowly for this time does not get all of it.
const GOODBYE: Duration = Duration::from_secs(5);

/// Drives a connection.
pub(in super::super) struct Driver {
    link: Arc<Link>,
    /// `None` at rest.
    live: Option<Box<Live>>,
    max_header_bytes: u32,
    windows: Windows,
    pings: Option<Box<Pings>>,
    is_retired: bool,
    /// When its end has taken too long, if it has begun.
    end: Option<Pin<Box<Sleep>>>,
}

#[derive(Clone, Copy)]
struct Windows {
    stream: u32,
    connection: u32,
}

/// What there is while a connection has streams, and for a while after.
struct Live {
    connection: Connection<Tap, Bytes>,
    /// The window of the connection that h2 knows.
    target: u32,
    look: Pin<Box<Sleep>>,
    /// Since when there is no stream and nothing passes, and the bytes in both directions until then.
    idle_since: Option<(Instant, u64)>,
    /// How much larger the window is made, so that another h2 can have it.
    more: u32,
}

/// What a poll of the driver found.
#[derive(Default)]
pub(in super::super) struct Observed {
    /// The streams that the server allows now, once it has said so.
    pub(in super::super) allowed: Option<usize>,
    /// The bytes received so far.
    pub(in super::super) received: u64,
    /// It takes no more requests, for this reason.
    pub(in super::super) retired: Option<Result<(), HttpsError>>,
    /// It is closed.
    pub(in super::super) is_closed: bool,
}

/// Begins HTTP/2, and waits for the server's settings: only then it is known how many streams it allows, and that it speaks
/// HTTP/2 at all.
pub(in super::super) async fn begin(
    wire: Wire,
    config: &HttpsConfig,
) -> Result<(Client, Driver, usize), HttpsError> {
    let windows = match config.windows {
        Http2Windows::Fixed { stream, connection } => Windows { stream, connection },
        Http2Windows::Adaptive => Windows { stream: WINDOW, connection: 2 * WINDOW },
    };
    let tap = Arc::new(Mutex::new(Tapped::new(wire)));
    let builder = builder(windows.stream, windows.connection, config.max_header_bytes);
    let (sender, connection) = builder.handshake(Tap(Arc::clone(&tap))).await.map_err(HttpsError::of_h2)?;
    let link = Arc::new(Link::new(tap, sender));
    let client = Client::new(Arc::clone(&link));
    let mut driver = Driver {
        link,
        live: None,
        max_header_bytes: config.max_header_bytes,
        windows,
        pings: Pings::new(config),
        is_retired: false,
        end: None,
    };
    driver.take_up(connection, windows.connection);
    let allowed = poll_fn(|cx| {
        let observed = driver.observe(cx);
        match (observed.allowed, observed.retired) {
            (_, Some(ended)) => Poll::Ready(Err(ended.err().unwrap_or_else(closed_early))),
            (Some(allowed), None) => Poll::Ready(Ok(allowed)),
            (None, None) => Poll::Pending,
        }
    })
    .await?;
    Ok((client, driver, allowed))
}

fn closed(retired: Result<(), HttpsError>) -> Observed {
    Observed { retired: Some(retired), is_closed: true, ..Observed::default() }
}

/// The server closed the connection where its settings should be.
fn closed_early() -> HttpsError {
    HttpsError::new(HttpsErrorKind::Incomplete).because(io::Error::from(io::ErrorKind::UnexpectedEof))
}

fn builder(stream: u32, connection: u32, max_header_bytes: u32) -> Builder {
    let mut builder = Builder::new();
    builder
        .initial_window_size(stream)
        .initial_connection_window_size(connection)
        .initial_max_send_streams(UNKNOWN)
        .max_header_list_size(max_header_bytes)
        // Another h2 would not know the entries that the server refers to.
        .header_table_size(0)
        .enable_push(false);
    builder
}

impl Driver {
    /// Drives the connection to its end. What it logs names the server.
    pub(in super::super) async fn run(mut self, server: impl Display) {
        poll_fn(|cx| {
            let observed = self.observe(cx);
            if let Some(Err(error)) = observed.retired {
                // Requests under way have failed with it, too.
                let error = error.named(&server);
                tracing::debug!(error = &error as &dyn std::error::Error, "an HTTP/2 connection ends");
            }
            if observed.is_closed { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// One step, and what it found.
    pub(in super::super) fn observe(&mut self, cx: &mut Context<'_>) -> Observed {
        let held = self.link.driven_by(cx.waker());
        if self.live.is_none() && !self.is_called(cx) {
            return Observed::default();
        }
        let mut observed = self.drive(cx, held);
        if let Some(retired) = &observed.retired {
            self.link.retire(retired.as_ref().err());
            if std::mem::replace(&mut self.is_retired, true) {
                observed.retired = None;
            }
        }
        observed
    }

    /// Whether a connection at rest has to go on.
    fn is_called(&mut self, cx: &mut Context<'_>) -> bool {
        let is_due = self.pings.as_mut().is_some_and(|pings| pings.poll_at_rest(cx).is_ready());
        // Its end is heard once more by h2.
        is_due || self.link.is_wanted() || self.link.tap.lock().listen(cx).is_ready()
    }

    fn drive(&mut self, cx: &mut Context<'_>, held: u32) -> Observed {
        if self.live.is_none()
            && let Err(error) = self.begin_again(cx)
        {
            return closed(Err(error));
        }
        let Some(live) = &mut self.live else { return Observed::default() };
        let received = self.link.tap.lock().bytes_received();
        let mut late = None;
        if let Some(pings) = &mut self.pings {
            match pings.poll(cx, received, &self.link) {
                Found::Nothing => {}
                Found::Window(window) => {
                    // It fails while the last change is not acknowledged.
                    if live.connection.set_initial_window_size(window).is_ok() {
                        self.windows = Windows { stream: window, connection: window.max(2 * WINDOW) };
                    }
                }
                Found::Late(after) => {
                    late = Some(HttpsError::new(HttpsErrorKind::HealthTimeout { after }));
                }
                Found::Silence => {
                    self.link.give_up();
                    let error = HttpsError::new(HttpsErrorKind::PingTimeout);
                    return closed(Err(error));
                }
            }
        }
        let target =
            self.windows.connection.saturating_add(held).saturating_add(live.more).min(u32::MAX >> 1);
        if target != live.target {
            live.target = target;
            live.connection.set_target_window_size(target);
        }
        if let Poll::Ready(ended) = Pin::new(&mut live.connection).poll(cx) {
            return closed(ended.map_err(HttpsError::of_h2));
        }
        if self.link.is_ending() {
            let end = self.end.get_or_insert_with(|| Box::pin(sleep(GOODBYE)));
            if end.as_mut().poll(cx).is_ready() {
                return closed(Err(HttpsError::new(HttpsErrorKind::Closed)));
            }
        }
        let allowed =
            Some(live.connection.max_concurrent_send_streams()).filter(|&allowed| allowed != UNKNOWN);
        let is_used_up =
            || self.link.tap.lock().is_used_up().then(|| HttpsError::new(HttpsErrorKind::Closed));
        let retired = late.or_else(|| self.link.poll_retired(cx)).or_else(is_used_up).map(Err);
        self.look(cx);
        Observed { allowed, received, retired, is_closed: false }
    }

    fn take_up(&mut self, mut connection: Connection<Tap, Bytes>, target: u32) {
        if let Some(pings) = &mut self.pings {
            pings.on(connection.ping_pong());
        }
        let look = Box::pin(sleep(REST));
        self.live = Some(Box::new(Live { connection, target, look, idle_since: None, more: 0 }));
    }

    /// Puts the connection to rest when nothing has passed for a while.
    fn look(&mut self, cx: &mut Context<'_>) {
        let Some(live) = &mut self.live else { return };
        let now = Instant::now();
        if self.link.is_busy() {
            live.idle_since = None;
            live.more = 0;
            return;
        }
        let tap = self.link.tap.lock();
        let (bytes, is_at_rest, can_be_told) = (tap.bytes(), tap.is_at_rest(), tap.can_be_told());
        drop(tap);
        if live.idle_since.is_none_or(|(_, before)| before != bytes) {
            live.idle_since = Some((now, bytes));
        }
        let Some((since, _)) = live.idle_since else { return };
        while live.look.as_mut().poll(cx).is_ready() {
            let is_pinged = self.pings.as_ref().is_some_and(|pings| pings.is_waiting());
            if now >= since + REST && is_at_rest && !is_pinged && self.link.rest() {
                self.live = None;
                // Whoever asked in between.
                cx.waker().wake_by_ref();
                return;
            }
            if now >= since + REST && !can_be_told && live.more == 0 {
                live.more = WINDOW;
                cx.waker().wake_by_ref();
            }
            let next = if now >= since + REST { now + AGAIN } else { since + REST };
            live.look.as_mut().reset(next);
        }
    }

    /// Makes another h2 on the same wire.
    fn begin_again(&mut self, cx: &mut Context<'_>) -> Result<(), HttpsError> {
        let failed = || HttpsError::new(HttpsErrorKind::Closed);
        let (has_streamed, window, deficit) = {
            let mut tap = self.link.tap.lock();
            tap.begin_replay();
            (tap.has_streamed(), tap.window(), tap.deficit())
        };
        let builder = builder(self.windows.stream, window, self.max_header_bytes);
        let begun = pin!(builder.handshake(Tap(Arc::clone(&self.link.tap))));
        // The tap takes everything at once.
        let Poll::Ready(begun) = begun.poll(&mut Context::from_waker(Waker::noop())) else {
            return Err(failed());
        };
        let (mut sender, mut connection) = begun.map_err(HttpsError::of_h2)?;
        let mut play = || match Pin::new(&mut connection).poll(cx) {
            Poll::Ready(ended) => Err(ended.err().map_or_else(failed, HttpsError::of_h2)),
            Poll::Pending => Ok(()),
        };
        play()?;
        if has_streamed {
            self.link.pass_first(&mut sender, deficit, &mut play)?;
        }
        self.link.tap.lock().replayed_late();
        play()?;
        if !self.link.tap.lock().end_replay() {
            return Err(failed());
        }
        self.take_up(connection, window);
        self.link.enter(Phase::Live(sender));
        Ok(())
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.link.close();
    }
}

#[cfg(test)]
mod tests;
