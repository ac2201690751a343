//! The configuration of a pool: classes, limits, presets.

mod builder;
mod class;
mod preset;

pub use self::builder::{BufferPoolConfig, BufferPoolConfigBuilder, ConfigError};
pub use self::class::ClassConfig;
