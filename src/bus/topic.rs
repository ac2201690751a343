//! Routes frames by type to the subscribers of the type and of its topic.

use std::any::type_name;
use std::borrow::Borrow;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::marker::PhantomData;
use std::mem;

use tokio::sync::Notify;
use tokio::task::coop::cooperative;

use super::config::TransportConfig;
use super::error::RecvError;
use crate::frame::Message;
use crate::frame::tlv::Frame;
use crate::pool::PooledBytes;
use crate::sync::{Arc, Mutex};

/// Capacity that an empty channel keeps, 40 KiB: the default channel capacity, so that repeated short bursts allocate
/// nothing.
const PLACES_KEPT: usize = 1024;

/// The channels of all types and topics. A frame goes to the channel of its type and to the one of its topic.
pub(super) struct Topics {
    limits: Limits,
    known: Mutex<Known>,
    opaque: Arc<Channel>,
}

/// The most that a channel keeps. It keeps one frame of any size.
#[derive(Clone, Copy)]
struct Limits {
    frames: usize,
    /// Bytes of storage.
    bytes: usize,
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
        Self { limits, known: Mutex::default(), opaque: Arc::new(Channel::new(limits)) }
    }

    /// Makes the type known, and returns its channels.
    ///
    /// # Panics
    ///
    /// If the type was declared before with another topic or size.
    pub(super) fn declare<M: Message>(&self) -> Route {
        let mut known = self.known.lock();
        let channel = || Arc::new(Channel::new(self.limits));
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

    pub(super) fn deliver_opaque(&self, frame: Frame) {
        self.opaque.send(frame, |frame| frame);
    }

    pub(super) fn subscribe<M: Message>(&self) -> Subscriber<M> {
        Subscriber { frames: FrameSubscriber::new(self.declare::<M>().own), message: PhantomData }
    }

    pub(super) fn subscribe_to_topic<M: Message>(&self) -> FrameSubscriber {
        FrameSubscriber::new(self.declare::<M>().topic)
    }

    pub(super) fn subscribe_to_opaque(&self) -> FrameSubscriber {
        FrameSubscriber::new(Arc::clone(&self.opaque))
    }

    /// Closes all channels. Subscribers receive the frames that are kept, and then [`RecvError::Closed`].
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
    /// Delivers the frame to all subscribers of its type or its topic.
    #[inline]
    pub(super) fn deliver(&self, frame: Frame) {
        self.topic.send(&frame, Frame::clone);
        self.own.send(frame, |frame| frame);
    }
}

/// Keeps each frame once until every subscriber has received it, and drops the oldest frames above its limits. tokio's
/// broadcast channel does the same, but limits only the number of frames, not their bytes.
struct Channel {
    limits: Limits,
    ring: Mutex<Ring>,
    arrived: Notify,
}

#[derive(Default)]
struct Ring {
    /// In order of arrival, so that a later frame has at least as many receivers left.
    kept: VecDeque<Kept>,
    /// Sequence number of the oldest kept frame, or of the next frame if none is kept.
    first: u64,
    /// Bytes of storage of the kept frames. Consecutive slices of one read count once.
    bytes: usize,
    subscribers: usize,
    /// Whether a subscriber waits for the next frame.
    awaited: bool,
    closed: bool,
}

struct Kept {
    frame: Frame,
    /// Subscribers that have not received it.
    receivers: usize,
}

impl Ring {
    /// Bytes of storage that keeping the frame adds.
    fn price(&self, frame: &Frame) -> usize {
        match self.kept.back() {
            Some(last) if last.frame.payload.shares_storage_with(&frame.payload) => 0,
            _ => frame.payload.storage_len(),
        }
    }

    fn push(&mut self, frame: Frame) {
        self.bytes += self.price(&frame);
        self.kept.push_back(Kept { frame, receivers: self.subscribers });
    }

