use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError as ChannelError;

use super::error::RecvError;
use crate::frame::Message;
use crate::frame::tlv::Frame;
use crate::pool::PooledBytes;
use crate::sync::{Arc, Mutex};

/// Messages of a channel at most: it has a place for each from the beginning.
const MAX_CAPACITY: usize = 1 << 20;

/// Where frames go by their type: to a channel of the type, and to one of its topic.
pub(super) struct Topics {
    capacity: usize,
    known: Mutex<Known>,
    opaque: Channel,
}

#[derive(Default)]
struct Known {
    by_name: HashMap<&'static str, Channel>,
    by_type: HashMap<u16, Route>,
    closed: bool,
}

/// Where the frames of one type go. Channels of their own, so that who waits for one type is not woken for
/// another, nor keeps it.
#[derive(Clone)]
pub(super) struct Route {
    own: Channel,
    topic: Channel,
}

impl Topics {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.clamp(1, MAX_CAPACITY),
            known: Mutex::default(),
            opaque: Channel::default(),
        }
    }

    /// From now on frames of the type are known.
    pub(super) fn declare<M: Message>(&self) -> Route {
        let mut known = self.known.lock();
        if known.closed {
            return Route { own: Channel::closed(), topic: Channel::closed() };
        }
        let topic = known.by_name.entry(M::TOPIC).or_default().clone();
        let route = Route { own: Channel::default(), topic };
        known.by_type.entry(M::TYPE_ID).or_insert(route).clone()
    }

    pub(super) fn route(&self, type_id: u16) -> Option<Route> {
        self.known.lock().by_type.get(&type_id).cloned()
    }

    /// Whether no type was named yet.
    pub(super) fn is_empty(&self) -> bool {
        self.known.lock().by_type.is_empty()
    }

    pub(super) fn deliver_opaque(&self, frame: Frame) {
        self.opaque.send(|| frame);
    }

    pub(super) fn subscribe<M: Message>(&self) -> Subscriber<M> {
        let frames = self.declare::<M>().own.subscribe(self.capacity);
        Subscriber { frames, message: PhantomData }
    }

    pub(super) fn subscribe_to_topic<M: Message>(&self) -> FrameSubscriber {
        self.declare::<M>().topic.subscribe(self.capacity)
    }

    pub(super) fn subscribe_to_opaque(&self) -> FrameSubscriber {
        self.opaque.subscribe(self.capacity)
    }

    /// Subscribers receive what is there, and then that it is closed.
    pub(super) fn close(&self) {
        let mut known = self.known.lock();
        known.closed = true;
        let routes = known.by_type.values().flat_map(|route| [&route.own, &route.topic]);
        routes.chain([&self.opaque]).for_each(|channel| *channel.0.lock() = State::Closed);
    }
}

impl Route {
    /// Hands the frame to all that subscribe to its type or its topic.
    #[inline]
    pub(super) fn deliver(&self, frame: Frame) {
        self.topic.send(|| frame.clone());
        self.own.send(|| frame);
    }
}

/// tokio's broadcast channel, as it shares one value with all receivers, tells each how many it missed, and
/// allocates nothing once it is made; it is made for the first subscriber.
#[derive(Clone, Default)]
struct Channel(Arc<Mutex<State>>);

#[derive(Default)]
enum State {
    #[default]
    Unused,
    Open(broadcast::Sender<Frame>),
    Closed,
}

impl Channel {
    fn closed() -> Self {
        Self(Arc::new(Mutex::new(State::Closed)))
    }

    #[inline]
    fn send(&self, frame: impl FnOnce() -> Frame) {
        if let State::Open(sender) = &*self.0.lock() {
            // All may have gone.
            let _ = sender.send(frame());
        }
    }

    fn subscribe(&self, capacity: usize) -> FrameSubscriber {
        let mut state = self.0.lock();
        if let State::Unused = &*state {
            *state = State::Open(broadcast::Sender::new(capacity));
        }
        let channel = match &*state {
            State::Open(sender) => Some(sender.subscribe()),
            _ => None,
        };
        FrameSubscriber { channel }
    }
}

/// Gets every frame of a topic, in the storage that all its subscribers share.
pub struct FrameSubscriber {
    /// `None`: the topic was closed before.
    channel: Option<broadcast::Receiver<Frame>>,
}

impl FrameSubscriber {
    /// The next frame.
    ///
    /// # Errors
    ///
    /// [`RecvError::Lagged`] or [`RecvError::Closed`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no frame is lost.
    pub async fn recv(&mut self) -> Result<Frame, RecvError> {
        match &mut self.channel {
            Some(channel) => channel.recv().await.map_err(|error| match error {
                ChannelError::Lagged(missed) => RecvError::Lagged(missed),
                ChannelError::Closed => RecvError::Closed,
            }),
            None => Err(RecvError::Closed),
        }
    }
}

impl fmt::Debug for FrameSubscriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameSubscriber").finish_non_exhaustive()
    }
}

/// Gets every message of a type that arrives, in the storage that all subscribers share.
pub struct Subscriber<M> {
    frames: FrameSubscriber,
    message: PhantomData<fn() -> M>,
}

impl<M: Message> Subscriber<M> {
    /// The next message of the type.
    ///
    /// # Errors
    ///
    /// [`RecvError`]; unless it is [`Closed`](RecvError::Closed), the next call goes on.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no message is lost.
    pub async fn recv(&mut self) -> Result<Received<M>, RecvError> {
        let Frame { payload, .. } = self.frames.recv().await?;
        M::view(&payload).map_err(RecvError::Malformed)?;
        Ok(Received { payload, message: PhantomData })
    }
}

impl<M> fmt::Debug for Subscriber<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscriber").finish_non_exhaustive()
    }
}

/// A message in the storage it was read into. While it lives that storage is kept from the pool.
pub struct Received<M> {
    payload: PooledBytes,
    message: PhantomData<fn() -> M>,
}

impl<M: Message> Received<M> {
    /// Its fields, borrowed from the payload.
    ///
    /// # Panics
    ///
    /// If [`M::view`](Message::view) says another thing of the same bytes than when they were received.
    #[must_use]
    pub fn view(&self) -> M::View<'_> {
        match M::view(&self.payload) {
            Ok(view) => view,
            Err(error) => unreachable!("the same payload was a message when it was received: {error}"),
        }
    }

    /// The payload.
    #[must_use]
    pub fn into_payload(self) -> PooledBytes {
        self.payload
    }
}

/// The payload's bytes.
impl<M> Deref for Received<M> {
    type Target = PooledBytes;

    fn deref(&self) -> &PooledBytes {
        &self.payload
    }
}

impl<M> fmt::Debug for Received<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Received").field(&self.payload).finish()
    }
}
