//! The slots of a pool, and which of them hold an idle item.
//!
//! ```text
//!  segment 0: 1 word   1: 1 word   2: 2 words   3: 4 words ...        allocated when first used, never moved
//!  word:      idle bits ─┬─ bit n set: slot n holds an item, and whoever clears the bit owns it
//!             blocks of 8 slots, each allocated when its first slot is reserved
//! ```
//!
//! # Safety
//!
//! An idle item is in a cell without a lock. The right to use the cell of a slot is either a token or the idle bit, and it is
//! never there twice, so no two threads use a cell at once:
//!
//! - `park` consumes the [`Held`] of a slot, writes the cell, and sets the idle bit. `take` and `take_of` clear the bit. Only
//!   the thread whose read-modify-write found it set reads the cell, and makes the next `Held`.
//! - So a slot has at most one of these: a `Held`, a [`Vacant`], or an idle bit that is set. Only this file makes tokens, and they
//!   cannot be cloned. A new `Vacant` takes a `reserved` bit that was clear; `release` and `cut` consume the token and clear it.
//! - A token knows the number of its slots, and others refuse it. The engine never mixes them up either, which would take
//!   2^32 pools to go unnoticed.
//!
//! The bits order the uses as well: a thread sets a bit with release after its write, and clears it with acquire before it
//! reads. Each change of a word is a read-modify-write, so it does not matter which other bits changed in between. Loom checks
//! this order: its cell fails if two uses are not ordered.
#![expect(
    unsafe_code,
    reason = "to exchange the item by locked instructions makes a checkout a third slower"
)]

use std::boxed::Box;
use std::panic::RefUnwindSafe;
use std::{array, iter, mem};

use super::facts::Facts;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::statistic::{AtomicU32, AtomicUsize as Hint};
use crate::sync::{OnceLock, UnsafeCell, order_store_before_load};

/// Slots of a word.
const BITS: usize = usize::BITS as usize;
/// Slots that are allocated at once. A pool of a few connections must not pay for 64.
const BLOCK: usize = 8;
/// The last segment has half of all words.
const SEGMENTS: usize = 11;
/// The most slots of a pool.
pub(crate) const MAX_SLOTS: usize = BITS << (SEGMENTS - 1);

/// A reserved slot that is empty. It must be filled or released.
#[must_use = "a slot that is not released is lost to the pool"]
#[derive(Debug)]
pub(crate) struct Vacant(Place);

/// Which slot, and of which [`Slots`].
#[derive(Clone, Copy, Debug)]
struct Place {
    slots: u32,
    slot: u32,
}

/// A reserved slot, and the item that belongs to it and is not in it.
///
/// One pointer: a guard with a number or a tag beside its pointers is moved in pieces that overlap, and each move waits until
/// the pieces of the move before are written. That takes a quarter of a checkout.
#[must_use = "a slot that is not put back or released is lost to the pool"]
#[derive(Debug)]
pub(crate) struct Held<T>(Box<Slotted<T>>);

/// An item, and its slot.
#[derive(Debug)]
struct Slotted<T> {
    place: Place,
    item: T,
}

/// An item whose slot is free. It leaves its box outside the engine's lock.
pub(super) struct Cut<T>(Box<Slotted<T>>);

impl Vacant {
    pub(crate) fn fill<T>(self, item: T) -> Held<T> {
        Held(Box::new(Slotted { place: self.0, item }))
    }

    pub(super) fn slot(&self) -> u32 {
        self.0.slot
    }
}

impl<T> Held<T> {
    pub(crate) fn empty(self) -> (Vacant, T) {
        let Slotted { place, item } = *self.0;
        (Vacant(place), item)
    }

    #[inline]
    pub(crate) fn item(&self) -> &T {
        &self.0.item
    }

    #[inline]
    pub(crate) fn item_mut(&mut self) -> &mut T {
        &mut self.0.item
    }

    #[inline]
    pub(super) fn slot(&self) -> u32 {
        self.0.place.slot
    }
}

