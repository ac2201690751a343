//! Tables that fit a kind of program, each with its reason.

use core::ops::RangeInclusive;

use super::builder::{BufferPoolConfig, BufferPoolConfigBuilder, ConfigError};

impl BufferPoolConfig {
    /// For relays: 8 KiB buffers for peers that say little, 64 KiB buffers for those that fill them.
    ///
    /// 64 KiB is where larger reads stop saving system calls (6 instead of 20 for a 64 KiB reply);
    /// 8 KiB holds a request, or a reply of a page, with its header. The capacities keep at most 4 MiB
    /// of each idle.
    #[must_use]
    pub fn proxy() -> Self {
        Self::of([(8 * 1024, 512), (64 * 1024, 64)])
    }

    /// For small framed messages: 128 B × 512, 256 B × 256, 512 B × 128, 1 KiB × 64, 4 KiB × 32,
    /// 16 KiB × 16, 64 KiB × 16; at most 2 MiB idle.
    ///
    /// The first four keep 64 KiB of each size, as tables generated from message contracts do.
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

    /// For packet stacks on small devices: 64 B × 512, 256 B × 8, 512 B × 8, 1 KiB × 8, and no more storage
    /// than those 46 KiB, whatever is in use.
    ///
    /// Packets of at most 500 bytes, their proofs and announces fall into the middle classes. The many small
    /// buffers are for residents: hashes and keys that tables hold for hours. There are no thread caches, a
    /// request at the limit takes an idle buffer of the next class, and beyond that it goes to the heap.
    #[must_use]
    pub fn embedded() -> Self {
        let table = Self::of([(64, 512), (256, 8), (512, 8), (1024, 8)]);
        let limit = table.max_idle_bytes();
        Self::or_default(
            table.to_builder().thread_cache_bytes(0).memory_limit(limit).serve_from_next_class(true),
        )
    }

    /// Classes of powers of two, from the one that holds the smallest size of the range to the one that
    /// holds the largest; each keeps up to 1 MiB idle, but 4 buffers at least and 4096 at most.
    ///
    /// For sizes of which nothing is known: at most half of a buffer is wasted.
    ///
    /// # Errors
    ///
    /// See [`ConfigError`]: an empty range, a range that begins at 0, sizes above 1 GiB.
    pub fn powers_of_two(sizes: RangeInclusive<usize>) -> Result<Self, ConfigError> {
        Self::builder().classes(powers(sizes, 0)).build()
    }

    /// Like [`powers_of_two`](Self::powers_of_two), each class larger by `overhead` bytes, for framed
    /// protocols: a payload of a power of two, as applications choose them, with its header still fits the class
    /// of the payload.
    ///
    /// # Errors
    ///
    /// See [`ConfigError`].
    pub fn powers_of_two_and(overhead: usize, payloads: RangeInclusive<usize>) -> Result<Self, ConfigError> {
        Self::builder().classes(powers(payloads, overhead)).build()
    }

    fn of<const N: usize>(classes: [(usize, usize); N]) -> Self {
        Self::or_default(Self::builder().classes(classes))
    }

    /// The tables of this file are valid, as its tests show.
    fn or_default(builder: BufferPoolConfigBuilder) -> Self {
        match builder.build() {
            Ok(config) => config,
            Err(error) => unreachable!("{error}"),
        }
    }
}

/// `(size, capacity)` of each class.
fn powers(sizes: RangeInclusive<usize>, overhead: usize) -> impl Iterator<Item = (usize, usize)> {
    let last = sizes.end().checked_next_power_of_two().unwrap_or(usize::MAX);
    let mut next = if sizes.is_empty() { None } else { sizes.start().checked_next_power_of_two() };
    if *sizes.start() == 0 {
        next = Some(0); // refused by the builder, with its reason
    }
    core::iter::from_fn(move || {
        let size = next?;
        next = size.checked_mul(2).filter(|&larger| larger <= last && size != 0);
        let size = if size == 0 { 0 } else { size.saturating_add(overhead) };
        Some((size, ((1 << 20) / size.max(1)).clamp(4, 4096)))
    })
}
