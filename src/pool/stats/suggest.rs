//! Classes that would have fitted the requested sizes.

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use super::snapshot::{BufferPoolStats, ClassStats, RequestedSize};
use crate::pool::config::{BufferPoolConfig, ClassConfig, ConfigError};

/// The most classes of a suggestion. With more, each keeps few buffers, and a buffer returned to one class cannot
/// serve the next.
const CLASSES: usize = 8;

/// Classes that fit the requested sizes; see [`BufferPoolStats::suggest`].
///
/// It displays as a table, with the waste before and after.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Suggestion {
    /// The classes, ascending by size.
    pub classes: Vec<ClassConfig>,
    /// Bytes of storage handed out per requested byte, with the current classes.
    pub waste_now: f64,
    /// Bytes of storage handed out per requested byte, with the suggested classes.
    pub waste_then: f64,
    /// The number of acquires that it is based on.
    pub acquires: u64,
}

impl Suggestion {
    /// A configuration of the suggested classes. The rest is default.
    ///
    /// # Errors
    ///
    /// [`ConfigError::ClassTooLarge`] if sizes above 1 GiB were requested, [`ConfigError::CapacityTooLarge`] or
    /// [`ConfigError::CapacityOverflow`] if very many buffers were live at once.
    pub fn config(&self) -> Result<BufferPoolConfig, ConfigError> {
        BufferPoolConfig::builder().classes(self.classes.iter().copied()).build()
    }
}

impl BufferPoolStats {
    /// Suggests at most 8 classes that waste the least storage on the requested sizes.
    ///
    /// The capacity of each is an estimate of the most buffers that would have been live at once: the high water of a
    /// current class is divided among the suggested ones by the number of its requests.
    ///
    /// `None` if no sizes are known: the pool must [record](crate::BufferPoolConfigBuilder::record_sizes) them.
    ///
    /// # Examples
    ///
    /// ```
    /// use millpond::{BufferPool, BufferPoolConfig};
    ///
    /// let config = BufferPoolConfig::proxy().to_builder().record_sizes(true);
    /// let pool = BufferPool::new(config.build()?);
    /// for _ in 0..100 {
    ///     drop(pool.acquire(600)); // from the class of 8 KiB
    /// }
    /// let suggestion = pool.stats().suggest().unwrap();
    /// assert_eq!(suggestion.classes[0].size, 600);
    /// assert!(suggestion.waste_now > 13.0 && suggestion.waste_then == 1.0);
    /// let better = BufferPool::new(suggestion.config()?);
    /// # drop(better);
    /// # Ok::<(), millpond::ConfigError>(())
    /// ```
    #[must_use]
    pub fn suggest(&self) -> Option<Suggestion> {
        let largest = self.requested.last()?.bytes;
        let sizes = best_sizes(&self.requested, CLASSES);
        let class_of = |bytes: usize| sizes.iter().copied().find(|&size| size >= bytes).unwrap_or(largest);
        let today = |bytes: usize| {
            self.classes.iter().map(|class| class.size).find(|&size| size >= bytes).unwrap_or(bytes)
        };
        let peak = |size: usize| -> f64 {
            self.classes.iter().map(|class| self.share(class, |bytes| class_of(bytes) == size)).sum()
        };
        let capacity = |size| (peak(size) + 0.999) as usize;
        Some(Suggestion {
            classes: sizes.iter().map(|&size| ClassConfig::new(size, capacity(size).max(1))).collect(),
            waste_now: self.waste(today),
            waste_then: self.waste(class_of),
            acquires: total(self.requested.iter().map(|size| size.acquires)),
        })
    }

    /// The part of the class's high water that its `wanted` sizes get, by their acquires.
    fn share(&self, class: &ClassStats, wanted: impl Fn(usize) -> bool) -> f64 {
        let below = self.classes.iter().map(|other| other.size).filter(|&size| size < class.size).max();
        let of_class = |requested: &&RequestedSize| {
            requested.bytes <= class.size && below.is_none_or(|below| requested.bytes > below)
        };
        let of_class = || self.requested.iter().filter(of_class);
        let all = total(of_class().map(|size| size.acquires));
        let part = total(of_class().filter(|size| wanted(size.bytes)).map(|size| size.acquires));
        if all == 0 { 0.0 } else { class.high_water as f64 * part as f64 / all as f64 }
    }

    fn waste(&self, class_of: impl Fn(usize) -> usize) -> f64 {
        let sum = |size: &dyn Fn(usize) -> usize| -> f64 {
            let bytes = |of: &RequestedSize| size(of.bytes) as f64 * of.acquires as f64;
            self.requested.iter().map(bytes).sum()
        };
        sum(&class_of) / sum(&|bytes| bytes).max(1.0)
    }
}

/// The `count` requested sizes that, as classes, hand out the least storage. The largest is always one of them.
///
/// Dynamic programming over the ascending sizes: `best[i]` is the least storage for the first `i` sizes with the classes
/// so far, the last of which is the `i`th size.
fn best_sizes(requested: &[RequestedSize], count: usize) -> Vec<usize> {
    // Acquires of the first `i` sizes.
    let mut before = vec![0.0];
    before.extend(requested.iter().scan(0.0, |sum, size| {
        *sum += size.acquires as f64;
        Some(*sum)
    }));
    let at = |index: usize| before.get(index).copied().unwrap_or(0.0);
    let storage = |from: usize, to: usize| -> f64 {
        let acquires = at(to) - at(from);
        let size = to.checked_sub(1).and_then(|last| requested.get(last)).map_or(0, |size| size.bytes.max(1));
        size as f64 * acquires
    };
    let ends = requested.len();
    let mut best: Vec<f64> = (0..=ends).map(|to| storage(0, to)).collect();
    let mut cuts: Vec<Vec<usize>> = vec![vec![0; ends + 1]];
    for _ in 1..count {
        let step: Vec<(f64, usize)> = (0..=ends)
            .map(|to| {
                let with_cut = |cut: usize| (best.get(cut).copied().unwrap_or(0.0) + storage(cut, to), cut);
                (0..to).map(with_cut).min_by(|a, b| a.0.total_cmp(&b.0)).unwrap_or((0.0, 0))
            })
            .collect();
        cuts.push(step.iter().map(|&(_, cut)| cut).collect());
        best = step.into_iter().map(|(storage, _)| storage).collect();
    }
    let mut sizes = Vec::new();
    let mut to = ends;
    for cut in cuts.iter().rev() {
        let Some(size) = to.checked_sub(1).and_then(|last| requested.get(last)) else { break };
        sizes.push(size.bytes.max(1));
        to = cut.get(to).copied().unwrap_or(0);
    }
    sizes.reverse();
    sizes.dedup();
    sizes
}

fn total(counts: impl Iterator<Item = u64>) -> u64 {
    counts.fold(0, u64::saturating_add)
}

impl fmt::Display for Suggestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} acquires: {:.2} bytes handed out per requested byte, {:.2} with these classes",
            self.acquires, self.waste_now, self.waste_then
        )?;
        self.classes.iter().try_for_each(|class| write!(f, "\n  {:>9} B x {}", class.size, class.capacity))
    }
}
