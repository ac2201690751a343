//! The thread caches: the buffers that one thread keeps of each pool.
//!
//! | file | idea |
//! |---|---|
//! | `registry` | the caches of the running thread, one per pool |
//! | `cache` | the cache of one thread for one pool, and how much of each class it keeps |
//! | `local_class` | one class of it, and which acquires take the fast paths |
//! | `frozen_queue` | frozen buffers in the order in which they were frozen |
//! | `no_threads` | the twin of `registry` without std: there are no caches |

#[cfg(feature = "std")]
mod cache;
#[cfg(feature = "std")]
mod frozen_queue;
#[cfg(feature = "std")]
mod local_class;
#[cfg_attr(not(feature = "std"), path = "no_threads.rs")]
mod registry;

#[cfg(millpond_loom)]
pub(in crate::pool) use self::cache::LocalCache;
pub(in crate::pool) use self::registry::{acquire, flush, follow, forget, pop, reclaim, return_slot};
