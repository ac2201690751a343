//! One connection that is kept up.

use std::error::Error;
use std::fmt;
use std::future::{Future, poll_fn};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::config::WebSocketConfig;
use super::connection::{Ending, close};
use super::driver::{Driver, Hook};
use super::error::{SendError, WebSocketError, WebSocketErrorKind};
use super::link::{Link, WebSocketState};
use super::message::Message;
use super::statistics::WebSocketStatistics;
use super::wire::Wire;
use crate::net::Backoff;
use crate::sync::Arc;

/// One connection that is kept up: for feeds and for servers that send on their own.
///
/// While the server is down, messages wait in a bounded queue and go out in order over the next connection. A message that
/// was not written whole when a connection ended is sent again over the next; one that was is not, although the server may
/// not have read it. If you need to know, ask the server, for example in the [hook](Self::start_with).
///
/// Clones share the connection. When the last is dropped, it is closed as by [`close`](Self::close), but nobody waits.
///
/// # Examples
///
/// ```no_run
/// use millpond::connection::websocket::{WebSocketClient, WebSocketConfig};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let config = WebSocketConfig::new("wss://feed.example.com/v1")?;
/// let client = WebSocketClient::start_with(config, |session| async move {
///     session.send("subscribe prices")?;
///     Ok(())
/// })?;
/// loop {
///     println!("{:?}", client.recv().await?);
/// }
/// # }
/// ```
#[derive(Clone)]
pub struct WebSocketClient(Arc<Owner>);

struct Owner(Arc<Link>);

/// A new connection, in the hook. See [`WebSocketClient::start_with`].
pub struct WebSocketSession {
    link: Arc<Link>,
    number: u64,
}

type MakeHook = dyn Fn(WebSocketSession) -> Hook + Send + Sync;

impl WebSocketClient {
    /// Starts to connect, in a task of the runtime. It goes on trying until it is closed.
    ///
    /// # Errors
    ///
    /// [`Tls`](WebSocketErrorKind::Tls) if a TLS connector is needed and cannot be built.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn start(config: WebSocketConfig) -> Result<Self, WebSocketError> {
        Self::start_hooked(config, None)
    }

    /// As [`start`](Self::start), with a resume hook: it is called with each new connection, the first one included, before
    /// any queued message goes out. It may send, for example to log in and to subscribe, and wait for answers. What it does
    /// not take of them goes to [`recv`](Self::recv). If it fails, panics, or does not end within
    /// [`connect_timeout`](field@WebSocketConfig::connect_timeout), the connection is closed and the next is tried.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn start_with<F>(
        config: WebSocketConfig,
        hook: impl Fn(WebSocketSession) -> F + Send + Sync + 'static,
    ) -> Result<Self, WebSocketError>
    where
        F: Future<Output = Result<(), Box<dyn Error + Send + Sync>>> + Send + 'static,
    {
        let hook = Arc::new(hook);
        // It is called in the future, in which its panics are caught.
        let make = move |session| -> Hook {
            let hook = Arc::clone(&hook);
            Box::pin(async move { hook(session).await })
        };
        Self::start_hooked(config, Some(Box::new(make)))
    }

    fn start_hooked(config: WebSocketConfig, hook: Option<Box<MakeHook>>) -> Result<Self, WebSocketError> {
        let config = config.completed()?;
        let link = Arc::new(Link::new(&config, Arc::default()));
        let ending = Ending(Arc::clone(&link));
        tokio::spawn(async move {
            let error = keep_up(&ending.0, &config, hook.as_deref()).await;
            ending.0.end(error);
        });
        Ok(Self(Arc::new(Owner(link))))
    }

    fn link(&self) -> &Link {
        &self.0.0
    }

    /// Queues a message to be sent, also while there is no connection. If the queue is full, the
    /// [overflow policy](field@WebSocketConfig::overflow) decides.
    ///
    /// # Errors
    ///
    /// The message, and why it was not queued.
    ///
    /// # Cancel safety
    ///
    /// Cancelled, it has not queued the message, which is dropped with it. [`try_send`](Self::try_send) gives it back.
    pub async fn send(&self, message: impl Into<Message>) -> Result<(), SendError> {
        self.link().send(message.into()).await
    }

    /// Queues a message to be sent, without waiting for room.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), and [`QueueFull`](WebSocketErrorKind::QueueFull).
    pub fn try_send(&self, message: impl Into<Message>) -> Result<(), SendError> {
        self.link().try_send(message.into())
    }

    /// Waits until all queued messages are written. The server need not have read them.
    ///
    /// # Errors
    ///
    /// Why the client was closed before.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn flush(&self) -> Result<(), WebSocketError> {
        self.link().flush().await
    }

    /// Waits for the next message, whichever connection brings it.
    ///
    /// # Errors
    ///
    /// Why the client was closed.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no message is lost.
    pub async fn recv(&self) -> Result<Message, WebSocketError> {
        self.link().recv().await
    }

    /// Waits until the connection is up, the hook included.
    ///
    /// # Errors
    ///
    /// Why the client was closed. A failed attempt does not close it: see [`last_error`](Self::last_error).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn up(&self) -> Result<(), WebSocketError> {
        self.link().up().await
    }

    /// Sends what is queued, after the hook if that runs, closes with code 1000, and waits for the server's answer and
    /// for the end of the connection, all within [`close_timeout`](field@WebSocketConfig::close_timeout). A server that answers
    /// and leaves TCP open leads to [`CloseTimeout`](WebSocketErrorKind::CloseTimeout). While there is no connection, it ends at
    /// once, and what is queued is dropped.
    ///
    /// # Errors
    ///
    /// [`CloseTimeout`](WebSocketErrorKind::CloseTimeout), why the hook failed, or why there was no connection.
    ///
    /// # Cancel safety
    ///
    /// Cancelled, the client is closed nevertheless.
    pub async fn close(&self) -> Result<(), WebSocketError> {
        close(self.link(), 1000).await
    }

    /// How the connection is.
    #[must_use]
    pub fn state(&self) -> WebSocketState {
        self.link().phase()
    }

    /// Why the last connection ended, or the last attempt failed.
    #[must_use]
    pub fn last_error(&self) -> Option<WebSocketError> {
        self.link().last_error()
    }

    /// How many messages wait to be sent, and how many bytes those are.
    #[must_use]
    pub fn queued(&self) -> (usize, usize) {
        self.link().queued()
    }

    /// What happened since the start. Bytes are counted when a connection ends.
    #[must_use]
    pub fn statistics(&self) -> WebSocketStatistics {
        self.link().totals.snapshot()
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.ask_close(1000);
    }
}

