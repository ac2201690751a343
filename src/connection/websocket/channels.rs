//! Many logical channels in one connection.

use std::collections::HashMap;
use std::fmt;
use std::pin::pin;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::connection::WebSocketConnection;
use super::error::{SendError, WebSocketError, WebSocketErrorKind};
use super::link::Link;
use super::message::Message;
use super::queue::{Limits, MessageQueue};
use crate::sync::{Arc, Mutex};

/// The bytes before a payload: what it is, and the number of its channel.
const HEAD: usize = 5;
const BINARY: u8 = 0;
const TEXT: u8 = 1;
const END: u8 = 2;

/// How many received messages may wait in a channel that holds few bytes. So those without payload are bounded, too.
const MESSAGES: usize = 64;

/// A channel that holds many bytes may hold one message for each of this many.
const BYTES_PER_MESSAGE: usize = 64;

/// Many logical channels in one connection, for a **server that speaks the same envelope**. WebSocket has no channels of its
/// own, so a server that knows nothing of this one treats its messages as malformed.
///
/// Each message is a binary message of WebSocket:
///
/// | bytes | content |
/// |---|---|
/// | 1 | 0: bytes follow. 1: text in UTF-8 follows. 2: the channel has ended, nothing follows |
/// | 4 | the number of the channel, most significant byte first |
/// | all others | the payload |
///
/// The client opens a channel with the first message that has its number, and never uses a number twice in a connection.
/// Either side ends it, and the other side need not answer. Messages for a channel that has ended are ignored, because they
/// may have been under way.
///
/// There is no window per channel: what is received for one waits in it up to a limit. A channel whose messages nobody takes
/// is ended ([`ChannelOverflow`](WebSocketErrorKind::ChannelOverflow)) and cannot stop the others. When the connection ends,
/// so do all channels: open a new connection, and new channels in it.
///
/// All channels share the connection's queue of outgoing messages. With [`Overflow::DropOldest`](super::Overflow::DropOldest)
/// a busy channel drops messages of others, and also the end of one, of which neither side is told: use another policy.
///
/// A sent payload is copied once more than without channels; a received one is not.
///
/// # Examples
///
/// ```no_run
/// use millpond::connection::websocket::{WebSocketChannels, WebSocketConfig, WebSocketConnection};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let config = WebSocketConfig::new("ws://127.0.0.1:8080/channels")?;
/// let channels = WebSocketChannels::new(WebSocketConnection::open(&config).await?, 100, 64 * 1024);
/// let (first, second) = (channels.open()?, channels.open()?);
/// first.send("a question").await?;
/// second.send("another").await?;
/// println!("{:?}, {:?}", second.recv().await?, first.recv().await?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct WebSocketChannels(Arc<Mux>);

/// One of many channels in a connection. Dropped, it is ended, and the server is told if it has heard of it.
pub struct WebSocketChannel {
    number: u32,
    inbox: Arc<Inbox>,
    mux: Arc<Mux>,
}

struct Mux {
    connection: WebSocketConnection,
    table: Arc<Table>,
}

struct Table {
    state: Mutex<Rooms>,
    max_channels: usize,
    limits: Limits,
}

#[derive(Default)]
struct Rooms {
    inboxes: HashMap<u32, Arc<Inbox>>,
    last: u32,
    ended: Option<WebSocketError>,
}

struct Inbox {
    state: Mutex<InboxState>,
    arrivals: Notify,
}

struct InboxState {
    messages: MessageQueue,
    /// The server has heard of it.
    is_known: bool,
    ended: Option<WebSocketError>,
}

impl WebSocketChannels {
    /// Channels in this connection: at most `max_channels` at once, each with at most `incoming_bytes` received and not taken,
    /// and one message more. Those are at most 64 messages, or one for each 64 bytes if that is more.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    #[must_use]
    pub fn new(connection: WebSocketConnection, max_channels: usize, incoming_bytes: usize) -> Self {
        let link = Arc::clone(connection.link());
        let messages = MESSAGES.max(incoming_bytes / BYTES_PER_MESSAGE);
        let limits = Limits { messages, bytes: incoming_bytes.max(1) };
        let table = Arc::new(Table { state: Mutex::default(), max_channels, limits });
        let dispatched = Arc::clone(&table);
        // It ends with the connection, which ends when its last handle is dropped.
        tokio::spawn(async move {
            let error = dispatch(&link, &dispatched).await;
            dispatched.end(&error);
        });
        Self(Arc::new(Mux { connection, table }))
    }

    /// Opens a channel. The server hears of it with the first message.
    ///
    /// # Errors
    ///
    /// [`TooManyChannels`](WebSocketErrorKind::TooManyChannels), or why the connection ended.
    pub fn open(&self) -> Result<WebSocketChannel, WebSocketError> {
        let link = self.0.connection.link();
        let Table { state, max_channels, limits } = &*self.0.table;
        let mut rooms = state.lock();
        if let Some(error) = &rooms.ended {
            return Err(error.clone());
        }
        if rooms.inboxes.len() >= *max_channels || rooms.last == u32::MAX {
            return Err(link.error(WebSocketErrorKind::TooManyChannels));
        }
        rooms.last += 1;
        let number = rooms.last;
        let state = InboxState { messages: MessageQueue::new(*limits), is_known: false, ended: None };
        let inbox = Arc::new(Inbox { state: Mutex::new(state), arrivals: Notify::new() });
        rooms.inboxes.insert(number, Arc::clone(&inbox));
        Ok(WebSocketChannel { number, inbox, mux: Arc::clone(&self.0) })
    }

