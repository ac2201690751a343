//! From messages to the size classes of the pool that serves them.
//!
//! How frames are read and written decides which sizes the pool is asked for. A payload below 4 KiB gets a buffer without
//! the header: it is encoded into one, and copied into one out of the bytes that were read ahead. A larger frame is read
//! in one piece with the 6 bytes of its header. So **classes of 4 KiB and more are 6 bytes larger than a power of two**, and
//! smaller ones are not: a payload of exactly 16 KiB stays in the class of 16 KiB.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;

use super::layout::Layout;
use super::model::{MessageDef, Schema};
use crate::frame::tlv::HEADER_LEN;
use crate::pool::{BufferPoolConfig, BufferPoolStats, ClassConfig, ConfigError, RequestedSize};

/// The smallest class in bytes: below it a buffer's bookkeeping costs more than a smaller class saves.
const MIN_CLASS: usize = 128;

/// Bytes of payload that each class keeps.
const CLASS_BYTES: usize = 65_536;

/// The smallest payload that is read in one piece with its header.
const WITH_HEADER: usize = 4096;

/// The classes of a pool and the messages of each class.
///
/// It displays as a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    classes: Vec<PlannedClass>,
    config: BufferPoolConfig,
}

/// One class of a [`Plan`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PlannedClass {
    /// Bytes of a buffer.
    pub size: usize,
    /// Buffers that the pool keeps at most.
    pub capacity: usize,
    /// The messages whose buffers are of this class, in the order of the file.
    pub messages: Vec<PlannedMessage>,
}

/// One message of a [`PlannedClass`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlannedMessage {
    /// Its name.
    pub name: String,
    /// Bytes of its payload.
    pub size: usize,
    /// How often it is sent, relative to the others; at least 1, and 1 if unknown.
    pub count: u64,
}

impl Plan {
    /// Plans from the messages alone: each message's size, rounded up to a power of two of at least 128 bytes, is a class.
    /// Each class keeps 64 KiB, and at least one buffer.
    ///
    /// # Errors
    ///
    /// None for any schema that exists.
    pub fn of_schema(schema: &Schema, layout: Layout) -> Result<Self, PlanError> {
        let sizes = schema.messages().iter().map(|message| payload_class(message.layout(layout).size));
        let classes: BTreeMap<usize, usize> =
            sizes.map(|payload| (with_header(payload), (CLASS_BYTES / payload).max(1))).collect();
        let config = BufferPoolConfig::from_map(classes)?;
        Ok(Self::new(schema, layout, config, |_| 1))
    }

    /// Plans from known traffic: `count` says how often each message is sent in some period.
    ///
    /// There are at most 8 classes of at least 128 bytes, chosen to waste least on this traffic, [as a running pool suggests
    /// them](BufferPoolStats::suggest). They share `memory_limit` (bytes, also the pool's limit) in proportion to their
    /// traffic, with at most 4096 buffers each.
    ///
    /// A count of 0 is taken as 1, so that every message has a class. Takes time quadratic in the number of different
    /// sizes.
    ///
    /// # Errors
    ///
    /// [`PlanError::LimitTooLow`] if not even one buffer of each class fits the limit.
    pub fn of_traffic(
        schema: &Schema,
        layout: Layout,
        memory_limit: usize,
        count: impl Fn(&MessageDef) -> u64,
    ) -> Result<Self, PlanError> {
        let count = |message: &MessageDef| count(message).max(1);
        let mut requested = BTreeMap::new();
        for message in schema.messages() {
            let requests: &mut u64 =
                requested.entry(with_header(message.layout(layout).size).max(MIN_CLASS)).or_default();
            *requests = requests.saturating_add(count(message));
        }
        let stats = BufferPoolStats {
            requested: requested
                .into_iter()
                .map(|(bytes, acquires)| RequestedSize { bytes, acquires })
                .collect(),
            ..BufferPoolStats::default()
        };
        let suggested = stats.suggest().ok_or(PlanError::NoSizes)?.classes;
        let mut below = 0;
        let weighted = suggested.into_iter().map(|ClassConfig { size, .. }| {
            let of_class = stats.requested.iter().filter(|asked| asked.bytes > below && asked.bytes <= size);
            let weight = of_class.map(|asked| asked.acquires as f64).sum();
            below = size;
            (size, weight)
        });
        let config = within(memory_limit, weighted, f64::INFINITY)?;
        Ok(Self::new(schema, layout, config, count))
    }