    fn pop(&mut self) -> Option<Frame> {
        let Kept { frame, .. } = self.kept.pop_front()?;
        self.first += 1;
        match self.kept.front() {
            Some(next) if next.frame.payload.shares_storage_with(&frame.payload) => {}
            _ => self.bytes -= frame.payload.storage_len(),
        }
        Some(frame)
    }

    fn next(&self) -> u64 {
        self.first + self.kept.len() as u64
    }

    /// Takes the excess capacity of an empty ring, to be freed after the lock is released.
    fn spare_places(&mut self) -> Option<VecDeque<Kept>> {
        let spare = self.kept.is_empty() && self.kept.capacity() > PLACES_KEPT;
        spare.then(|| mem::take(&mut self.kept))
    }
}

impl Channel {
    fn new(limits: Limits) -> Self {
        Self { limits, ring: Mutex::default(), arrived: Notify::new() }
    }

    /// Keeps a frame for all subscribers. Frames that it evicts are dropped outside of the lock.
    #[inline]
    fn send<F: Borrow<Frame>>(&self, frame: F, keep: impl FnOnce(F) -> Frame) {
        let awaited = loop {
            let mut ring = self.ring.lock();
            if ring.subscribers == 0 || ring.closed {
                return;
            }
            let full = ring.kept.len() >= self.limits.frames
                || ring.bytes.saturating_add(ring.price(frame.borrow())) > self.limits.bytes;
            if full && let Some(oldest) = ring.pop() {
                drop(ring);
                drop(oldest);
                continue;
            }
            ring.push(keep(frame));
            break mem::take(&mut ring.awaited);
        };
        if awaited {
            self.arrived.notify_waiters();
        }
    }

    fn close(&self) {
        self.ring.lock().closed = true;
        self.arrived.notify_waiters();
    }
}

/// Receives every frame of a topic, in storage that all subscribers share.
///
/// Frames that it has not received yet are kept, [within limits](super::TransportConfig::channel_bytes), until it is
/// dropped. A subscriber that falls behind these limits loses the oldest frames, and gets [`RecvError::Lagged`].
pub struct FrameSubscriber {
    channel: Arc<Channel>,
    /// Number of the frame it receives next.
    next: u64,
}

impl FrameSubscriber {
    fn new(channel: Arc<Channel>) -> Self {
        let next = {
            let mut ring = channel.ring.lock();
            ring.subscribers += 1;
            ring.next()
        };
        Self { channel, next }
    }

    /// Waits for the next frame.
    ///
    /// # Errors
    ///
    /// [`RecvError::Lagged`] or [`RecvError::Closed`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no frame is lost.
    pub async fn recv(&mut self) -> Result<Frame, RecvError> {
        // A subscriber that always finds a frame must still yield to other tasks.
        cooperative(async {
            loop {
                // Created before the check, so that a frame that arrives after the check wakes this task.
                let arrived = self.channel.arrived.notified();
                if let Some(outcome) = Self::take(&self.channel, &mut self.next) {
                    return outcome;
                }
                arrived.await;
            }
        })
        .await
    }

    /// Takes the next frame. `None` if there is none yet; the next frame then wakes the waiting tasks.
    fn take(channel: &Channel, next: &mut u64) -> Option<Result<Frame, RecvError>> {
        let mut ring = channel.ring.lock();
        let missed = ring.first.saturating_sub(*next);
        if missed > 0 {
            *next = ring.first;
            return Some(Err(RecvError::Lagged(missed)));
        }
        let ahead = (*next - ring.first) as usize;
        let Some(kept) = ring.kept.get_mut(ahead) else {
            ring.awaited |= !ring.closed;
            return ring.closed.then_some(Err(RecvError::Closed));
        };
        *next += 1;
        kept.receivers -= 1;
        if kept.receivers > 0 {
            return Some(Ok(kept.frame.clone()));
        }
        // The last receiver of a frame gets it without a clone. All frames before it are already removed.
        let frame = ring.pop();
        let places = ring.spare_places();
        drop(ring);
        drop(places);
        frame.map(Ok)
    }
}

