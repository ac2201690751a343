//! The configuration of a pool: classes, limits, presets.

mod builder;
mod class;
mod on_decay;
mod preset;
#[cfg(feature = "serde")]
mod stored;

pub use self::builder::{BufferPoolConfig, BufferPoolConfigBuilder, ConfigError};
pub use self::class::ClassConfig;
pub(in crate::pool) use self::on_decay::OnDecay;
