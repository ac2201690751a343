//! One connection, as a pool hands it out.

use std::fmt;
use std::time::Duration;

use tokio::time::timeout;

use super::config::WebSocketConfig;
use super::driver::Driver;
use super::error::{SendError, WebSocketError, WebSocketErrorKind};
use super::link::{Link, WebSocketState};
use super::message::Message;
use super::statistics::Totals;
use super::wire::Wire;
use crate::net::tls::TlsIdentity;
use crate::sync::Arc;
use crate::sync::statistic::{AtomicBool, Ordering};

/// One connection. A task of its own reads and writes it, and answers pings, also while nobody uses it.
///
/// Dropped, it is closed as by [`close`](Self::close), but nobody waits for that.
///
/// # Memory
///
/// At rest it takes 6.3 KB, of which 4 KiB are the buffer for reading, and over TLS 10 KB, even after large messages. Of a
/// hundred in one HTTP/2 connection each takes 4.3 KB, the connection included, and 4.8 after large messages. Messages
/// to be sent wait within [`queue_bytes`](field@WebSocketConfig::queue_bytes), and received ones within
/// [`incoming_bytes`](field@WebSocketConfig::incoming_bytes) and one message more. None of this memory is a pool's, or within
/// its limit.
pub struct WebSocketConnection {
    link: Arc<Link>,
    subprotocol: Option<Box<str>>,
    pong_timeout: Duration,
    identity: Option<TlsIdentity>,
    /// An answer may be under way.
    is_unanswered: AtomicBool,
}

impl WebSocketConnection {
    /// Opens a connection outside of a pool.
    ///
    /// # Errors
    ///
    /// Why it was not opened.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    ///
    /// # Cancel safety
    ///
    /// Cancelled, it closes what it opened.
    pub async fn open(config: &WebSocketConfig) -> Result<Self, WebSocketError> {
        Self::open_counted(&config.clone().completed()?, Arc::default()).await
    }

    pub(super) async fn open_counted(
        config: &WebSocketConfig,
        totals: Arc<Totals>,
    ) -> Result<Self, WebSocketError> {
        let opened = Wire::open(config).await;
        let (wire, subprotocol) = opened.inspect_err(|_| totals.connect_errors.add(1))?;
        let link = Arc::new(Link::new(config, totals));
        link.connected(false, wire.is_http2());
        let identity = wire.identity();
        let ending = Ending(Arc::clone(&link));
        let driver = Driver::new(wire, Arc::clone(&link), config, None);
        tokio::spawn(async move {
            let error = driver.run().await;
            ending.0.end(error);
        });
        Ok(Self {
            link,
            subprotocol,
            pong_timeout: config.pong_timeout,
            identity,
            is_unanswered: AtomicBool::new(false),
        })
    }

    /// Queues a message to be sent. If the queue is full, the [overflow policy](field@WebSocketConfig::overflow) decides.
    ///
    /// A pool takes it that an answer is under way, see [`mark_reusable`](Self::mark_reusable).
    ///
    /// # Errors
    ///
    /// The message, and why it was not queued.
    ///
    /// # Cancel safety
    ///
    /// Cancelled, it has not queued the message, which is dropped with it. [`try_send`](Self::try_send) gives it back.
    pub async fn send(&self, message: impl Into<Message>) -> Result<(), SendError> {
        self.link.send(message.into()).await?;
        self.sent();
        Ok(())
    }

    /// Queues a message to be sent, without waiting for room.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), and [`QueueFull`](WebSocketErrorKind::QueueFull).
    pub fn try_send(&self, message: impl Into<Message>) -> Result<(), SendError> {
        self.link.try_send(message.into())?;
        self.sent();
        Ok(())
    }

    fn sent(&self) {
        // Ordering: relaxed is enough. It is read through `&mut self`, and whatever brought that there ordered this store
        // before. A connection is never handed on without it.
        self.is_unanswered.store(true, Ordering::Relaxed);
    }

    /// Says that no answer is under way: all answers to what was [sent](Self::send) were received, or there are none. Without
    /// this, a pool does not hand the connection out again after a `send`, but closes it. [`exchange`](Self::exchange) does
    /// not need it.
    pub fn mark_reusable(&mut self) {
        self.is_unanswered = AtomicBool::new(false);
    }