    /// How many channels are open.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.table.state.lock().inboxes.len()
    }

    /// Whether no channel is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl WebSocketChannel {
    /// The number of the channel.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Queues a message to be sent. All channels share the queue of the connection, and wait for room in their order.
    ///
    /// # Errors
    ///
    /// The message, and why it was not queued.
    ///
    /// # Cancel safety
    ///
    /// Cancelled, it has not queued the message, which is dropped with it.
    pub async fn send(&self, message: impl Into<Message>) -> Result<(), SendError> {
        let message = message.into();
        let ended = self.inbox.state.lock().ended.clone();
        if let Some(error) = ended {
            return Err(SendError { message, error });
        }
        let kind = if message.as_text().is_some() { TEXT } else { BINARY };
        match self.mux.connection.send(envelope(kind, self.number, message.as_bytes())).await {
            Ok(()) => {
                self.inbox.state.lock().is_known = true;
                Ok(())
            }
            Err(refused) => Err(SendError { message, error: refused.error }),
        }
    }

    /// Waits for the next message of the channel.
    ///
    /// # Errors
    ///
    /// [`ChannelClosed`](WebSocketErrorKind::ChannelClosed), [`ChannelOverflow`](WebSocketErrorKind::ChannelOverflow), or why
    /// the connection ended, once all messages received before are taken.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no message is lost.
    pub async fn recv(&self) -> Result<Message, WebSocketError> {
        loop {
            let mut arrived = pin!(self.inbox.arrivals.notified());
            // Before the look, so that no notification is missed in between.
            arrived.as_mut().enable();
            {
                let mut state = self.inbox.state.lock();
                if let Some(message) = state.messages.pop() {
                    return Ok(message);
                }
                if let Some(error) = &state.ended {
                    return Err(error.clone());
                }
            }
            arrived.await;
        }
    }
}

impl Drop for WebSocketChannel {
    fn drop(&mut self) {
        let is_known = self.inbox.state.lock().is_known;
        if self.mux.table.remove(self.number).is_some() && is_known {
            self.mux.table.tell_end(self.mux.connection.link(), self.number);
        }
    }
}

impl fmt::Debug for WebSocketChannels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocketChannels")
            .field("connection", &self.0.connection)
            .field("open", &self.len())
            .finish()
    }
}

impl fmt::Debug for WebSocketChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocketChannel").field("number", &self.number).finish_non_exhaustive()
    }
}

fn envelope(kind: u8, number: u32, payload: &[u8]) -> Message {
    let mut bytes = BytesMut::with_capacity(HEAD + payload.len());
    bytes.put_u8(kind);
    bytes.put_u32(number);
    bytes.put_slice(payload);
    Message::Binary(bytes.freeze())
}

/// Gives each message to its channel, until the connection ends. Says why it did.
async fn dispatch(link: &Link, table: &Table) -> WebSocketError {
    loop {
        let delivered = match link.recv().await {
            Ok(Message::Binary(bytes)) => table.deliver(link, &bytes),
            Ok(Message::Text(_)) => None,
            Err(error) => return error,
        };
        if delivered.is_none() {
            link.ask_close(1002);
            return link
                .error(WebSocketErrorKind::Protocol)
                .because("a message is not in the envelope of channels");
        }
    }
}

impl Table {
    fn remove(&self, number: u32) -> Option<Arc<Inbox>> {
        self.state.lock().inboxes.remove(&number)
    }

    /// `None` if it is no envelope.
    fn deliver(&self, link: &Link, bytes: &Bytes) -> Option<()> {
        let ([kind, number @ ..], _) = bytes.split_first_chunk::<HEAD>()?;
        let number = u32::from_be_bytes(*number);
        let payload = bytes.slice(HEAD..);
        let message = match *kind {
            BINARY => Message::Binary(payload),
            TEXT => Message::Text(Utf8Bytes::try_from(payload).ok()?),
            END => {
                if let Some(inbox) = self.remove(number) {
                    inbox.end(link.error(WebSocketErrorKind::ChannelClosed));
                }
                return Some(());
            }
            _ => return None,
        };
        let inbox = self.state.lock().inboxes.get(&number).cloned();
        if let Some(inbox) = inbox
            && !inbox.take_in(message)
            && self.remove(number).is_some()
        {
            inbox.end(link.error(WebSocketErrorKind::ChannelOverflow));
            self.tell_end(link, number);
        }
        Some(())
    }

    /// At most as many ends wait beyond the queue's limit as channels may be open: a message that had room opens a channel, so
    /// while there is none only those end that are open now. Only a server that sends on channels that were never opened can
    /// ask for more ends, and it misses them.
    fn tell_end(&self, link: &Link, number: u32) {
        link.send_beyond(envelope(END, number, &[]), self.max_channels);
    }

    fn end(&self, error: &WebSocketError) {
        let inboxes = {
            let mut rooms = self.state.lock();
            rooms.ended = Some(error.clone());
            std::mem::take(&mut rooms.inboxes)
        };
        inboxes.values().for_each(|inbox| inbox.end(error.clone()));
    }
}

impl Inbox {
    /// Whether there was room for it.
    fn take_in(&self, message: Message) -> bool {
        let mut state = self.state.lock();
        state.is_known = true;
        if state.messages.is_full() {
            return false;
        }
        state.messages.force(message);
        drop(state);
        self.arrivals.notify_one();
        true
    }

    fn end(&self, error: WebSocketError) {
        self.state.lock().ended.get_or_insert(error);
        self.arrivals.notify_waiters();
    }
}
