//! Labels of buffers in the leak report.

use super::buffer::PooledBuffer;
use super::bytes::PooledBytes;

impl PooledBuffer {
    /// Labels the buffer in the leak report: [`holders`](crate::BufferPool::holders) groups by call site and label.
    ///
    /// The call site of an acquire inside a helper is a line of the helper, unless it is `#[track_caller]`, which an
    /// `async fn` cannot be. A label says what the helper was called for. It takes one comparison, and a lock if this
    /// acquire is [sampled](crate::BufferPoolConfigBuilder::sample_one_in). The last label counts. A buffer that grows is
    /// acquired again, and has no label.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::num::NonZeroU32;
    /// use millpond::{BufferPool, BufferPoolConfig, PooledBuffer};
    ///
    /// async fn read_part(pool: &BufferPool, part: &'static str) -> PooledBuffer {
    ///     let buffer = pool.acquire(1000); // the call site of all parts
    ///     buffer.set_label(part);
    ///     buffer
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), millpond::ConfigError> {
    /// let config = BufferPoolConfig::messages().to_builder().sample_one_in(NonZeroU32::MIN);
    /// let pool = BufferPool::new(config.build()?);
    /// let head = read_part(&pool, "http head").await;
    /// let upload = read_part(&pool, "upload").await;
    /// let report = pool.holders().unwrap();
    /// let mut labels: Vec<_> = report.holders.iter().map(|holder| holder.label).collect();
    /// labels.sort();
    /// assert_eq!(labels, [Some("http head"), Some("upload")]);
    /// # drop((head, upload));
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn set_label(&self, label: &'static str) {
        self.slot().label(label);
    }
}

impl PooledBytes {
    /// Labels the storage in the leak report, for all its handles: see [`PooledBuffer::set_label`]. An empty handle has none.
    #[inline]
    pub fn set_label(&self, label: &'static str) {
        if let Some(slot) = self.slot() {
            slot.label(label);
        }
    }
}