/// Releases the frames that only this subscriber had not received.
impl Drop for FrameSubscriber {
    fn drop(&mut self) {
        let mut released = Vec::new();
        let places = {
            let mut ring = self.channel.ring.lock();
            ring.subscribers -= 1;
            let received = self.next.saturating_sub(ring.first) as usize;
            ring.kept.iter_mut().skip(received).for_each(|kept| kept.receivers -= 1);
            while ring.kept.front().is_some_and(|kept| kept.receivers == 0) {
                released.extend(ring.pop());
            }
            ring.spare_places()
        };
        drop((released, places));
    }
}

impl fmt::Debug for FrameSubscriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameSubscriber").finish_non_exhaustive()
    }
}

/// Receives every message of a type, in storage that all subscribers share.
pub struct Subscriber<M> {
    frames: FrameSubscriber,
    message: PhantomData<fn() -> M>,
}

impl<M: Message> Subscriber<M> {
    /// Waits for the next message of the type.
    ///
    /// # Errors
    ///
    /// [`RecvError`]. After any error but [`Closed`](RecvError::Closed) the next call continues with the next message.
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

/// A message in the storage that it was read into. The storage cannot return to the pool while this exists.
pub struct Received<M> {
    payload: PooledBytes,
    message: PhantomData<fn() -> M>,
}

impl<M: Message> Received<M> {
    /// Returns the fields, borrowed from the payload.
    ///
    /// # Panics
    ///
    /// If [`M::view`](Message::view) fails on bytes that it accepted when they were received.
    #[must_use]
    pub fn view(&self) -> M::View<'_> {
        match M::view(&self.payload) {
            Ok(view) => view,
            Err(error) => unreachable!("the same payload was a message when it was received: {error}"),
        }
    }

    /// Borrows the payload.
    #[must_use]
    pub fn payload(&self) -> &PooledBytes {
        &self.payload
    }

    /// Returns the payload, without a copy.
    #[must_use]
    pub fn into_payload(self) -> PooledBytes {
        self.payload
    }
}

