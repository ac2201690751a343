//! Size classes, capacities, limits and decay (how long idle memory is kept), checked when they are built.

use alloc::vec::Vec;
use core::error::Error;
use core::fmt;
use core::num::NonZeroU32;
use core::time::Duration;

use super::class::ClassConfig;
use super::on_decay::OnDecay;
use crate::size::MAX_CLASSES;

/// The largest class: 1 GiB. Larger requests are rare, and the heap serves them as well.
pub(in crate::pool) const MAX_CLASS_SIZE: usize = 1 << 30;
/// The largest capacity: 4 Mi buffers, for which the two queues of a class take 128 MiB.
const MAX_CAPACITY: usize = 1 << 22;
/// 256 KiB: four of the largest buffers of [`BufferPoolConfig::proxy`], and no more than 4 MiB on 16 threads.
const DEFAULT_THREAD_CACHE_BYTES: usize = 256 * 1024;
/// 5 s: the buffers of a burst are freed after two steps, 10 s, and a load that comes once a second keeps its buffers.
const DEFAULT_DECAY: Duration = Duration::from_secs(5);

/// Size classes, their capacities and the limits of a [`BufferPool`](crate::BufferPool).
///
/// A value of this type is valid: every constructor checks it. [`from_map`](Self::from_map) takes classes alone, a
/// preset fits a kind of program, and [`builder`](Self::builder) or [`to_builder`](Self::to_builder) set the rest.
///
/// | preset | for | classes | most idle in the shared queues |
/// |---|---|---|---|
/// | [`default`](Self::default) | unknown sizes | powers of two, 128 B to 64 KiB | 9.5 MiB |
/// | [`powers_of_two`](Self::powers_of_two) | sizes in a known range | powers of two | 1 MiB or 4 buffers per class |
/// | [`powers_of_two_and`](Self::powers_of_two_and) | framed payloads | powers of two and a header | 1 MiB or 4 buffers per class |
/// | [`messages`](Self::messages) | small framed messages | 128 B to 64 KiB | 1.6 MiB |
/// | [`proxy`](Self::proxy) | relays | 8 and 64 KiB | 8 MiB |
/// | [`http`](Self::http) | HTTP | 1, 4, 8, 64 and 72 KiB | 7.75 MiB |
/// | [`embedded`](Self::embedded) | packets on small devices | 64 B to 1 KiB | 46 KiB, which is the memory limit |
///
/// Two are equal if all settings are. A function for [`on_decay`](BufferPoolConfigBuilder::on_decay) equals its clones
/// only.
///
/// With the feature `serde` it is read and written as a map of the builder's setters. What is left out is default, what
/// the builder refuses is an error, and the function for [`on_decay`](BufferPoolConfigBuilder::on_decay) is not written.
/// A [`decay_interval`](BufferPoolConfigBuilder::decay_interval) of zero stands for none.
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
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(try_from = "super::stored::Stored", into = "super::stored::Stored")
)]
pub struct BufferPoolConfig {
    /// Ascending by size, sizes unique, neither size nor capacity ever 0.
    classes: Vec<ClassConfig>,
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
    /// Creates a configuration from a map of size in bytes to capacity in buffers. The rest is default.
    ///
    /// # Errors
    ///
    /// Any [`ConfigError`] about classes.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::collections::HashMap;
    /// use millpond::BufferPoolConfig;
    ///
    /// let config = BufferPoolConfig::from_map(HashMap::from([(1024, 64), (65_536, 16)]))?;
    /// assert_eq!(config.max_idle_bytes(), 64 * 1024 + 16 * 65_536);
    /// # Ok::<(), millpond::ConfigError>(())
    /// ```
    pub fn from_map(classes: impl IntoIterator<Item = (usize, usize)>) -> Result<Self, ConfigError> {
        Self::builder().classes(classes).build()
    }

    /// Starts a configuration without classes.
    pub fn builder() -> BufferPoolConfigBuilder {
        BufferPoolConfigBuilder { classes: Vec::new(), options: Options::default() }
    }

    /// Starts from this configuration, for example to add a memory limit to a preset.
    ///
    /// # Examples
    ///
    /// ```
    /// use millpond::BufferPoolConfig;
    ///
    /// let config = BufferPoolConfig::proxy().to_builder().memory_limit(64 << 20).build()?;
    /// assert_eq!(config.memory_limit(), 64 << 20);
    /// # Ok::<(), millpond::ConfigError>(())
    /// ```
    pub fn to_builder(&self) -> BufferPoolConfigBuilder {
        BufferPoolConfigBuilder { classes: self.classes.clone(), options: self.options.clone() }
    }