    /// Waits until all queued messages are written. The server need not have read them.
    ///
    /// # Errors
    ///
    /// Why the connection ended before.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn flush(&self) -> Result<(), WebSocketError> {
        self.link.flush().await
    }

    /// Waits for the next message.
    ///
    /// # Errors
    ///
    /// Why the connection ended, once all messages received before are taken.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no message is lost.
    pub async fn recv(&self) -> Result<Message, WebSocketError> {
        self.link.recv().await
    }

    /// Sends a message and waits for the next one: for servers that answer each message with one, in order.
    ///
    /// # Errors
    ///
    /// Why the message was not sent, or why the connection ended.
    ///
    /// # Cancel safety
    ///
    /// Cancelled, the answer may come later, when nobody knows what it answers. So the pool does not hand the connection
    /// out again, but closes it.
    pub async fn exchange(&mut self, message: impl Into<Message>) -> Result<Message, WebSocketError> {
        let was_unanswered = self.is_unanswered();
        self.sent();
        self.link.send(message.into()).await?;
        let answer = self.link.recv().await?;
        self.is_unanswered = AtomicBool::new(was_unanswered);
        Ok(answer)
    }

    /// Sends a ping and waits for its answer, at most for [`pong_timeout`](field@WebSocketConfig::pong_timeout).
    ///
    /// The answer comes after all messages that the server sent before, so take those: nothing is read while too many wait.
    ///
    /// # Errors
    ///
    /// [`NoPong`](WebSocketErrorKind::NoPong), or why the connection ended.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn ping(&self) -> Result<(), WebSocketError> {
        let limit = self.pong_timeout;
        let late = |_| self.link.error(WebSocketErrorKind::NoPong { after: limit });
        timeout(limit, self.link.ping()).await.map_err(late)?
    }

    /// Sends what is queued, closes with code 1000, and waits for the server's answer and for the end of the
    /// connection, all within [`close_timeout`](field@WebSocketConfig::close_timeout). A server that answers and leaves TCP open
    /// leads to [`CloseTimeout`](WebSocketErrorKind::CloseTimeout).
    ///
    /// # Errors
    ///
    /// [`CloseTimeout`](WebSocketErrorKind::CloseTimeout), or why the connection ended before.
    ///
    /// # Cancel safety
    ///
    /// Cancelled, the connection is closed nevertheless.
    pub async fn close(self) -> Result<(), WebSocketError> {
        close(&self.link, 1000).await
    }

    /// The subprotocol that the server chose.
    #[must_use]
    pub fn subprotocol(&self) -> Option<&str> {
        self.subprotocol.as_deref()
    }

    /// Whether it has ended.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.link.phase() == WebSocketState::Closed
    }

    /// Why it ended, if it has.
    #[must_use]
    pub fn end_reason(&self) -> Option<WebSocketError> {
        self.link.last_error()
    }

    pub(super) fn link(&self) -> &Arc<Link> {
        &self.link
    }

    /// Whether the pool may hand it to somebody else.
    pub(super) fn is_reusable(&mut self) -> bool {
        let is_current = self.identity.as_ref().is_none_or(TlsIdentity::is_current);
        is_current && !self.is_unanswered() && self.link.is_clean()
    }

    /// Why the pool must not.
    pub(super) fn unusable(&self) -> WebSocketError {
        let is_current = self.identity.as_ref().is_none_or(TlsIdentity::is_current);
        let (kind, why) = match is_current {
            true => (WebSocketErrorKind::Protocol, "a message came while it was idle"),
            false => (WebSocketErrorKind::Closed, "the TLS settings have changed"),
        };
        self.end_reason().unwrap_or_else(|| self.link.error(kind).because(why))
    }

    fn is_unanswered(&mut self) -> bool {
        // Ordering: as in `sent`.
        self.is_unanswered.load(Ordering::Relaxed)
    }
}

impl Drop for WebSocketConnection {
    fn drop(&mut self) {
        self.link.ask_close(1000);
    }
}

impl fmt::Debug for WebSocketConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.link.phase();
        f.debug_struct("WebSocketConnection")
            .field("server", &self.link.server)
            .field("state", &state)
            .finish()
    }
}

pub(super) async fn close(link: &Link, code: u16) -> Result<(), WebSocketError> {
    link.ask_close(code);
    match link.ended().await {
        error if error.kind() == WebSocketErrorKind::Closed => Ok(()),
        error => Err(error),
    }
}

/// Ends the link with its task, however that ends.
pub(super) struct Ending(pub(super) Arc<Link>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.end(self.0.error(WebSocketErrorKind::TaskEnded));
    }
}
