//! Presets, each for a kind of program, with its reasons.

use core::ops::RangeInclusive;

use super::builder::{BufferPoolConfig, BufferPoolConfigBuilder, ConfigError};

impl BufferPoolConfig {
    /// For relays: 8 KiB buffers for small reads, 64 KiB buffers for peers that fill them.
    ///
    /// 8 KiB holds most requests, and small replies with their headers. 64 KiB makes a 64 KiB reply take 6 system calls
    /// instead of 20; larger reads save hardly any more. The shared queues keep at most 4 MiB of each idle.
    #[must_use]
    pub fn proxy() -> Self {
        Self::of([(8 * 1024, 512), (64 * 1024, 64)])
    }

    /// For HTTP: 1 KiB × 512, 4 KiB × 256, 8 KiB × 256, 64 KiB × 32, 72 KiB × 32. The shared queues keep at most
    /// 7.75 MiB idle.
    ///
    /// 1 KiB holds most requests, 4 KiB those with cookies and small replies, 8 KiB the largest head that nginx and
    /// Apache take by default. 64 KiB is for a piece of a long body. 72 KiB holds a body of 64 KiB *and* such a head:
    /// a buffer of exactly 64 KiB takes one more read and one more write for each.
    #[must_use]
    pub fn http() -> Self {
        Self::of([(1024, 512), (4096, 256), (8192, 256), (64 * 1024, 32), ((64 + 8) * 1024, 32)])
    }

    /// For small framed messages: 128 B × 512, 256 B × 256, 512 B × 128, 1 KiB × 64, 4 KiB × 32,
    /// 16 KiB × 16, 64 KiB × 16. The shared queues keep at most 1.6 MiB idle.
    ///
    /// The first four keep 64 KiB per class, as the pools generated from message contracts do.
    #[must_use]
    pub fn messages() -> Self {
        Self::of([
            (128, 512),
            (256, 256),
            (512, 128),
            (1024, 64),
            (4096, 32),
            (16 * 1024, 16),
            (64 * 1024, 16),
        ])
    }

    /// For packet stacks on small devices: 64 B × 512, 256 B × 8, 512 B × 8, 1 KiB × 8. The memory limit is the sum of
    /// these, 46 KiB.
    ///
    /// Packets of at most 500 bytes, with their proofs and announces, use the middle classes. The many small buffers are
    /// for hashes and keys that tables hold for hours. There are no thread caches. A request at the limit takes an idle
    /// buffer of the next class; if there is none, `acquire` uses the heap.
    #[must_use]
    pub fn embedded() -> Self {
        let table = Self::of([(64, 512), (256, 8), (512, 8), (1024, 8)]);
        let limit = table.max_idle_bytes();
        Self::valid(table.to_builder().thread_cache_bytes(0).memory_limit(limit).serve_from_next_class(true))
    }

    /// Classes of powers of two, from the one that fits the smallest size of the range to the one that fits the largest.
    /// Each keeps up to 1 MiB idle, with a capacity of 4 to 4096 buffers.
    ///
    /// For unknown sizes: at most half of a buffer is unused.
    ///
    /// # Errors
    ///
    /// [`ConfigError::NoClasses`] if the range is empty, [`ConfigError::ZeroSize`] if it starts at 0,
    /// [`ConfigError::ClassTooLarge`] if it exceeds 1 GiB.
    ///
    /// # Examples
    ///
    /// ```
    /// use millpond::BufferPoolConfig;
    ///
    /// let config = BufferPoolConfig::powers_of_two(100..=1000)?;
    /// let sizes: Vec<usize> = config.classes().iter().map(|class| class.size).collect();
    /// assert_eq!(sizes, [128, 256, 512, 1024]);
    /// # Ok::<(), millpond::ConfigError>(())
    /// ```
    pub fn powers_of_two(sizes: RangeInclusive<usize>) -> Result<Self, ConfigError> {
        Self::builder().classes(powers(sizes, 0)).build()
    }

    /// Like [`powers_of_two`](Self::powers_of_two), with each class larger by `overhead` bytes, for framed protocols:
    /// payloads are often powers of two, and fit the class of their size together with their header.
    ///
    /// # Errors
    ///
    /// As [`powers_of_two`](Self::powers_of_two).
    pub fn powers_of_two_and(overhead: usize, payloads: RangeInclusive<usize>) -> Result<Self, ConfigError> {
        Self::builder().classes(powers(payloads, overhead)).build()
    }

    fn of<const N: usize>(classes: [(usize, usize); N]) -> Self {
        Self::valid(Self::builder().classes(classes))
    }

    /// The presets of this file are valid, as the tests show.
    fn valid(builder: BufferPoolConfigBuilder) -> Self {
        match builder.build() {
            Ok(config) => config,
            Err(error) => unreachable!("{error}"),
        }
    }
}

/// For unknown sizes: [powers of two](BufferPoolConfig::powers_of_two) from 128 B to 64 KiB. The shared queues keep at
/// most 9.5 MiB idle.
impl Default for BufferPoolConfig {
    fn default() -> Self {
        Self::valid(Self::builder().classes(powers(128..=64 * 1024, 0)))
    }
}

/// Size and capacity of each class.
fn powers(sizes: RangeInclusive<usize>, overhead: usize) -> impl Iterator<Item = (usize, usize)> {
    let last = sizes.end().checked_next_power_of_two().unwrap_or(usize::MAX);
    let mut next = if sizes.is_empty() { None } else { sizes.start().checked_next_power_of_two() };
    if *sizes.start() == 0 {
        next = Some(0); // the builder refuses it, with the reason
    }
    core::iter::from_fn(move || {
        let size = next?;
        next = size.checked_mul(2).filter(|&larger| larger <= last && size != 0);
        let size = if size == 0 { 0 } else { size.saturating_add(overhead) };
        Some((size, ((1 << 20) / size.max(1)).clamp(4, 4096)))
    })
}