    /// The classes, ascending by size.
    #[must_use]
    pub fn classes(&self) -> &[ClassConfig] {
        &self.classes
    }

    /// Bytes of ready buffers that one thread may cache, and bytes of frozen buffers that it may follow; 0 if the thread
    /// caches are off.
    #[must_use]
    pub fn thread_cache_bytes(&self) -> usize {
        self.options.thread_cache_bytes
    }

    /// The most bytes of pooled storage: idle, in use and frozen together. `usize::MAX` means no limit.
    #[must_use]
    pub fn memory_limit(&self) -> usize {
        self.options.memory_limit
    }

    /// Time between two steps of decay; `None` if only [`decay`](crate::BufferPool::decay) makes steps.
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

    /// Whether storage is overwritten when it is returned.
    #[must_use]
    pub fn wipes_on_return(&self) -> bool {
        self.options.wipe
    }

    /// N if one acquire in N is sampled; `None` if none is.
    #[must_use]
    pub fn sampled_one_in(&self) -> Option<NonZeroU32> {
        self.options.sample_one_in
    }

    /// Whether the requested sizes are recorded.
    #[must_use]
    pub fn records_sizes(&self) -> bool {
        self.options.record_sizes
    }

    /// Σ size × capacity: the most bytes of ready buffers in the shared queues.
    ///
    /// The shared queues may hold as many bytes of frozen buffers not yet known to be free. Each thread that uses the pool
    /// may keep [`thread_cache_bytes`](Self::thread_cache_bytes) of ready buffers, and as many of frozen ones. A
    /// [`memory_limit`](Self::memory_limit) bounds all of it together.
    #[must_use]
    pub fn max_idle_bytes(&self) -> usize {
        self.classes.iter().map(|class| class.size * class.capacity).sum()
    }
}

/// Builds a [`BufferPoolConfig`]. Only [`build`](Self::build) checks the values.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use millpond::BufferPoolConfig;
///
/// let config = BufferPoolConfig::builder()
///     .class(1024, 64)
///     .class(65_536, 16)
///     .memory_limit(16 << 20)
///     .decay_interval(Some(Duration::from_secs(1)))
///     .build()?;
/// assert_eq!(config.classes().len(), 2);
/// # Ok::<(), millpond::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing before `build`"]
pub struct BufferPoolConfigBuilder {
    classes: Vec<ClassConfig>,
    options: Options,
}

impl BufferPoolConfigBuilder {
    /// Adds a class of buffers of `size` bytes. The shared queue keeps `capacity` of them for reuse, and each thread
    /// caches up to a quarter as many, within [`thread_cache_bytes`](Self::thread_cache_bytes).
    ///
    /// The capacity does not limit buffers in use: see [`memory_limit`](Self::memory_limit).
    pub fn class(mut self, size: usize, capacity: usize) -> Self {
        self.classes.push(ClassConfig::new(size, capacity));
        self
    }

    /// Adds classes: [`ClassConfig`]s, or pairs of size in bytes and capacity in buffers.
    pub fn classes(mut self, classes: impl IntoIterator<Item = impl Into<ClassConfig>>) -> Self {
        self.classes.extend(classes.into_iter().map(Into::into));
        self
    }

    /// Raises the capacity of each class added so far to `buffers`, or to as many as take `bytes` bytes. A class that keeps
    /// more is not changed.
    ///
    /// For a queue of at most `buffers` messages: a burst that fills it reuses the buffers of the one before.
    ///
    /// # Examples
    ///
    /// ```
    /// use millpond::{BufferPoolConfig, ClassConfig};
    ///
    /// let planned = BufferPoolConfig::builder().classes([(128, 512), (4096, 16)]);
    /// let config = planned.capacity_at_least(1024, 256 * 1024).build()?;
    /// assert_eq!(config.classes(), [ClassConfig::new(128, 1024), ClassConfig::new(4096, 64)]);
    /// # Ok::<(), millpond::ConfigError>(())
    /// ```
    pub fn capacity_at_least(mut self, buffers: usize, bytes: usize) -> Self {
        for class in &mut self.classes {
            let affordable = bytes.checked_div(class.size).unwrap_or(0);
            class.capacity = class.capacity.max(buffers.min(affordable));
        }
        self
    }

