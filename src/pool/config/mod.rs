//! What may be asked of a pool.

mod builder;
mod preset;

pub use self::builder::{BufferPoolConfig, BufferPoolConfigBuilder, ConfigError};