impl<T> Cut<T> {
    pub(super) fn into_item(self) -> T {
        self.0.item
    }
}

/// Which idle item is taken first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// That of the lowest slot, so that the load stays on few items.
    Lowest,
    /// That of the next slot after the one that was taken last, so that the load is spread.
    RoundRobin,
}

pub(super) struct Slots<T> {
    /// Others have another one: it repeats after 2^32 pools.
    number: u32,
    segments: [OnceLock<Box<[Word<T>]>>; SEGMENTS],
    /// How many words have slots that were ever reserved.
    words: Hint,
    order: Order,
    /// Where round robin goes on. A hint.
    next: Hint,
}

struct Word<T> {
    idle: AtomicUsize,
    /// A bit per slot that is not free. Changed under the engine's lock.
    reserved: Hint,
    blocks: [OnceLock<Box<[Slot<T>; BLOCK]>>; BITS / BLOCK],
}

/// On a cache line of its own: neighbours are used by different threads.
#[repr(align(64))]
struct Slot<T> {
    parked: Parked<T>,
    facts: Facts,
}

/// The item of a slot while it is idle.
struct Parked<T>(UnsafeCell<Option<Box<Slotted<T>>>>);

// SAFETY: the item moves between threads, and is never used by two at once: see `exchange`.
unsafe impl<T: Send> Sync for Parked<T> {}

// An exchange does not unwind between its read and its write.
impl<T> RefUnwindSafe for Parked<T> {}

impl<T> Parked<T> {
    /// # Safety
    ///
    /// Of any two calls, one happens before the other.
    #[inline]
    unsafe fn exchange(&self, item: Option<Box<Slotted<T>>>) -> Option<Box<Slotted<T>>> {
        // SAFETY: the pointer is that of a live cell, and the caller promises that this is the only access to it.
        self.0.with_mut(|parked| unsafe { mem::replace(&mut *parked, item) })
    }
}

impl<T> Slots<T> {
    pub(super) fn new(order: Order) -> Self {
        static MADE: AtomicU32 = AtomicU32::new(0);
        // Ordering: Relaxed. Only the number matters.
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let segments = array::from_fn(|_| OnceLock::new());
        Self { number, segments, words: Hint::new(0), order, next: Hint::new(0) }
    }

    /// Reserves the lowest free slot, and allocates it. The caller holds the engine's lock, or else it may miss one.
    pub(super) fn reserve(&self) -> Option<Vacant> {
        let (slot, word) = (0..MAX_SLOTS / BITS).find_map(|number| {
            let (segment, at) = place(number);
            let words = self.segments.get(segment)?.get_or_init(|| {
                let words = if segment == 0 { 1 } else { 1 << (segment - 1) };
                (0..words).map(|_| Word::new()).collect()
            });
            let word = words.get(at)?;
            Some((number * BITS + word.reserve_lowest()? as usize, word))
        })?;
        if let Some(block) = word.blocks.get(slot % BITS / BLOCK) {
            block.get_or_init(|| Box::new(array::from_fn(|_| Slot::new())));
        }
        // Ordering: Relaxed. The engine's lock orders it before each return to the slot that must be seen.
        if self.words.load(Ordering::Relaxed) <= slot / BITS {
            self.words.store(slot / BITS + 1, Ordering::Relaxed);
        }
        Some(Vacant(Place { slots: self.number, slot: slot as u32 }))
    }

    /// Frees a slot that is empty.
    pub(super) fn release(&self, vacant: Vacant) {
        self.free(vacant.0);
    }

    /// Frees the slot of an item.
    pub(super) fn cut(&self, held: Held<T>) -> Cut<T> {
        self.free(held.0.place);
        Cut(held.0)
    }

    /// The caller consumes the token of the slot.
    fn free(&self, place: Place) {
        if let Some((word, bit, _)) = self.find_own(place) {
            // Ordering: Release, to the acquire in `Word::reserve_lowest`.
            let reserved = word.reserved.fetch_and(!bit, Ordering::Release);
            debug_assert!(reserved & bit != 0, "the slot was reserved");
        }
    }

