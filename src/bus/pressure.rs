//! What loses when memory is short: unread frames, then stalled connections.

use std::cmp::Reverse;
use std::mem;
use std::time::Duration;

use tokio::time::Instant;

use super::config::TransportConfig;
use super::peer::{ConnectionInfo, Peer};
use super::topic::Topics;
use crate::sync::statistic::{AtomicUsize, Ordering};
use crate::sync::{Arc, Mutex};

/// While it waits for memory, a connection or a publisher asks this often that others release some.
pub(super) const ASK_EVERY: Duration = Duration::from_millis(50);
/// Least time between two searches for stalled connections: what the first one closed must be able to release its memory.
const SEARCH_EVERY: Duration = Duration::from_millis(10);
/// What a connection holds must pass within this many stall timeouts.
pub(super) const TURNOVER: u64 = 16;
/// The part of the limit, as a divisor, that all channels together keep whatever others want, and all connections
/// together as well. One that holds less than its equal share of it loses nothing.
const KEPT: usize = 8;
/// The least that is released at once, as a part of the limit: a flood of small frames must not ask for each.
const AT_ONCE: usize = 64;

/// Least time between two warnings of a kind.
const WARN_EVERY: Duration = Duration::from_secs(1);

/// When the connections were searched last, and warnings.
pub(super) struct Pressure {
    began: Instant,
    searched: Every,
    /// When a frame was complete that had waited for memory, in milliseconds.
    served: AtomicUsize,
    dropped: Every,
    used_up: Every,
    stalled: Every,
}

/// Something that is done at most once per interval.
pub(super) struct Every {
    interval: Duration,
    last: Mutex<Last>,
}

/// When it was last done, and how often it was not due since.
#[derive(Default)]
struct Last {
    done: Option<Instant>,
    left_out: u64,
}

impl Every {
    fn new(interval: Duration) -> Self {
        Self { interval, last: Mutex::default() }
    }

    /// A warning: many connections fail at once.
    pub(super) fn warning() -> Self {
        Self::new(WARN_EVERY)
    }

    pub(super) fn is_due(&self) -> bool {
        self.due().is_some()
    }

    /// How often it was not due since it was last done, if it is due now.
    pub(super) fn due(&self) -> Option<u64> {
        let now = Instant::now();
        let mut last = self.last.lock();
        if last.done.is_some_and(|done| now.saturating_duration_since(done) < self.interval) {
            last.left_out += 1;
            return None;
        }
        last.done = Some(now);
        Some(mem::take(&mut last.left_out))
    }
}

