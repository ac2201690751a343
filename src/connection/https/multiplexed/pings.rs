//! Pings: a silent server is found out, health checks are answered, and adaptive windows grow with what the connection can
//! carry.

use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use h2::PingPong;
use tokio::time::{Sleep, sleep};

use super::super::config::{HealthCheck, Http2Windows, HttpsConfig, Ping};
use super::client::Link;
use super::tap::WINDOW;

/// The largest window that grows by itself, and how often it may double.
const LARGEST: u32 = 16 * 1024 * 1024;
const PACE: Duration = Duration::from_millis(100);

pub(super) struct Pings {
    keep_alive: Option<(Ping, Pin<Box<Sleep>>)>,
    /// How long the server may be silent before it answers a health check, the end of that, and whether it was seen.
    health_timeout: Duration,
    late: Option<(Pin<Box<Sleep>>, bool)>,
    /// The adaptive window.
    window: Option<u32>,
    channel: Option<PingPong>,
    sent: Option<Sent>,
    last_sent: Option<Instant>,
    received: u64,
    heard: Instant,
}

/// A ping without its answer.
struct Sent {
    at: Instant,
    received: u64,
    /// Whether a health check waits for the answer.
    is_check: bool,
    /// Whether its end was seen.
    is_late: bool,
}

pub(super) enum Found {
    Nothing,
    /// Both windows should be this large.
    Window(u32),
    /// The server does not answer a health check. Its streams may yet come to their end.
    Late(Duration),
    /// The server does not answer.
    Silence,
}

impl Pings {
    /// `None` if the settings need no pings.
    pub(super) fn new(config: &HttpsConfig) -> Option<Box<Self>> {
        let keep_alive = config.ping.map(|ping| (ping, Box::pin(sleep(ping.interval))));
        let window = matches!(config.windows, Http2Windows::Adaptive).then_some(WINDOW);
        // Where requests share a connection, `Head` is a ping, too.
        let checks = config.health_check != HealthCheck::Known;
        (keep_alive.is_some() || window.is_some() || checks).then(|| {
            Box::new(Self {
                keep_alive,
                health_timeout: config.health_timeout,
                late: None,
                window,
                channel: None,
                sent: None,
                last_sent: None,
                received: 0,
                heard: Instant::now(),
            })
        })
    }

    /// There is another h2.
    pub(super) fn on(&mut self, channel: Option<PingPong>) {
        self.channel = channel;
        self.sent = None;
    }

    /// Whether an answer is missing.
    pub(super) fn is_waiting(&self) -> bool {
        self.sent.is_some()
    }

    /// Waits until a connection at rest should be pinged.
    pub(super) fn poll_at_rest(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.keep_alive {
            Some((ping, timer)) if ping.while_idle => timer.as_mut().poll(cx),
            _ => Poll::Pending,
        }
    }

    /// `received` are the bytes so far.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, received: u64, link: &Link) -> Found {
        if link.stops_pings() {
            (self.keep_alive, self.window) = (None, None);
        }
        let is_busy = link.is_busy();
        let now = Instant::now();
        let has_heard = received != self.received;
        if has_heard {
            (self.received, self.heard) = (received, now);
            // The ping may be behind much else that is sent. Who sends anything is there.
            self.late = None;
            self.sent.iter_mut().for_each(|sent| sent.is_late = false);
        }
        let found = self.poll_pong(cx, now, link);
        // An answer to an earlier ping may be older than the question.
        if self.sent.is_none() && link.is_asked() {
            self.send(cx, now);
            if let Some(sent) = &mut self.sent {
                sent.is_check = true;
                link.on_ping();
            }
        }
        if self.window.is_some_and(|window| window < LARGEST)
            && has_heard
            && is_busy
            && self.last_sent.is_none_or(|at| now.duration_since(at) >= PACE)
        {
            self.send(cx, now);
        }
        if self.is_silent(cx, now, is_busy) {
            Found::Silence
        } else if self.is_late(cx, link) {
            Found::Late(self.health_timeout)
        } else {
            found
        }
    }

    fn poll_pong(&mut self, cx: &mut Context<'_>, now: Instant, link: &Link) -> Found {
        let (Some(sent), Some(channel)) = (&self.sent, &mut self.channel) else { return Found::Nothing };
        if !matches!(channel.poll_pong(cx), Poll::Ready(Ok(_))) {
            return Found::Nothing;
        }
        let bytes = self.received - sent.received;
        if sent.is_check {
            link.on_pong();
            self.late = None;
        }
        tracing::trace!(bytes, time = ?now.duration_since(sent.at), "a ping was answered");
        self.sent = None;
        if let Some((ping, timer)) = &mut self.keep_alive {
            timer.as_mut().reset((self.heard + ping.interval).into());
        }
        match &mut self.window {
            // As much as two thirds of the window in one round trip: it may be what holds the server up.
            Some(window) if bytes.saturating_mul(3) >= u64::from(*window) * 2 => {
                *window = u32::try_from(bytes * 2).unwrap_or(LARGEST).clamp(*window, LARGEST);
                Found::Window(*window)
            }
            _ => Found::Nothing,
        }
    }

    fn send(&mut self, cx: &mut Context<'_>, now: Instant) {
        if self.sent.is_none()
            && let Some(channel) = &mut self.channel
            && channel.send_ping(h2::Ping::opaque()).is_ok()
        {
            self.sent = Some(Sent { at: now, received: self.received, is_check: false, is_late: false });
            self.last_sent = Some(now);
            // There is no answer yet. It may be read before the next poll, and must wake this task.
            let _ = channel.poll_pong(cx);
        }
    }

    fn is_silent(&mut self, cx: &mut Context<'_>, now: Instant, is_busy: bool) -> bool {
        let Some((ping, mut timer)) = self.keep_alive.take() else { return false };
        let mut is_silent = false;
        while !is_silent && timer.as_mut().poll(cx).is_ready() {
            let mut due = self.due(&ping);
            if due <= now {
                match &mut self.sent {
                    // The answer may be there, and unread, because this task did not run for that long.
                    Some(sent) => is_silent = mem::replace(&mut sent.is_late, true),
                    None if is_busy || ping.while_idle => self.send(cx, now),
                    None => self.heard = now,
                }
                due = self.due(&ping);
            }
            timer.as_mut().reset(due.max(now + Duration::from_millis(1)).into());
        }
        self.keep_alive = Some((ping, timer));
        is_silent
    }

    /// Who asked may have gone: the next one shall not wait as long for this connection.
    fn is_late(&mut self, cx: &mut Context<'_>, link: &Link) -> bool {
        if !link.is_unanswered() {
            return false;
        }
        let (end, is_seen) = self.late.get_or_insert_with(|| (Box::pin(sleep(self.health_timeout)), false));
        if end.as_mut().poll(cx).is_pending() {
            return false;
        }
        // The answer may be there, and unread, because this task did not run for that long.
        if !mem::replace(is_seen, true) {
            cx.waker().wake_by_ref();
            return false;
        }
        true
    }

    /// When the server has been silent for too long.
    fn due(&self, ping: &Ping) -> Instant {
        self.sent.as_ref().map_or(self.heard + ping.interval, |sent| sent.at.max(self.heard) + ping.timeout)
    }
}
