//! The queue of frames for one peer, and what the peer's connection holds.

use std::collections::VecDeque;
use std::fmt;
use std::mem;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::{Semaphore, TryAcquireError};
use tokio::time::Instant;

use crate::frame::tlv::Frame;
use crate::sync::statistic::{AtomicUsize, Ordering};
use crate::sync::{Arc, Count, Mutex};

/// What publishers and a connection share: the frames that wait for the peer, and its figures.
pub(super) struct Peer {
    pub(super) id: u64,
    pub(super) name: String,
    since: Instant,
    waiting: Mutex<Waiting>,
    /// One permit per free place. tokio's semaphore serves waiting publishers in order.
    places: Semaphore,
    capacity: usize,
    /// Bytes of storage per place. A larger frame takes several places.
    place: usize,
    /// Bytes of storage of the frames that wait. Written under the lock of `waiting`.
    queued: AtomicUsize,
    /// Bytes of storage that the connection holds, as of its last poll.
    held: AtomicUsize,
    stalls_at: AtomicUsize,
    waits_since: AtomicUsize,
    began: AtomicUsize,
    pub(super) received_frames: Count,
    pub(super) received_bytes: Count,
    pub(super) missed_frames: Count,
}

/// Frames taken from the queue under one lock.
const BATCH: usize = 16;

#[derive(Default)]
struct Waiting {
    frames: VecDeque<Frame>,
    connection: Option<Waker>,
    /// The connection has taken all frames, and the next one wakes it.
    wake_on_push: bool,
    stop: Stop,
}

/// Whether the memory that a connection holds moves, in milliseconds since the hub was made; [`NEVER`](Hold::NEVER) if it
/// does not apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hold {
    /// When it stalls, if nothing moves until then.
    pub(super) stalls_at: usize,
    /// Since when a part of a frame waits for memory for the rest. Earlier waits of the frame count as well.
    pub(super) waits_since: usize,
    /// When that frame began.
    pub(super) began: usize,
}

impl Hold {
    pub(super) const NEVER: usize = usize::MAX;
    /// Nothing is held.
    pub(super) const NOTHING: Self =
        Self { stalls_at: Self::NEVER, waits_since: Self::NEVER, began: Self::NEVER };
}

/// Whether the connection is to end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stop {
    #[default]
    No,
    /// Once everything that waits is written.
    Drain,
    /// At once, because it holds memory that others need. Frames are dropped until the next connection.
    Evict,
    /// At once.
    Abort,
}

impl Peer {
    /// A queue of at most `capacity` frames with `bytes` of storage, but always of one frame.
    pub(super) fn new(id: u64, name: String, capacity: usize, bytes: usize) -> Arc<Self> {
        let most = Semaphore::MAX_PERMITS.min(u32::MAX as usize).min(bytes.max(1));
        let capacity = capacity.clamp(1, most);
        Arc::new(Self {
            id,
            name,
            since: Instant::now(),
            waiting: Mutex::default(),
            places: Semaphore::new(capacity),
            capacity,
            place: (bytes / capacity).max(1),
            queued: AtomicUsize::new(0),
            held: AtomicUsize::new(0),
            stalls_at: AtomicUsize::new(Hold::NEVER),
            waits_since: AtomicUsize::new(Hold::NEVER),
            began: AtomicUsize::new(Hold::NEVER),
            received_frames: Count::default(),
            received_bytes: Count::default(),
            missed_frames: Count::default(),
        })
    }

    /// How many places the frame takes.
    fn size(&self, frame: &Frame) -> usize {
        frame.payload.storage_len().div_ceil(self.place).clamp(1, self.capacity)
    }

    /// Queues the frame if there is a place.
    pub(super) fn offer(&self, frame: &Frame) -> bool {
        match self.places.try_acquire_many(self.size(frame) as u32) {
            Ok(places) => {
                places.forget();
                self.push(frame.clone())
            }
            Err(TryAcquireError::NoPermits | TryAcquireError::Closed) => false,
        }
    }

