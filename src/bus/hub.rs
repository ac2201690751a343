//! Topics, a pool, and the connections that share them.

use std::error::Error;
use std::fmt;
use std::mem;
use std::ops::Deref;

use tokio::sync::{Notify, broadcast};
use tokio::task::coop::consume_budget;
use tokio::time::timeout;

use super::config::TransportConfig;
use super::error::{ConnectionError, ConnectionErrorKind, PublishError};
use super::peer::{ConnectionInfo, Peer};
use super::pressure::{Every, Pressure};
use super::stats::{Counters, TransportStats};
use super::subscriber::{FrameSubscriber, Subscriber};
use super::topic::Topics;
use crate::frame::Message;
use crate::frame::tlv::Frame;
use crate::net::DrainReport;
use crate::pool::{BufferPool, BufferPoolConfig, BufferPoolStats};
use crate::sync::{Arc, Mutex};

/// Events kept for an observer that falls behind.
const EVENTS: usize = 256;

/// Bytes that a class for batches or for a full queue may keep idle, the same as in
/// [`BufferPoolConfig::powers_of_two`].
const CLASS_BYTES: usize = 1 << 20;

/// Topics, a pool and any number of connections: a transport without its listener.
///
/// The subscribers of one side receive what the other side publishes. A hub does not forward what it receives: a
/// server's peers receive only what the server itself publishes. Cloning is cheap, and all clones are the same hub.
///
/// A hub closes on [`shutdown`](Self::shutdown), or when its transport ends. It cannot be opened again.
///
/// # Examples
///
/// ```
/// # use bytes::{Buf, BufMut};
/// # use millpond::frame::{Message, MessageError};
/// # struct Counter(u64); impl Message for Counter {
/// #     const TYPE_ID: u16 = 1; const TOPIC: &'static str = "counters"; const MAX_SIZE: usize = 8;
/// #     type View<'a> = u64;
/// #     fn encode(&self, out: &mut impl BufMut) { out.put_u64_le(self.0) }
/// #     fn view(mut payload: &[u8]) -> Result<u64, MessageError> {
/// #         MessageError::check_len(payload, 8)?; Ok(payload.get_u64_le())
/// #     }
/// # }
/// use millpond::bus::{Hub, TransportConfig};
/// use millpond::frame::tlv;
/// use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let hub = Hub::new(TransportConfig::default());
/// let mut counters = hub.subscriber::<Counter>();
/// let (mut peer, stream) = duplex(1024);
/// let served = hub.clone();
/// tokio::spawn(async move { served.handle_stream_connection(stream).await });
///
/// let mut frame = Vec::new();
/// tlv::encode(Counter::TYPE_ID, &42_u64.to_le_bytes(), &mut frame)?;
/// peer.write_all(&frame).await?;
/// assert_eq!(counters.recv().await?.view()?, 42);
///
/// hub.publisher::<Counter>().publish(&Counter(42)).await?;
/// let mut received = vec![0; frame.len()];
/// peer.read_exact(&mut received).await?;
/// assert_eq!(received, frame);
/// # Ok(()) }
/// ```
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
    /// Notified when the phase changes and when the last peer is removed.
    changed: Notify,
    events: broadcast::Sender<ConnectionEvent>,
    pub(super) pressure: Pressure,
    pub(super) failure_warning: Every,
}

#[derive(Default)]
struct Peers {
    phase: Phase,
    /// The peers that are published to. Copied on change while a publisher iterates over it, so that no publisher holds
    /// the lock during the iteration.
    all: Arc<Vec<Arc<Peer>>>,
    /// Number of the newest connection.
    last_id: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    #[default]
    Open,
    /// New connections are refused, and open ones end. Publishers get [`PublishError::Closed`].
    Draining,
    /// Subscribers get `RecvError::Closed` after the last message.
    Closed,
}

/// A connection opened or closed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionEvent {
    /// A connection opened.
    #[non_exhaustive]
    Opened {
        /// Number of the connection within its transport.
        id: u64,
        /// Name of the peer.
        peer: String,
    },
    /// A connection closed.
    #[non_exhaustive]
    Closed {
        /// Number of the connection within its transport.
        id: u64,
        /// Name of the peer.
        peer: String,
        /// The cause; `None` if the connection ended between two frames.
        error: Option<ConnectionErrorKind>,
    },
}

impl Hub {
    /// Creates a hub without connections.
    #[must_use]
    pub fn new(mut config: TransportConfig) -> Self {
        config.max_payload = config.max_payload.min(u32::MAX as usize);
        let classes = if config.buffer_pool_enabled { with_queues(&config) } else { no_pool() };
        let shared = Shared {
            pool: BufferPool::new(classes),
            topics: Topics::new(&config),
            counters: Counters::default(),
            peers: Mutex::default(),
            changed: Notify::new(),
            events: broadcast::Sender::new(EVENTS),
            pressure: Pressure::new(),
            failure_warning: Every::warning(),
            config,
        };
        Self { shared: Arc::new(shared) }
    }

