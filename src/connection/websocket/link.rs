//! What handles and the task of a connection share: the queues between them, and how the connection is.

use std::collections::VecDeque;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use tokio::sync::Notify;

use super::config::WebSocketConfig;
use super::error::{SendError, WebSocketError, WebSocketErrorKind};
use super::message::Message;
use super::queue::{MessageQueue, Overflow};
use super::statistics::Totals;
use crate::sync::{Arc, Mutex};

/// The state of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WebSocketState {
    /// It is being opened, or the hook runs.
    Connecting,
    /// Messages go out and come in.
    Up,
    /// It was lost, or could not be opened. The next attempt comes after a pause.
    Down,
    /// It was closed for good.
    Closed,
}

pub(super) struct Link {
    state: Mutex<State>,
    /// Held by the first of those that wait for room. The others wait for it in their order.
    turn: tokio::sync::Mutex<()>,
    room: Notify,
    arrivals: Notify,
    hook_arrivals: Notify,
    changes: Notify,
    overflow: Overflow,
    pub(super) server: Arc<str>,
    pub(super) totals: Arc<Totals>,
}

pub(super) struct State {
    pub(super) out: MessageQueue,
    incoming: MessageQueue,
    /// From the hook, ahead of `out`, and for this connection only.
    pub(super) hook_out: VecDeque<Message>,
    hook_incoming: VecDeque<Message>,
    /// Messages of `out` wait until the hook has ended.
    pub(super) is_hook_running: bool,
    phase: WebSocketState,
    pub(super) closing: Option<u16>,
    ended: Option<WebSocketError>,
    /// The end has dropped messages of `out`.
    was_cut_short: bool,
    last_error: Option<WebSocketError>,
    pub(super) pings_asked: u64,
    pongs: u64,
    /// The server has closed, and the end of the stream is awaited.
    is_ending: bool,
    /// The driver does not read, because too much waits to be taken.
    is_paused: bool,
    driver: Option<Waker>,
    connections: u64,
    /// How many senders wait for room.
    waiting: usize,
}

impl Link {
    pub(super) fn new(config: &WebSocketConfig, totals: Arc<Totals>) -> Self {
        let state = State {
            out: MessageQueue::new(config.outgoing()),
            incoming: MessageQueue::new(config.incoming()),
            hook_out: VecDeque::new(),
            hook_incoming: VecDeque::new(),
            is_hook_running: false,
            phase: WebSocketState::Connecting,
            closing: None,
            ended: None,
            was_cut_short: false,
            last_error: None,
            pings_asked: 0,
            pongs: 0,
            is_ending: false,
            is_paused: false,
            driver: None,
            connections: 0,
            waiting: 0,
        };
        Self {
            state: Mutex::new(state),
            turn: tokio::sync::Mutex::default(),
            room: Notify::new(),
            arrivals: Notify::new(),
            hook_arrivals: Notify::new(),
            changes: Notify::new(),
            overflow: config.overflow,
            server: Arc::clone(config.server()),
            totals,
        }
    }

    pub(super) fn error(&self, kind: WebSocketErrorKind) -> WebSocketError {
        WebSocketError::new(kind, &self.server)
    }

    /// Looks at the state, also after each notification, until there is a result.
    async fn wait<T>(&self, notify: &Notify, mut look: impl FnMut(&mut State) -> Option<T>) -> T {
        loop {
            let mut notified = pin!(notify.notified());
            // Before the look, so that no notification is missed in between.
            notified.as_mut().enable();
            let found = look(&mut self.state.lock());
            if let Some(found) = found {
                return found;
            }
            notified.await;
        }
    }

    fn wake_driver(&self) {
        let driver = self.state.lock().driver.take();
        if let Some(driver) = driver {
            driver.wake();
        }
    }

    // For senders.

