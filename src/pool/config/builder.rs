//! Size classes, capacities and limits, checked when they are built.

use alloc::vec::Vec;
use core::error::Error;
use core::fmt;
use core::num::NonZeroU32;
use core::time::Duration;

use super::on_decay::OnDecay;
use crate::size::MAX_CLASSES;

/// The largest class: 1 GiB. Above it a request is one of a kind, which the heap serves as well.
pub(in crate::pool) const MAX_CLASS_SIZE: usize = 1 << 30;
/// The largest capacity: 4 Mi buffers, for which the two queues of a class take 128 MiB.
const MAX_CAPACITY: usize = 1 << 22;
/// 256 KiB: four of the largest buffers of [`BufferPoolConfig::proxy`], and no more than 4 MiB on 16 threads.
const DEFAULT_THREAD_CACHE_BYTES: usize = 256 * 1024;
/// 5 s: what a burst left is gone after two steps, 10 s, and a load that comes once a second keeps its buffers.
const DEFAULT_DECAY: Duration = Duration::from_secs(5);

/// Size classes, their capacities and the limits of a [`BufferPool`](crate::pool::BufferPool).
///
/// A value of this type is valid: every way to make one checks it. Two are equal if all settings are; a function for
/// [`on_decay`](BufferPoolConfigBuilder::on_decay) is equal to its clones only.
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
    options: Options,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Options {
    thread_cache_bytes: usize,
    memory_limit: usize,
    decay: Option<Duration>,
    on_decay: OnDecay,
    next_class: bool,
    wipe: bool,
    sample_one_in: Option<NonZeroU32>,
    record_sizes: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            thread_cache_bytes: DEFAULT_THREAD_CACHE_BYTES,
            memory_limit: usize::MAX,
            decay: Some(DEFAULT_DECAY),
            on_decay: OnDecay::default(),
            next_class: false,
            wipe: false,
            sample_one_in: None,
            record_sizes: false,
        }
    }
}

impl BufferPoolConfig {
    /// Classes from a map of size in bytes → capacity in buffers, everything else by default.
    ///
    /// # Errors
    ///
    /// See [`ConfigError`].
    pub fn from_map(classes: impl IntoIterator<Item = (usize, usize)>) -> Result<Self, ConfigError> {
        Self::builder().classes(classes).build()
    }

    /// Starts a configuration without classes.
    pub fn builder() -> BufferPoolConfigBuilder {
        BufferPoolConfigBuilder { classes: Vec::new(), options: Options::default() }
    }

    /// Goes on from this configuration: with a memory limit for a preset, say.
    pub fn to_builder(&self) -> BufferPoolConfigBuilder {
        BufferPoolConfigBuilder { classes: self.classes.clone(), options: self.options.clone() }
    }

    /// The classes, `(size in bytes, capacity in buffers)`, ascending by size.
    #[must_use]
    pub fn classes(&self) -> &[(usize, usize)] {
        &self.classes
    }

    /// Bytes of ready buffers, and as many of frozen ones, that one thread may keep for itself; 0 when the
    /// thread caches are off.
    #[must_use]
    pub fn thread_cache_bytes(&self) -> usize {
        self.options.thread_cache_bytes
    }

    /// The most bytes of pooled storage, idle, handed out and frozen; `usize::MAX` for no limit.
    #[must_use]
    pub fn memory_limit(&self) -> usize {
        self.options.memory_limit
    }

    /// Time between two steps of decay; `None` if there are none but those that are asked for.
    #[must_use]
    pub fn decay_interval(&self) -> Option<Duration> {
        self.options.decay
    }

    pub(in crate::pool) fn on_decay(&self) -> OnDecay {
        self.options.on_decay.clone()
    }

    /// Whether an acquire at the memory limit takes an idle buffer of the next class.
    #[must_use]
    pub fn serves_from_next_class(&self) -> bool {
        self.options.next_class
    }

    /// Whether storage is overwritten when it comes back.
    #[must_use]
    pub fn wipes_on_return(&self) -> bool {
        self.options.wipe
    }