    /// Makes an item idle. After it, the caller must look whether somebody waits.
    pub(super) fn park(&self, held: Held<T>) {
        let Some((word, bit, slot)) = self.find_own(held.0.place) else { return };
        slot.facts.on_return();
        // SAFETY: the slot is reserved and its bit is clear, as `held` exists. So no thread is in `unpark`, and none that has
        // another token of this slot gets here. What they did before happened before `held` was made. See above.
        unsafe { slot.parked.exchange(Some(held.0)) };
        // Ordering: SeqCst, with the load of `Core::attention` that follows. A waiter announces itself by a SeqCst store and
        // then loads this word. In the one order of these four accesses either the announcement comes before the load
        // that follows here, so this thread serves the waiter, or the waiter's load comes after this write, and it finds
        // the item. It also publishes the item, to the load in `take`.
        word.idle.fetch_or(bit, Ordering::SeqCst);
        order_store_before_load();
    }

    /// Takes an idle item.
    #[inline]
    pub(super) fn take_any(&self) -> Option<(Held<T>, &Facts)> {
        match self.order {
            Order::Lowest => (0..self.words()).find_map(|number| self.take_of(number, usize::MAX)),
            Order::RoundRobin => {
                // Ordering: Relaxed, a hint.
                let next = self.next.load(Ordering::Relaxed);
                let (first, words) = (next / BITS, self.words());
                let above = usize::MAX << (next % BITS);
                let taken = self
                    .take_of(first, above)
                    .or_else(|| (first + 1..words).find_map(|number| self.take_of(number, usize::MAX)))
                    .or_else(|| {
                        (0..words.min(first + 1)).find_map(|number| self.take_of(number, usize::MAX))
                    })?;
                self.next.store(taken.0.slot() as usize + 1, Ordering::Relaxed);
                Some(taken)
            }
        }
    }

    /// Takes the idle item of this slot, if there is one.
    pub(super) fn take(&self, slot: u32) -> Option<Held<T>> {
        let (word, bit, _) = self.find(slot)?;
        // Ordering: as in `take_of`.
        let was_idle = word.idle.fetch_and(!bit, Ordering::AcqRel) & bit != 0;
        if !was_idle {
            return None;
        }
        // SAFETY: this thread has cleared the bit.
        unsafe { word.unpark(slot as usize % BITS) }.map(|(held, _)| held)
    }

    /// Takes the lowest idle item of one word, of those whose bits are in `mask`.
    #[inline]
    fn take_of(&self, number: usize, mask: usize) -> Option<(Held<T>, &Facts)> {
        let word = self.word(number)?;
        // Ordering: SeqCst, with `park`, see there.
        let mut idle = word.idle.load(Ordering::SeqCst);
        loop {
            let bit = idle & mask;
            let bit = bit & bit.wrapping_neg();
            if bit == 0 {
                return None;
            }
            // Ordering: AcqRel. Acquire synchronizes with the `fetch_or` of `park`, so the item is in its slot. Release keeps
            // the chain for the other items of the word. A failure is a load of the kind above.
            match word.idle.compare_exchange_weak(idle, idle & !bit, Ordering::AcqRel, Ordering::SeqCst) {
                Ok(_) => {
                    // SAFETY: this thread has cleared the bit.
                    return unsafe { word.unpark(bit.trailing_zeros() as usize) };
                }
                Err(now) => idle = now,
            }
        }
    }

    /// Whether fewer than this many items are idle.
    #[inline]
    pub(super) fn are_fewer_idle_than(&self, bound: usize) -> bool {
        bound > 0 && self.idle() < bound
    }

