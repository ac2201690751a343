//! The types that users hold: the pool, its two kinds of handles, and the conversions between them.
//!
//! | file | idea |
//! |---|---|
//! | `pool` | [`BufferPool`], whose last clone closes the pool |
//! | `buffer`, `bytes`, `freeze` | the exclusive handle, the shared handle, and the conversions to `bytes::Bytes` |
//! | `buf_mut` | `bytes::BufMut` for the exclusive handle: the only unsafe code of the pool |
//! | `shrink` | the exchange for a smaller buffer |
//! | `lend` | the storage of a buffer as a plain `BytesMut`, for a time (feature `net`) |
//! | `queue` | pieces of shared bytes, read as one |
//! | `compare`, `iter`, `show`, `write` | the traits of std for the two handles |
//! | `label` | labels in the leak report |
//! | `acquire`, `error` | waiting for memory; why an acquire failed |
//! | `coop`, `no_coop` | tokio's cooperative budget, and its twin without tokio |
//! | `range` | ranges of bytes, as users write them |
//! | `runtime` | deadlines, and decay while the pool is idle (feature `tokio`) |

mod acquire;
mod buf_mut;
mod buffer;
mod bytes;
mod compare;
#[cfg_attr(not(feature = "tokio"), path = "no_coop.rs")]
mod coop;
mod error;
mod freeze;
mod iter;
mod label;
#[cfg(feature = "net")]
mod lend;
mod pool;
mod queue;
mod range;
#[cfg(feature = "tokio")]
mod runtime;
mod show;
mod shrink;
mod write;

pub use self::acquire::Acquire;
pub use self::buffer::PooledBuffer;
pub use self::bytes::PooledBytes;
pub use self::error::AcquireError;
#[cfg(feature = "net")]
pub(crate) use self::lend::Lent;
pub use self::pool::BufferPool;
pub use self::queue::BytesQueue;
