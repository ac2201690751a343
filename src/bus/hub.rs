//! Topics, a pool, and the connections that share them.

use std::error::Error;
use std::fmt;
use std::marker::PhantomData;
use std::mem;
use std::ops::Deref;
use std::time::Duration;

use tokio::sync::{Notify, broadcast};
use tokio::task::coop::consume_budget;
use tokio::time::{Instant, timeout};

use super::config::TransportConfig;
use super::error::{ConnectionError, ConnectionErrorKind, PublishError};
use super::peer::{ConnectionInfo, Peer};
use super::stats::{Counters, TransportStats};
use super::topic::{FrameSubscriber, Subscriber, Topics};
use crate::frame::Message;
use crate::frame::tlv::Frame;
use crate::net::DrainReport;
use crate::pool::{AcquireError, BufferPool, BufferPoolConfig, BufferPoolStats, PooledBuffer};
use crate::size::ReadSize;
use crate::sync::{Arc, Mutex};

/// Events that an observer may be behind.
const EVENTS: usize = 256;
/// Between two lines of the log about memory that is used up: it fails for many at once.
const WARN_EVERY: Duration = Duration::from_secs(1);

/// Bytes that a class for batches keeps, as [`BufferPoolConfig::powers_of_two`] has it.
const BATCH_BYTES: usize = 1 << 20;

/// Topics, a pool and any number of connections: what every transport is, without its listener.
///
/// What one side publishes, the other side's subscribers get. A hub does not pass on what it receives: to the
/// peers of a server goes what the server publishes. Cheap to clone; clones are one hub.
///
/// It ends by its [`shutdown`](Self::shutdown), or with the transport that it is of, and does not begin again.
#[derive(Clone)]
pub struct Hub {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) config: TransportConfig,
    pub(super) pool: BufferPool,
    pub(super) topics: Topics,
    pub(super) counters: Counters,
    peers: Mutex<Peers>,
    /// Another phase has begun, or the last peer has gone.
    changed: Notify,
    events: broadcast::Sender<ConnectionEvent>,
    /// When the log was last told that memory is used up.
    warned: Mutex<Option<Instant>>,
}

#[derive(Default)]
struct Peers {
    phase: Phase,
    /// Who is published to. Copied when it changes while somebody goes through it, so that nobody who publishes holds
    /// the lock meanwhile.
    all: Arc<Vec<Arc<Peer>>>,
    /// Of the connections.
    last_id: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    #[default]
    Open,
    /// No connection begins, and those that are there end. Publishers are told that it is over.
    Draining,
    /// Subscribers are told that it is over.
    Closed,
}

/// A connection's beginning or end.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionEvent {
    /// It was made.
    Opened {
        /// Number of the connection within its transport.
        id: u64,
        /// Who is at the other end.
        peer: String,
    },
    /// It ended.
    Closed {
        /// Number of the connection within its transport.
        id: u64,
        /// Who was at the other end.
        peer: String,
        /// Why; `None` if it ended between two frames.
        error: Option<ConnectionErrorKind>,
    },
}

impl Hub {
    /// Without a connection yet.
    #[must_use]
    pub fn new(mut config: TransportConfig) -> Self {
        config.max_payload = config.max_payload.min(u32::MAX as usize);
        let classes = if config.buffer_pool_enabled { with_batches(&config.buffer_pool) } else { no_pool() };
        let shared = Shared {
            pool: BufferPool::new(classes),
            topics: Topics::new(&config),
            counters: Counters::default(),
            peers: Mutex::default(),
            changed: Notify::new(),
            events: broadcast::Sender::new(EVENTS),
            warned: Mutex::default(),
            config,
        };
        Self { shared: Arc::new(shared) }
    }

    /// Sends messages of the type to every peer.
    ///
    /// # Panics
    ///
    /// As [`declare`](Self::declare).
    #[must_use]
    pub fn publisher<M: Message>(&self) -> Publisher<M> {
        self.declare::<M>();
        Publisher { hub: self.clone(), message: PhantomData }
    }

    /// Gets messages of the type from every peer, from now on.
    ///
    /// # Panics
    ///
    /// As [`declare`](Self::declare).
    #[must_use]
    pub fn subscriber<M: Message>(&self) -> Subscriber<M> {
        self.shared.topics.subscribe()
    }

    /// Gets all frames of the message's topic, of whatever type, from now on.
    ///
    /// # Panics
    ///
    /// As [`declare`](Self::declare).
    #[must_use]
    pub fn topic_subscriber<M: Message>(&self) -> FrameSubscriber {
        self.shared.topics.subscribe_to_topic::<M>()
    }

