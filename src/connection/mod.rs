//! Pools of connections to upstream servers.
#[cfg(feature = "connection")]
mod clock;
#[cfg_attr(
    not(feature = "connection"),
    expect(dead_code, reason = "the models leave out what is known of items that are out")
)]
mod core;
#[cfg(feature = "connection")]
mod error;
#[cfg(feature = "connection")]
mod histogram;
#[cfg(any(millpond_loom, millpond_shuttle, millpond_tsan))]
#[doc(hidden)]
pub mod model;
#[cfg(feature = "connection")]
mod pool;
#[cfg(feature = "connection")]
mod statistics;

#[cfg(feature = "connection")]
pub use bb8::{AddError, CustomizeConnection, ErrorSink, ManageConnection, NopErrorSink, QueueStrategy};

#[cfg(feature = "connection")]
pub use self::error::{ConnectFailing, RunError};
#[cfg(feature = "connection")]
pub use self::histogram::Histogram;
#[cfg(feature = "connection")]
pub use self::pool::{Builder, Config, Pool, PooledConnection};
#[cfg(feature = "connection")]
pub use self::statistics::{Holder, State, Statistics};
