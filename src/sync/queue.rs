//! The queue of a size class: crossbeam's bounded lock-free queue.

use crossbeam_queue::ArrayQueue;

use super::OnceLock;

/// A bounded queue, which the first push allocates: it takes 16 bytes per place, and most pools use few of their queues.
pub(crate) struct ClassQueue<T> {
    queue: OnceLock<ArrayQueue<T>>,
    capacity: usize,
}

impl<T> ClassQueue<T> {
    pub(crate) fn new(capacity: usize) -> Self {
        let queue = OnceLock::new();
        // The checkers and the thread sanitizer do not see that std's lock orders what the queue is made of, so for them it is
        // made before threads are.
        #[cfg(any(millpond_loom, millpond_shuttle, millpond_tsan))]
        queue.get_or_init(|| ArrayQueue::new(capacity));
        Self { queue, capacity }
    }

    /// Pushes the value, or fails with it if the queue is full.
    pub(crate) fn push(&self, value: T) -> Result<(), T> {
        self.queue.get_or_init(|| ArrayQueue::new(self.capacity)).push(value)
    }

    pub(crate) fn pop(&self) -> Option<T> {
        self.queue.get()?.pop()
    }

    pub(crate) fn len(&self) -> usize {
        self.queue.get().map_or(0, ArrayQueue::len)
    }
}
