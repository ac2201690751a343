//! The slots of a pool, and which of them hold an idle item.
//!
//! ```text
//!  segment 0: 1 word   1: 1 word   2: 2 words   3: 4 words ...        allocated when first used, never moved
//!  word:      idle bits ─┬─ bit n set: slot n holds an item, and whoever clears the bit owns it
//!             blocks of 8 slots, each allocated when its first slot is reserved
//! ```

use std::boxed::Box;
use std::{array, iter};

use super::facts::Facts;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::statistic::AtomicUsize as Hint;
use crate::sync::{BoxCell, OnceLock, order_store_before_load};

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
pub(crate) struct Vacant(pub(super) u32);

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
    slot: u32,
    item: T,
}

impl Vacant {
    pub(crate) fn fill<T>(self, item: T) -> Held<T> {
        Held(Box::new(Slotted { slot: self.0, item }))
    }
}

impl<T> Held<T> {
    pub(crate) fn empty(self) -> (Vacant, T) {
        let Slotted { slot, item } = *self.0;
        (Vacant(slot), item)
    }

    pub(super) fn into_item(self) -> T {
        self.0.item
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
        self.0.slot
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
    segments: [OnceLock<Box<[Word<T>]>>; SEGMENTS],
    /// How many words have slots that were ever reserved.
    words: Hint,
    order: Order,
    /// Where round robin goes on. A hint.
    next: Hint,
}

struct Word<T> {
    idle: AtomicUsize,
    blocks: [OnceLock<Box<[Slot<T>; BLOCK]>>; BITS / BLOCK],
}

/// On a cache line of its own: neighbours are used by different threads.
#[repr(align(64))]
struct Slot<T> {
    parked: BoxCell<Slotted<T>>,
    facts: Facts,
}

impl<T> Slots<T> {
    pub(super) fn new(order: Order) -> Self {
        Self { segments: array::from_fn(|_| OnceLock::new()), words: Hint::new(0), order, next: Hint::new(0) }
    }

    /// Allocates the slot. The caller holds the lock under which slots are reserved.
    pub(super) fn prepare(&self, slot: u32) {
        let slot = slot as usize;
        let number = slot / BITS;
        let (segment, at) = place(number);
        let Some(segment_cell) = self.segments.get(segment) else { return };
        let words = segment_cell.get_or_init(|| {
            let words = if segment == 0 { 1 } else { 1 << (segment - 1) };
            (0..words).map(|_| Word::new()).collect()
        });
        if let Some(block) = words.get(at).and_then(|word| word.blocks.get(slot % BITS / BLOCK)) {
            block.get_or_init(|| Box::new(array::from_fn(|_| Slot::new())));
        }
        // Ordering: Relaxed. The lock of reservations orders it before each return to the slot that must be seen.
        if self.words.load(Ordering::Relaxed) <= number {
            self.words.store(number + 1, Ordering::Relaxed);
        }
    }

    /// Makes an item idle. After it, the caller must look whether somebody waits.
    pub(super) fn park(&self, held: Held<T>) {
        let Some((word, bit, place)) = self.find(held.slot()) else { return };
        place.facts.on_return();
        place.parked.store(Some(held.0));
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
        was_idle.then(|| word.unpark(slot as usize % BITS))?.map(|(held, _)| held)
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
                Ok(_) => return word.unpark(bit.trailing_zeros() as usize),
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
        // Ordering: Relaxed, see `prepare`.
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
        Self { idle: AtomicUsize::new(0), blocks: array::from_fn(|_| OnceLock::new()) }
    }

    #[inline]
    fn slot(&self, at: usize) -> Option<&Slot<T>> {
        self.blocks.get(at / BLOCK)?.get()?.get(at % BLOCK)
    }

    /// Takes the item of a slot whose bit this thread has cleared.
    #[inline]
    fn unpark(&self, at: usize) -> Option<(Held<T>, &Facts)> {
        let place = self.slot(at)?;
        let item = place.parked.take();
        debug_assert!(item.is_some(), "the bit says that there is an item");
        Some((Held(item?), &place.facts))
    }
}

impl<T> Slot<T> {
    fn new() -> Self {
        Self { parked: BoxCell::default(), facts: Facts::default() }
    }
}