    /// Sets how many bytes of ready buffers one thread may cache, and how many bytes of frozen buffers it may follow.
    /// Default: 256 KiB each. 0 turns the thread caches off. Classes of larger buffers use their shared queue only.
    ///
    /// A cache grows with what its thread uses: from one buffer of a class, by doubling. With a
    /// [`memory_limit`](Self::memory_limit) the caches of all threads together keep at most an eighth of the limit, and a
    /// thread at most as much as is left for the others. Half of the eighth is for threads that use the pool often: many
    /// threads that used it once do not take the caches of busy ones. Dozens of threads that were busy and then sleep do, until
    /// they flush.
    ///
    /// A cache shrinks at the steps of [decay](Self::decay_interval) that its thread notices, which is when it next uses the
    /// pool. No other thread can reach what a sleeping one keeps, as that would cost a locked instruction per acquire. So
    /// before a thread sleeps for long, call [`flush_thread_cache`](crate::BufferPool::flush_thread_cache), or in a runtime's
    #[cfg_attr(feature = "tokio", doc = " workers [`flush_on_park`](crate::BufferPool::flush_on_park).")]
    #[cfg_attr(not(feature = "tokio"), doc = " workers `flush_on_park`.")]
    pub fn thread_cache_bytes(mut self, bytes: usize) -> Self {
        self.options.thread_cache_bytes = bytes;
        self
    }

    /// Limits all pooled storage, idle, in use and frozen, to `bytes` at every instant. Default: no limit, as a limit
    /// must fit the machine.
    ///
    /// At the limit, [`try_acquire`](crate::BufferPool::try_acquire) fails,
    /// [`acquire_async`](crate::BufferPool::acquire_async) waits, and [`acquire`](crate::BufferPool::acquire) uses the
    /// heap.
    ///
    /// # Shares
    ///
    /// Part of the limit is reserved for smaller requests. The larger a class, the less of the limit it can use, but never
    /// less than half. The page [`fairness`](crate::fairness) says what is guaranteed, and what is not.
    ///
    /// For example, with classes of 1, 8 and 64 KiB and a limit of 1 MiB, buffers of 64 KiB get at most 512 KiB, and those of
    /// 8 and 64 KiB together at most 768 KiB.
    ///
    /// # Out of reach
    ///
    /// Waiters cannot reach buffers, ready or frozen, in the caches of other threads, which keep at most an eighth of the
    /// limit. In the shared queues, they can reach a frozen buffer once all of its `Bytes` are dropped. So at least seven
    /// eighths of the limit are within reach once the buffers are returned. If you hold more than that for long, set
    /// [`thread_cache_bytes(0)`](Self::thread_cache_bytes): then all idle memory is within reach. With
    /// [`freeze_tracked`](crate::PooledBuffer::freeze_tracked), storage is within reach at the last drop.
    pub fn memory_limit(mut self, bytes: usize) -> Self {
        self.options.memory_limit = bytes;
        self
    }

    /// Sets the time between two steps of decay. Default: 5 s. With `None`, or zero, the pool never decays by itself, also
    /// under [`spawn_decay`](crate::BufferPool#method.spawn_decay): only [`decay`](crate::BufferPool::decay) makes a step.
    ///
    /// A step frees the buffers of the shared queues that were unused since the last step. Each thread that continues to
    /// use the pool then pushes half of its cache to the shared queues. Some operations of the pool look at the clock and
    /// make the step that is due. A pool that nobody uses does not: call `spawn_decay`, or `decay` yourself.
    pub fn decay_interval(mut self, interval: Option<Duration>) -> Self {
        self.options.decay = interval.filter(|interval| !interval.is_zero());
        self
    }

    /// Calls `hook` with the number of bytes after [`decay`](crate::BufferPool::decay),
    /// [`trim`](crate::BufferPool::trim) or a step of the task of
    #[cfg_attr(feature = "tokio", doc = " [`spawn_decay`](crate::BufferPool::spawn_decay)")]
    #[cfg_attr(not(feature = "tokio"), doc = " `spawn_decay`")]
    /// freed memory. Default: nothing is called. Here a program asks its allocator to return the pages to the system:
    /// see [`decay`](crate::BufferPool::decay).
    ///
    /// The hook runs in the thread that made that call or runs that task, after the step: it may use the pool, and its
    /// panic is the caller's. It never runs within an acquire or a return. A step that one of those made is reported
    /// by the next call or the next step of the task. Buffers that were freed because the queue of their class was full
    /// are not in the number, so do not ignore a small one.
    ///
    /// The pool owns the hook, so a hook that owns the pool would keep both alive for ever.
    pub fn on_decay(mut self, hook: impl Fn(usize) + Send + Sync + 'static) -> Self {
        self.options.on_decay = OnDecay::new(hook);
        self
    }

    /// Sets whether an acquire at the memory limit may take an idle buffer of the next class before it evicts idle
    /// memory of other classes. Default: no. It saves a malloc, and uses a larger buffer than needed.
    pub fn serve_from_next_class(mut self, serve: bool) -> Self {
        self.options.next_class = serve;
        self
    }