impl Pressure {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            searched: Every::new(SEARCH_EVERY),
            served: AtomicUsize::new(0),
            dropped: Every::warning(),
            used_up: Every::warning(),
            stalled: Every::warning(),
        }
    }

    /// Milliseconds since the hub was made, as connections note times for others to read.
    pub(super) fn millis(&self, at: Instant) -> usize {
        usize::try_from(at.saturating_duration_since(self.began).as_millis()).unwrap_or(usize::MAX)
    }

    /// When something stalls that stops now.
    pub(super) fn stalls_at(&self, config: &TransportConfig) -> usize {
        self.millis(Instant::now()).saturating_add(millis(config.stall_timeout))
    }

    /// A frame is complete that had waited for memory.
    pub(super) fn note_served(&self, at: Instant) {
        self.served.store(self.millis(at), Ordering::Relaxed);
    }

    /// Releases memory, because somebody wants `wanted` bytes and there are none.
    ///
    /// The channels that keep the most unread bytes lose their oldest frames: subscribers that do not receive lose before
    /// peers wait. If that is not enough, stalled connections are closed, the largest first. Of the connections
    /// that hold a part of a frame and wait for memory for its rest, which may wait for each other, those lose that have
    /// held the most memory for the longest time. The oldest frame never does, so that it advances: a slow peer finishes
    /// its frame, and one that has stopped stalls as soon as it has memory. The youngest frames must not lose in place of
    /// all others: peers that stopped long ago would outlast every new one.
    ///
    /// `missed` is called with the frames that a peer misses because of it.
    pub(super) fn relieve(
        &self,
        wanted: usize,
        config: &TransportConfig,
        topics: &Topics,
        peers: impl FnOnce() -> Arc<Vec<Arc<Peer>>>,
        missed: impl Fn(&Peer, usize),
    ) {
        let limit = config.buffer_pool.memory_limit();
        let (target, kept) = (wanted.max(limit / AT_ONCE), limit / KEPT);
        let released = self.drop_unread(topics, target, kept);
        if released < target && self.searched.is_due() {
            // Parts of large frames also fill what the pool keeps for small buffers. That must go before the next large one
            // gets memory.
            let target = (target - released).max(limit / 4);
            self.close_stalled(&peers(), target, kept, config.stall_timeout, missed);
        }
    }

    /// Drops the oldest frames of the longest channels, as far as they keep more than an equal share of `kept` bytes.
    /// Returns the bytes released.
    fn drop_unread(&self, topics: &Topics, target: usize, kept: usize) -> usize {
        let mut channels = Vec::new();
        topics.each_channel(|channel| {
            let bytes = channel.bytes();
            if bytes > 0 {
                channels.push((bytes, Arc::clone(channel)));
            }
        });
        let share = kept / channels.len().max(1);
        channels.sort_unstable_by_key(|(bytes, _)| Reverse(*bytes));
        let mut released = 0;
        for (bytes, channel) in channels {
            if released >= target || bytes <= share {
                break;
            }
            let (frames, freed) = channel.drop_oldest(target - released, share);
            released += freed;
            if frames > 0 && self.dropped.is_due() {
                tracing::warn!(
                    topic = channel.topic(),
                    unread_bytes = bytes,
                    dropped_frames = frames,
                    "memory is short: the subscribers that do not receive miss the oldest frames"
                );
            }
        }
        released
    }

    fn close_stalled(
        &self,
        peers: &[Arc<Peer>],
        target: usize,
        kept: usize,
        stall_timeout: Duration,
        missed: impl Fn(&Peer, usize),
    ) {
        let evict = |peer: &Peer, why: &str| {
            if self.stalled.is_due() {
                tracing::warn!(
                    peer = peer.name,
                    held_bytes = peer.bytes(),
                    ?stall_timeout,
                    "memory is short: a connection that holds some is closed; {why}"
                );
            }
            let held = peer.held();
            let (frames, queued) = peer.evict();
            missed(peer, frames);
            held + queued
        };
        let share = kept / peers.len().max(1);
        let now = self.millis(Instant::now());
        let timeout = millis(stall_timeout);
        let (mut stalled, mut waiting) = (Vec::new(), Vec::new());
        let (mut waiting_bytes, mut moving_bytes) = (0, 0);
        for peer in peers {
            let (bytes, hold) = (peer.bytes(), peer.hold());
            if bytes <= share {
                continue;
            }
            if hold.stalls_at <= now {
                stalled.push((bytes, peer));
            } else if hold.waits_since <= now {
                waiting_bytes += bytes;
                waiting.push((bytes.saturating_mul(now - hold.waits_since), hold, peer));
            } else if hold.stalls_at.saturating_sub(now) >= timeout - timeout / 8 {
                // Bytes have arrived just now, and fast enough.
                moving_bytes += bytes;
            }
        }
        stalled.sort_unstable_by_key(|(bytes, _)| Reverse(*bytes));
        let mut released = 0;
        for (_, peer) in stalled {
            if released >= target {
                return;
            }
            released += evict(peer, "it makes no progress");
        }
        let served = self.served.load(Ordering::Relaxed);
        // What moves now is released soon, to those that wait.
        let moves = moving_bytes >= waiting_bytes / 4 || now.saturating_sub(served) <= timeout;
        let patience = if moves { timeout.saturating_mul(TURNOVER as usize) } else { timeout };
        let oldest = (0..).zip(&waiting).min_by_key(|(_, (_, hold, _))| hold.began).map(|(place, _)| place);
        if let Some(oldest) = oldest {
            waiting.swap_remove(oldest);
        }
        waiting.sort_unstable_by_key(|(cost, ..)| Reverse(*cost));
        for (_, hold, peer) in waiting {
            if released >= target {
                return;
            }
            if hold.waits_since.saturating_add(patience) <= now {
                released += evict(peer, "it waits for more, as others do, and holds the most");
            }
        }
    }

    /// Logs who holds the most of the pool.
    pub(super) fn log_holder(&self, topics: &Topics, peers: &[Arc<Peer>]) {
        if !self.used_up.is_due() {
            return;
        }
        let mut channel = (0, "");
        topics.each_channel(|other| channel = channel.max((other.bytes(), other.topic())));
        let greediest = peers.iter().map(|peer| peer.info()).max_by_key(ConnectionInfo::bytes);
        match greediest.filter(|info| info.bytes() >= channel.0 && info.bytes() > 0) {
            Some(greediest) => tracing::warn!(%greediest, "the pool's limit is used up"),
            None if channel.0 > 0 => {
                let (unread_bytes, topic) = channel;
                tracing::warn!(topic, unread_bytes, "the pool's limit is used up");
            }
            None => tracing::warn!("the pool's limit is used up, by buffers that the program holds"),
        }
    }
}

/// A duration in milliseconds.
fn millis(duration: Duration) -> usize {
    usize::try_from(duration.as_millis()).unwrap_or(usize::MAX)
}