    /// Plans from the stats of a pool that has run and [recorded sizes](crate::BufferPoolConfigBuilder::record_sizes).
    ///
    /// The classes are those that the stats [suggest](BufferPoolStats::suggest), each with as many buffers as were in use
    /// at once, or proportionally fewer if `memory_limit` (bytes, also the pool's limit) requires it.
    ///
    /// A message that the pool never saw counts as one request, so that every message has a class.
    ///
    /// # Errors
    ///
    /// [`PlanError::NoSizes`] if the pool did not record sizes, [`PlanError::LimitTooLow`] if not even one buffer of each
    /// class fits the limit, [`PlanError::Config`] if a recorded size is larger than a class can be.
    pub fn of_stats(
        schema: &Schema,
        layout: Layout,
        memory_limit: usize,
        stats: &BufferPoolStats,
    ) -> Result<Self, PlanError> {
        if stats.requested.is_empty() {
            return Err(PlanError::NoSizes);
        }
        let mut requested: BTreeMap<usize, u64> = BTreeMap::new();
        for &RequestedSize { bytes: size, acquires } in &stats.requested {
            let requests = requested.entry(size.max(MIN_CLASS)).or_default();
            *requests = requests.saturating_add(acquires);
        }
        for message in schema.messages() {
            requested.entry(with_header(message.layout(layout).size).max(MIN_CLASS)).or_insert(1);
        }
        let mut stats = BufferPoolStats {
            requested: requested
                .into_iter()
                .map(|(bytes, acquires)| RequestedSize { bytes, acquires })
                .collect(),
            ..stats.clone()
        };
        stats.classes.iter_mut().for_each(|class| class.size = class.size.max(MIN_CLASS));
        let suggested = stats.suggest().ok_or(PlanError::NoSizes)?.classes;
        // `within` sets one buffer of each class aside.
        let weighted = suggested.into_iter().map(|class| (class.size, (class.capacity - 1) as f64));
        let config = within(memory_limit, weighted, 1.0)?;
        Ok(Self::new(schema, layout, config, |_| 1))
    }

    fn new(
        schema: &Schema,
        layout: Layout,
        config: BufferPoolConfig,
        count: impl Fn(&MessageDef) -> u64,
    ) -> Self {
        let class = |class: &ClassConfig| PlannedClass {
            size: class.size,
            capacity: class.capacity,
            messages: Vec::new(),
        };
        let mut classes: Vec<_> = config.classes().iter().map(class).collect();
        for message in schema.messages() {
            let size = message.layout(layout).size;
            if let Some(class) = classes.iter_mut().find(|class| class.size >= with_header(size)) {
                let name = message.name.clone();
                class.messages.push(PlannedMessage { name, size, count: count(message) });
            }
        }
        Self { classes, config }
    }

    /// The classes, ascending by size.
    #[must_use]
    pub fn classes(&self) -> &[PlannedClass] {
        &self.classes
    }

    /// The class of a message, by its name.
    #[must_use]
    pub fn class_of(&self, message: &str) -> Option<&PlannedClass> {
        self.classes.iter().find(|class| class.messages.iter().any(|planned| planned.name == message))
    }

    /// The planned pool's configuration, with defaults for everything else.
    #[must_use]
    pub fn config(&self) -> &BufferPoolConfig {
        &self.config
    }
}

impl PlannedClass {
    /// The fraction of its buffers that its messages leave unused, weighted by their counts; from 0 to 1, and 0 for a class
    /// without messages.
    #[must_use]
    pub fn waste(&self) -> f64 {
        let sum = |bytes: &dyn Fn(&PlannedMessage) -> usize| -> f64 {
            self.messages.iter().map(|message| bytes(message) as f64 * message.count as f64).sum()
        };
        let room = sum(&|_| self.size);
        if room > 0.0 { 1.0 - sum(&|message| message.size) / room } else { 0.0 }
    }

