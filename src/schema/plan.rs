//! From messages to the classes of the pool that serves them.
//!
//! What a message asks the pool for follows from how frames are read and written: a payload below 4 KiB is
//! copied out of what was read ahead, and is encoded, into a buffer of its own without the header; a larger
//! frame is read in one piece with the 6 bytes of its header. So **classes of 4 KiB and more are 6 bytes larger than a
//! power of two**, and smaller ones are not: a payload of exactly 16 KiB stays in its class.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;

use super::layout::Layout;
use super::model::{MessageDef, Schema};
use crate::frame::tlv::HEADER_LEN;
use crate::pool::{BufferPoolConfig, BufferPoolStats, ClassConfig, ConfigError, RequestedSize};

/// The smallest class in bytes: below it a buffer's own bookkeeping weighs more than what is saved.
const MIN_CLASS: usize = 128;

/// Bytes of payload that a class keeps: 64 KiB of each.
const CLASS_BYTES: usize = 65_536;

/// From this payload on a frame is read in one piece with its header.
const WITH_HEADER: usize = 4096;

/// The classes of a pool, and which messages each is for.
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
    /// Buffers that the pool keeps.
    pub capacity: usize,
    /// In the order of the file.
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
    /// How many there are of it, at least 1; 1 where nothing is known of it.
    pub count: u64,
}

impl Plan {
    /// The rule for when only the messages are known: powers of two, at least 128, of the sizes of the messages, each
    /// keeping 64 KiB and at least one buffer.
    ///
    /// # Errors
    ///
    /// None of any schema.
    pub fn of_schema(schema: &Schema, layout: Layout) -> Result<Self, PlanError> {
        let sizes = schema.messages().iter().map(|message| payload_class(message.layout(layout).size));
        let classes: BTreeMap<usize, usize> =
            sizes.map(|payload| (with_header(payload), (CLASS_BYTES / payload).max(1))).collect();
        let config = BufferPoolConfig::from_map(classes)?;
        Ok(Self::new(schema, layout, config, |_| 1))
    }

    /// The rule for when it is known how many there are of each message in some time: at most 8 classes of at least 128
    /// bytes that waste least on them, [as a running pool suggests them](BufferPoolStats::suggest), which share `byte_limit` by their
    /// traffic, with 4096 buffers each at most. It is the pool's limit as well.
    ///
    /// A message of which there is none counts as one, so that it has a class. Takes time in the square of the number
    /// of different sizes.
    ///
    /// # Errors
    ///
    /// [`PlanError::BudgetTooSmall`] if not even one buffer of each class fits.
    pub fn of_traffic(
        schema: &Schema,
        layout: Layout,
        byte_limit: usize,
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
        let config = within(byte_limit, weighted, f64::INFINITY)?;
        Ok(Self::new(schema, layout, config, count))
    }

    /// The rule for when a pool that [records sizes](crate::BufferPoolConfigBuilder::record_sizes) has run:
    /// the classes that it [suggests](BufferPoolStats::suggest), with as many buffers as were live at once, or all
    /// of them fewer, if `byte_limit` demands it. It is the pool's limit as well.
    ///
    /// A message that the pool never saw counts as one request, so that it has a class.
    ///
    /// # Errors
    ///
    /// [`PlanError::NoSizes`] if the pool did not record sizes, [`PlanError::BudgetTooSmall`] if not even one buffer of
    /// each class fits, [`PlanError::Config`] if it was asked for more than a class can have.
    pub fn of_stats(
        schema: &Schema,
        layout: Layout,
        byte_limit: usize,
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
        // Beside the one that is set aside.
        let weighted = suggested.into_iter().map(|class| (class.size, (class.capacity - 1) as f64));
        let config = within(byte_limit, weighted, 1.0)?;
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

    /// The pool of it; everything that is not planned here by default.
    #[must_use]
    pub fn config(&self) -> &BufferPoolConfig {
        &self.config
    }
}

impl PlannedClass {
    /// The part of its buffers that its messages leave unused, weighted by their counts, from 0 to 1; 0 of a class
    /// without messages.
    #[must_use]
    pub fn waste(&self) -> f64 {
        let sum = |bytes: &dyn Fn(&PlannedMessage) -> usize| -> f64 {
            self.messages.iter().map(|message| bytes(message) as f64 * message.count as f64).sum()
        };
        let room = sum(&|_| self.size);
        if room > 0.0 { 1.0 - sum(&|message| message.size) / room } else { 0.0 }
    }

    /// Bytes of it that lie idle at most.
    #[must_use]
    pub fn idle_bytes(&self) -> usize {
        self.size.saturating_mul(self.capacity)
    }
}

/// The power of two that holds a payload.
fn payload_class(size: usize) -> usize {
    size.max(MIN_CLASS).next_power_of_two()
}

/// Bytes that are asked for of the pool for a payload.
fn with_header(payload: usize) -> usize {
    if payload >= WITH_HEADER { payload + HEADER_LEN } else { payload }
}

/// Classes whose capacities are as their weights, times `most` at most, with one buffer each at least.
fn within(
    byte_limit: usize,
    weighted: impl Iterator<Item = (usize, f64)>,
    most: f64,
) -> Result<BufferPoolConfig, PlanError> {
    let mut weighted: Vec<_> = weighted.collect();
    let needed = weighted.iter().fold(0, |sum: usize, &(size, _)| sum.saturating_add(size));
    if needed > byte_limit {
        return Err(PlanError::BudgetTooSmall { byte_limit, needed });
    }
    // One buffer of each is set aside, and what is left goes by weight: the heaviest first, so that what it has no
    // room for is the others'.
    let mut left = byte_limit - needed;
    let mut budget = left as f64;
    weighted.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    let mut classes = Vec::new();
    for (index, &(size, weight)) in weighted.iter().enumerate() {
        let open = weighted.iter().skip(index).map(|&(size, weight)| size as f64 * weight);
        let factor = (budget / open.sum::<f64>().max(1.0)).min(most);
        let ideal = (weight * factor).min((MAX_CAPACITY - 1) as f64);
        let share = (ideal as usize).min(left / size);
        budget -= ideal * size as f64;
        left -= share * size;
        classes.push((size, share + 1));
    }
    if most == f64::INFINITY {
        // What rounding has left.
        for (size, capacity) in &mut classes {
            let more = (left / *size).min(MAX_CAPACITY - *capacity);
            left -= more * *size;
            *capacity += more;
        }
    }
    Ok(BufferPoolConfig::builder().classes(classes).memory_limit(byte_limit).build()?)
}

/// The most buffers of a class, as of [`BufferPoolConfig::powers_of_two`]: the queues have a place for each from the
/// beginning.
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
    /// Not even one buffer of each class fits.
    BudgetTooSmall {
        /// The budget in bytes.
        byte_limit: usize,
        /// One buffer of each class in bytes.
        needed: usize,
    },
    /// The classes are none that a pool can have.
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
            Self::NoSizes => write!(f, "the pool recorded no sizes; turn on record_sizes"),
            Self::BudgetTooSmall { byte_limit, needed } => {
                write!(f, "one buffer of each class takes {needed} bytes, more than the {byte_limit} given")
            }
            Self::Config(error) => error.fmt(f),
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
