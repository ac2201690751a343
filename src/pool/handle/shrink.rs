//! The exchange of a buffer for a smaller one.

use core::panic::Location;

use super::buffer::PooledBuffer;
use crate::pool::hooks::Request;
use crate::pool::thread;

impl PooledBuffer {
    /// Moves the written bytes to a buffer of the smallest class that holds them, and returns the larger one to the pool. For
    /// bytes that must be kept for a while, for example until a socket takes them.
    ///
    /// Unlike an acquire it also succeeds at the memory limit, and while others wait for memory: then it shrinks the
    /// storage, which releases the rest of it. It never waits, and never exceeds the limit.
    ///
    /// Does nothing in two cases: no smaller class holds the bytes; or no smaller buffer can be acquired, and the storage is
    /// of the heap or of a pool that [wipes](crate::BufferPoolConfigBuilder::wipe_on_return).
    ///
    /// # Examples
    ///
    /// ```
    /// use millpond::{BufferPool, BufferPoolConfig};
    ///
    /// let config = BufferPoolConfig::builder().classes([(1024, 64), (65_536, 16)]).memory_limit(65_536);
    /// let pool = BufferPool::new(config.build()?);
    /// let mut unwritten = pool.try_acquire(65_536)?;
    /// unwritten.extend_from_slice(b"the rest of a read");
    /// unwritten.shrink_to_fit();
    /// assert_eq!(pool.stats().live_bytes, 1024);
    /// assert_eq!(unwritten, b"the rest of a read");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn shrink_to_fit(&mut self) {
        let (core, len) = (&self.slot().core, self.len());
        let class = core.sizes.index_for(len);
        if class >= self.slot().class() {
            return;
        }
        let request = Request { class, bytes: len, caller: Location::caller() };
        let smaller = thread::pop(core, class).or_else(|| thread::acquire(core, request)).map(Self::of);
        // It may be of the next class, which may be this one's.
        match smaller.filter(|smaller| smaller.slot().class() < self.slot().class()) {
            Some(smaller) => self.move_to(smaller),
            None => self.slot_mut().shrink(class),
        }
    }
}