    /// The N of one acquire in N that is followed, if any is.
    #[must_use]
    pub fn sampled_one_in(&self) -> Option<NonZeroU32> {
        self.options.sample_one_in
    }

    /// Whether the sizes that are asked for are recorded.
    #[must_use]
    pub fn records_sizes(&self) -> bool {
        self.options.record_sizes
    }

    /// Σ size × capacity: what the shared queues hold at most of ready buffers. As much may lie there of frozen ones
    /// that nobody has found to be free yet, and each thread that uses the pool may keep
    /// [`thread_cache_bytes`](Self::thread_cache_bytes) of the former and of the latter. A
    /// [`memory_limit`](Self::memory_limit) bounds all of it together.
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
    options: Options,
}

impl BufferPoolConfigBuilder {
    /// Adds a class of buffers of `size` bytes, of which the shared queue keeps `capacity` for reuse, and
    /// each thread, within [`thread_cache_bytes`](Self::thread_cache_bytes), a quarter as many for itself.
    ///
    /// Buffers in use are not limited by it: see [`memory_limit`](Self::memory_limit).
    pub fn class(mut self, size: usize, capacity: usize) -> Self {
        self.classes.push((size, capacity));
        self
    }

    /// Adds classes from pairs of size in bytes and capacity in buffers.
    pub fn classes(self, classes: impl IntoIterator<Item = (usize, usize)>) -> Self {
        classes.into_iter().fold(self, |builder, (size, capacity)| builder.class(size, capacity))
    }

    /// Sets how many bytes of ready buffers one thread may keep for itself, and as many of frozen ones
    /// follow by itself. Default: 256 KiB, 0 turns the thread caches off. A class whose size is above it
    /// lives in its shared queue only.
    pub fn thread_cache_bytes(mut self, bytes: usize) -> Self {
        self.options.thread_cache_bytes = bytes;
        self
    }

    /// Limits all pooled storage, idle, handed out and frozen, to `bytes`, at every instant. Default: no
    /// limit, as a limit must fit the machine.
    ///
    /// [`try_acquire`](crate::pool::BufferPool::try_acquire) fails beyond it,
    /// [`acquire_async`](crate::pool::BufferPool::acquire_async) waits, and
    /// [`acquire`](crate::pool::BufferPool::acquire) goes to the heap. So that nobody waits for what another thread
    /// merely keeps, the thread caches and the frozen buffers that are followed get at most half of it
    /// together, and never so much that the largest class does not fit beside them. Where more than the other
    /// half is held for long, [`thread_cache_bytes(0)`](Self::thread_cache_bytes) and
    /// [`freeze_tracked`](crate::pool::PooledBuffer::freeze_tracked) leave nothing out of reach.
    pub fn memory_limit(mut self, bytes: usize) -> Self {
        self.options.memory_limit = bytes;
        self
    }

    /// Sets the time between two steps of decay. Default: 5 s; `None`: only
    /// [`decay`](crate::pool::BufferPool::decay) makes one.
    ///
    /// A step frees what lay in the shared queues unused since the last one, and lets every thread that
    /// goes on using the pool lay down half of its cache. Slow operations of the pool make the steps, now
    /// and then; a pool that nobody uses at all needs somebody to call `decay`.
    pub fn decay_interval(mut self, interval: Option<Duration>) -> Self {
        self.options.decay = interval;
        self
    }

    /// Calls `hook` with the number of bytes after [`decay`](crate::pool::BufferPool::decay),
    /// [`trim`](crate::pool::BufferPool::trim) or a step of the task of
    #[cfg_attr(feature = "tokio", doc = " [`spawn_decay`](crate::pool::BufferPool::spawn_decay)")]
    #[cfg_attr(not(feature = "tokio"), doc = " `spawn_decay`")]
    /// freed memory. Default: nothing is called. Here a program asks its allocator to return the pages to the system:
    /// see [`decay`](crate::pool::BufferPool::decay#returning-memory-to-the-system).
    ///
    /// The hook runs in the thread that made that call or runs that task, after the step: it may use the pool, and its
    /// panic is the caller's. It never runs within an acquire or a return. A step that one of those made is reported
    /// by the next call or the next step of the task. Buffers that were freed because the queue of their class was full
    /// are not in the number, so do not ignore a small one.
    pub fn on_decay(mut self, hook: impl Fn(usize) + Send + Sync + 'static) -> Self {
        self.options.on_decay = OnDecay::new(hook);
        self
    }

