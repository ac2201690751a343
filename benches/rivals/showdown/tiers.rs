//! What the shared tier of a class might be made of: the bench that chose it.
//!
//! Each thread acquires 64 buffers and drops them, again and again, through a stack of 32 of its own: so every
//! other buffer comes out of the shared tier and goes back there, in batches, which is worse than most
//! programs are. The buffers are 8-byte handles, as the pool's.

use std::mem;
use std::sync::{Mutex, PoisonError};

use crossbeam_queue::{ArrayQueue, SegQueue};

use crate::outcome::{Role, Row};
use crate::threads::{Work, split};

type Item = Box<Slot>;

/// As large as the pool's.
#[derive(Default)]
struct Slot {
    /// The next one of a chain.
    next: Option<Item>,
    _storage: [u64; 7],
}

const BURST: u64 = 64;
const STACK: usize = 32;
const BATCH: usize = STACK / 2;
/// More than 8 threads can hold.
const CAPACITY: usize = 2048;

pub(crate) fn rows() -> Vec<Row> {
    split(
        "tiers",
        vec![
            (Role::Ours, "ArrayQueue of chains", work(STACK, Chains(ArrayQueue::new(CAPACITY)))),
            (Role::Rival, "ArrayQueue, batches", work(STACK, ArrayQueue::new(CAPACITY))),
            (Role::Rival, "ArrayQueue, one by one", work(0, ArrayQueue::new(CAPACITY))),
            (Role::Rival, "ArrayQueue of magazines", work(STACK, Magazines::new())),
            (Role::Rival, "Mutex<Vec>, batches", work(STACK, Mutex::new(Vec::with_capacity(CAPACITY)))),
            (Role::Rival, "SegQueue, batches", work(STACK, SegQueue::new())),
        ],
    )
}

/// What belongs to no thread.
trait Tier: Sync {
    /// Up to `count` more onto the stack.
    fn refill(&self, stack: &mut Vec<Item>, count: usize);
    /// The first `count` of the stack.
    fn spill(&self, stack: &mut Vec<Item>, count: usize);
}

/// Bursts of a thread that keeps up to `keeps`.
fn work(keeps: usize, tier: impl Tier + 'static) -> Work {
    Box::new(move |times| {
        let mut stack = Vec::with_capacity(keeps.max(1));
        let mut held = Vec::with_capacity(BURST as usize);
        for _ in 0..times.div_ceil(BURST) {
            for _ in 0..BURST {
                if stack.is_empty() {
                    tier.refill(&mut stack, BATCH.min(keeps.max(1)));
                }
                held.push(stack.pop().unwrap_or_default());
            }
            for item in held.drain(..) {
                if stack.len() == keeps.max(1) {
                    tier.spill(&mut stack, BATCH.min(keeps.max(1)));
                }
                stack.push(item);
            }
        }
        let rest = stack.len();
        tier.spill(&mut stack, rest);
    })
}

impl Tier for ArrayQueue<Item> {
    fn refill(&self, stack: &mut Vec<Item>, count: usize) {
        stack.extend((0..count).map_while(|_| self.pop()));
    }

    fn spill(&self, stack: &mut Vec<Item>, count: usize) {
        stack.drain(..count).for_each(|item| drop(self.push(item)));
    }
}

impl Tier for SegQueue<Item> {
    fn refill(&self, stack: &mut Vec<Item>, count: usize) {
        stack.extend((0..count).map_while(|_| self.pop()));
    }

    fn spill(&self, stack: &mut Vec<Item>, count: usize) {
        stack.drain(..count).for_each(|item| self.push(item));
    }
}

impl Tier for Mutex<Vec<Item>> {
    fn refill(&self, stack: &mut Vec<Item>, count: usize) {
        let mut items = self.lock().unwrap_or_else(PoisonError::into_inner);
        let from = items.len().saturating_sub(count);
        stack.extend(items.drain(from..));
    }

    fn spill(&self, stack: &mut Vec<Item>, count: usize) {
        let mut items = self.lock().unwrap_or_else(PoisonError::into_inner);
        items.extend(stack.drain(..count));
    }
}

/// A batch moves as one: the first of it, which owns the others.
struct Chains(ArrayQueue<Item>);

impl Tier for Chains {
    fn refill(&self, stack: &mut Vec<Item>, _: usize) {
        let mut next = self.0.pop();
        while let Some(mut item) = next {
            next = item.next.take();
            stack.push(item);
        }
    }

    fn spill(&self, stack: &mut Vec<Item>, count: usize) {
        let chain = stack.drain(..count).fold(None, |next, mut item| {
            item.next = next;
            Some(item)
        });
        if let Some(chain) = chain {
            drop(self.0.push(chain));
        }
    }
}

/// The same with vectors: full magazines in one queue, the vectors of empty ones in another.
struct Magazines {
    full: ArrayQueue<Vec<Item>>,
    empty: ArrayQueue<Vec<Item>>,
}

impl Magazines {
    fn new() -> Self {
        Self { full: ArrayQueue::new(CAPACITY / BATCH), empty: ArrayQueue::new(CAPACITY / BATCH) }
    }
}

impl Tier for Magazines {
    fn refill(&self, stack: &mut Vec<Item>, _: usize) {
        if let Some(mut magazine) = self.full.pop() {
            stack.append(&mut magazine);
            drop(self.empty.push(magazine));
        }
    }

    fn spill(&self, stack: &mut Vec<Item>, count: usize) {
        let mut magazine = self.empty.pop().unwrap_or_else(|| Vec::with_capacity(BATCH));
        magazine.extend(stack.drain(..count));
        drop(self.full.push(mem::take(&mut magazine)));
    }
}
