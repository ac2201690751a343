//! The reader's side of a response, and what the pool does with one that is not read.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::mem;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::super::error::HttpsError;
use super::super::multiplexed::Received;
use super::super::wire::Traffic;
use super::permit::Permit;
use crate::connection::clock::now;
use crate::pool::BufferPool;
use crate::sync::{Arc, Mutex};

/// A response that is being read. The reader and the pool's watch both look at it.
pub(super) struct Reader {
    inbound: Mutex<Inbound>,
    /// Of the connection.
    traffic: Arc<Traffic>,
}

struct Inbound {
    /// What comes from the server, until its end has been taken.
    incoming: Option<Received>,
    permit: Option<Arc<Permit>>,
    /// What was taken for the reader while it was away.
    kept: VecDeque<Frame<Bytes>>,
    failure: Option<Failure>,
    /// The waker of a reader that waits for data. Otherwise it is the reader's turn.
    waiting: Option<Waker>,
    /// When it was last the reader's turn, or the reader last asked.
    since: u64,
    /// Whether a task takes what comes, and how to wake it.
    is_spilling: bool,
    spiller: Option<Waker>,
}

/// Why a response has ended early.
pub(super) enum Failure {
    Server(HttpsError),
    Stalled,
}

/// What comes next.
type Next = Result<Frame<Bytes>, Failure>;

/// What became of a response that the watch has looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It holds up nobody, or not for long enough.
    Fine,
    /// It was reset.
    Reset,
    /// It is to be spilled from now on.
    Spill,
}

impl Reader {
    pub(super) fn new(permit: Arc<Permit>, traffic: Arc<Traffic>) -> Self {
        let inbound = Inbound {
            incoming: None,
            permit: Some(permit),
            kept: VecDeque::new(),
            failure: None,
            waiting: None,
            since: now(),
            is_spilling: false,
            spiller: None,
        };
        Self { inbound: Mutex::new(inbound), traffic }
    }

    /// The request has failed, or its response has.
    pub(super) fn count_error(&self) {
        self.traffic.errors.add(1);
    }

    /// The response has begun.
    pub(super) fn begin(&self, incoming: Received) {
        self.with(|inbound| {
            inbound.since = now();
            inbound.incoming = Some(incoming);
            ((), inbound.end_if_read())
        });
    }

    /// The reader wants more.
    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<Next>> {
        self.with(|inbound| inbound.read(cx))
    }

    /// The reader has gone. What is left of the response is not wanted: its stream is reset.
    pub(super) fn close(&self) {
        self.with(|inbound| {
            let kept = mem::take(&mut inbound.kept);
            (kept, inbound.end())
        });
    }

    /// Changes what is behind the lock, and settles the rest without it.
    fn with<R>(&self, change: impl FnOnce(&mut Inbound) -> (R, Ended)) -> R {
        let (result, ended) = change(&mut self.inbound.lock());
        let Ended { incoming, permit, wake } = ended;
        drop(incoming);
        drop(permit);
        wake.into_iter().for_each(Waker::wake);
        result
    }

    pub(super) fn is_end_stream(&self) -> bool {
        let inbound = self.inbound.lock();
        inbound.incoming.is_none() && inbound.kept.is_empty() && inbound.failure.is_none()
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        let inbound = self.inbound.lock();
        match &inbound.incoming {
            Some(incoming) if inbound.kept.is_empty() => incoming.size_hint(),
            Some(_) => SizeHint::default(),
            None => {
                let kept = inbound.kept.iter().filter_map(Frame::data_ref).map(|data| data.len() as u64);
                SizeHint::with_exact(kept.sum())
            }
        }
    }

    /// Whether the reader has let its data wait for as long as `limit`, in milliseconds; and then what happens.
    pub(super) fn examine(&self, limit: u64, spills: bool) -> Verdict {
        self.with(|inbound| inbound.examine(limit, spills))
    }

    /// The bytes that wait to be read, if any do, and those of them whose reader stays away for this long, in milliseconds.
    pub(super) fn unread(&self, grace: u64) -> Option<usize> {
        let mut inbound = self.inbound.lock();
        let is_away = now().saturating_sub(inbound.since) >= grace;
        let unread = inbound.incoming.as_mut().map_or(0, Received::unread);
        (unread > 0).then_some(if is_away { unread } else { 0 })
    }

    /// Copies what comes from the server into pooled buffers, until the reader is back, the response ends, or the pool has
    /// no buffer left. Tells whether the response was reset.
    pub(super) async fn spill(&self, pool: &BufferPool) -> bool {
        poll_fn(|cx| self.with(|inbound| inbound.spill(cx, pool))).await
    }
}

/// What is dropped and woken without the lock: it takes other locks.
#[derive(Default)]
struct Ended {
    incoming: Option<Received>,
    permit: Option<Arc<Permit>>,
    wake: Vec<Waker>,
}

impl Inbound {
    fn end(&mut self) -> Ended {
        self.waiting = None;
        Ended { incoming: self.incoming.take(), permit: self.permit.take(), ..self.end_spill() }
    }

