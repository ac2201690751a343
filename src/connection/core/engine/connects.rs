//! Which connects are wanted, and how they end.

use std::boxed::Box;

use super::{Attempt, Core, State, Vacant, Wakers, wake};

/// After so many failures in a row the server counts as down. Where one connect in twenty fails, that is one time in 8000.
const MANY_FAILURES: usize = 3;

impl<T> Core<T> {
    /// The permission for one more connect, if one is wanted now. It ends with `connected`, `failed` or `abandon`.
    pub(crate) fn connect_permit(&self) -> Option<Attempt> {
        let mut state = self.state.lock();
        if !self.wants_connect(&state) {
            return None;
        }
        state.connecting += 1;
        let vacant = self.reserve_slot(&mut state);
        self.publish(&mut state);
        Some(Attempt(vacant, false))
    }

    /// Whether one more connect is wanted.
    pub(super) fn wants_connect(&self, state: &State<T>) -> bool {
        if state.retried.is_some() || state.size >= state.max || state.connecting >= self.max_connecting {
            return false;
        }
        // An attempt for each waiter; for the idle items, a wave at a time.
        state.waiters.len() > state.connecting
            || (state.connecting < state.wave
                && self.slots.idle() + state.connecting
                    < self.min_idle + state.expiring + state.waiters.len())
    }

    /// The connect succeeded. What comes back must be closed.
    pub(crate) fn connected(&self, attempt: Attempt, item: Box<T>) -> Option<Box<T>> {
        let mut state = self.state.lock();
        state.failures = 0;
        state.retrying -= usize::from(attempt.1);
        state.retried = None;
        state.wave = self.max_connecting.min(state.wave.saturating_add(1));
        // Before another thread can find that the attempt has ended, its item serves somebody or is idle. Otherwise that
        // thread would connect for the same waiter again.
        state.connecting -= 1;
        let (wakers, surplus) = self.settle(&mut state, Some(attempt.0.fill(item)));
        drop(state);
        wake(wakers);
        surplus
    }

    /// The connect failed. With `retry`, the attempt keeps its slot while something waits for it, and is tried again: each
    /// one, or after [`MANY_FAILURES`] in a row only one.
    pub(crate) fn failed(&self, attempt: Attempt, retry: bool) -> Option<Attempt> {
        let mut state = self.state.lock();
        state.failures = state.failures.saturating_add(1);
        if state.failures >= MANY_FAILURES {
            state.wave = 1;
        }
        let Attempt(Vacant(slot), has_failed) = attempt;
        let is_retried = retry && state.retried.is_none_or(|other| other == slot) && self.is_wanted(&state);
        if is_retried {
            state.retrying += usize::from(!has_failed);
            if state.failures >= MANY_FAILURES {
                state.retried = Some(slot);
            }
        } else {
            state.end(&attempt);
        }
        self.publish(&mut state);
        is_retried.then_some(Attempt(attempt.0, true))
    }

    /// Dismisses the first waiter after a connect that is not tried again, if no item is open: nothing can serve it. Other
    /// waiters have attempts of their own, which the caller asks for. Tells whether there was a waiter to dismiss.
    pub(crate) fn dismiss_waiter(&self) -> bool {
        let mut state = self.state.lock();
        if state.size > state.connecting {
            return false;
        }
        let first = state.waiters.dismiss_first();
        self.publish(&mut state);
        drop(state);
        let is_dismissed = first.is_some();
        wake(Wakers { first, more: Vec::new() });
        is_dismissed
    }

    /// Gives the slot of a connect back that will not be tried again.
    pub(crate) fn abandon(&self, attempt: Attempt) {
        let mut state = self.state.lock();
        state.end(&attempt);
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

    fn is_wanted(&self, state: &State<T>) -> bool {
        state.size <= state.max
            && (state.waiters.len() > 0 || self.slots.idle() < self.min_idle + state.expiring)
    }
}
