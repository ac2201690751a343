//! What may be asked of a pool.

mod builder;
mod class;
mod preset;

pub use self::builder::{BufferPoolConfig, BufferPoolConfigBuilder, ConfigError};
pub use self::class::ClassConfig;
