//! What an assembler does with less memory than it would like.

use super::Assembler;
use crate::frame::Decoder;
use crate::pool::AcquireError;
#[cfg(feature = "net")]
use crate::pool::PooledBuffer;

impl<D: Decoder> Assembler<D> {
    /// Moves a part of a frame that takes less than half of its buffer into the smallest one that holds it, if the pool
    /// has a smaller one: for when the rest does not arrive.
    pub fn shrink(&mut self) {
        self.release();
        if let Some(enough) = self.smaller() {
            if let Some(capacity) = self.held.shrink() {
                self.held.keep_from = self.keep_from(capacity);
            } else if let Ok(buffer) = self.pool.acquire_within_limit(enough) {
                self.lend(buffer);
            }
        }
        self.settle();
        self.forget_sizes();
    }

    /// Whether a part of a frame can do without another buffer after [`shrink`](Self::shrink) until more has arrived.
    #[cfg(feature = "net")]
    pub(crate) fn can_settle(&self) -> bool {
        self.smaller().is_some() || (!self.held.unread().is_empty() && self.has_room())
    }

    /// Size of the buffer that [`shrink`](Self::shrink) moves to, if it moves.
    fn smaller(&self) -> Option<usize> {
        let (unread, held) = (self.held.unread().len(), self.held.bytes());
        // One more byte, as the next read needs room.
        let enough = self.pool.class_of(unread + 1).unwrap_or(unread + 1);
        (unread > 0 && unread * 2 < held && enough < held).then_some(enough)
    }

    /// Takes a buffer of `size` bytes, which [`wants`](Self::wants) has told. Without memory for it, it continues where it is
    /// if it can, and a small frame in a buffer that is hardly larger: a stream of small frames needs no large one to
    /// advance. A large frame does not creep on: many that hold a half each would wait for each other.
    pub(crate) fn acquire(&mut self, size: usize) -> Result<(), AcquireError> {
        let error = match self.pool.acquire_within_limit(size) {
            Ok(buffer) => {
                self.lend(buffer);
                return Ok(());
            }
            Err(error @ AcquireError::Exhausted { .. }) => error,
            Err(error) => return Err(error),
        };
        self.held.compact();
        if !self.has_room() {
            let least = self.held.unread().len() + 1;
            // One of the same class would fail again.
            if least > self.read_size.small() || self.pool.class_of(least) == self.pool.class_of(size) {
                return Err(error);
            }
            let buffer = self.pool.acquire_within_limit(least).map_err(|_| error)?;
            self.lend(buffer);
        }
        self.settle();
        Ok(())
    }

    /// Size of the buffer to wait for, after [`acquire`](Self::acquire) of `size` bytes has failed. Small frames wait for a
    /// small one, which they get before those that want more. A large frame waits for what it wants, so that it waits
    /// seldom.
    #[cfg(feature = "net")]
    pub(crate) fn least(&self, size: usize) -> usize {
        let least = self.held.unread().len() + 1;
        if least <= self.read_size.small() { least.min(size) } else { size }
    }

    /// Continues in the buffer that it has waited for.
    #[cfg(feature = "net")]
    pub(crate) fn lend_least(&mut self, buffer: PooledBuffer) {
        self.lend(buffer);
        self.settle();
    }
}
