//! What all threads of a pool share: storage, its queues, the memory limit and its waiters.
//!
//! | file | idea |
//! |---|---|
//! | `slot` | storage together with its pool, and frozen storage |
//! | `chains`, `class` | the shared queues of one size |
//! | `policy` | shares of the memory limit, and who may pass whom |
//! | `memory` | the memory limit, and leases of it |
//! | `grant` | what a request at the limit gets, and what is freed for it |
//! | `waiters` | the queue of waiters for memory |
//! | `clock` | when a step of decay is due |
//! | `pool_core` | the whole pool: closing, evicting, trimming, decay |
//! | `snapshot` | the counters of all threads, summed up |

mod chains;
mod class;
mod clock;
mod grant;
mod memory;
mod policy;
mod pool_core;
mod slot;
mod snapshot;
mod waiters;

#[cfg(feature = "std")]
pub(in crate::pool) use self::chains::MAX_CHAIN;
#[cfg(feature = "std")]
pub(in crate::pool) use self::class::Class;
#[cfg(feature = "std")]
pub(in crate::pool) use self::pool_core::CLOSED;
pub(in crate::pool) use self::pool_core::{Core, WAITING};
pub(in crate::pool) use self::slot::{Frozen, Slot};
pub(in crate::pool) use self::waiters::{WaitState, Waiter};
