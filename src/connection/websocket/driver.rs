//! One connection from its handshake to its end: what its task does.

use std::error::Error;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, Sleep, sleep_until, timeout_at};
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{CloseFrame, Frame};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig as Codec, WebSocketContext};
use tokio_tungstenite::tungstenite::{self, Message as Raw};

use super::config::WebSocketConfig;
use super::error::{WebSocketError, WebSocketErrorKind};
use super::link::Link;
use super::message::Message;
use super::wire::{Polled, Wire};
use crate::sync::{Arc, contain};

/// The hook of a connection, while it runs.
pub(super) type Hook = Pin<Box<dyn Future<Output = Result<(), Box<dyn Error + Send + Sync>>> + Send>>;

/// The code of RFC 6455 for a close frame without a code.
const NO_CODE: u16 = 1005;

/// How far away a timer is that nothing waits for, and the end of a limit that is no limit.
const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

pub(super) struct Driver {
    wire: Wire,
    context: WebSocketContext,
    codec: Codec,
    link: Arc<Link>,
    limits: Times,
    piece: usize,
    hook: Option<Hook>,
    hook_deadline: Instant,
    /// What is being written, and how much of it was given to tungstenite.
    current: Option<(Message, usize)>,
    /// So many messages of the hook were given to tungstenite, and are not written whole.
    hook_messages: u64,
    /// tungstenite holds bytes that the stream did not take.
    is_blocked: bool,
    is_unflushed: bool,
    is_paused: bool,
    largest_piece: usize,
    pings_sent: u64,
    /// When something was received last, and how many bytes there were until then.
    heard: (Instant, u64),
    /// When a ping was sent after which nothing was received.
    pinged: Option<Instant>,
    close_deadline: Option<Instant>,
    is_close_sent: bool,
    closed_by_server: Option<u16>,
    timer: Pin<Box<Sleep>>,
}

struct Times {
    ping_interval: Option<Duration>,
    pong_timeout: Duration,
    close_timeout: Duration,
}

impl Driver {
    /// On the heap, because a future holds what is moved through it more than once.
    pub(super) fn new(
        wire: Wire,
        link: Arc<Link>,
        config: &WebSocketConfig,
        hook: Option<Hook>,
    ) -> Box<Self> {
        let (codec, now) = (config.codec(wire.is_buffered()), Instant::now());
        let pings_sent = link.with_state(|state| state.pings_asked);
        Box::new(Self {
            context: WebSocketContext::new(Role::Client, Some(codec)),
            wire,
            codec,
            link,
            limits: Times {
                ping_interval: config.ping_interval,
                pong_timeout: config.pong_timeout,
                close_timeout: config.close_timeout,
            },
            piece: config.max_outgoing_frame.max(1),
            hook,
            hook_deadline: later(now, config.connect_timeout),
            current: None,
            hook_messages: 0,
            is_blocked: false,
            is_unflushed: false,
            is_paused: false,
            largest_piece: 0,
            pings_sent,
            heard: (now, 0),
            pinged: None,
            close_deadline: None,
            is_close_sent: false,
            closed_by_server: None,
            timer: Box::pin(sleep_until(now + FAR)),
        })
    }

    /// Runs until the connection ends, and says why it did.
    pub(super) async fn run(mut self: Box<Self>) -> WebSocketError {
        let error = poll_fn(|cx| self.poll(cx)).await;
        let totals = &self.link.totals;
        totals.bytes_received.add(self.wire.bytes_read);
        totals.bytes_sent.add(self.wire.bytes_written);
        let count = match error.kind() {
            WebSocketErrorKind::ClosedByServer { .. } => &totals.closed_by_server,
            WebSocketErrorKind::Closed | WebSocketErrorKind::CloseTimeout { .. } => &totals.closed,
            WebSocketErrorKind::NoPong { .. } => &totals.no_pong,
            WebSocketErrorKind::Lost | WebSocketErrorKind::Tls => &totals.lost,
            _ => &totals.faults,
        };
        count.add(1);
        let code = error.close_code();
        let is_closed =
            matches!(error.kind(), WebSocketErrorKind::ClosedByServer { .. } | WebSocketErrorKind::Closed);
        if code.is_some() || (is_closed && self.wire.would_reset()) {
            self.hook = None;
            let deadline = later(Instant::now(), self.limits.close_timeout);
            // Nobody waits for it.
            tokio::spawn(async move { timeout_at(deadline, self.part(code)).await });
        }
        error
    }