    /// Gets the frames whose type nobody named, if
    /// [they pass](super::UnknownTypes::PassThrough).
    #[must_use]
    pub fn opaque_subscriber(&self) -> FrameSubscriber {
        self.shared.topics.subscribe_to_opaque()
    }

    /// From now on frames of the type are no unknown ones, even if nobody subscribes to them.
    ///
    /// # Panics
    ///
    /// If the hub knows the [`TYPE_ID`](Message::TYPE_ID) with another [`TOPIC`](Message::TOPIC) or
    /// [`MAX_SIZE`](Message::MAX_SIZE): two types with one id, which is a mistake in the program. Two that agree in both
    /// are views of the same messages.
    pub fn declare<M: Message>(&self) {
        self.shared.topics.declare::<M>();
    }

    /// Sends a frame of any type to every peer as [`Publisher::publish`] does: to pass on what was received, without a
    /// copy.
    ///
    /// # Errors
    ///
    /// [`PublishError`].
    ///
    /// # Cancel safety
    ///
    /// As [`Publisher::publish`].
    pub async fn forward(&self, frame: Frame) -> Result<usize, PublishError> {
        // Who is held up by nobody, as nobody is there, lets other tasks have their turn all the same.
        consume_budget().await;
        // Most often there is one at most: then nothing is allocated.
        let (mut first, mut others) = (None, Vec::new());
        let mut reached = self.shared.offer(&frame, |peer| match first {
            None => first = Some(Arc::clone(peer)),
            Some(_) => others.push(Arc::clone(peer)),
        })?;
        for peer in first.into_iter().chain(others) {
            reached += usize::from(peer.send(frame.clone()).await.is_ok());
        }
        Ok(reached)
    }

    /// Lets every connection send what waits for it and receive what its peer still sends, and tells the peer; cuts
    /// those that have not ended by [`drain_timeout`](TransportConfig::drain_timeout), with
    /// [`ConnectionErrorKind::Aborted`]. From its beginning no connection begins, a transport of this hub neither listens
    /// nor connects again, and publishers are told that the hub is closed; at its end subscribers are, when they have
    /// received what is there.
    ///
    /// # Cancel safety
    ///
    /// Cancelled, it leaves the hub draining, with nothing cut; another call goes on, with a drain timeout of its own.
    pub async fn shutdown(&self) -> DrainReport {
        self.shared.shutdown().await
    }

    /// The pool that frames are read into.
    #[must_use]
    pub fn buffer_pool(&self) -> &BufferPool {
        &self.shared.pool
    }

    /// What the pool did and holds.
    #[must_use]
    pub fn buffer_pool_stats(&self) -> BufferPoolStats {
        self.shared.pool.stats()
    }

    /// What the connections did.
    #[must_use]
    pub fn stats(&self) -> TransportStats {
        self.shared.counters.snapshot()
    }

    /// The connections, those first that hold most.
    #[must_use]
    pub fn connections(&self) -> Vec<ConnectionInfo> {
        let peers = self.shared.all();
        let mut infos: Vec<_> = peers.iter().map(|peer| peer.info()).collect();
        infos.sort_by_key(|info| std::cmp::Reverse(info.bytes()));
        infos
    }

    /// Tells of connections that begin and end from now on. Who is more than 256 events behind misses the oldest.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<ConnectionEvent> {
        self.shared.events.subscribe()
    }
}

impl From<TransportConfig> for Hub {
    fn from(config: TransportConfig) -> Self {
        Self::new(config)
    }
}