    /// The slots whose items are idle. Those of a word are found when the first of them is asked for.
    pub(super) fn idle_slots(&self) -> impl Iterator<Item = u32> {
        (0..self.words()).flat_map(|number| {
            // Ordering: Relaxed, a hint: `take` decides.
            let mut idle = self.word(number).map_or(0, |word| word.idle.load(Ordering::Relaxed));
            iter::from_fn(move || {
                let bit = (idle != 0).then(|| idle.trailing_zeros())?;
                idle &= idle - 1;
                Some((number * BITS) as u32 + bit)
            })
        })
    }

    /// How many items are idle.
    pub(super) fn idle(&self) -> usize {
        // Ordering: SeqCst, so that a count made after an announcement misses no item that was parked before: see `park`.
        let words = (0..self.words()).filter_map(|number| self.word(number));
        words.map(|word| word.idle.load(Ordering::SeqCst).count_ones() as usize).sum()
    }

    /// The numbers of all slots that were ever reserved, and some that were not.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u32> + use<T> {
        0..(self.words() * BITS) as u32
    }

    pub(super) fn facts(&self, slot: u32) -> Option<&Facts> {
        self.find(slot).map(|(.., slot)| &slot.facts)
    }

    fn words(&self) -> usize {
        // Ordering: Relaxed, see `reserve`.
        self.words.load(Ordering::Relaxed)
    }

    #[inline]
    fn word(&self, number: usize) -> Option<&Word<T>> {
        let (segment, at) = place(number);
        self.segments.get(segment)?.get()?.get(at)
    }

    #[inline]
    fn find(&self, slot: u32) -> Option<(&Word<T>, usize, &Slot<T>)> {
        let slot = slot as usize;
        let word = self.word(slot / BITS)?;
        Some((word, 1 << (slot % BITS), word.slot(slot % BITS)?))
    }

    /// Refuses the slots of others.
    #[inline]
    fn find_own(&self, place: Place) -> Option<(&Word<T>, usize, &Slot<T>)> {
        debug_assert_eq!(place.slots, self.number, "a token belongs to the slots that made it");
        if place.slots == self.number { self.find(place.slot) } else { None }
    }
}

/// The segment of a word, and where it is in the segment.
#[inline]
fn place(number: usize) -> (usize, usize) {
    match number.checked_ilog2() {
        None => (0, 0),
        Some(log) => (log as usize + 1, number - (1 << log)),
    }
}

impl<T> Word<T> {
    fn new() -> Self {
        Self {
            idle: AtomicUsize::new(0),
            reserved: Hint::new(0),
            blocks: array::from_fn(|_| OnceLock::new()),
        }
    }

    /// Reserves the lowest free slot of this word.
    fn reserve_lowest(&self) -> Option<u32> {
        let at = self.reserved.load(Ordering::Relaxed).trailing_ones();
        let bit = 1_usize.checked_shl(at)?;
        // Ordering: Acquire, from the release in `Slots::free`.
        let reserved = self.reserved.fetch_or(bit, Ordering::Acquire);
        (reserved & bit == 0).then_some(at)
    }

    #[inline]
    fn slot(&self, at: usize) -> Option<&Slot<T>> {
        self.blocks.get(at / BLOCK)?.get()?.get(at % BLOCK)
    }

    /// Takes the item of a slot.
    ///
    /// # Safety
    ///
    /// This thread has cleared the bit of the slot, which was set, and has called this once since then.
    #[inline]
    unsafe fn unpark(&self, at: usize) -> Option<(Held<T>, &Facts)> {
        let slot = self.slot(at)?;
        // SAFETY: the bit was set, so no token of the slot exists, and no other thread makes one: it finds the bit clear. The
        // write of the item happened before the bit was set, and so before it was cleared.
        let item = unsafe { slot.parked.exchange(None) };
        debug_assert!(item.is_some(), "the bit says that there is an item");
        Some((Held(item?), &slot.facts))
    }
}

impl<T> Slot<T> {
    fn new() -> Self {
        Self { parked: Parked(UnsafeCell::new(None)), facts: Facts::default() }
    }
}
