use std::collections::HashMap;
use std::error::Error;
use std::fmt;

/// The largest class: 1 GiB. Above it a request is one of a kind, which the heap serves as well.
pub(super) const MAX_CLASS_SIZE: usize = 1 << 30;
/// The most classes of one pool. A table of powers of two from 1 byte to [`MAX_CLASS_SIZE`] has 31.
pub(super) const MAX_CLASSES: usize = 64;
/// 256 KiB: four of the largest buffers of [`BufferPoolConfig::proxy`], and no more than 4 MiB on 16 threads.
const DEFAULT_THREAD_CACHE_BYTES: usize = 256 * 1024;

/// Size classes, their capacities and the limits of a [`BufferPool`](super::BufferPool).
///
/// A value of this type is valid: every way to make one checks it.
///
/// # Examples
///
/// ```
/// use millpond::{BufferPool, BufferPoolConfig};
///
/// let config = BufferPoolConfig::builder().class(1024, 64).class(65_536, 16).build()?;
/// assert_eq!(config.max_idle_bytes(), 64 * 1024 + 16 * 65_536);
/// let pool = BufferPool::new(config);
/// # Ok::<(), millpond::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BufferPoolConfig {
    /// `(size, capacity)`, ascending by size, sizes unique, neither ever 0.
    classes: Vec<(usize, usize)>,
    thread_cache_bytes: usize,
}

impl BufferPoolConfig {
    /// Classes from a map of size in bytes → capacity in buffers, everything else by default.
    ///
    /// # Errors
    ///
    /// See [`ConfigError`].
    pub fn from_map(classes: HashMap<usize, usize>) -> Result<Self, ConfigError> {
        let builder = Self::builder();
        classes.into_iter().fold(builder, |builder, (size, capacity)| builder.class(size, capacity)).build()
    }

    /// Starts a configuration without classes.
    pub fn builder() -> BufferPoolConfigBuilder {
        BufferPoolConfigBuilder { classes: Vec::new(), thread_cache_bytes: DEFAULT_THREAD_CACHE_BYTES }
    }

    /// For relays: 8 KiB buffers for peers that say little, 64 KiB buffers for those that fill them.
    ///
    /// 64 KiB is where larger reads stop saving system calls (6 instead of 20 for a 64 KiB reply);
    /// 8 KiB holds a request, or a reply of a page, with its header. The capacities keep at most 4 MiB
    /// of each idle.
    #[must_use]
    pub fn proxy() -> Self {
        Self {
            classes: vec![(8 * 1024, 512), (64 * 1024, 64)],
            thread_cache_bytes: DEFAULT_THREAD_CACHE_BYTES,
        }
    }

    /// For small framed messages: 128 B × 512, 256 B × 256, 512 B × 128, 1 KiB × 64, 4 KiB × 32,
    /// 16 KiB × 16, 64 KiB × 16; at most 2 MiB idle.
    ///
    /// The first four keep 64 KiB of each size, as tables generated from message contracts do.
    #[must_use]
    pub fn messages() -> Self {
        Self {
            classes: vec![
                (128, 512),
                (256, 256),
                (512, 128),
                (1024, 64),
                (4096, 32),
                (16 * 1024, 16),
                (64 * 1024, 16),
            ],
            thread_cache_bytes: DEFAULT_THREAD_CACHE_BYTES,
        }
    }

    /// The classes, `(size in bytes, capacity in buffers)`, ascending by size.
    #[must_use]
    pub fn classes(&self) -> &[(usize, usize)] {
        &self.classes
    }

    /// Bytes of ready buffers that one thread may keep for itself; 0 when the thread caches are off.
    #[must_use]
    pub fn thread_cache_bytes(&self) -> usize {
        self.thread_cache_bytes
    }

    /// Σ size × capacity: what the pool holds at most while no buffer is handed out, thread caches included.
    #[must_use]
    pub fn max_idle_bytes(&self) -> usize {
        self.classes.iter().map(|(size, capacity)| size * capacity).sum()
    }
}

