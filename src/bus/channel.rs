//! The frames of a type or a topic, kept until every subscriber has received them.

#[cfg(test)]
mod tests;

use std::borrow::Borrow;
use std::collections::VecDeque;
use std::mem;

use tokio::sync::Notify;

use super::error::RecvError;
use crate::frame::tlv::Frame;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{Count, Mutex};

/// Capacity that an empty channel keeps, 40 KiB: the default channel capacity, so that repeated short bursts allocate
/// nothing.
const PLACES_KEPT: usize = 1024;

/// The most that a channel keeps. It keeps one frame of any size.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    pub(super) frames: usize,
    /// Bytes of storage.
    pub(super) bytes: usize,
}

/// Keeps each frame once until every subscriber has received it, and drops the oldest frames above its limits. tokio's
/// broadcast channel does the same, but limits only the number of frames, not their bytes.
pub(super) struct Channel {
    topic: &'static str,
    limits: Limits,
    /// Written only under the lock of `ring`.
    subscribers: AtomicUsize,
    ring: Mutex<Ring>,
    arrived: Notify,
    /// Frames that subscribers missed, one per subscriber. Written only under the lock of `ring`.
    lagged: Count,
}

#[derive(Default)]
struct Ring {
    /// In order of arrival, so that a later frame has at least as many receivers left.
    kept: VecDeque<Kept>,
    /// Sequence number of the oldest kept frame, or of the next frame if none is kept.
    first: u64,
    /// Bytes of storage of the kept frames. Consecutive slices of one read count once.
    bytes: usize,
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

    fn push(&mut self, frame: Frame, receivers: usize) {
        self.bytes += self.price(&frame);
        self.kept.push_back(Kept { frame, receivers });
    }

    fn pop(&mut self) -> Option<Kept> {
        let oldest = self.kept.pop_front()?;
        self.first += 1;
        match self.kept.front() {
            Some(next) if next.frame.payload.shares_storage_with(&oldest.frame.payload) => {}
            _ => self.bytes -= oldest.frame.payload.storage_len(),
        }
        Some(oldest)
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
    pub(super) fn new(topic: &'static str, limits: Limits) -> Self {
        Self {
            topic,
            limits,
            subscribers: AtomicUsize::new(0),
            ring: Mutex::default(),
            arrived: Notify::new(),
            lagged: Count::default(),
        }
    }

    /// The number of subscribers: exact under the lock of the ring, a hint without it.
    #[inline]
    fn subscribers(&self) -> usize {
        // Ordering: Relaxed, partner `subscribe`, which writes under the lock. A subscription that a frame must not miss
        // happens before the frame is sent: then coherence alone forbids that this reads an older value. Zero means that
        // no such subscription exists, and the frame is dropped. Any other value leads to the lock, which orders all
        // else. A stronger order would add nothing, because the count guards no memory.
        self.subscribers.load(Ordering::Relaxed)
    }

    /// Keeps a frame for all subscribers, and returns whether there are any. Without them it takes no lock. Frames that it
    /// evicts are dropped outside of the lock.
    #[inline]
    pub(super) fn send<F: Borrow<Frame>>(&self, frame: F, keep: impl FnOnce(F) -> Frame) -> bool {
        self.subscribers() > 0 && self.send_to_subscribers(frame, keep)
    }

    fn send_to_subscribers<F: Borrow<Frame>>(&self, frame: F, keep: impl FnOnce(F) -> Frame) -> bool {
        let awaited = loop {
            let mut ring = self.ring.lock();
            let receivers = self.subscribers();
            if receivers == 0 || ring.closed {
                return false;
            }
            let full = ring.kept.len() >= self.limits.frames
                || ring.bytes.saturating_add(ring.price(frame.borrow())) > self.limits.bytes;
            if full && let Some(oldest) = ring.pop() {
                self.lagged.set(self.lagged.get() + oldest.receivers as u64);
                drop(ring);
                drop(oldest);
                continue;
            }
            ring.push(keep(frame), receivers);
            break mem::take(&mut ring.awaited);
        };
        if awaited {
            self.arrived.notify_waiters();
        }
        true
    }

    /// Adds a subscriber, and returns the number of its first frame.
    pub(super) fn subscribe(&self) -> u64 {
        let ring = self.ring.lock();
        // Ordering: Relaxed, as in `subscribers`; the lock makes this the only writer.
        self.subscribers.store(self.subscribers() + 1, Ordering::Relaxed);
        ring.next()
    }

    /// Removes a subscriber, and releases the frames that only it had not received. `next` is the number of the frame that
    /// it would have received next.
    pub(super) fn unsubscribe(&self, next: u64) {
        let mut released = Vec::new();
        let places = {
            let mut ring = self.ring.lock();
            // Ordering: Relaxed, as in `subscribe`.
            self.subscribers.store(self.subscribers() - 1, Ordering::Relaxed);
            let received = next.saturating_sub(ring.first) as usize;
            ring.kept.iter_mut().skip(received).for_each(|kept| kept.receivers -= 1);
            while ring.kept.front().is_some_and(|kept| kept.receivers == 0) {
                released.extend(ring.pop());
            }
            ring.spare_places()
        };
        drop((released, places));
    }

    /// Waits for the frame with the number `next`, and takes it.
    pub(super) async fn recv(&self, next: &mut u64) -> Result<Frame, RecvError> {
        loop {
            // Created before the check, so that a frame that arrives after the check wakes this task.
            let arrived = self.arrived.notified();
            if let Some(outcome) = self.take(next) {
                return outcome;
            }
            arrived.await;
        }
    }

    /// Takes the frame with the number `next`. `None` if there is none yet; the next frame then wakes the waiting tasks.
    fn take(&self, next: &mut u64) -> Option<Result<Frame, RecvError>> {
        let mut ring = self.ring.lock();
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
        let last = ring.pop();
        let places = ring.spare_places();
        drop(ring);
        drop(places);
        last.map(|kept| Ok(kept.frame))
    }

    /// Drops the oldest frames until `target` bytes of storage are released, but none once it keeps no more than `share`
    /// bytes. Returns the frames that it dropped, and the bytes released. A frame that others keep releases none.
    pub(super) fn drop_oldest(&self, target: usize, share: usize) -> (usize, usize) {
        let (mut frames, mut released) = (0, 0);
        while released < target {
            let oldest = {
                let mut ring = self.ring.lock();
                if ring.bytes <= share {
                    break;
                }
                let Some(oldest) = ring.pop() else { break };
                self.lagged.set(self.lagged.get() + oldest.receivers as u64);
                oldest
            };
            frames += 1;
            if oldest.frame.payload.is_unique() {
                released += oldest.frame.payload.storage_len();
            }
        }
        (frames, released)
    }

    /// Bytes of storage that it keeps.
    pub(super) fn bytes(&self) -> usize {
        self.ring.lock().bytes
    }

    pub(super) fn topic(&self) -> &'static str {
        self.topic
    }

    /// Frames that subscribers missed because they were too slow, one per subscriber.
    pub(super) fn lagged(&self) -> u64 {
        self.lagged.get()
    }

    pub(super) fn close(&self) {
        self.ring.lock().closed = true;
        self.arrived.notify_waiters();
    }
}