    /// Subscribes to the messages of the type that arrive from now on, from any peer.
    ///
    /// # Panics
    ///
    /// The same as [`declare`](Self::declare).
    #[must_use]
    pub fn subscriber<M: Message>(&self) -> Subscriber<M> {
        self.shared.topics.subscribe()
    }

    /// Subscribes to the frames of the message's topic that arrive from now on, of any type.
    ///
    /// # Panics
    ///
    /// The same as [`declare`](Self::declare).
    #[must_use]
    pub fn topic_subscriber<M: Message>(&self) -> FrameSubscriber {
        self.shared.topics.subscribe_to_topic::<M>()
    }

    /// Subscribes to the frames of undeclared types, if the hub
    /// [passes them through](super::UnknownTypes::PassThrough).
    #[must_use]
    pub fn opaque_subscriber(&self) -> FrameSubscriber {
        self.shared.topics.subscribe_to_opaque()
    }

    /// Makes the type known to the hub, even if it has no subscriber.
    ///
    /// # Panics
    ///
    /// If the hub knows the [`TYPE_ID`](Message::TYPE_ID) with another [`TOPIC`](Message::TOPIC) or
    /// [`MAX_SIZE`](Message::MAX_SIZE): two types share one id, which is a mistake in the program. Two types that agree
    /// in both are views of the same messages.
    pub fn declare<M: Message>(&self) {
        self.shared.topics.declare::<M>();
    }

    /// Sends a frame of any type to every peer, as [`Publisher::publish`](super::Publisher::publish) does.
    ///
    /// It forwards a received frame without a copy.
    ///
    /// # Errors
    ///
    /// [`PublishError`].
    ///
    /// # Cancel safety
    ///
    /// The same as [`Publisher::publish`](super::Publisher::publish).
    pub async fn forward(&self, frame: Frame) -> Result<usize, PublishError> {
        // Without peers this never waits, but must still yield to other tasks.
        consume_budget().await;
        // Usually at most one queue is full. Then nothing is allocated.
        let (mut first, mut others) = (None, Vec::new());
        let mut reached = self.shared.offer(&frame, |peer| match first {
            None => first = Some(Arc::clone(peer)),
            Some(_) => others.push(Arc::clone(peer)),
        })?;
        for peer in first.into_iter().chain(others) {
            if peer.send(frame.clone()).await {
                reached += 1;
            } else {
                self.shared.missed(&peer, 1);
            }
        }
        Ok(reached)
    }

    /// Drains every connection, and closes the hub.
    ///
    /// Each connection sends its queue, tells the peer that it ends, and receives what the peer still sends. Connections
    /// that are open after [`drain_timeout`](TransportConfig::drain_timeout) are aborted, with
    /// [`ConnectionErrorKind::Aborted`]. As soon as the shutdown starts, new connections are refused, transports of this
    /// hub stop listening and reconnecting, and publishers get [`PublishError::Closed`]. When it completes, subscribers
    /// receive the messages that are kept for them, and then `RecvError::Closed`.
    ///
    /// # Cancel safety
    ///
    /// If cancelled, the hub keeps draining and aborts nothing. Another call continues, with a new drain timeout.
    pub async fn shutdown(&self) -> DrainReport {
        self.shared.shutdown().await
    }

    /// Returns the pool that frames are read into.
    #[must_use]
    pub fn buffer_pool(&self) -> &BufferPool {
        &self.shared.pool
    }

    /// Returns the statistics of the pool.
    #[must_use]
    pub fn buffer_pool_stats(&self) -> BufferPoolStats {
        self.shared.pool.stats()
    }

    /// Returns the statistics of all connections.
    #[must_use]
    pub fn stats(&self) -> TransportStats {
        let mut stats = self.shared.counters.snapshot();
        self.shared.topics.each_channel(|channel| stats.lagged_frames += channel.lagged());
        stats
    }

    /// Lists the connections, the one that holds the most bytes first.
    #[must_use]
    pub fn connections(&self) -> Vec<ConnectionInfo> {
        let peers = self.shared.all();
        let mut infos: Vec<_> = peers.iter().map(|peer| peer.info()).collect();
        infos.sort_by_key(|info| std::cmp::Reverse(info.bytes()));
        infos
    }

    /// Reports the connections that open and close from now on. A receiver that falls more than 256 events behind misses
    /// the oldest.
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
    /// Queues the frame for every peer whose queue has room, and calls `full` for each of the others. Returns the number
    /// of peers that it was queued for.
    pub(super) fn offer(
        &self,
        frame: &Frame,
        mut full: impl FnMut(&Arc<Peer>),
    ) -> Result<usize, PublishError> {
        let (size, max) = (frame.payload.len(), self.config.max_payload);
        if size > max {
            return Err(self.refused(PublishError::MessageTooLarge { size, max }));
        }
        let peers = {
            let peers = self.peers.lock();
            if peers.phase != Phase::Open {
                return Err(self.refused(PublishError::Closed));
            }
            Arc::clone(&peers.all)
        };
        let mut reached = 0;
        for peer in peers.iter() {
            if peer.offer(frame) { reached += 1 } else { full(peer) }
        }
        Ok(reached)
    }