    /// Sets whether an acquire at the memory limit may take an idle buffer of the next class before it makes
    /// idle memory of other classes give way. Default: no. It saves a malloc, for a larger buffer than needed.
    pub fn serve_from_next_class(mut self, serve: bool) -> Self {
        self.options.next_class = serve;
        self
    }

    /// Sets whether the whole storage is overwritten with zeros when it comes back, before it is
    /// reused or freed. Default: no; nothing safe can read an earlier owner's bytes anyway, but a core dump
    /// can. It costs a write of the whole storage a return, and the fast paths.
    ///
    /// Storage that is frozen is wiped at its last drop: in such a pool
    /// [`freeze`](crate::pool::PooledBuffer::freeze) is [`freeze_tracked`](crate::pool::PooledBuffer::freeze_tracked).
    pub fn wipe_on_return(mut self, wipe: bool) -> Self {
        self.options.wipe = wipe;
        self
    }

    /// Follows one acquire in `n` for [`holders`](crate::pool::BufferPool::holders). Default: none, which costs
    /// nothing. Following costs a lock for each followed buffer, and every other one the fast paths.
    pub fn sample_one_in(mut self, n: NonZeroU32) -> Self {
        self.options.sample_one_in = Some(n);
        self
    }

    /// Sets whether the sizes that are asked for are recorded, for
    /// [`BufferPoolStats::suggest`](crate::pool::BufferPoolStats::suggest). Default: no. It costs the fast paths.
    pub fn record_sizes(mut self, record: bool) -> Self {
        self.options.record_sizes = record;
        self
    }

    /// Of a configuration that was valid, with no class and no limit changed.
    #[cfg(feature = "pool-debug")]
    pub(in crate::pool) fn built(self) -> BufferPoolConfig {
        BufferPoolConfig { classes: self.classes, options: self.options }
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
            if capacity > MAX_CAPACITY {
                return Err(ConfigError::CapacityTooLarge { size, capacity, max: MAX_CAPACITY });
            }
            previous = size;
            idle_bytes = size
                .checked_mul(capacity)
                .and_then(|bytes| bytes.checked_add(idle_bytes))
                .filter(|&bytes| isize::try_from(bytes).is_ok())
                .ok_or(ConfigError::CapacityOverflow)?;
        }
        let largest = previous;
        if self.options.memory_limit < largest {
            return Err(ConfigError::LimitBelowClass { limit: self.options.memory_limit, largest });
        }
        Ok(BufferPoolConfig { classes: self.classes, options: self.options })
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
    /// A class that keeps more than 4 Mi buffers: its queues have a place for each from the beginning.
    CapacityTooLarge {
        /// Its size in bytes.
        size: usize,
        /// Its capacity in buffers.
        capacity: usize,
        /// The largest capacity.
        max: usize,
    },
    /// Σ size × capacity is more than the address space holds.
    CapacityOverflow,
    /// The memory limit does not allow one buffer of the largest class.
    LimitBelowClass {
        /// The limit in bytes.
        limit: usize,
        /// The size of the largest class in bytes.
        largest: usize,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NoClasses => write!(f, "a pool needs at least one size class"),
            Self::TooManyClasses { count, max } => {
                write!(f, "{count} size classes are more than {max}; merge neighbours")
            }
            Self::ZeroSize => write!(f, "a size class must be at least 1 byte"),
            Self::CapacityTooLarge { size, capacity, max } => {
                write!(f, "the class of {size} bytes keeps {capacity} buffers, more than {max}")
            }
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
            Self::LimitBelowClass { limit, largest } => {
                write!(
                    f,
                    "a limit of {limit} bytes is below the largest class of {largest}; raise it or drop the class"
                )
            }
        }
    }
}

impl Error for ConfigError {}