    /// Tells the server why, if it does not know, and waits until it has closed the stream: what it sent last was not read, so
    /// a close at once would be a reset, which overtakes the close frame.
    async fn part(&mut self, code: Option<u16>) {
        let mut frame = code.map(|code| CloseFrame { code: code.into(), reason: "".into() });
        poll_fn(|cx| {
            let mut stream = Polled(&mut self.wire, cx);
            let closed = match frame.take() {
                Some(frame) => self.context.close(&mut stream, Some(frame)),
                None => self.context.flush(&mut stream),
            };
            match closed {
                Err(error) if is_would_block(&error) => Poll::Pending,
                _ => Poll::Ready(()),
            }
        })
        .await;
        let _ = self.wire.shutdown().await;
        let mut rest = [0; 512];
        while self.wire.read(&mut rest).await.is_ok_and(|count| count > 0) {}
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<WebSocketError> {
        match self.advance(cx) {
            Ok(()) => Poll::Pending,
            Err(error) => Poll::Ready(error),
        }
    }

    /// Does all that can be done now.
    fn advance(&mut self, cx: &mut Context<'_>) -> Result<(), WebSocketError> {
        loop {
            self.link.register(cx);
            if let Some(hook) = &mut self.hook {
                let mut polled = None;
                contain(|| polled = Some(hook.as_mut().poll(cx)));
                if let Poll::Ready(ended) = polled.unwrap_or_else(|| Poll::Ready(Err("it panicked".into()))) {
                    self.hook = None;
                    ended.map_err(|error| self.link.error(WebSocketErrorKind::Hook).because(error))?;
                    self.link.hook_ended();
                }
            }
            // Before the read, which must not stop once this side closes.
            if self.close_deadline.is_none() && self.link.with_state(|state| state.closing.is_some()) {
                self.close_deadline = Some(later(Instant::now(), self.limits.close_timeout));
            }
            let written = self.write(cx);
            self.settle();
            let read = self.read(cx);
            self.settle();
            // What the server has sent says more than the error of a write.
            read.and(written)?;
            self.shrink(cx);
            if !self.look_at_time(cx)? {
                return Ok(());
            }
        }
    }

    fn explain(&self, error: tungstenite::Error) -> WebSocketError {
        match self.closed_by_server {
            Some(_) if self.is_close_sent => self.link.error(WebSocketErrorKind::Closed),
            Some(code) => self.link.error(WebSocketErrorKind::ClosedByServer { code }),
            None => WebSocketError::of_stream(error, &self.link.server),
        }
    }

    fn write(&mut self, cx: &mut Context<'_>) -> Result<(), WebSocketError> {
        loop {
            let frame = if self.is_blocked { None } else { self.next_frame() };
            let mut stream = Polled(&mut self.wire, cx);
            let done = match frame {
                Some(frame) => {
                    self.is_unflushed = true;
                    self.context.write(&mut stream, frame)
                }
                None if self.is_blocked || self.is_unflushed => {
                    let flushed = self.context.flush(&mut stream);
                    if flushed.is_ok() {
                        (self.is_blocked, self.is_unflushed) = (false, false);
                    }
                    flushed
                }
                None => return Ok(()),
            };
            match done {
                Ok(()) => {}
                // What was given to tungstenite it has kept.
                Err(error) if is_would_block(&error) => {
                    self.is_blocked = true;
                    return Ok(());
                }
                Err(error) => return Err(self.explain(error)),
            }
            self.settle();
        }
    }

    /// The next frame to write, if there is one and the connection is not being closed.
    fn next_frame(&mut self) -> Option<Raw> {
        if !self.context.can_write() {
            return None;
        }
        let (pings, closing) = self.link.with_state(|state| (state.pings_asked, state.closing));
        if pings > self.pings_sent {
            self.pings_sent = pings;
            self.link.totals.pings_sent.add(1);
            return Some(Raw::Ping(Bytes::copy_from_slice(&pings.to_be_bytes())));
        }
        if self.current.is_none() {
            let (message, is_hooks, waits) = self.link.with_state(|state| match state.hook_out.pop_front() {
                Some(message) => (Some(message), true, false),
                None if state.is_hook_running => (None, false, state.out.len() > 0),
                None => (state.out.hand(), false, false),
            });
            if waits {
                // A close comes after it, too.
                return None;
            }
            self.hook_messages += u64::from(is_hooks);
            self.current = message.map(|message| (message, 0));
        }
        match (self.current.take(), closing) {
            (Some((message, at)), _) => Some(self.piece(message, at)),
            (None, Some(code)) => {
                self.is_close_sent = true;
                Some(Raw::Close(Some(CloseFrame { code: code.into(), reason: "".into() })))
            }
            (None, None) => None,
        }
    }

    /// A frame with what of the message begins at `at`, as much as one frame may hold.
    fn piece(&mut self, message: Message, at: usize) -> Raw {
        let code = match (&message, at) {
            (_, 1..) => Data::Continue,
            (Message::Text(_), 0) => Data::Text,
            (Message::Binary(_), 0) => Data::Binary,
        };
        let whole = message.clone().into_bytes();
        let end = whole.len().min(at.saturating_add(self.piece));
        let is_final = end == whole.len();
        let frame = Frame::message(whole.slice(at..end), OpCode::Data(code), is_final);
        self.largest_piece = self.largest_piece.max(end - at);
        if !is_final {
            self.current = Some((message, end));
        }
        Raw::Frame(frame)
    }

    /// Takes what was written whole out of the queue.
    fn settle(&mut self) {
        let messages = self.wire.writing.take_messages();
        let of_hook = messages.min(self.hook_messages);
        self.hook_messages -= of_hook;
        if of_hook > 0 {
            self.link.totals.messages_sent.add(of_hook);
        }
        if messages > of_hook {
            self.link.written(messages - of_hook);
        }
    }

    fn read(&mut self, cx: &mut Context<'_>) -> Result<(), WebSocketError> {
        loop {
            let is_full = self.link.must_pause();
            // Who closes has taken what it wants; the server's answer is behind the rest.
            self.is_paused = is_full && self.close_deadline.is_none();
            if self.is_paused {
                return Ok(());
            }
            let link = &self.link;
            match self.context.read(&mut Polled(&mut self.wire, cx)) {
                Ok(Raw::Text(_) | Raw::Binary(_)) if is_full => link.totals.messages_dropped.add(1),
                Ok(Raw::Text(text)) => link.deliver(Message::Text(text)),
                Ok(Raw::Binary(bytes)) => link.deliver(Message::Binary(bytes)),
                Ok(Raw::Ping(_)) => link.totals.pings_received.add(1),
                Ok(Raw::Pong(token)) => {
                    link.totals.pongs_received.add(1);
                    // Others are no answers: a server may send pongs on its own.
                    if let Ok(token) = <[u8; 8]>::try_from(&*token) {
                        link.pong(u64::from_be_bytes(token).min(self.pings_sent));
                    }
                }
                Ok(Raw::Close(frame)) => {
                    link.ending();
                    self.closed_by_server = Some(frame.map_or(NO_CODE, |frame| frame.code.into()));
                    let timeout = self.limits.close_timeout;
                    self.close_deadline.get_or_insert_with(|| later(Instant::now(), timeout));
                }
                Ok(Raw::Frame(_)) => {}
                Err(error) if is_would_block(&error) => return Ok(()),
                Err(error) => return Err(self.explain(error)),
            }
        }
    }

    /// Gives back what large frames have left of buffers, once nothing is under way.
    fn shrink(&mut self, cx: &mut Context<'_>) {
        let buffer = self.codec.read_buffer_size;
        let is_grown = self.wire.reading.largest() > buffer as u64 || self.largest_piece > buffer;
        let is_at_rest = self.current.is_none()
            && !self.is_blocked
            && !self.is_unflushed
            && !self.is_paused
            && self.context.can_write()
            && self.wire.reading.is_between_messages();
        if !is_grown || !is_at_rest {
            return;
        }
        // An answer to a ping may wait for room in the buffer, so the second flush writes what the first has left.
        let mut stream = Polled(&mut self.wire, cx);
        if self.context.flush(&mut stream).is_ok() && self.context.flush(&mut stream).is_ok() {
            self.context = WebSocketContext::new(Role::Client, Some(self.codec));
            self.wire.reading.forget_largest();
            self.largest_piece = 0;
        }
    }

    /// Ends the connection if it is time, and asks for a ping if it is time for that. Says whether there is more to do now.
    fn look_at_time(&mut self, cx: &mut Context<'_>) -> Result<bool, WebSocketError> {
        let now = Instant::now();
        // Who does not read hears nothing, which is not the server's fault.
        if self.wire.bytes_read != self.heard.1 || self.is_paused {
            self.heard = (now, self.wire.bytes_read);
            self.pinged = None;
        }
        let mut next = now + FAR;
        if self.hook.is_some() {
            next = next.min(self.hook_deadline);
            if now >= self.hook_deadline {
                return Err(self
                    .link
                    .error(WebSocketErrorKind::Hook)
                    .because("it did not end within connect_timeout"));
            }
        }
        if let Some(deadline) = self.close_deadline {
            next = next.min(deadline);
            if now >= deadline {
                let after = self.limits.close_timeout;
                return Err(match self.closed_by_server {
                    Some(code) if !self.is_close_sent => {
                        self.link.error(WebSocketErrorKind::ClosedByServer { code })
                    }
                    _ => self.link.error(WebSocketErrorKind::CloseTimeout { after }),
                });
            }
        } else if let Some(interval) = self.limits.ping_interval {
            match self.pinged {
                None if now >= later(self.heard.0, interval) => {
                    self.pinged = Some(now);
                    self.link.with_state(|state| state.pings_asked += 1);
                    return Ok(true);
                }
                None => next = next.min(later(self.heard.0, interval)),
                Some(at) if now >= later(at, self.limits.pong_timeout) => {
                    let after = self.limits.pong_timeout;
                    return Err(self.link.error(WebSocketErrorKind::NoPong { after }));
                }
                Some(at) => next = next.min(later(at, self.limits.pong_timeout)),
            }
        }
        // A timer that fires too early is cheaper than one that is moved with every message.
        if self.timer.deadline() > next || self.timer.is_elapsed() {
            self.timer.as_mut().reset(next);
        }
        Ok(self.timer.as_mut().poll(cx).is_ready())
    }
}

/// When this time has passed since then.
fn later(then: Instant, time: Duration) -> Instant {
    then.checked_add(time).unwrap_or(then + FAR)
}

fn is_would_block(error: &tungstenite::Error) -> bool {
    matches!(error, tungstenite::Error::Io(error) if error.kind() == io::ErrorKind::WouldBlock)
}
