//! What may be asked of a pool.

mod builder;
mod on_decay;
mod preset;

pub use self::builder::{BufferPoolConfig, BufferPoolConfigBuilder, ConfigError};
pub(in crate::pool) use self::on_decay::OnDecay;
