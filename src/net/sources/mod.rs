//! Who has how many connections: a table of sources, in bounded memory.
//!
//! ```text
//!            admit                         the last connection ends
//!  unknown ────────▶ open (n connections) ──────────────────────────▶ resting ─▶ forgotten: all of its rate is free again,
//!                          ◀──────────────────────────────────────────   │      or there are too many that rest
//!                                            admit                       └─ at once if it has no rate to remember
//! ```
//!
//! What is known of a source takes 33 bytes, and the table is at least 7/16 full when it grows: 38 to 76 bytes for each.
//! A source with open connections is never forgotten, and the limit of connections bounds how many there are. Of those that
//! rest there are at most [`MAX_RESTING`] per shard, 65 536 in all, which take at most 4.3 MiB. Beyond that, those are
//! forgotten first that have used less than half of their rate. So an attacker with many sources wins at most a part of the
//! rate that each of them had used up, and nobody else is refused because the table is full.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;

use crossbeam_utils::CachePadded;
use tokio::time::Instant;

use super::source_limits::{Source, SourceLimit, SourceLimits};
use crate::sync::{Arc, Mutex};

/// A lock is held for about 100 ns per connection, so the cores rarely meet at one of these.
const SHARDS: usize = 16;

const MAX_RESTING: usize = 4096;

/// Below this it is not worth to look for sources to forget.
const MIN_RESTING: usize = 64;

const SECOND: u64 = 1_000_000_000;

/// How often the sources of a shard that have rested enough are forgotten even if they are few.
const SWEEP_INTERVAL: u64 = 10 * SECOND;

/// All sources, and how many connections each has open. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Sources(Arc<Table>);

struct Table {
    started: Instant,
    /// With random keys: nobody can choose addresses that meet in one place.
    hasher: RandomState,
    shards: [CachePadded<Mutex<Shard>>; SHARDS],
}

impl Default for Sources {
    fn default() -> Self {
        let (hasher, shards) = Default::default();
        Self(Arc::new(Table { started: Instant::now(), hasher, shards }))
    }
}

impl Sources {
    /// Counts a new connection, until the permit is dropped. `None` if there is no limit: then nothing is counted.
    pub(crate) fn admit(
        &self,
        limits: &SourceLimits,
        address: IpAddr,
    ) -> Result<Option<SourcePermit>, SourceLimit> {
        if limits.is_unlimited() {
            return Ok(None);
        }
        let source = limits.source_of(address);
        self.shard(source).lock().admit(source, limits, self.now())?;
        Ok(Some(SourcePermit { sources: self.clone(), source }))
    }

    /// How many sources the table has.
    pub(crate) fn len(&self) -> usize {
        self.0.shards.iter().map(|shard| shard.lock().sources.len()).sum()
    }

    #[expect(clippy::indexing_slicing, reason = "the remainder is below their number")]
    fn shard(&self, source: Source) -> &Mutex<Shard> {
        &self.0.shards[self.0.hasher.hash_one(source) as usize % SHARDS]
    }

    fn now(&self) -> u64 {
        // Enough for 584 years.
        self.0.started.elapsed().as_nanos() as u64
    }
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// An open connection of a source.
#[derive(Debug)]
pub(crate) struct SourcePermit {
    sources: Sources,
    source: Source,
}

impl Drop for SourcePermit {
    fn drop(&mut self) {
        self.sources.shard(self.source).lock().ended(self.source, self.sources.now());
    }
}

/// Times are nanoseconds since the start of the table.
#[derive(Default)]
struct Shard {
    sources: HashMap<Source, State>,
    /// How many sources have open connections.
    open: usize,
    /// How many sources may rest until the next sweep, and when it is due anyway.
    rest: usize,
    sweep_at: u64,
}

#[derive(Clone, Copy, Default)]
struct State {
    open: u32,
    /// When its whole rate is free again, a second ahead at most.
    free_at: u64,
}

impl Shard {
    fn admit(&mut self, source: Source, limits: &SourceLimits, now: u64) -> Result<(), SourceLimit> {
        let mut state = self.sources.get(&source).copied().unwrap_or_default();
        if limits.max_connections.is_some_and(|max| state.open >= max) {
            return Err(SourceLimit::Connections);
        }
        if let Some(rate) = limits.rate {
            state.free_at = after_another(state.free_at, rate, now).ok_or(SourceLimit::Rate)?;
        }
        if self.sources.len() - self.open >= self.rest || now >= self.sweep_at {
            self.sweep(now);
        }
        self.open += usize::from(state.open == 0);
        state.open += 1;
        self.sources.insert(source, state);
        Ok(())
    }

    fn ended(&mut self, source: Source, now: u64) {
        let Some(state) = self.sources.get_mut(&source) else { return };
        state.open -= 1;
        if state.open == 0 {
            self.open -= 1;
            if state.free_at <= now {
                self.sources.remove(&source);
            }
        }
    }

    /// Forgets sources that rest: those whose whole rate is free, and if too many are left, others.
    fn sweep(&mut self, now: u64) {
        for ahead in [0, SECOND / 2, SECOND] {
            self.sources.retain(|_, state| state.open > 0 || state.free_at > now + ahead);
            if self.sources.len() - self.open <= MAX_RESTING / 2 {
                break;
            }
        }
        let resting = self.sources.len() - self.open;
        self.rest = (2 * resting).clamp(MIN_RESTING, MAX_RESTING);
        self.sweep_at = now + SWEEP_INTERVAL;
        self.sources.shrink_to(self.open + self.rest);
    }
}

/// When the whole rate of a source is free again after another connection now. `None` if that is too much.
fn after_another(free_at: u64, rate: u32, now: u64) -> Option<u64> {
    let after = free_at.max(now) + SECOND.checked_div(rate.into())?;
    (after <= now + SECOND).then_some(after)
}

#[cfg(test)]
mod tests;
