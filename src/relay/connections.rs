//! The open connections of a relay, and what each does now.

use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

use super::Transferred;
use crate::metric::Row;
use crate::net::{Endpoint, Peer};
use crate::sync::statistic::{AtomicCell, AtomicUsize, Ordering};
use crate::sync::{Arc, Mutex, OnceLock, Shared};

/// An open connection of [`Relay::serve`](super::Relay::serve) at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RelayConnection {
    /// Its number, from 1, as in the [events](super#events).
    pub id: u64,
    /// Who connected, or whom the PROXY header of a trusted proxy names.
    pub client: Peer,
    /// The proxy that named the client.
    pub proxy: Option<Peer>,
    /// The server that it leads to, or that it tries to reach. `None` before one is chosen.
    pub upstream: Option<Arc<Endpoint>>,
    /// The time since it was accepted.
    pub age: Duration,
    /// The time since a byte was last written in either direction. Before the first one, the time since the upstream was
    /// reached.
    pub idle: Duration,
    /// Bytes written so far.
    pub transferred: Transferred,
    /// Bytes of buffers that it holds now, as their storage.
    pub held_bytes: usize,
}

/// What only the task of a connection writes, by plain stores, and anybody reads. The numbers may be from slightly different
/// moments.
#[derive(Debug)]
pub(super) struct Activity {
    start: Instant,
    /// Milliseconds from `start` until the last byte.
    moved: AtomicCell<u64>,
    pub(super) to_upstream: Direction,
    pub(super) to_client: Direction,
}

#[derive(Debug, Default)]
pub(super) struct Direction {
    /// Bytes.
    written: AtomicCell<u64>,
    held: AtomicUsize,
}

impl Activity {
    pub(super) fn new() -> Self {
        let (to_upstream, to_client) = (Direction::default(), Direction::default());
        Self { start: Instant::now(), moved: AtomicCell::default(), to_upstream, to_client }
    }

    pub(super) fn note_move(&self, now: Instant) {
        self.moved.store(now.saturating_duration_since(self.start).as_millis() as u64);
    }

    pub(super) fn start(&self) -> Instant {
        self.start
    }

    pub(super) fn age(&self) -> Duration {
        self.start.elapsed()
    }

    pub(super) fn transferred(&self) -> Transferred {
        Transferred { to_upstream: self.to_upstream.written.load(), to_client: self.to_client.written.load() }
    }
}

impl Direction {
    pub(super) fn note_written(&self, bytes: usize) {
        self.written.store(self.written.load().wrapping_add(bytes as u64));
    }

    /// Ordering: Relaxed, here and below. A number for reports; it guards no memory.
    pub(super) fn note_held(&self, bytes: usize) {
        self.held.store(bytes, Ordering::Relaxed);
    }

    fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }
}

/// From its accept to its end.
pub(super) struct Connection {
    pub(super) id: u64,
    /// Who connected.
    pub(super) peer: Peer,
    /// Whom it named as its client.
    source: OnceLock<Box<Peer>>,
    upstream: Mutex<Option<Arc<Endpoint>>>,
    pub(super) activity: Activity,
    /// Its index in the list of all. Ordering: Relaxed. It is read and written under the lock of that.
    place: AtomicUsize,
}

impl Connection {
    /// Who connected, or whom that peer named.
    pub(super) fn client(&self) -> Peer {
        self.source.get().map_or(self.peer, |source| **source)
    }

    /// The peer that named the client.
    pub(super) fn proxy(&self) -> Option<Peer> {
        self.source.get().map(|_| self.peer)
    }

    /// Takes what the peer says, once.
    pub(super) fn set_client(&self, source: Peer) {
        let _ = self.source.set(Box::new(source));
    }

    pub(super) fn upstream(&self) -> Option<Arc<Endpoint>> {
        self.upstream.lock().clone()
    }

    pub(super) fn set_upstream(&self, upstream: &Arc<Endpoint>) {
        *self.upstream.lock() = Some(Arc::clone(upstream));
    }

