//! The configuration as serde reads and writes it.

use alloc::vec::Vec;
use core::num::NonZeroU32;
use core::time::Duration;

use super::builder::{BufferPoolConfig, ConfigError};
use super::class::ClassConfig;

/// One field per setter of the builder. Only values for which no number stands are optional: formats such as TOML have
/// no way to write `None`, and what they leave out is read as the default, so the default of each is `None`.
#[derive(serde::Deserialize, serde::Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Stored {
    classes: Vec<ClassConfig>,
    thread_cache_bytes: usize,
    memory_limit: Option<usize>,
    /// Zero stands for none.
    decay_interval: Duration,
    serve_from_next_class: bool,
    wipe_on_return: bool,
    sample_one_in: Option<NonZeroU32>,
    record_sizes: bool,
}

/// No classes, which the builder refuses, and its defaults.
impl Default for Stored {
    fn default() -> Self {
        Self { classes: Vec::new(), ..BufferPoolConfig::default().into() }
    }
}

impl From<BufferPoolConfig> for Stored {
    fn from(config: BufferPoolConfig) -> Self {
        Self {
            classes: config.classes().to_vec(),
            thread_cache_bytes: config.thread_cache_bytes(),
            memory_limit: Some(config.memory_limit()).filter(|&limit| limit != usize::MAX),
            decay_interval: config.decay_interval().unwrap_or_default(),
            serve_from_next_class: config.serves_from_next_class(),
            wipe_on_return: config.wipes_on_return(),
            sample_one_in: config.sampled_one_in(),
            record_sizes: config.records_sizes(),
        }
    }
}

impl TryFrom<Stored> for BufferPoolConfig {
    type Error = ConfigError;

    fn try_from(stored: Stored) -> Result<Self, ConfigError> {
        let builder = Self::builder()
            .classes(stored.classes)
            .thread_cache_bytes(stored.thread_cache_bytes)
            .memory_limit(stored.memory_limit.unwrap_or(usize::MAX))
            .decay_interval(Some(stored.decay_interval))
            .serve_from_next_class(stored.serve_from_next_class)
            .wipe_on_return(stored.wipe_on_return)
            .record_sizes(stored.record_sizes);
        match stored.sample_one_in {
            Some(n) => builder.sample_one_in(n).build(),
            None => builder.build(),
        }
    }
}