impl From<&Self> for Hub {
    fn from(hub: &Self) -> Self {
        hub.clone()
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

impl Shared {
    /// Queues the frame at every peer that has a place; `full` is told of the others. Returns how many took it.
    fn offer(&self, frame: &Frame, mut full: impl FnMut(&Arc<Peer>)) -> Result<usize, PublishError> {
        let (size, max) = (frame.payload.len(), self.config.max_payload);
        if size > max {
            return Err(PublishError::MessageTooLarge { size, max });
        }
        let peers = {
            let peers = self.peers.lock();
            if peers.phase != Phase::Open {
                return Err(PublishError::Closed);
            }
            Arc::clone(&peers.all)
        };
        let mut reached = 0;
        for peer in peers.iter() {
            if peer.offer(frame) { reached += 1 } else { full(peer) }
        }
        Ok(reached)
    }

    pub(super) fn began(&self, peer: &Peer) {
        self.counters.opened();
        // Nobody may observe.
        let _ = self.events.send(ConnectionEvent::Opened { id: peer.id, peer: peer.name.clone() });
    }

    pub(super) fn ended(&self, peer: &Peer, error: Option<ConnectionErrorKind>) {
        self.counters.ended(error);
        let _ = self.events.send(ConnectionEvent::Closed { id: peer.id, peer: peer.name.clone(), error });
    }

    /// The peers by now.
    fn all(&self) -> Arc<Vec<Arc<Peer>>> {
        Arc::clone(&self.peers.lock().all)
    }

    async fn until(&self, holds: impl Fn(&Peers) -> bool) {
        loop {
            // Before the look, so that what changes behind it wakes this.
            let changed = self.changed.notified();
            if holds(&self.peers.lock()) {
                return;
            }
            changed.await;
        }
    }

    /// Until connections are to end.
    pub(super) async fn drains(&self) {
        self.until(|peers| peers.phase != Phase::Open).await;
    }

    /// Lets the connections end well until the deadline, and closes.
    async fn shutdown(&self) -> DrainReport {
        let before = self.counters.snapshot().ended();
        let peers = self.begin(Phase::Draining);
        peers.iter().for_each(|peer| peer.drain());
        drop(peers);
        let all_gone = self.until(|peers| peers.all.is_empty());
        let _ = timeout(self.config.drain_timeout, all_gone).await;
        let stats = self.counters.snapshot();
        self.close();
        DrainReport { drained: stats.ended().saturating_sub(before), aborted: stats.open }
    }

    /// Publishers and subscribers are told that it is over; connections that go on are cut.
    pub(super) fn close(&self) {
        self.begin(Phase::Closed).iter().for_each(|peer| peer.close());
        self.topics.close();
    }

    /// Returns the peers that there are then, of which a closed hub keeps none.
    fn begin(&self, phase: Phase) -> Arc<Vec<Arc<Peer>>> {
        let peers = {
            let mut peers = self.peers.lock();
            peers.phase = peers.phase.max(phase);
            match phase {
                Phase::Closed => mem::take(&mut peers.all),
                _ => Arc::clone(&peers.all),
            }
        };
        self.changed.notify_waiters();
        peers
    }

    /// Names in the log who holds most of the pool.
    fn memory_failed(&self) {
        let now = Instant::now();
        {
            let mut warned = self.warned.lock();
            if warned.is_some_and(|before| now.duration_since(before) < WARN_EVERY) {
                return;
            }
            *warned = Some(now);
        }
        let peers = self.all();
        let infos = peers.iter().map(|peer| peer.info());
        if let Some(greediest) = infos.max_by_key(ConnectionInfo::bytes) {
            tracing::warn!(%greediest, "the pool's limit is used up");
        }
    }
}

/// A peer that is published to, for as long as this lives.
pub(super) struct RegisteredPeer {
    shared: Arc<Shared>,
    peer: Arc<Peer>,
}

impl RegisteredPeer {
    /// `None` if connections are to end.
    pub(super) fn new(shared: &Arc<Shared>, name: impl FnOnce(u64) -> String) -> Option<Self> {
        let mut peers = shared.peers.lock();
        if peers.phase != Phase::Open {
            return None;
        }
        peers.last_id += 1;
        let id = peers.last_id;
        let peer =
            Peer::new(id, name(id), shared.config.channel_capacity, shared.config.channel_byte_limit());
        Arc::make_mut(&mut peers.all).push(Arc::clone(&peer));
        Some(Self { shared: Arc::clone(shared), peer })
    }
}

impl Deref for RegisteredPeer {
    type Target = Peer;

    fn deref(&self) -> &Peer {
        &self.peer
    }
}

impl Drop for RegisteredPeer {
    fn drop(&mut self) {
        self.peer.close();
        let gone = {
            let mut peers = self.shared.peers.lock();
            // A closed hub has none.
            if let Some(place) = peers.all.iter().position(|peer| Arc::ptr_eq(peer, &self.peer)) {
                Arc::make_mut(&mut peers.all).swap_remove(place);
            }
            peers.all.is_empty()
        };
        if gone {
            self.shared.changed.notify_waiters();
        }
    }
}

/// A connection from its first moment to its last, however it ends.
pub(super) struct OpenConnection<'a> {
    pub(super) shared: &'a Shared,
    pub(super) peer: &'a Peer,
    outcome: Option<Option<ConnectionErrorKind>>,
}

impl<'a> OpenConnection<'a> {
    pub(super) fn new(shared: &'a Shared, peer: &'a Peer) -> Self {
        shared.began(peer);
        Self { shared, peer, outcome: None }
    }

