//! The engine without I/O, clocks and tasks: items, slots, waiters, and which connects are wanted.
//!
//! ```text
//!  engine ─┬─ slots     which slots hold an idle item: lock-free
//!          ├─ facts     who has the item of a slot
//!          └─ waiters   the queue, under the engine's lock
//! ```
//!
//! Invariants: an item is in one place: idle in its slot, in one [`Held`], or granted to one waiter. Reserved slots are never
//! more than the most items, except after a resize. No item is idle while somebody waits. No waker and no item is dropped
//! under the lock.
//!
//! The engine starts no connects itself. Whoever joins the queue, ends an [`Attempt`] in any way, releases a slot or resizes asks
//! `connect_permit` afterwards until it refuses: a waiter may have joined during an attempt, and was refused one of its own.
//! After a failure it asks only if more wait than connects are under way.

mod engine;
mod facts;
mod slots;
#[cfg(test)]
mod tests;
mod waiters;

#[cfg(any(millpond_loom, millpond_shuttle, millpond_tsan))]
pub(crate) use self::engine::Counts;
pub(crate) use self::engine::{Attempt, Core, Joins, Limits, Polled};
#[cfg(feature = "connection")]
pub(crate) use self::engine::{Joined, Refusal};
#[cfg(feature = "connection")]
pub(crate) use self::facts::Checkout;
pub(crate) use self::slots::{Held, Order};
pub(crate) use self::waiters::Ticket;
#[cfg(feature = "https")]
pub(crate) use self::waiters::Waiters;