impl<M> fmt::Debug for Received<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Received").field(&self.payload).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::{Arc, Channel, FrameSubscriber, Limits, PLACES_KEPT};
    use crate::bus::RecvError;
    use crate::frame::tlv::Frame;
    use crate::pool::{BufferPool, BufferPoolConfig};

    fn channel(frames: usize, bytes: usize) -> Arc<Channel> {
        Arc::new(Channel::new(Limits { frames, bytes }))
    }

    /// A pool with one class of this size.
    fn pool(size: usize) -> BufferPool {
        BufferPool::new(BufferPoolConfig::builder().class(size, 1024).thread_cache_bytes(0).build().unwrap())
    }

    fn send(channel: &Channel, pool: &BufferPool, type_id: u16) {
        let mut payload = pool.acquire(1);
        payload.extend_from_slice(&[1]);
        let payload = payload.into_shared();
        channel.send(Frame { type_id, payload }, |frame| frame);
    }

    fn take(subscriber: &mut FrameSubscriber) -> Option<Result<u16, RecvError>> {
        let taken = FrameSubscriber::take(&subscriber.channel, &mut subscriber.next);
        taken.map(|outcome| outcome.map(|frame| frame.type_id))
    }

    #[test]
    fn a_channel_keeps_at_most_its_byte_limit() {
        let (channel, pool) = (channel(100, 1000), pool(300));
        let (mut early, mut quick) =
            (FrameSubscriber::new(Arc::clone(&channel)), FrameSubscriber::new(Arc::clone(&channel)));
        for id in 0..10 {
            send(&channel, &pool, id);
            assert_eq!(take(&mut quick), Some(Ok(id)));
            assert_eq!(take(&mut quick), None);
        }
        assert_eq!((pool.stats().in_use, channel.ring.lock().bytes), (3, 900));
        let mut late = FrameSubscriber::new(Arc::clone(&channel));
        assert_eq!(take(&mut early), Some(Err(RecvError::Lagged(7))));
        assert_eq!(take(&mut early), Some(Ok(7)));
        send(&channel, &pool, 10);
        send(&channel, &pool, 11);
        assert_eq!(take(&mut early), Some(Err(RecvError::Lagged(1))));
        for id in 9..12 {
            assert_eq!(take(&mut early), Some(Ok(id)));
        }
        assert_eq!((take(&mut late), take(&mut late), take(&mut late)), (Some(Ok(10)), Some(Ok(11)), None));
        drop(quick);
        assert_eq!((pool.stats().in_use, channel.ring.lock().bytes), (0, 0));
    }

    #[test]
    fn slices_of_one_read_count_once() {
        let (channel, pool) = (channel(100, 600), pool(300));
        let mut subscriber = FrameSubscriber::new(Arc::clone(&channel));
        let reads = [(); 3].map(|()| {
            let mut read = pool.acquire(300);
            read.resize(300, 0);
            read.into_shared()
        });
        for (read, at) in (0..3).flat_map(|read| (0..10).map(move |at| (read, at))) {
            let payload = reads[read].slice(at * 30..(at + 1) * 30);
            channel.send(Frame { type_id: read as u16, payload }, |frame| frame);
        }
        drop(reads);
        // The third read exceeds the limit, so all slices of the first were evicted.
        assert_eq!(take(&mut subscriber), Some(Err(RecvError::Lagged(10))));
        for n in 0..20 {
            assert_eq!(pool.stats().in_use, 2 - n / 10);
            assert_eq!(channel.ring.lock().bytes, 300 * (2 - n as usize / 10));
            assert_eq!(take(&mut subscriber), Some(Ok(1 + n as u16 / 10)));
        }
        assert_eq!((pool.stats().in_use, channel.ring.lock().bytes), (0, 0));
    }

    #[test]
    fn one_frame_is_kept_however_large() {
        let (channel, pool) = (channel(0, 0), pool(300));
        let mut subscriber = FrameSubscriber::new(Arc::clone(&channel));
        for id in 0..3 {
            send(&channel, &pool, id);
        }
        channel.close();
        send(&channel, &pool, 3);
        assert_eq!(take(&mut subscriber), Some(Err(RecvError::Lagged(2))));
        assert_eq!(take(&mut subscriber), Some(Ok(2)));
        assert_eq!(take(&mut subscriber), Some(Err(RecvError::Closed)));
    }

    /// After subscribers were added and dropped at random, no frame is left, and none is counted.
    #[test]
    fn dropped_subscribers_leave_nothing_kept() {
        let (channel, pool) = (channel(8, 2000), pool(300));
        std::thread::scope(|threads| {
            for _ in 0..2 {
                threads.spawn(|| (0..20_000).for_each(|id| send(&channel, &pool, id)));
                threads.spawn(|| {
                    for round in 0..2000 {
                        let mut subscriber = FrameSubscriber::new(Arc::clone(&channel));
                        for _ in 0..round % 20 {
                            let _ = take(&mut subscriber);
                        }
                    }
                });
            }
        });
        let ring = channel.ring.lock();
        assert_eq!((ring.bytes, ring.kept.len(), ring.subscribers), (0, 0, 0));
        assert_eq!(pool.stats().in_use, 0);
    }

    #[test]
    fn capacity_is_released_after_a_burst() {
        let (channel, pool) = (channel(10_000, usize::MAX), pool(128));
        let mut subscriber = FrameSubscriber::new(Arc::clone(&channel));
        for burst in [200, 600, 5000] {
            for _ in 0..burst {
                send(&channel, &pool, 1);
            }
            while take(&mut subscriber).is_some() {}
            let places = channel.ring.lock().kept.capacity();
            // The capacity for usual bursts is kept for the next one.
            assert!(places <= PLACES_KEPT && (burst > PLACES_KEPT || burst <= places), "{places}");
        }
        // Without subscribers nothing is kept.
        drop(subscriber);
        send(&channel, &pool, 1);
        assert_eq!((pool.stats().in_use, channel.ring.lock().next()), (0, 5800));
    }
}
