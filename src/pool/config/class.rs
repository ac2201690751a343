//! One size class, as it is configured: its size, and the capacity of its shared queue.

/// One size class of a [`BufferPoolConfig`](crate::BufferPoolConfig).
///
/// # Examples
///
/// ```
/// use millpond::{BufferPoolConfig, ClassConfig};
///
/// let config = BufferPoolConfig::builder().classes([(1024, 64), (65_536, 16)]).build()?;
/// assert_eq!(config.classes(), [ClassConfig::new(1024, 64), ClassConfig::new(65_536, 16)]);
/// # Ok::<(), millpond::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize), serde(deny_unknown_fields))]
#[non_exhaustive]
pub struct ClassConfig {
    /// Bytes of a buffer.
    pub size: usize,
    /// Ready buffers that the shared queue of the class keeps for reuse.
    pub capacity: usize,
}

impl ClassConfig {
    /// A class of buffers of `size` bytes, of which `capacity` are kept for reuse.
    #[must_use]
    pub const fn new(size: usize, capacity: usize) -> Self {
        Self { size, capacity }
    }
}

/// From size in bytes and capacity in buffers, as they stand in a map.
impl From<(usize, usize)> for ClassConfig {
    fn from((size, capacity): (usize, usize)) -> Self {
        Self::new(size, capacity)
    }
}
