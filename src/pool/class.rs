use super::slot::{Parked, Slot};
use crate::sync::ClassQueue;
use crate::sync::atomic::{AtomicUsize, Ordering};

/// The shared tier of one size class.
///
/// *Room* is permission to keep one buffer. A class has `capacity` of it, which lies either free in
/// `room`, or in a thread cache, or with a buffer in one of the queues:
///
/// ```text
/// capacity = room + Σ caches' room + ready.len() + parked.len()
/// ```
///
/// Nothing is kept without room, so idle memory stays within size × capacity, thread caches included,
/// and a push to either queue always finds a place.
pub(super) struct Class {
    pub(super) size: usize,
    pub(super) capacity: usize,
    ready: ClassQueue<Box<Slot>>,
    parked: ClassQueue<Parked>,
    room: AtomicUsize,
}

impl Class {
    pub(super) fn new(size: usize, capacity: usize) -> Self {
        Self {
            size,
            capacity,
            ready: ClassQueue::new(capacity),
            parked: ClassQueue::new(capacity),
            room: AtomicUsize::new(capacity),
        }
    }

    /// Takes up to `wanted` of the free room.
    pub(super) fn take_room(&self, wanted: usize) -> usize {
        // Ordering: Relaxed, on success and failure. Room is a number and guards no memory: the buffers
        // travel through the queues, which order themselves. Whichever of two takers comes second sees
        // what the first left, because a read-modify-write reads the latest value in any ordering.
        let mut free = self.room.load(Ordering::Relaxed);
        loop {
            let taken = wanted.min(free);
            if taken == 0 {
                return 0;
            }
            match self.room.compare_exchange_weak(free, free - taken, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return taken,
                Err(now) => free = now,
            }
        }
    }

    /// Gives room back that was taken, or that came with a buffer out of a queue.
    pub(super) fn give_room(&self, amount: usize) {
        if amount > 0 {
            // Ordering: Relaxed, as in `take_room`.
            self.room.fetch_add(amount, Ordering::Relaxed);
        }
    }

    /// Lays down a ready buffer, whose room comes with it. Hands it back if the queue is full, which the
    /// accounting of room excludes.
    pub(super) fn push_ready(&self, slot: Box<Slot>) -> Result<(), Box<Slot>> {
        self.ready.push(slot)
    }

    /// A ready buffer, and with it the room it took.
    pub(super) fn pop_ready(&self) -> Option<Box<Slot>> {
        self.ready.pop()
    }

    /// Like [`push_ready`](Self::push_ready), for a frozen one.
    pub(super) fn push_parked(&self, parked: Parked) -> Result<(), Parked> {
        self.parked.push(parked)
    }

    /// The frozen buffer that waits longest, and with it the room it took.
    pub(super) fn pop_parked(&self) -> Option<Parked> {
        self.parked.pop()
    }

    /// Frozen buffers in the shared queue, at some recent moment.
    pub(super) fn parked_len(&self) -> usize {
        self.parked.len()
    }
}