    fn end_spill(&mut self) -> Ended {
        self.is_spilling = false;
        Ended { wake: self.spiller.take().into_iter().collect(), ..Ended::default() }
    }

    /// Lets go of the stream after the last frame: not all who read a body ask again.
    fn end_if_read(&mut self) -> Ended {
        if self.is_at_end() { self.end() } else { Ended::default() }
    }

    fn read(&mut self, cx: &mut Context<'_>) -> (Poll<Option<Next>>, Ended) {
        self.since = now();
        if let Some(frame) = self.kept.pop_front() {
            return (Poll::Ready(Some(Ok(frame))), Ended::default());
        }
        if let Some(failure) = self.failure.take() {
            return (Poll::Ready(Some(Err(failure))), Ended::default());
        }
        let ended = self.end_spill();
        match self.next(cx) {
            Poll::Pending => {
                if !self.waiting.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                    self.waiting = Some(cx.waker().clone());
                }
                (Poll::Pending, ended)
            }
            Poll::Ready(frame) => {
                self.waiting = None;
                let goes_on = matches!(frame, Some(Ok(_))) && !self.is_at_end();
                let ended = if goes_on { ended } else { Ended { wake: ended.wake, ..self.end() } };
                (Poll::Ready(frame), ended)
            }
        }
    }

    fn is_at_end(&self) -> bool {
        self.incoming.as_ref().is_none_or(Received::is_end_stream)
    }

    /// The next frame from the server.
    fn next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Next>> {
        let Some(incoming) = &mut self.incoming else { return Poll::Ready(None) };
        incoming.poll_frame(cx).map_err(Failure::Server)
    }

    /// Takes the next frame for the reader. `Ready(false)` after the last one.
    fn keep(&mut self, cx: &mut Context<'_>, pool: Option<&BufferPool>) -> Poll<Result<bool, NoRoom>> {
        match ready!(self.next(cx)) {
            Some(Ok(frame)) => {
                let frame = match pool {
                    Some(pool) => copied(frame, pool)?,
                    None => frame,
                };
                self.kept.push_back(frame);
                Poll::Ready(Ok(!self.is_at_end()))
            }
            Some(Err(failure)) => {
                self.failure = Some(failure);
                Poll::Ready(Ok(false))
            }
            None => Poll::Ready(Ok(false)),
        }
    }

    fn examine(&mut self, limit: u64, spills: bool) -> (Verdict, Ended) {
        let is_late = now().saturating_sub(self.since) >= limit;
        if self.incoming.is_none() || self.is_spilling || !is_late {
            return (Verdict::Fine, Ended::default());
        }
        self.since = now();
        if let Some(waker) = self.waiting.clone() {
            // Registers the waker again, or finds data: the reader has been woken, and now it is its turn.
            let mut ended = match self.keep(&mut Context::from_waker(&waker), None) {
                Poll::Pending => return (Verdict::Fine, Ended::default()),
                Poll::Ready(Ok(true)) => Ended::default(),
                Poll::Ready(_) => self.end(),
            };
            self.waiting = None;
            ended.wake.push(waker);
            return (Verdict::Fine, ended);
        }
        if spills {
            self.is_spilling = true;
            return (Verdict::Spill, Ended::default());
        }
        // At most a window.
        let before = self.kept.len();
        loop {
            match self.keep(&mut Context::from_waker(Waker::noop()), None) {
                Poll::Ready(Ok(true)) => {}
                Poll::Ready(_) => return (Verdict::Fine, self.end()),
                Poll::Pending if self.kept.len() == before => return (Verdict::Fine, Ended::default()),
                Poll::Pending => return (Verdict::Reset, self.fail()),
            }
        }
    }

    fn spill(&mut self, cx: &mut Context<'_>, pool: &BufferPool) -> (Poll<bool>, Ended) {
        // The reader may be back, and this task's waker must not take the place of its own.
        while self.is_spilling {
            match self.keep(cx, Some(pool)) {
                Poll::Ready(Ok(true)) => {}
                Poll::Ready(Ok(false)) => return (Poll::Ready(false), self.end()),
                Poll::Ready(Err(NoRoom)) => return (Poll::Ready(true), self.fail()),
                Poll::Pending => {
                    self.spiller = Some(cx.waker().clone());
                    return (Poll::Pending, Ended::default());
                }
            }
        }
        (Poll::Ready(false), Ended::default())
    }

    fn fail(&mut self) -> Ended {
        self.failure = Some(Failure::Stalled);
        // The reader must not take a part for the whole, and what it gets of it would keep memory.
        self.kept.clear();
        self.end()
    }
}

/// The pool has no buffer left.
struct NoRoom;

/// The frame in a buffer of the pool, so that the connection's own buffer is free again.
fn copied(frame: Frame<Bytes>, pool: &BufferPool) -> Result<Frame<Bytes>, NoRoom> {
    let data = match frame.into_data() {
        Ok(data) => data,
        Err(trailers) => return Ok(trailers),
    };
    let mut buffer = pool.try_acquire(data.len()).map_err(|_| NoRoom)?;
    buffer.extend_from_slice(&data);
    Ok(Frame::data(buffer.freeze_tracked()))
}