    /// Sets whether the whole storage is overwritten with zeros when it is returned, before it is reused or freed.
    /// Default: no. Safe code cannot read the bytes of an earlier owner anyway, but a core dump contains them.
    ///
    /// The price is a write of the whole storage per return, and the slow paths for all buffers: an acquire with its drop
    /// of 1 KiB takes six times as many instructions.
    ///
    /// Frozen storage is wiped at the last drop: in such a pool [`freeze`](crate::PooledBuffer::freeze) does what
    /// [`freeze_tracked`](crate::PooledBuffer::freeze_tracked) does.
    pub fn wipe_on_return(mut self, wipe: bool) -> Self {
        self.options.wipe = wipe;
        self
    }

    /// Samples one acquire in `n`, at random, for the leak report, [`holders`](crate::BufferPool::holders). Default: none.
    ///
    /// All acquires have the same probability, `1 / n`, so no pattern of a program hides a line from the report.
    ///
    /// The price is a lock per acquire and per return of a sampled buffer. All others take the fast paths: with an `n` of
    /// 1000 an acquire with its drop takes 2 % more instructions on average, with 100 13 %. A thread that returns buffers of
    /// a class and acquires none takes the slow path for all of them with the probability `1 / n`.
    pub fn sample_one_in(mut self, n: NonZeroU32) -> Self {
        self.options.sample_one_in = Some(n);
        self
    }

    /// Sets whether the requested sizes are recorded, for
    /// [`BufferPoolStats::suggest`](crate::BufferPoolStats::suggest). Default: no.
    ///
    /// The first 1024 acquires of each thread and class are recorded one by one, later ones at random: one in 256, which
    /// counts as 256. The heap's acquires are all recorded.
    ///
    /// The price is two locked instructions per recorded size. After the first 1024 an acquire with its drop takes 4 % more
    /// instructions on average. Until then, the thread also returns buffers of the class by the slow path: a thread that
    /// acquires none of them always does.
    pub fn record_sizes(mut self, record: bool) -> Self {
        self.options.record_sizes = record;
        self
    }

    /// Builds without checks. The builder comes from a valid configuration, and no class or limit was changed.
    #[cfg(feature = "pool-debug")]
    pub(in crate::pool) fn built(self) -> BufferPoolConfig {
        BufferPoolConfig { classes: self.classes, options: self.options }
    }

    /// Checks the values and builds the configuration.
    ///
    /// # Errors
    ///
    /// The first [`ConfigError`] found.
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
        for &ClassConfig { size, capacity } in &self.classes {
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

/// Why a pool configuration is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// There is no class.
    NoClasses,
    /// There are more classes than a pool supports.
    TooManyClasses {
        /// The number of classes.
        count: usize,
        /// The most there may be.
        max: usize,
    },
    /// A class has buffers of 0 bytes.
    ZeroSize,
    /// A class keeps no buffer.
    ZeroCapacity {
        /// Its size in bytes.
        size: usize,
    },
    /// Two classes have the same size.
    DuplicateSize {
        /// The size in bytes.
        size: usize,
    },
    /// A class is larger than 1 GiB.
    ClassTooLarge {
        /// Its size in bytes.
        size: usize,
        /// The largest size in bytes.
        max: usize,
    },
    /// A class keeps more than 4 Mi buffers. Each of its two queues allocates 16 bytes for each of them
    /// when it is first used, and keeps them until the pool is closed and all its buffers are returned.
    CapacityTooLarge {
        /// Its size in bytes.
        size: usize,
        /// Its capacity in buffers.
        capacity: usize,
        /// The largest capacity.
        max: usize,
    },
    /// Σ size × capacity exceeds the address space.
    CapacityOverflow,
    /// The memory limit is below the size of the largest class.
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
                write!(f, "{count} size classes exceed the most of {max}; merge neighbours")
            }
            Self::ZeroSize => write!(f, "a size class must be at least 1 byte"),
            Self::CapacityTooLarge { size, capacity, max } => {
                write!(f, "the class of {size} bytes keeps {capacity} buffers; the most is {max}")
            }
            Self::ZeroCapacity { size } => {
                write!(f, "the class of {size} bytes keeps 0 buffers; leave it out or raise its capacity")
            }
            Self::DuplicateSize { size } => write!(f, "two classes of {size} bytes; keep one"),
            Self::ClassTooLarge { size, max } => {
                write!(f, "a class of {size} bytes exceeds {max}; leave such sizes to the heap")
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
