//! Which connects are wanted, and how they end.

use super::super::slots::Cut;
use super::super::waiters::Ticket;
use super::{Attempt, Core, State, Wakers, wake};

impl<T> Core<T> {
    /// The permission for one more connect, if one is wanted now. It ends with `connected`, `failed` or `abandon`.
    pub(crate) fn connect_permit(&self) -> Option<Attempt> {
        let mut state = self.state.lock();
        if !self.wants_connect(&state) {
            return None;
        }
        let vacant = self.slots.reserve()?;
        state.size += 1;
        state.connecting += 1;
        let owner = state.waiters.begin_attempt();
        self.publish(&mut state);
        Some(Attempt { vacant, has_failed: false, owner })
    }

    /// Whether one more connect is wanted.
    pub(super) fn wants_connect(&self, state: &State<T>) -> bool {
        if state.is_probing() || state.size >= state.max || state.connecting >= self.max_connecting {
            return false;
        }
        // An attempt for each waiter; for the idle items, a wave at a time.
        state.waiters.len() > state.connecting
            || (state.connecting < state.wave
                && self.slots.idle() + state.connecting
                    < self.min_idle + state.expiring + state.waiters.len())
    }

    /// The connect succeeded. What comes back must be closed.
    pub(crate) fn connected(&self, attempt: Attempt, item: T) -> Option<T> {
        let held = attempt.vacant.fill(item);
        let mut state = self.state.lock();
        state.failures = 0;
        state.retrying -= usize::from(attempt.has_failed);
        state.is_down = false;
        state.retried = None;
        state.wave = self.max_connecting.min(state.wave.saturating_add(1));
        // Before another thread can find that the attempt has ended, its item serves somebody or is idle. Otherwise that
        // thread would connect for the same waiter again.
        state.connecting -= 1;
        // The item may go to an older waiter. Then its owner has no attempt any more.
        state.waiters.end_attempt(attempt.owner.as_ref());
        let (wakers, surplus) = self.settle(&mut state, Some(held));
        drop(state);
        wake(wakers);
        surplus.map(Cut::into_item)
    }

    /// The connect failed. With `retry`, the attempt keeps its slot while something waits for it, and is tried again: each
    /// one, or after `down_after` in a row only one. Without it, the waiter that it was begun for is dismissed.
    pub(crate) fn failed(&self, attempt: Attempt, retry: bool) -> Option<Attempt> {
        let mut state = self.state.lock();
        state.failures = state.failures.saturating_add(1);
        if state.failures >= self.down_after {
            state.wave = 1;
            state.is_down |= retry;
        }
        let slot = attempt.vacant.slot();
        let is_retried = retry && state.retried.is_none_or(|other| other == slot) && self.is_wanted(&state);
        let (retried, dismissed) = if is_retried {
            state.retrying += usize::from(!attempt.has_failed);
            if state.is_down {
                state.retried = Some(slot);
            }
            (Some(Attempt { has_failed: true, ..attempt }), None)
        } else {
            let owner = self.end(&mut state, attempt).filter(|_| !retry);
            (None, owner.and_then(|owner| state.waiters.dismiss(&owner)))
        };
        self.publish(&mut state);
        drop(state);
        wake(Wakers { first: dismissed, more: Vec::new() });
        retried
    }

    /// The attempt has failed for good. Tells whose it was.
    fn end(&self, state: &mut State<T>, attempt: Attempt) -> Option<Ticket> {
        let Attempt { vacant, has_failed, owner } = attempt;
        state.retrying -= usize::from(has_failed);
        state.retried.take_if(|slot| *slot == vacant.slot());
        state.connecting -= 1;
        state.waiters.end_attempt(owner.as_ref());
        self.slots.release(vacant);
        state.size -= 1;
        owner
    }

    /// Whether more wait than connects are under way.
    pub(crate) fn lacks_attempts(&self) -> bool {
        let state = self.state.lock();
        state.waiters.len() > state.connecting
    }

    /// Gives the slot of a connect back that will not be tried again.
    pub(crate) fn abandon(&self, attempt: Attempt) {
        let mut state = self.state.lock();
        self.end(&mut state, attempt);
        self.publish(&mut state);
    }

    /// Whether something waits for a connect that is under way.
    pub(crate) fn is_connect_wanted(&self) -> bool {
        self.is_wanted(&self.state.lock())
    }

    /// Whether a connect failed and will be tried again.
    pub(crate) fn is_retrying(&self) -> bool {
        self.state.lock().retrying > 0
    }

    /// Whether connects are under way, and no item is open beside them.
    pub(crate) fn waits_for_first(&self) -> bool {
        let state = self.state.lock();
        state.connecting > 0 && state.size == state.connecting
    }

    fn is_wanted(&self, state: &State<T>) -> bool {
        state.size <= state.max
            && (state.waiters.len() > 0 || self.slots.idle() < self.min_idle + state.expiring)
    }
}
