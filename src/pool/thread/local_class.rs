//! One class in the cache of one thread: its buffers, and how many of them the fast paths may hand out.

use alloc::vec::Vec;
use core::mem;

use super::frozen_queue::FrozenQueue;
use crate::pool::hooks::{Countdown, Request};
use crate::pool::shared::{Core, Slot};
use crate::pool::stats::ClassCounters;
use crate::sync::{Arc, Unique};

/// Returns to one class per look at the clock, in a thread that makes no slow operations.
const CLOCK_EVERY_FAST: u64 = 1024;
/// The most acquires that the fast path of reclaiming serves at once. A counter of 32 bits must not wrap within.
const MAX_RECLAIMS: u64 = 1 << 30;

/// The ready buffers of one class are one stack in two parts: `guarded`, and above it `ready`, the only part that the fast
/// paths use.
///
/// The next acquire that the hooks want to see must take the slow path. The fast paths do not count down to it. Each
/// unsampled acquire has a permit instead, which is in one of four places:
///
/// * A buffer in `ready` is the permit of the acquire that pops it.
/// * A fast return pushes a buffer, which takes a permit. `slow_return_at - returned` of them are left.
/// * A fast reclaim takes one, of `slow_reclaim_at - reclaimed_hits`.
/// * `permits` has the rest.
///
/// So the fast paths compare a counter, which they write anyway, with a number, and a pool without hooks does the same work
/// as one with them. [`withdraw`](Self::withdraw) collects all permits, and [`issue`](Self::issue) hands them out; between
/// these two, all operations take the slow paths. A slow path may leave a class withdrawn: the next one issues.
///
/// Its size is a power of two, so that an index takes a shift.
#[repr(align(256))]
pub(super) struct LocalClass {
    pub(super) ready: Vec<Unique<Slot>>,
    /// The length to which fast returns may fill `ready`.
    pub(super) room: usize,
    pub(super) counters: Arc<ClassCounters>,
    /// The value of `counters.returned` at which a return takes the slow path.
    pub(super) slow_return_at: u64,
    pub(super) frozen: FrozenQueue,
    /// The value of `counters.reclaimed_hits` at which a reclaim takes the slow path.
    pub(super) slow_reclaim_at: u64,
    /// Bytes of a buffer. For the heap, of which nothing is kept, `usize::MAX`.
    pub(super) size: usize,
    /// Buffers for which bytes are leased: the stack may grow to this length.
    pub(super) limit: usize,
    guarded: Vec<Unique<Slot>>,
    /// Whether the permits are handed out.
    issued: bool,
    permits: u64,
    countdown: Countdown,
}

impl LocalClass {
    pub(super) fn new(core: &Core, index: usize, counters: Arc<ClassCounters>) -> Self {
        let countdown = core.countdown();
        Self {
            ready: Vec::new(),
            room: 0,
            counters,
            slow_return_at: 0,
            frozen: FrozenQueue::default(),
            slow_reclaim_at: 0,
            size: core.class(index).map_or(usize::MAX, |class| class.size),
            limit: 0,
            guarded: Vec::new(),
            issued: false,
            permits: countdown.permits(),
            countdown,
        }
    }

    /// All ready buffers, for the slow paths. Withdraws all permits.
    #[inline]
    pub(super) fn stack(&mut self) -> &mut Vec<Unique<Slot>> {
        if self.issued {
            self.withdraw();
        }
        &mut self.guarded
    }

    /// Counts a return by the slow path, and returns whether a look at the clock is due. Withdraws all permits.
    #[inline]
    pub(super) fn count_return(&mut self) -> bool {
        self.stack();
        let returned = self.counters.returned.get();
        self.slow_return_at = self.counters.returned.after(1);
        self.counters.returned.set(self.slow_return_at);
        returned.is_multiple_of(CLOCK_EVERY_FAST)
    }

    /// Counts a reclaim by the slow path. Withdraws all permits.
    pub(super) fn count_reclaim(&mut self) {
        self.stack();
        self.counters.reclaimed_hits.bump();
        self.slow_reclaim_at = self.counters.reclaimed_hits.get();
    }

    /// An acquire by the slow path: takes a permit, or else shows it to the hooks. The permits were withdrawn.
    #[inline]
    pub(super) fn count_acquire(&mut self, slot: &mut Slot, request: Request) {
        debug_assert!(!self.issued, "the slow path withdrew the permits");
        match self.permits.checked_sub(1) {
            Some(rest) => self.permits = rest,
            None => {
                slot.note_due(&mut self.countdown, request);
                self.permits = self.countdown.permits();
            }
        }
    }

    /// Lets the fast paths run, as long as there are permits. They were withdrawn.
    ///
    /// No place gets more than half of them: the fast paths run until one place has none left, and then the others have to
    /// share theirs. So the slow paths run a number of times that is logarithmic in the number of permits.
    pub(super) fn issue(&mut self) {
        debug_assert!(!self.issued, "the slow path withdrew the permits");
        if self.permits == 0 {
            return;
        }
        self.issued = true;
        let most = self.permits.div_ceil(2);
        if most >= self.guarded.len() as u64 {
            mem::swap(&mut self.ready, &mut self.guarded);
        } else {
            let cold = self.guarded.len() - most as usize;
            self.ready.extend(self.guarded.drain(cold..));
        }
        self.permits -= self.ready.len() as u64;
        self.room = self.limit.saturating_sub(self.guarded.len());
        self.ready.reserve(self.room.saturating_sub(self.ready.len()));

        let returned = self.counters.returned.get();
        let until_clock = returned.wrapping_neg() % CLOCK_EVERY_FAST;
        let freezes = self.counters.frozen.get() > 0;
        let reclaims = if freezes { (self.permits / 2).min(MAX_RECLAIMS) } else { 0 };
        let returns = (self.permits - reclaims).min(until_clock);
        self.permits -= returns + reclaims;
        self.slow_return_at = self.counters.returned.after(returns);
        self.slow_reclaim_at = self.counters.reclaimed_hits.after(reclaims);
    }

    /// Collects all permits, so that all operations take the slow paths.
    #[inline(never)]
    fn withdraw(&mut self) {
        self.issued = false;
        self.permits += self.ready.len() as u64
            + self.counters.returned.until(self.slow_return_at)
            + self.counters.reclaimed_hits.until(self.slow_reclaim_at);
        self.slow_return_at = self.counters.returned.get();
        self.slow_reclaim_at = self.counters.reclaimed_hits.get();
        if self.guarded.is_empty() {
            mem::swap(&mut self.ready, &mut self.guarded);
        } else {
            self.guarded.append(&mut self.ready);
        }
    }
}