    fn snapshot(&self) -> RelayConnection {
        let age = self.activity.age();
        RelayConnection {
            id: self.id,
            client: self.client(),
            proxy: self.proxy(),
            upstream: self.upstream(),
            age,
            idle: age.saturating_sub(Duration::from_millis(self.activity.moved.load())),
            transferred: self.activity.transferred(),
            held_bytes: self.activity.to_upstream.held() + self.activity.to_client.held(),
        }
    }
}

impl RelayConnection {
    pub(super) fn show(&self, visit: &mut dyn FnMut(Row<'_>)) {
        let Transferred { to_upstream, to_client } = self.transferred;
        let upstream = self.upstream.as_ref().map(ToString::to_string).unwrap_or_default();
        let proxy = self.proxy.map(|proxy| proxy.to_string()).unwrap_or_default();
        visit(Row::new(
            &[("id", &self.id), ("client", &self.client), ("proxy", &proxy), ("upstream", &upstream)],
            &[
                ("held_bytes", self.held_bytes as f64),
                ("traffic_bytes", to_upstream.saturating_add(to_client) as f64),
                ("to_upstream_bytes", to_upstream as f64),
                ("to_client_bytes", to_client as f64),
                ("age_seconds", self.age.as_secs_f64()),
                ("idle_seconds", self.idle.as_secs_f64()),
            ],
        ));
    }
}

/// All that are open.
#[derive(Default)]
pub(super) struct Open(Mutex<Vec<Shared<Connection>>>);

/// A list that is this many times longer than what it holds is shortened.
const SPARSE: usize = 4;

impl Open {
    pub(super) fn add(&self, id: u64, peer: Peer) -> Shared<Connection> {
        let connection = Shared::new(Connection {
            id,
            peer,
            source: OnceLock::new(),
            upstream: Mutex::default(),
            activity: Activity::new(),
            place: AtomicUsize::default(),
        });
        let mut open = self.0.lock();
        connection.place.store(open.len(), Ordering::Relaxed);
        open.push(Shared::clone(&connection));
        connection
    }

    /// Removes it, once.
    pub(super) fn remove(&self, connection: &Connection) {
        let mut open = self.0.lock();
        let place = connection.place.load(Ordering::Relaxed);
        if open.get(place).is_none_or(|other| other.id != connection.id) {
            return;
        }
        let removed = open.swap_remove(place);
        if let Some(moved) = open.get(place) {
            moved.place.store(place, Ordering::Relaxed);
        }
        if open.len() < open.capacity() / SPARSE {
            let twice = open.len() * 2;
            open.shrink_to(twice);
        }
        drop(open);
        drop(removed);
    }

    /// In no order.
    pub(super) fn snapshots(&self) -> impl Iterator<Item = RelayConnection> + use<> {
        // They are looked at without the lock, for which accepts wait.
        let open = self.0.lock().clone();
        open.into_iter().map(|connection| connection.snapshot())
    }
}

impl fmt::Debug for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Open").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_has_all_that_were_added_and_not_removed() {
        const MANY: u64 = 1000;
        let open = Open::default();
        let add = |id| open.add(id, Peer::Unix { pid: None });
        let connections: Vec<_> = (0..MANY).map(add).collect();
        // In an order that is neither that of the list nor its reverse, and each twice.
        let is_kept = |id: u64| id.is_multiple_of(97);
        for connection in (0..MANY).map(|at| &connections[(at * 7 % MANY) as usize]) {
            if !is_kept(connection.id) {
                open.remove(connection);
                open.remove(connection);
            }
        }
        let mut left: Vec<_> = open.snapshots().map(|connection| connection.id).collect();
        left.sort_unstable();
        assert_eq!(left, (0..MANY).filter(|id| is_kept(*id)).collect::<Vec<_>>());
        assert!(open.0.lock().capacity() < SPARSE * (left.len() + 1), "{}", open.0.lock().capacity());
    }
}