impl fmt::Debug for WebSocketClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (link, queued) = (self.link(), self.queued().0);
        let mut f = f.debug_struct("WebSocketClient");
        f.field("server", &link.server).field("state", &link.phase()).field("queued", &queued).finish()
    }
}

impl WebSocketSession {
    /// Whether an earlier connection of the client was open.
    #[must_use]
    pub fn is_reconnect(&self) -> bool {
        self.number > 1
    }

    /// Queues a message for this connection, ahead of all that the client has queued.
    ///
    /// # Errors
    ///
    /// [`QueueFull`](WebSocketErrorKind::QueueFull), or [`Lost`](WebSocketErrorKind::Lost) if the connection has ended or
    /// the hook has.
    pub fn send(&self, message: impl Into<Message>) -> Result<(), SendError> {
        self.link.hook_send(self.number, message.into())
    }

    /// Waits for the next message of this connection.
    ///
    /// # Errors
    ///
    /// [`Lost`](WebSocketErrorKind::Lost) if the connection has ended or the hook has.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no message is lost.
    pub async fn recv(&self) -> Result<Message, WebSocketError> {
        self.link.hook_recv(self.number).await
    }
}

impl fmt::Debug for WebSocketSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocketSession").field("server", &self.link.server).finish_non_exhaustive()
    }
}

/// Connects, again and again, until the client is closed. Says why it ended.
async fn keep_up(link: &Arc<Link>, config: &WebSocketConfig, hook: Option<&MakeHook>) -> WebSocketError {
    let mut delay = None;
    let mut said = String::new();
    loop {
        link.connecting();
        let opened = tokio::select! {
            opened = Box::pin(Wire::open(config)) => opened,
            () = close_asked(link) => return link.last_error().unwrap_or_else(|| closed_unopened(link)),
        };
        let error = match opened {
            Ok((wire, _)) => {
                let number = link.connected(hook.is_some(), wire.is_http2());
                let session = || WebSocketSession { link: Arc::clone(link), number };
                let driver = Driver::new(wire, Arc::clone(link), config, hook.map(|hook| hook(session())));
                if !said.is_empty() {
                    info!(server = &*link.server, "connected again");
                    said.clear();
                }
                let started = Instant::now();
                let error = driver.run().await;
                // A server that takes connections and ends them at once is not asked at once again.
                if started.elapsed() >= config.backoff.max {
                    delay = None;
                }
                error
            }
            Err(error) => {
                link.totals.connect_errors.add(1);
                error
            }
        };
        if link.with_state(|state| state.closing.is_some()) {
            return error;
        }
        link.down(&error);
        let text = error.to_string();
        if said != text {
            warn!(server = &*link.server, %error, source = error.source(), "connection lost, connecting again");
            said = text;
        }
        let pause: Duration = config.backoff.after(delay);
        delay = Some(pause);
        let pause = Backoff::with_jitter(pause.max(error.retry_after().unwrap_or_default()));
        tokio::select! {
            () = sleep(pause) => {}
            () = close_asked(link) => return error,
        }
    }
}

/// What a client that was closed before its first connection was open says: no success if it drops messages.
fn closed_unopened(link: &Link) -> WebSocketError {
    match link.queued() {
        (0, _) => link.error(WebSocketErrorKind::Closed),
        _ => link.error(WebSocketErrorKind::Connect).because("it was closed before it was open"),
    }
}

async fn close_asked(link: &Link) {
    poll_fn(|cx| link.poll_close_asked(cx)).await;
}