    pub(super) async fn send(&self, message: Message) -> Result<(), SendError> {
        let message = match self.send_now(message) {
            Err(SendError { message, error })
                if self.overflow == Overflow::Wait && error.kind() == WebSocketErrorKind::QueueFull =>
            {
                message
            }
            result => return self.count_rejected(result),
        };
        let _waiting = Waiting::new(self);
        let _turn = self.turn.lock().await;
        let mut message = Some(message);
        let sent = self.wait(&self.room, |state| match self.offer(state, message.take()?) {
            Err(SendError { message: back, error }) if error.kind() == WebSocketErrorKind::QueueFull => {
                message = Some(back);
                None
            }
            result => Some(result),
        });
        sent.await?;
        self.wake_driver();
        Ok(())
    }

    pub(super) fn try_send(&self, message: Message) -> Result<(), SendError> {
        self.count_rejected(self.send_now(message))
    }

    fn count_rejected(&self, result: Result<(), SendError>) -> Result<(), SendError> {
        result.inspect_err(|refused| {
            let kind = refused.error.kind();
            if matches!(kind, WebSocketErrorKind::QueueFull | WebSocketErrorKind::LargerThanQueue { .. }) {
                self.totals.messages_rejected.add(1);
            }
        })
    }

    fn send_now(&self, message: Message) -> Result<(), SendError> {
        let (offered, dropped) = self.with_state(|state| {
            if state.waiting > 0 {
                // They were first.
                return (
                    Err(SendError { message, error: self.error(WebSocketErrorKind::QueueFull) }),
                    Vec::new(),
                );
            }
            let dropped = match self.overflow {
                Overflow::DropOldest if state.takes_messages() => state.out.make_room_for(&message),
                _ => Vec::new(),
            };
            (self.offer(state, message), dropped)
        });
        self.totals.messages_dropped.add(dropped.len() as u64);
        offered?;
        self.wake_driver();
        Ok(())
    }

    fn offer(&self, state: &mut State, message: Message) -> Result<(), SendError> {
        let limit = state.out.limits().bytes;
        let error = match &state.ended {
            Some(error) => error.clone(),
            None if state.closing.is_some() => self.error(WebSocketErrorKind::Closed),
            None if message.len() > limit => {
                self.error(WebSocketErrorKind::LargerThanQueue { size: message.len(), limit })
            }
            None => match state.out.push(message) {
                Ok(()) => return Ok(()),
                Err(message) => {
                    return Err(SendError { message, error: self.error(WebSocketErrorKind::QueueFull) });
                }
            },
        };
        Err(SendError { message, error })
    }

    /// Queues a small message also if there is no room, unless as many as `beyond` wait more than may.
    pub(super) fn send_beyond(&self, message: Message, beyond: usize) {
        self.with_state(|state| {
            let bound = state.out.limits().messages.saturating_add(beyond);
            if state.takes_messages() && state.out.len() < bound {
                state.out.force(message);
            }
        });
        self.wake_driver();
    }

    pub(super) async fn flush(&self) -> Result<(), WebSocketError> {
        let written = self.wait(&self.room, |state| match &state.ended {
            Some(error) if state.was_cut_short => Some(Err(error.clone())),
            _ => (state.out.len() == 0).then_some(Ok(())),
        });
        written.await
    }

    // For receivers.

    pub(super) async fn recv(&self) -> Result<Message, WebSocketError> {
        let mut driver = None;
        let received = self.wait(&self.arrivals, |state| match state.incoming.pop() {
            Some(message) => {
                driver = state.resume_reading();
                Some(Ok(message))
            }
            None => state.ended.clone().map(Err),
        });
        let received = received.await;
        if let Some(driver) = driver {
            driver.wake();
        }
        received
    }

    /// Whether it is open, and nothing waits to be taken.
    pub(super) fn is_clean(&self) -> bool {
        let state = self.state.lock();
        state.takes_messages() && !state.is_ending && state.incoming.len() == 0
    }

    // For all handles.