    /// The most bytes that it keeps idle.
    #[must_use]
    pub fn idle_bytes(&self) -> usize {
        self.size.saturating_mul(self.capacity)
    }
}

/// The power of two that a payload is rounded up to.
fn payload_class(size: usize) -> usize {
    size.max(MIN_CLASS).next_power_of_two()
}

/// Bytes that the pool is asked for to hold a payload.
fn with_header(payload: usize) -> usize {
    if payload >= WITH_HEADER { payload + HEADER_LEN } else { payload }
}

/// Classes with capacities in proportion to their weights: one buffer each, and at most `most` times the weight more.
fn within(
    memory_limit: usize,
    weighted: impl Iterator<Item = (usize, f64)>,
    most: f64,
) -> Result<BufferPoolConfig, PlanError> {
    let mut weighted: Vec<_> = weighted.collect();
    let needed = weighted.iter().fold(0, |sum: usize, &(size, _)| sum.saturating_add(size));
    if needed > memory_limit {
        return Err(PlanError::LimitTooLow { memory_limit, needed });
    }
    // One buffer of each class is set aside, and the rest is shared by weight: the heaviest class first, so that the others
    // share what it cannot use.
    let mut left = memory_limit - needed;
    let mut unshared = left as f64;
    weighted.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    let mut classes = Vec::new();
    for (index, &(size, weight)) in weighted.iter().enumerate() {
        let open = weighted.iter().skip(index).map(|&(size, weight)| size as f64 * weight);
        let factor = (unshared / open.sum::<f64>().max(1.0)).min(most);
        let ideal = (weight * factor).min((MAX_CAPACITY - 1) as f64);
        let share = (ideal as usize).min(left / size);
        unshared -= ideal * size as f64;
        left -= share * size;
        classes.push((size, share + 1));
    }
    if most == f64::INFINITY {
        // Bytes that rounding has left.
        for (size, capacity) in &mut classes {
            let more = (left / *size).min(MAX_CAPACITY - *capacity);
            left -= more * *size;
            *capacity += more;
        }
    }
    Ok(BufferPoolConfig::builder().classes(classes).memory_limit(memory_limit).build()?)
}

/// The most buffers of a class, as in [`BufferPoolConfig::powers_of_two`]: the pool's queues allocate a place for each at
/// the start.
const MAX_CAPACITY: usize = 4096;

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:>10}  {:>8}  {:>12}  {:>6}  messages", "class", "capacity", "idle bytes", "unused")?;
        for class in &self.classes {
            let unused = class.waste() * 100.0;
            let PlannedClass { size, capacity, messages } = class;
            write!(f, "{size:>10}  {capacity:>8}  {:>12}  {unused:>5.1}%", class.idle_bytes())?;
            for (index, message) in messages.iter().enumerate() {
                let column = if index == 0 { 2 } else { 46 };
                write!(f, "{:column$}{} {}", "", message.name, message.size)?;
                if message.count > 1 {
                    write!(f, " x {}", message.count)?;
                }
                if index + 1 < messages.len() {
                    writeln!(f)?;
                }
            }
            writeln!(f)?;
        }
        write!(f, "{:>34}  in all", self.config.max_idle_bytes())
    }
}

/// Why there is no plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlanError {
    /// The pool did not [record sizes](crate::BufferPoolConfigBuilder::record_sizes).
    NoSizes,
    /// Not even one buffer of each class fits the memory limit.
    LimitTooLow {
        /// The limit in bytes.
        memory_limit: usize,
        /// Bytes of one buffer of each class.
        needed: usize,
    },
    /// No pool can have these classes.
    Config(ConfigError),
}

impl From<ConfigError> for PlanError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSizes => write!(f, "the pool did not record sizes; turn on record_sizes"),
            Self::LimitTooLow { memory_limit, needed } => {
                write!(
                    f,
                    "one buffer of each class takes {needed} bytes, more than the memory limit of {memory_limit}"
                )
            }
            Self::Config(_) => f.write_str("no pool can have the planned classes"),
        }
    }
}

impl Error for PlanError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Config(error) => Some(error),
            _ => None,
        }
    }
}
