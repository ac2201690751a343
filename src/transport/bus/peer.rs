use std::collections::VecDeque;
use std::fmt;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::{Semaphore, TryAcquireError};
use tokio::time::Instant;

use super::error::PublishError;
use crate::frame::tlv::Frame;
use crate::sync::statistic::{AtomicUsize, Ordering};
use crate::sync::{Arc, Count, Mutex};

/// What a publisher and a connection share: the frames that wait for the peer, and what the peer costs.
pub(super) struct Peer {
    pub(super) id: u64,
    pub(super) name: String,
    since: Instant,
    waiting: Mutex<Waiting>,
    /// A permit for each place that is free. tokio's semaphore, since it is fair to those who wait.
    places: Semaphore,
    /// Bytes of storage that the connection holds, as of its last turn.
    pub(super) held: AtomicUsize,
    pub(super) received_frames: Count,
    pub(super) received_bytes: Count,
    pub(super) missed_frames: Count,
}

#[derive(Default)]
struct Waiting {
    frames: VecDeque<Frame>,
    connection: Option<Waker>,
    stop: Stop,
}

/// Whether the connection is to end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stop {
    #[default]
    No,
    /// After the frame that is under way, and with everything written that waits.
    Drain,
}

impl Peer {
    pub(super) fn new(id: u64, name: String, capacity: usize) -> Arc<Self> {
        Arc::new(Self {
            id,
            name,
            since: Instant::now(),
            waiting: Mutex::default(),
            places: Semaphore::new(capacity.clamp(1, Semaphore::MAX_PERMITS)),
            held: AtomicUsize::new(0),
            received_frames: Count::default(),
            received_bytes: Count::default(),
            missed_frames: Count::default(),
        })
    }

    /// Queues the frame if there is a place.
    pub(super) fn offer(&self, frame: &Frame) -> bool {
        match self.places.try_acquire() {
            Ok(place) => {
                place.forget();
                self.push(frame.clone());
                true
            }
            Err(TryAcquireError::NoPermits | TryAcquireError::Closed) => false,
        }
    }

    /// Queues the frame as soon as there is a place.
    pub(super) async fn send(&self, frame: Frame) -> Result<(), PublishError> {
        self.places.acquire().await.map_err(|_| PublishError::Closed)?.forget();
        self.push(frame);
        Ok(())
    }

    fn push(&self, frame: Frame) {
        let connection = {
            let mut waiting = self.waiting.lock();
            waiting.frames.push_back(frame);
            waiting.connection.take()
        };
        if let Some(connection) = connection {
            connection.wake();
        }
    }

    /// Passes frames on while `take` wants more, which it may from the beginning not; when none is left, the task is
    /// woken for the next, or for a stop.
    pub(super) fn poll_take(
        &self,
        cx: &mut Context<'_>,
        mut more: bool,
        mut take: impl FnMut(Frame) -> bool,
    ) -> Poll<Stop> {
        let mut waiting = self.waiting.lock();
        let mut taken = 0;
        while more && let Some(frame) = waiting.frames.pop_front() {
            taken += 1;
            more = take(frame);
        }
        if waiting.frames.is_empty()
            && waiting.stop == Stop::No
            && !waiting.connection.as_ref().is_some_and(|known| known.will_wake(cx.waker()))
        {
            waiting.connection = Some(cx.waker().clone());
        }
        let stop = waiting.stop;
        drop(waiting);
        if taken == 0 && stop == Stop::No {
            return Poll::Pending;
        }
        self.places.add_permits(taken);
        Poll::Ready(stop)
    }

    /// From now on nothing is queued.
    pub(super) fn refuse_more(&self) {
        self.places.close();
    }

    /// Asks the connection to end well, with everything written that is queued by now.
    pub(super) fn drain(&self) {
        self.refuse_more();
        let connection = {
            let mut waiting = self.waiting.lock();
            waiting.stop = Stop::Drain;
            waiting.connection.take()
        };
        if let Some(connection) = connection {
            connection.wake();
        }
    }

    /// Nobody writes what is queued any more.
    pub(super) fn close(&self) {
        self.refuse_more();
        self.waiting.lock().frames = VecDeque::new();
    }

    /// Gives back the places of a long queue, if nothing waits.
    pub(super) fn shrink(&self) {
        let mut waiting = self.waiting.lock();
        if waiting.frames.is_empty() {
            waiting.frames = VecDeque::new();
        }
    }

    pub(super) fn info(&self) -> ConnectionInfo {
        let waiting_bytes = self.waiting.lock().frames.iter().map(|frame| frame.payload.storage_len()).sum();
        ConnectionInfo {
            id: self.id,
            peer: self.name.clone(),
            open_for: self.since.elapsed(),
            held_bytes: self.held.load(Ordering::Relaxed),
            waiting_bytes,
            received_frames: self.received_frames.get(),
            received_bytes: self.received_bytes.get(),
            missed_frames: self.missed_frames.get(),
        }
    }
}

/// What one connection costs and does.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionInfo {
    /// Number of the connection within its transport.
    pub id: u64,
    /// Address of the peer; a Unix peer has none and is called by its number.
    pub peer: String,
    /// How long it has been open.
    pub open_for: Duration,
    /// Bytes of storage held for a frame under way and for what is being written, as of its last turn.
    pub held_bytes: usize,
    /// Bytes of storage of the frames that wait for it.
    pub waiting_bytes: usize,
    /// Frames that came from it.
    pub received_frames: u64,
    /// Bytes that came from it.
    pub received_bytes: u64,
    /// Frames published while its queue was full.
    pub missed_frames: u64,
}

impl fmt::Display for ConnectionInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} holds {} B, {} B wait for it; {} frames, {} B received in {:.1?}",
            self.peer,
            self.held_bytes,
            self.waiting_bytes,
            self.received_frames,
            self.received_bytes,
            self.open_for,
        )
    }
}
