//! Routes frames by type to the subscribers of the type and of its topic.

use std::any::type_name;
use std::collections::HashMap;

use super::channel::{Channel, Limits};
use super::config::TransportConfig;
use super::subscriber::{FrameSubscriber, Subscriber};
use crate::frame::Message;
use crate::frame::tlv::Frame;
use crate::sync::{Arc, Mutex};

/// The channels of all types and topics. A frame goes to the channel of its type and to the one of its topic.
pub(super) struct Topics {
    limits: Limits,
    known: Mutex<Known>,
    opaque: Arc<Channel>,
}

#[derive(Default)]
struct Known {
    by_name: HashMap<&'static str, Arc<Channel>>,
    by_type: HashMap<u16, (Declared, Route)>,
    closed: bool,
}

/// The first declaration of a type.
#[derive(Clone, Copy)]
struct Declared {
    topic: &'static str,
    max_size: usize,
    by: &'static str,
}

impl Declared {
    fn of<M: Message>() -> Self {
        Self { topic: M::TOPIC, max_size: M::MAX_SIZE, by: type_name::<M>() }
    }

    /// Panics if two types share one id, a mistake that would put messages in the wrong topic. No input
    /// can cause it.
    fn agrees_with(&self, other: &Self, type_id: u16) {
        assert!(
            (self.topic, self.max_size) == (other.topic, other.max_size),
            "message type {type_id} is in the topic {:?} with {} bytes at most by {}, and in {:?} with {} by {}: \
             give one of them another TYPE_ID",
            self.topic,
            self.max_size,
            self.by,
            other.topic,
            other.max_size,
            other.by,
        );
    }
}

/// The channels for frames of one type. Types have separate channels, so that a subscriber of one type is not woken for
/// another and keeps none of its frames.
#[derive(Clone)]
pub(super) struct Route {
    own: Arc<Channel>,
    topic: Arc<Channel>,
}

impl Topics {
    pub(super) fn new(config: &TransportConfig) -> Self {
        let limits = Limits { frames: config.channel_capacity, bytes: config.channel_byte_limit() };
        Self { limits, known: Mutex::default(), opaque: Arc::new(Channel::new("undeclared types", limits)) }
    }

    /// Makes the type known, and returns its channels.
    ///
    /// # Panics
    ///
    /// If the type was declared before with another topic or size.
    pub(super) fn declare<M: Message>(&self) -> Route {
        let mut known = self.known.lock();
        let channel = || Arc::new(Channel::new(M::TOPIC, self.limits));
        if known.closed {
            let route = Route { own: channel(), topic: channel() };
            route.own.close();
            route.topic.close();
            return route;
        }
        let declared = Declared::of::<M>();
        if let Some((first, route)) = known.by_type.get(&M::TYPE_ID) {
            let (first, route) = (*first, route.clone());
            drop(known);
            first.agrees_with(&declared, M::TYPE_ID);
            return route;
        }
        let topic = Arc::clone(known.by_name.entry(M::TOPIC).or_insert_with(channel));
        let route = Route { own: channel(), topic };
        known.by_type.insert(M::TYPE_ID, (declared, route.clone()));
        route
    }

    pub(super) fn route(&self, type_id: u16) -> Option<Route> {
        self.known.lock().by_type.get(&type_id).map(|(_, route)| route.clone())
    }

    /// Delivers a frame of an undeclared type. Returns whether it has a subscriber.
    pub(super) fn deliver_opaque(&self, frame: Frame) -> bool {
        self.opaque.send(frame, |frame| frame)
    }

    pub(super) fn subscribe<M: Message>(&self) -> Subscriber<M> {
        Subscriber::new(self.declare::<M>().own)
    }

    pub(super) fn subscribe_to_topic<M: Message>(&self) -> FrameSubscriber {
        FrameSubscriber::new(self.declare::<M>().topic)
    }

    pub(super) fn subscribe_to_opaque(&self) -> FrameSubscriber {
        FrameSubscriber::new(Arc::clone(&self.opaque))
    }

    /// Calls `visit` with every channel.
    pub(super) fn each_channel(&self, visit: impl FnMut(&Arc<Channel>)) {
        let known = self.known.lock();
        let of_types = known.by_type.values().map(|(_, route)| &route.own);
        of_types.chain(known.by_name.values()).chain([&self.opaque]).for_each(visit);
    }

    /// Closes all channels. Subscribers receive the frames that are kept, and then [`RecvError::Closed`](super::RecvError::Closed).
    pub(super) fn close(&self) {
        let routes: Vec<Route> = {
            let mut known = self.known.lock();
            known.closed = true;
            known.by_type.values().map(|(_, route)| route.clone()).collect()
        };
        // Outside of the lock: a waker may run any code.
        let channels = routes.iter().flat_map(|route| [&route.own, &route.topic]);
        channels.chain([&self.opaque]).for_each(|channel| channel.close());
    }
}

/// Without topics nothing delivers frames, so subscribers must not wait.
impl Drop for Topics {
    fn drop(&mut self) {
        self.close();
    }
}

impl Route {
    /// Delivers the frame to all subscribers of its type or its topic. Returns whether there is one.
    #[inline]
    pub(super) fn deliver(&self, frame: Frame) -> bool {
        let by_topic = self.topic.send(&frame, Frame::clone);
        self.own.send(frame, |frame| frame) | by_topic
    }
}