    /// Counts frames that the peer missed.
    pub(super) fn missed(&self, peer: &Peer, frames: usize) {
        if frames > 0 {
            peer.missed_frames.add(frames as u64);
            self.counters.missed_frames.add(frames as u64);
        }
    }

    /// Others release memory, because somebody wants `wanted` bytes and there are none.
    #[cold]
    pub(super) fn relieve(&self, wanted: usize) {
        let missed = |peer: &Peer, frames| self.missed(peer, frames);
        self.pressure.relieve(wanted, &self.config, &self.topics, || self.all(), missed);
    }

    fn log_holder(&self) {
        self.pressure.log_holder(&self.topics, &self.all());
    }

    /// Counts a message that could not be published.
    #[cold]
    pub(super) fn refused(&self, error: PublishError) -> PublishError {
        self.counters.refused_messages.add(1);
        error
    }

    pub(super) fn began(&self, peer: &Peer) {
        self.counters.opened();
        // An error means that there is no observer.
        let _ = self.events.send(ConnectionEvent::Opened { id: peer.id, peer: peer.name.clone() });
    }

    pub(super) fn ended(&self, peer: &Peer, error: Option<ConnectionErrorKind>) {
        self.counters.ended(error);
        let _ = self.events.send(ConnectionEvent::Closed { id: peer.id, peer: peer.name.clone(), error });
    }

    /// Returns the current peers.
    fn all(&self) -> Arc<Vec<Arc<Peer>>> {
        Arc::clone(&self.peers.lock().all)
    }

    /// Whether it neither drains nor is closed.
    pub(super) fn is_open(&self) -> bool {
        self.peers.lock().phase == Phase::Open
    }

    async fn until(&self, holds: impl Fn(&Peers) -> bool) {
        loop {
            // Created before the check, so that a change after the check wakes this task.
            let changed = self.changed.notified();
            if holds(&self.peers.lock()) {
                return;
            }
            changed.await;
        }
    }

    /// Waits until the hub drains or is closed.
    pub(super) async fn drains(&self) {
        self.until(|peers| peers.phase != Phase::Open).await;
    }

    /// Waits for the connections to drain until the timeout, then closes.
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

    /// Closes publishers and subscribers, and aborts the connections that are still open.
    pub(super) fn close(&self) {
        self.begin(Phase::Closed).iter().for_each(|peer| self.missed(peer, peer.close()));
        self.topics.close();
    }

    /// Enters the phase, and returns the peers at that moment. A closed hub keeps none of them.
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
}

/// A peer that is published to until this is dropped.
pub(super) struct RegisteredPeer {
    shared: Arc<Shared>,
    peer: Arc<Peer>,
}

impl RegisteredPeer {
    /// Returns `None` if the hub drains or is closed.
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
        self.shared.missed(&self.peer, self.peer.close());
        let gone = {
            let mut peers = self.shared.peers.lock();
            // A closed hub has no peers.
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

/// An open connection: reports when it opens and, on every path, when it closes.
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
            if error.kind() == ConnectionErrorKind::MemoryTimeout {
                self.shared.log_holder();
            }
            // Any peer can make connections fail, so most of many are counted only.
            if let Some(left_out) = self.shared.failure_warning.due() {
                let error = error as &dyn Error;
                tracing::warn!(peer = %self.peer.name, error, left_out, "connection failed");
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

/// Adds classes for reads and for gathered writes of small frames, and keeps as many messages of each class as a queue
/// holds. A pool planned for the messages only would take reads, writes and bursts from the heap.
fn with_queues(config: &TransportConfig) -> BufferPoolConfig {
    let pool = &config.buffer_pool;
    let largest = pool.classes().last().map_or(0, |class| class.size);
    let quarter = pool.memory_limit() / 4;
    let (small, large) = (*config.read_sizes.start(), *config.read_sizes.end());
    let missing = [Some(small), (small < large).then_some(large)]
        .into_iter()
        .flatten()
        .filter(|&size| size > largest && size <= quarter)
        .map(|size| (size, (CLASS_BYTES / size).max(1)));
    let queued = pool.to_builder().capacity_at_least(config.channel_capacity, CLASS_BYTES.min(quarter));
    queued.classes(missing).build().unwrap_or_else(|_| pool.clone())
}

/// Takes practically every buffer from the heap: the only class holds one byte.
fn no_pool() -> BufferPoolConfig {
    match BufferPoolConfig::builder().class(1, 1).build() {
        Ok(config) => config,
        Err(error) => unreachable!("{error}"),
    }
}