    /// Queues the frame as soon as there is a place. Returns whether the peer still takes frames.
    pub(super) async fn send(&self, frame: Frame) -> bool {
        match self.places.acquire_many(self.size(&frame) as u32).await {
            Ok(places) => {
                places.forget();
                self.push(frame)
            }
            Err(_closed) => false,
        }
    }

    fn push(&self, frame: Frame) -> bool {
        let connection = {
            let mut waiting = self.waiting.lock();
            if waiting.stop >= Stop::Evict {
                drop(waiting);
                self.places.add_permits(self.size(&frame));
                return false;
            }
            self.count_queued(|queued| queued + frame.payload.storage_len());
            waiting.frames.push_back(frame);
            match mem::take(&mut waiting.wake_on_push) {
                true => waiting.connection.take(),
                false => None,
            }
        };
        if let Some(connection) = connection {
            connection.wake();
        }
        true
    }

    /// Takes frames until their sizes, in bytes, fill `room`. When none is left, the next one wakes the task. A stop
    /// always wakes it.
    pub(super) fn poll_take(
        &self,
        cx: &mut Context<'_>,
        mut room: usize,
        size: impl Fn(&Frame) -> usize,
        mut take: impl FnMut(Frame),
    ) -> Poll<Stop> {
        let mut places = 0;
        loop {
            // Frames are copied and dropped outside of the lock, for which publishers wait.
            let mut batch = [const { None }; BATCH];
            let mut waiting = self.waiting.lock();
            let mut free = batch.iter_mut();
            let mut taken = 0;
            while room > 0
                && let Some(place) = free.next()
                && let Some(frame) = waiting.frames.pop_front()
            {
                room = room.saturating_sub(size(&frame));
                taken += frame.payload.storage_len();
                *place = Some(frame);
            }
            if taken > 0 {
                self.count_queued(|queued| queued - taken);
            }
            let more = room > 0 && !waiting.frames.is_empty();
            if !more {
                waiting.wake_on_push = waiting.frames.is_empty();
                if !waiting.connection.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
                    waiting.connection = Some(cx.waker().clone());
                }
            }
            let stop = waiting.stop;
            drop(waiting);
            for frame in batch.into_iter().flatten() {
                places += self.size(&frame);
                take(frame);
            }
            if more {
                continue;
            }
            if places == 0 && stop == Stop::No {
                return Poll::Pending;
            }
            self.places.add_permits(places);
            return Poll::Ready(stop);
        }
    }

    /// Refuses to queue anything from now on.
    pub(super) fn refuse_more(&self) {
        self.places.close();
    }

    /// Asks the connection to end once everything that is queued now is written.
    pub(super) fn drain(&self) {
        self.refuse_more();
        self.stop(Stop::Drain);
    }

    /// Drops what is queued, and aborts the connection if it is still open. Returns the number of frames dropped.
    pub(super) fn close(&self) -> usize {
        self.refuse_more();
        self.stop(Stop::Abort);
        self.take_all().len()
    }

    /// Drops what is queued, ends the connection, and drops what is published until the [next](Self::resume). Returns the
    /// number of frames dropped, and the bytes that this releases.
    pub(super) fn evict(&self) -> (usize, usize) {
        self.stop(Stop::Evict);
        let (mut places, mut released) = (0, 0);
        let frames = self.take_all();
        let count = frames.len();
        for frame in frames {
            places += self.size(&frame);
            if frame.payload.is_unique() {
                released += frame.payload.storage_len();
            }
        }
        self.places.add_permits(places);
        (count, released)
    }

    /// Another connection begins.
    pub(super) fn resume(&self) {
        self.note_hold(Hold::NOTHING);
        let mut waiting = self.waiting.lock();
        if waiting.stop == Stop::Evict {
            waiting.stop = Stop::No;
        }
    }

    /// What is queued, to be dropped after the lock is released.
    fn take_all(&self) -> VecDeque<Frame> {
        let mut waiting = self.waiting.lock();
        self.count_queued(|_| 0);
        mem::take(&mut waiting.frames)
    }

    /// The caller holds the lock of `waiting`.
    fn count_queued(&self, change: impl Fn(usize) -> usize) {
        self.queued.store(change(self.queued.load(Ordering::Relaxed)), Ordering::Relaxed);
    }

    /// Bytes of storage that the connection holds.
    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Bytes of storage of the frames that wait for the connection.
    pub(super) fn queued(&self) -> usize {
        self.queued.load(Ordering::Relaxed)
    }

    /// All storage that is held for it.
    pub(super) fn bytes(&self) -> usize {
        self.held() + self.queued()
    }

    /// Whether what is held moves.
    pub(super) fn hold(&self) -> Hold {
        Hold {
            stalls_at: self.stalls_at.load(Ordering::Relaxed),
            waits_since: self.waits_since.load(Ordering::Relaxed),
            began: self.began.load(Ordering::Relaxed),
        }
    }

    /// Notes what the connection holds.
    pub(super) fn note_held(&self, held: usize) {
        self.held.store(held, Ordering::Relaxed);
    }

    /// Notes whether it moves.
    pub(super) fn note_hold(&self, hold: Hold) {
        self.stalls_at.store(hold.stalls_at, Ordering::Relaxed);
        self.waits_since.store(hold.waits_since, Ordering::Relaxed);
        self.began.store(hold.began, Ordering::Relaxed);
    }

    fn stop(&self, stop: Stop) {
        let connection = {
            let mut waiting = self.waiting.lock();
            waiting.stop = waiting.stop.max(stop);
            waiting.connection.take()
        };
        if let Some(connection) = connection {
            connection.wake();
        }
    }

    /// Frees the memory that a long queue needed, if nothing waits.
    pub(super) fn shrink(&self) {
        let mut waiting = self.waiting.lock();
        if waiting.frames.is_empty() {
            waiting.frames = VecDeque::new();
        }
    }

    pub(super) fn info(&self) -> ConnectionInfo {
        ConnectionInfo {
            id: self.id,
            peer: self.name.clone(),
            open_for: self.since.elapsed(),
            held_bytes: self.held(),
            waiting_bytes: self.queued(),
            received_frames: self.received_frames.get(),
            received_bytes: self.received_bytes.get(),
            missed_frames: self.missed_frames.get(),
        }
    }
}