    pub(super) fn phase(&self) -> WebSocketState {
        self.state.lock().phase
    }

    pub(super) fn last_error(&self) -> Option<WebSocketError> {
        self.state.lock().last_error.clone()
    }

    pub(super) fn queued(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.out.len(), state.out.bytes())
    }

    pub(super) async fn up(&self) -> Result<(), WebSocketError> {
        let up = self.wait(&self.changes, |state| match state.phase {
            WebSocketState::Up => Some(Ok(())),
            _ => state.ended.clone().map(Err),
        });
        up.await
    }

    /// Sends a ping, and waits for its answer.
    pub(super) async fn ping(&self) -> Result<(), WebSocketError> {
        let token = {
            let mut state = self.state.lock();
            state.pings_asked += 1;
            state.pings_asked
        };
        self.wake_driver();
        let answered = self.wait(&self.changes, |state| match &state.ended {
            None if state.pongs >= token => Some(Ok(())),
            ended => ended.clone().map(Err),
        });
        answered.await
    }

    pub(super) fn ask_close(&self, code: u16) {
        self.state.lock().closing.get_or_insert(code);
        self.wake_driver();
    }

    pub(super) async fn ended(&self) -> WebSocketError {
        self.wait(&self.changes, |state| state.ended.clone()).await
    }

    // For the task.

    /// Calls the task again when there is something to do. To be called before the state is looked at.
    pub(super) fn register(&self, cx: &Context<'_>) {
        let mut state = self.state.lock();
        if !state.driver.as_ref().is_some_and(|driver| driver.will_wake(cx.waker())) {
            state.driver = Some(cx.waker().clone());
        }
    }

    pub(super) fn with_state<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock())
    }

    pub(super) fn poll_close_asked(&self, cx: &Context<'_>) -> Poll<()> {
        self.register(cx);
        if self.state.lock().closing.is_some() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// These messages of the queue are written whole.
    pub(super) fn written(&self, count: u64) {
        let written: Vec<_> = self.with_state(|state| (0..count).filter_map(|_| state.out.pop()).collect());
        if !written.is_empty() {
            self.totals.messages_sent.add(written.len() as u64);
            self.room.notify_waiters();
        }
    }

    /// Whether nothing may be read until something is taken.
    pub(super) fn must_pause(&self) -> bool {
        let mut state = self.state.lock();
        state.is_paused = state.holds_enough();
        state.is_paused
    }

    pub(super) fn deliver(&self, message: Message) {
        self.totals.messages_received.add(1);
        let mut state = self.state.lock();
        if state.is_hook_running {
            state.hook_incoming.push_back(message);
            drop(state);
            self.hook_arrivals.notify_one();
        } else {
            state.incoming.force(message);
            drop(state);
            self.arrivals.notify_one();
        }
    }

    pub(super) fn ending(&self) {
        self.with_state(|state| state.is_ending = true);
    }

    pub(super) fn pong(&self, token: u64) {
        self.with_state(|state| state.pongs = state.pongs.max(token));
        self.changes.notify_waiters();
    }

    pub(super) fn connecting(&self) {
        self.with_state(|state| state.phase = WebSocketState::Connecting);
    }

    /// A connection is open. Returns its number.
    pub(super) fn connected(&self, has_hook: bool, is_http2: bool) -> u64 {
        self.totals.connects.add(1);
        self.totals.http2_connects.add(is_http2.into());
        let number = self.with_state(|state| {
            state.connections += 1;
            state.is_hook_running = has_hook;
            if !has_hook {
                state.phase = WebSocketState::Up;
            }
            state.connections
        });
        self.changes.notify_waiters();
        number
    }

    pub(super) fn hook_ended(&self) {
        self.with_state(|state| {
            state.is_hook_running = false;
            state.phase = WebSocketState::Up;
            for message in std::mem::take(&mut state.hook_incoming) {
                state.incoming.force(message);
            }
        });
        self.arrivals.notify_waiters();
        self.changes.notify_waiters();
    }

    /// The connection is gone, or could not be opened. What was not written whole is written to the next one.
    pub(super) fn down(&self, error: &WebSocketError) {
        let dropped = self.with_state(|state| {
            state.out.take_back();
            state.is_ending = false;
            state.is_hook_running = false;
            state.phase = WebSocketState::Down;
            state.last_error = Some(error.clone());
            (std::mem::take(&mut state.hook_out), std::mem::take(&mut state.hook_incoming))
        });
        drop(dropped);
        self.changes.notify_waiters();
        self.hook_arrivals.notify_waiters();
    }

    /// There will be no other connection. Received messages can still be taken.
    pub(super) fn end(&self, error: WebSocketError) {
        let dropped = self.with_state(|state| {
            if state.ended.is_none() {
                state.last_error = Some(error.clone());
                state.ended = Some(error);
            }
            state.was_cut_short |= state.out.len() > 0;
            state.phase = WebSocketState::Closed;
            state.is_hook_running = false;
            state.driver = None;
            (state.out.clear(), std::mem::take(&mut state.hook_out), std::mem::take(&mut state.hook_incoming))
        });
        drop(dropped);
        for notify in [&self.room, &self.arrivals, &self.hook_arrivals, &self.changes] {
            notify.notify_waiters();
        }
    }

    // For the hook.

    fn is_hook_of(state: &State, connection: u64) -> bool {
        state.is_hook_running && state.connections == connection
    }

    pub(super) fn hook_send(&self, connection: u64, message: Message) -> Result<(), SendError> {
        let refused = self.with_state(|state| {
            let limits = state.out.limits();
            let queued: usize = state.hook_out.iter().map(Message::len).sum();
            let kind = if !Self::is_hook_of(state, connection) {
                WebSocketErrorKind::Lost
            } else if state.hook_out.len() >= limits.messages || queued + message.len() > limits.bytes {
                WebSocketErrorKind::QueueFull
            } else {
                state.hook_out.push_back(message);
                return None;
            };
            Some((message, kind))
        });
        if let Some((message, kind)) = refused {
            return Err(SendError { message, error: self.error(kind) });
        }
        self.wake_driver();
        Ok(())
    }

    pub(super) async fn hook_recv(&self, connection: u64) -> Result<Message, WebSocketError> {
        let mut driver = None;
        let received = self.wait(&self.hook_arrivals, |state| {
            if !Self::is_hook_of(state, connection) {
                return Some(Err(self.error(WebSocketErrorKind::Lost)));
            }
            let message = state.hook_incoming.pop_front()?;
            driver = state.resume_reading();
            Some(Ok(message))
        });
        let received = received.await;
        if let Some(driver) = driver {
            driver.wake();
        }
        received
    }
}

/// A sender that waits for room.
struct Waiting<'a>(&'a Link);

impl<'a> Waiting<'a> {
    fn new(link: &'a Link) -> Self {
        link.with_state(|state| state.waiting += 1);
        Self(link)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.with_state(|state| state.waiting -= 1);
    }
}

impl State {
    fn takes_messages(&self) -> bool {
        self.ended.is_none() && self.closing.is_none()
    }

    /// The driver, if it waited for room and may read again.
    fn resume_reading(&mut self) -> Option<Waker> {
        if self.is_paused && !self.holds_enough() { self.driver.take() } else { None }
    }

    /// Whether as much waits as may. While the hook runs, all that is read is for it: what waits from an earlier connection
    /// must not keep it from an answer.
    fn holds_enough(&self) -> bool {
        if !self.is_hook_running {
            return self.incoming.is_full();
        }
        let waiting: usize = self.hook_incoming.iter().map(Message::len).sum();
        let limits = self.incoming.limits();
        waiting >= limits.bytes || self.hook_incoming.len() >= limits.messages
    }
}