/// Collects a [`BufferPoolConfig`]; nothing is checked before [`build`](Self::build).
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing before `build`"]
pub struct BufferPoolConfigBuilder {
    classes: Vec<(usize, usize)>,
    thread_cache_bytes: usize,
}

impl BufferPoolConfigBuilder {
    /// Adds a class of buffers of `size` bytes, of which `capacity` are kept for reuse.
    ///
    /// The capacity counts what lies idle, in the shared queue and in the thread caches together, and
    /// frozen buffers that the pool still follows. Buffers in use are not limited by it.
    pub fn class(mut self, size: usize, capacity: usize) -> Self {
        self.classes.push((size, capacity));
        self
    }

    /// Sets how many bytes of ready buffers one thread may keep for itself. Default: 256 KiB, 0 turns
    /// the thread caches off. A class whose size is above it lives in its shared queue only.
    pub fn thread_cache_bytes(mut self, bytes: usize) -> Self {
        self.thread_cache_bytes = bytes;
        self
    }

    /// Checks the table and makes it a configuration.
    ///
    /// # Errors
    ///
    /// See [`ConfigError`].
    pub fn build(mut self) -> Result<BufferPoolConfig, ConfigError> {
        self.classes.sort_unstable();
        if self.classes.is_empty() {
            return Err(ConfigError::NoClasses);
        }
        if self.classes.len() > MAX_CLASSES {
            return Err(ConfigError::TooManyClasses { count: self.classes.len(), max: MAX_CLASSES });
        }
        let mut idle_bytes = 0_usize;
        let mut previous = 0;
        for &(size, capacity) in &self.classes {
            if size == 0 {
                return Err(ConfigError::ZeroSize);
            }
            if size > MAX_CLASS_SIZE {
                return Err(ConfigError::ClassTooLarge { size, max: MAX_CLASS_SIZE });
            }
            if size == previous {
                return Err(ConfigError::DuplicateSize { size });
            }
            if capacity == 0 {
                return Err(ConfigError::ZeroCapacity { size });
            }
            previous = size;
            idle_bytes = size
                .checked_mul(capacity)
                .and_then(|bytes| bytes.checked_add(idle_bytes))
                .filter(|&bytes| isize::try_from(bytes).is_ok())
                .ok_or(ConfigError::CapacityOverflow)?;
        }
        Ok(BufferPoolConfig { classes: self.classes, thread_cache_bytes: self.thread_cache_bytes })
    }
}

/// Why a table of size classes is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// The table is empty.
    NoClasses,
    /// More classes than a pool handles.
    TooManyClasses {
        /// Classes in the table.
        count: usize,
        /// The most there may be.
        max: usize,
    },
    /// A class of 0 bytes.
    ZeroSize,
    /// A class that keeps no buffer.
    ZeroCapacity {
        /// Its size in bytes.
        size: usize,
    },
    /// Two classes of one size.
    DuplicateSize {
        /// That size in bytes.
        size: usize,
    },
    /// A class above 1 GiB.
    ClassTooLarge {
        /// Its size in bytes.
        size: usize,
        /// The largest size in bytes.
        max: usize,
    },
    /// Σ size × capacity is more than the address space holds.
    CapacityOverflow,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NoClasses => write!(f, "a pool needs at least one size class"),
            Self::TooManyClasses { count, max } => {
                write!(f, "{count} size classes are more than {max}; merge neighbours")
            }
            Self::ZeroSize => write!(f, "a size class must be at least 1 byte"),
            Self::ZeroCapacity { size } => {
                write!(f, "the class of {size} bytes keeps 0 buffers; leave it out or raise its capacity")
            }
            Self::DuplicateSize { size } => write!(f, "two classes of {size} bytes; keep one"),
            Self::ClassTooLarge { size, max } => {
                write!(f, "a class of {size} bytes is above {max}; leave such sizes to the heap")
            }
            Self::CapacityOverflow => {
                write!(f, "the sum of size x capacity exceeds the address space; lower the capacities")
            }
        }
    }
}

impl Error for ConfigError {}