/// What one connection holds and has received.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ConnectionInfo {
    /// Number of the connection within its transport.
    pub id: u64,
    /// Address of the peer. A Unix peer has none and is named by its number.
    pub peer: String,
    /// How long it has been open.
    pub open_for: Duration,
    /// Bytes of storage held for an unfinished frame and for what is being written, when its task last ran.
    pub held_bytes: usize,
    /// Bytes of storage of the frames that wait for it.
    pub waiting_bytes: usize,
    /// Frames received from it.
    pub received_frames: u64,
    /// Bytes received from it.
    pub received_bytes: u64,
    /// Published frames that it missed: its queue was full, or it ended before they were handed to it.
    pub missed_frames: u64,
}

impl ConnectionInfo {
    /// All storage that is held for it.
    pub(super) fn bytes(&self) -> usize {
        self.held_bytes + self.waiting_bytes
    }
}

impl fmt::Display for ConnectionInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} holds {} B, {} B wait for it; {} frames, {} B received, {} frames missed in {:.1?}",
            self.peer,
            self.held_bytes,
            self.waiting_bytes,
            self.received_frames,
            self.received_bytes,
            self.missed_frames,
            self.open_for,
        )
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::{Context, Poll, Wake, Waker};

    use super::{BATCH, Peer, Stop};
    use crate::frame::tlv::Frame;
    use crate::pool::{BufferPool, BufferPoolConfig};
    use crate::sync::Count;

    #[derive(Default)]
    struct Wakes(Count);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.add(1);
        }
    }

    #[test]
    fn a_connection_is_woken_only_for_what_it_waits_for() {
        let pool = BufferPool::new(BufferPoolConfig::messages());
        let peer = Peer::new(1, "peer".to_owned(), 2 * BATCH, 2 * BATCH * 128);
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(Arc::clone(&wakes));
        let take = |room| {
            let mut taken = 0;
            let stop = peer.poll_take(&mut Context::from_waker(&waker), room, |_| 1, |_| taken += 1);
            (stop, taken)
        };
        let offer = || peer.offer(&Frame { type_id: 1, payload: pool.acquire(1).into_shared() });
        assert_eq!((take(BATCH + 2), wakes.0.get()), ((Poll::Pending, 0), 0));
        assert_eq!((offer(), wakes.0.get()), (true, 1));
        // The connection waits for no more before it has taken all.
        assert!((1..2 * BATCH).all(|_| offer()));
        assert!(!offer());
        assert_eq!(take(BATCH + 2), (Poll::Ready(Stop::No), BATCH + 2));
        assert_eq!(take(0), (Poll::Pending, 0));
        assert_eq!((offer(), wakes.0.get()), (true, 1));
        peer.drain();
        assert_eq!((offer(), wakes.0.get()), (false, 2));
        assert_eq!(take(0), (Poll::Ready(Stop::Drain), 0));
        peer.close();
        peer.drain();
        assert_eq!((take(1), wakes.0.get()), ((Poll::Ready(Stop::Abort), 0), 3));
        assert_eq!(pool.stats().in_use, 0);
    }

    /// Bytes of storage, not of payload: 1 byte keeps a whole buffer of 128 or 4096.
    #[test]
    fn the_queue_is_bounded_by_bytes_of_storage() {
        let pool = BufferPool::new(BufferPoolConfig::messages());
        let frame = |size| {
            let mut payload = pool.acquire(size);
            payload.resize(1, 0);
            Frame { type_id: 1, payload: payload.into_shared() }
        };
        let peer = Peer::new(1, "peer".to_owned(), 64, 64 * 128);
        let offered =
            |size| std::iter::repeat_with(|| peer.offer(&frame(size))).take_while(|taken| *taken).count();
        let take = || {
            let mut taken = 0;
            let _ =
                peer.poll_take(&mut Context::from_waker(Waker::noop()), usize::MAX, |_| 1, |_| taken += 1);
            taken
        };
        assert_eq!((offered(1), take()), (64, 64));
        assert_eq!((offered(4096), take()), (2, 2));
        // One frame in any case, and then no other.
        assert_eq!((offered(65_536), offered(1), take()), (1, 0, 1));
        assert_eq!((offered(4096), offered(129), take()), (2, 0, 2));
        assert_eq!((offered(1), take()), (64, 64));

        for (capacity, bytes) in [(usize::MAX, 1), (64, 0), (0, usize::MAX)] {
            let peer = Peer::new(1, "peer".to_owned(), capacity, bytes);
            assert_eq!((peer.offer(&frame(1)), peer.offer(&frame(1))), (true, false));
        }
    }

    /// The peer of a client outlives its connections.
    #[test]
    fn an_evicted_peer_takes_no_frames_before_its_next_connection() {
        let pool = BufferPool::new(BufferPoolConfig::messages());
        let peer = Peer::new(1, "peer".to_owned(), 2, 2 * 128);
        let offer = || {
            let mut payload = pool.acquire(1);
            payload.resize(1, 0);
            peer.offer(&Frame { type_id: 1, payload: payload.into_shared() })
        };
        assert_eq!([offer(), offer(), offer()], [true, true, false]);
        assert_eq!(peer.queued(), 256);
        assert_eq!(peer.evict(), (2, 256));
        assert_eq!((peer.queued(), pool.stats().in_use), (0, 0));
        // Each gives its place back.
        assert_eq!([offer(), offer(), offer()], [false, false, false]);
        let take = || peer.poll_take(&mut Context::from_waker(Waker::noop()), 1, |_| 1, |_| {});
        assert_eq!(take(), Poll::Ready(Stop::Evict));
        peer.resume();
        assert_eq!(take(), Poll::Pending);
        assert_eq!([offer(), offer(), offer()], [true, true, false]);
    }
}