    pub(super) fn end(mut self, outcome: Result<(), ConnectionError>) -> Result<(), ConnectionError> {
        if let Err(error) = &outcome {
            tracing::debug!(peer = %self.peer.name, error = error as &dyn Error, "connection failed");
            if error.kind() == ConnectionErrorKind::MemoryTimeout {
                self.shared.memory_failed();
            }
        }
        self.outcome = Some(outcome.as_ref().err().map(ConnectionError::kind));
        outcome
    }
}

impl Drop for OpenConnection<'_> {
    fn drop(&mut self) {
        self.shared.ended(self.peer, self.outcome.unwrap_or(Some(ConnectionErrorKind::Aborted)));
    }
}

/// What is read ahead, and small frames that are written together, have classes, too: in a pool of classes for
/// messages alone each would come from the heap.
fn with_batches(config: &BufferPoolConfig) -> BufferPoolConfig {
    let largest = config.classes().last().map_or(0, |class| class.size);
    let missing = [ReadSize::SMALL, ReadSize::LARGE]
        .into_iter()
        .filter(|&size| size > largest && size <= config.memory_limit() / 4);
    let missing = missing.map(|size| (size, BATCH_BYTES / size));
    config.to_builder().classes(missing).build().unwrap_or_else(|_| config.clone())
}

/// Every buffer from the heap: one class, for what needs no storage to speak of.
fn no_pool() -> BufferPoolConfig {
    match BufferPoolConfig::builder().class(1, 1).build() {
        Ok(config) => config,
        Err(error) => unreachable!("{error}"),
    }
}

/// Sends messages of one type to every peer.
pub struct Publisher<M> {
    hub: Hub,
    message: PhantomData<fn() -> M>,
}

impl<M: Message> Publisher<M> {
    /// Sends a message to every peer; returns how many there are. It is encoded once, into a pooled buffer that all
    /// peers share. Waits until each peer's queue has a place: a peer that takes nothing holds the publisher up
    /// for the write timeout, and is closed then; a slow one, for as long as it is slow; and a client's server that is
    /// away, until it is back.
    ///
    /// It waits for memory, too, when the pool's [memory limit](crate::BufferPoolConfigBuilder::memory_limit) is reached:
    /// peers that do not read cannot push the pool over it.
    ///
    /// A message is sent at most once: what was on its way when a connection broke is lost.
    ///
    /// # Errors
    ///
    /// [`PublishError`].
    ///
    /// # Cancel safety
    ///
    /// Cancelled, some peers may have got the message and others not.
    pub async fn publish(&self, message: &M) -> Result<usize, PublishError> {
        self.check(message)?;
        let (pool, len) = (&self.hub.shared.pool, message.encoded_len());
        let buffer = match pool.acquire_within_limit(len) {
            Err(AcquireError::Exhausted { .. }) => pool.acquire_async(len).await,
            buffer => buffer,
        };
        let buffer = buffer.map_err(PublishError::OutOfMemory)?;
        self.hub.forward(Self::frame(message, buffer)).await
    }

    /// Sends a message to every peer whose queue has a place; returns how many have. The others miss it, which is
    /// [counted](ConnectionInfo::missed_frames). Never waits: one slow peer holds up nobody.
    ///
    /// # Errors
    ///
    /// [`PublishError`].
    pub fn try_publish(&self, message: &M) -> Result<usize, PublishError> {
        self.check(message)?;
        let buffer = self.hub.shared.pool.acquire_within_limit(message.encoded_len());
        let frame = Self::frame(message, buffer.map_err(PublishError::OutOfMemory)?);
        self.hub.shared.offer(&frame, |peer| {
            peer.missed_frames.add(1);
            self.hub.shared.counters.missed_frames.add(1);
        })
    }

    fn check(&self, message: &M) -> Result<(), PublishError> {
        let (size, max) = (message.encoded_len(), self.hub.shared.config.max_payload);
        if size > max {
            return Err(PublishError::MessageTooLarge { size, max });
        }
        message.validate().map_err(PublishError::Invalid)
    }

    fn frame(message: &M, buffer: PooledBuffer) -> Frame {
        Frame { type_id: M::TYPE_ID, payload: message.encode_in(buffer).into_shared() }
    }
}

impl<M> Clone for Publisher<M> {
    fn clone(&self) -> Self {
        Self { hub: self.hub.clone(), message: PhantomData }
    }
}

impl<M> fmt::Debug for Publisher<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher").finish_non_exhaustive()
    }
}
