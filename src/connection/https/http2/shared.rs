//! The connections of a pool, the streams on them, and who waits for one: all behind one lock.
//!
//! A request over HTTP/2 costs more than 10 µs, and takes this lock twice, briefly.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::mem;
use std::task::Waker;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::super::connection::{ConnectionInfo, Facts};
use super::super::error::{HttpsError, HttpsErrorKind};
use super::super::http1::Http1;
use super::super::manager::HttpsConnectionManager;
use super::super::multiplexed::Client;
use super::super::request_errors::Failures;
use super::config::Http2PoolConfig;
use super::member::Member;
use super::permit::Permit;
use super::queue::{Place, Queue};
use super::reader::Reader;
use super::state::{Http2State, Http2Statistics};
#[cfg(feature = "websocket")]
use super::tunnel::NotOffered;
use super::urgency::Urgency;
use crate::connection::clock::{millis, now};
use crate::connection::statistics::{Closed, ConnectFailure, Counters};
use crate::sync::{Arc, Mutex};

pub(super) struct Shared {
    pub(super) manager: HttpsConnectionManager,
    pub(super) config: Http2PoolConfig,
    /// Takes the connections on which the server chooses HTTP/1.1. Without it, they are errors.
    pub(super) http1: Option<Arc<Http1>>,
    pub(super) counters: Counters,
    pub(super) failures: Failures,
    #[cfg(feature = "websocket")]
    pub(super) not_offered: NotOffered,
    state: Mutex<State>,
    /// A connection has gone, or a connect has ended.
    changed: Notify,
    /// Cancelled when the pool is closed.
    pub(super) closing: CancellationToken,
    /// A stream has begun where there was none.
    pub(super) busy: Arc<Notify>,
}

/// A stream for one request.
pub(super) struct Lease {
    pub(super) client: Client,
    pub(super) permit: Arc<Permit>,
    pub(super) reader: Arc<Reader>,
    pub(super) connection: ConnectionInfo,
    /// Whether a ping is to show first that the server is there.
    pub(super) is_doubtful: bool,
}

/// Why there is no stream.
pub(super) enum Refusal {
    Closed,
    Full,
    Failed(HttpsError),
}

/// What a waiter gets.
pub(super) type Grant = Result<Lease, Refusal>;

struct State {
    members: Vec<Member>,
    queue: Queue<Grant>,
    is_connecting: bool,
    /// When the last connect began.
    connect_began: Option<Instant>,
    is_watched: bool,
    is_closed: bool,
    /// Whether connections ping, if they are meant to. Not after a server has complained.
    pings: bool,
    /// After a failed connect: when the next one may begin, and the delay until then.
    retry_at: u64,
    delay: Option<Duration>,
    /// The most streams at once since the last look.
    peak: usize,
    /// Since when one connection less would do.
    surplus_since: Option<u64>,
    next_generation: u64,
    next_number: u64,
    random: u64,
    statistics: Http2Statistics,
    /// How long requests have waited that were served, in microseconds.
    waited: u64,
}

/// What is to be done without the lock.
#[derive(Default)]
pub(super) struct Outside {
    wakers: Vec<Waker>,
    unused: Option<Waker>,
    clients: Vec<(Client, Closed)>,
    grant: Option<Grant>,
    member: Option<Member>,
    connects: bool,
}

impl Outside {
    /// Lets a connection end.
    fn end(&mut self, client: Option<Client>, why: Closed) {
        self.clients.extend(client.map(|client| (client, why)));
    }
}

impl Shared {
    pub(super) fn new(
        manager: HttpsConnectionManager,
        config: Http2PoolConfig,
        http1: Option<Arc<Http1>>,
    ) -> Self {
        let state = State {
            members: Vec::new(),
            queue: Queue::new(),
            is_connecting: false,
            connect_began: None,
            is_watched: false,
            is_closed: false,
            pings: true,
            retry_at: 0,
            delay: None,
            peak: 0,
            surplus_since: None,
            next_generation: 0,
            next_number: 0,
            random: RandomState::new().hash_one(0) | 1,
            statistics: Http2Statistics::default(),
            waited: 0,
        };
        Self {
            manager,
            config,
            http1,
            counters: Counters::default(),
            failures: Failures::default(),
            #[cfg(feature = "websocket")]
            not_offered: NotOffered::default(),
            state: Mutex::new(state),
            changed: Notify::new(),
            closing: CancellationToken::new(),
            busy: Arc::new(Notify::new()),
        }
    }

    /// Changes the state, and does without the lock what must not be done with it.
    fn with<R>(self: &Arc<Self>, change: impl FnOnce(&mut State, &mut Outside) -> R) -> R {
        let mut outside = Outside::default();
        let mut state = self.state.lock();
        let result = change(&mut state, &mut outside);
        state.retire_done(&mut outside);
        outside.connects = state.wants_connect(&self.config);
        if outside.connects {
            (state.is_connecting, state.connect_began) = (true, Some(Instant::now()));
        }
        drop(state);
        let Outside { wakers, unused, clients, grant, member, connects } = outside;
        clients.iter().for_each(|(_, why)| self.counters.on_closed(*why));
        drop((unused, clients, grant, member));
        if connects {
            self.connect();
        }
        wakers.into_iter().for_each(Waker::wake);
        result
    }

    /// A stream now, or a place in the queue. Who had a stream already, of a connection that is dead, comes first, also if the
    /// queue is full.
    pub(super) fn lease_or_join(
        self: &Arc<Self>,
        urgency: Urgency,
        waker: Waker,
        had_stream: bool,
    ) -> Result<Grant, Place> {
        self.with(|state, _| {
            if state.is_closed {
                return Ok(Err(Refusal::Closed));
            }
            if state.queue.len() == 0
                && let Some(lease) = state.lease(self)
            {
                return Ok(Ok(lease));
            }
            if !had_stream && state.queue.len() >= self.max_waiting() {
                return Ok(Err(Refusal::Full));
            }
            state.queue.join(urgency, waker, had_stream).map_or(Ok(Err(Refusal::Full)), Err)
        })
    }

    /// A stream, if one is free and nobody waits.
    pub(super) fn lease_now(self: &Arc<Self>) -> Option<Lease> {
        self.with(|state, _| if state.is_closed || state.queue.len() > 0 { None } else { state.lease(self) })
    }

    /// As long as nobody knows which pool will serve the requests that wait, the longer of their two queues counts.
    fn max_waiting(&self) -> usize {
        let unknown = self.http1.as_ref().filter(|_| !self.manager.has_connected());
        unknown.map_or(0, |http1| http1.max_waiting).max(self.config.max_waiting)
    }

    /// Fetches what a waiter was granted.
    pub(super) fn poll(self: &Arc<Self>, place: &Place, mut waker: Waker) -> Option<Grant> {
        self.with(|state, _| state.queue.poll(place, &mut waker))
    }

    /// A waiter leaves. What it was granted goes to the next.
    pub(super) fn leave(self: &Arc<Self>, place: &Place) {
        self.with(|state, outside| {
            (outside.grant, outside.unused) = state.queue.leave(place);
        });
    }

    /// Both bodies of a request have ended.
    pub(super) fn release(self: &Arc<Self>, generation: u64, number: u64) {
        self.with(|state, outside| {
            if let Some(member) = state.member(generation) {
                member.release(number);
            }
            state.serve(self, outside);
        });
    }

    /// A connection is there. In a closed pool it ends at once, and the pool waits for that, too.
    pub(super) fn install(self: &Arc<Self>, generation: u64, client: Client, allowed: usize, facts: Facts) {
        self.with(|state, outside| {
            state.is_connecting = false;
            state.delay = None;
            state.retry_at = 0;
            let lifetime = millis(self.config.max_lifetime);
            let jitter = state.random() % (lifetime / 10).max(1);
            let mut member = Member::new(generation, client, &self.config, allowed, lifetime - jitter, facts);
            if state.is_closed {
                outside.end(member.client.take(), Closed::Surplus);
            }
            if !state.pings {
                member.link.stop_pings();
            }
            state.members.push(member);
            state.serve(self, outside);
            if !mem::replace(&mut state.is_watched, true) {
                self.watch();
            }
        });
        self.changed.notify_waiters();
    }

    /// A number for a connection that will be made.
    pub(super) fn next_generation(&self) -> u64 {
        let mut state = self.state.lock();
        state.next_generation += 1;
        state.next_generation
    }

    /// A connect has failed.
    pub(super) fn fail(self: &Arc<Self>, error: HttpsError) {
        // Who negotiates has expected it, and has the connection.
        let is_failure = self.http1.is_none() || *error.kind() != HttpsErrorKind::WrongVersion;
        if is_failure {
            tracing::warn!(error = &error as &dyn std::error::Error, "an HTTP/2 connect failed");
            let failure = match error.kind() {
                HttpsErrorKind::ConnectPanicked => ConnectFailure::Panicked,
                _ if error.is_timeout() => ConnectFailure::TimedOut,
                _ => ConnectFailure::Error,
            };
            self.counters.on_connect_failed(failure);
        }
        self.with(|state, outside| {
            state.is_connecting = false;
            let delay = self.config.retry.after(state.delay);
            state.delay = Some(delay);
            state.retry_at = now().saturating_add(millis(crate::net::Backoff::with_jitter(delay)));
            if state.live() == 0 {
                state.refuse(outside, || Refusal::Failed(error.clone()));
            }
        });
        self.changed.notify_waiters();
    }

    /// A connect had no runtime, or its runtime has shut down. Who waits is woken, and begins one in its own.
    pub(super) fn abandon(&self) {
        let mut state = self.state.lock();
        state.is_connecting = false;
        let wakers = state.queue.wakers();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        self.changed.notify_waiters();
    }

    /// The server allows this many streams now.
    pub(super) fn allow(self: &Arc<Self>, generation: u64, allowed: usize) {
        self.with(|state, outside| {
            if let Some(member) = state.member(generation) {
                member.allowed = allowed;
            }
            state.serve(self, outside);
        });
    }

    /// The connection takes no more requests, because the server says so, has closed it, or does not answer a health check.
    pub(super) fn retire(self: &Arc<Self>, generation: u64, error: Option<&HttpsError>) {
        self.with(|state, outside| {
            let Some(member) = state.member(generation) else { return };
            let kind = error.map(HttpsError::kind);
            let is_late = matches!(kind, Some(HttpsErrorKind::HealthTimeout { .. }));
            outside.end(member.client.take(), if is_late { Closed::Invalid } else { Closed::Broken });
            let calm = u32::from(h2::Reason::ENHANCE_YOUR_CALM);
            let complains = kind == Some(&HttpsErrorKind::GoAway(calm));
            if complains && self.config.https.may_ping() && mem::take(&mut state.pings) {
                state.members.iter().for_each(|member| member.link.stop_pings());
                tracing::warn!(
                    server = %self.manager.origin(),
                    "a server complained of too much, so its HTTP/2 connections are not pinged any more"
                );
            }
        });
    }

    /// The connection is closed.
    pub(super) fn gone(self: &Arc<Self>, generation: u64) {
        self.with(|state, outside| {
            let at = state.members.iter().position(|member| member.generation == generation);
            outside.member = at.map(|at| state.members.swap_remove(at));
            let client = outside.member.as_mut().and_then(|member| member.client.take());
            outside.end(client, Closed::Broken);
        });
        self.changed.notify_waiters();
    }

    /// Retires what is too old, idle, or one too many. Returns the responses to look at, or nothing if no connection is left.
    pub(super) fn look(self: &Arc<Self>) -> Option<Vec<Arc<Reader>>> {
        self.with(|state, outside| {
            if state.members.is_empty() {
                state.is_watched = false;
                return None;
            }
            let now = now();
            let idle = millis(self.config.idle_timeout);
            for member in &mut state.members {
                if let Some(why) = member.reason_to_close(now, idle) {
                    outside.end(member.client.take(), why);
                }
            }
            outside.end(state.take_surplus(&self.config, now), Closed::Surplus);
            Some(state.members.iter().flat_map(Member::readers).collect())
        })
    }

    /// Gives the others on this connection what its unread responses hold. Tells whether there are such.
    pub(super) fn widen(&self, generation: u64, grace: u64) -> bool {
        let mut state = self.state.lock();
        let Some(member) = state.member(generation) else { return false };
        let (link, readers): (_, Vec<_>) = (Arc::clone(&member.link), member.readers().collect());
        drop(state);
        let unread: Vec<_> = readers.iter().filter_map(|reader| reader.unread(grace)).collect();
        let held = unread.iter().sum::<usize>().try_into().unwrap_or(u32::MAX);
        link.hold(held.min(self.config.max_unread));
        !unread.is_empty()
    }

    /// Counts a request that has failed, or its response.
    pub(super) fn count_error(&self, reader: &Reader, kind: &HttpsErrorKind) {
        self.failures.count(kind);
        reader.count_error();
    }

    /// Counts something.
    pub(super) fn count(&self, count: impl FnOnce(&mut Http2Statistics)) {
        count(&mut self.state.lock().statistics);
    }

    /// A request that waited so long was served.
    pub(super) fn count_wait(&self, waited: Duration) {
        self.counters.on_waited(waited);
        self.state.lock().waited += u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
    }

    pub(super) fn state(&self) -> Http2State {
        let state = self.state.lock();
        Http2State {
            connections: state.members.iter().map(Member::state).collect(),
            streams: state.open(),
            waiting: state.queue.len(),
            is_connecting: state.is_connecting,
            pings: state.pings && self.config.https.may_ping(),
            statistics: self.counters.snapshot(0, state.waited),
            http2: state.statistics,
            errors: self.failures.snapshot(),
        }
    }

    /// How long a connect has been under way, where there is no other connection.
    pub(super) fn connecting_for(&self) -> Option<Duration> {
        let state = self.state.lock();
        let began = state.connect_began.filter(|_| state.is_connecting && state.live() == 0)?;
        Some(began.elapsed())
    }

    pub(super) fn is_unused(&self) -> bool {
        let state = self.state.lock();
        state.open() == 0 && state.queue.len() == 0
    }

    pub(super) fn has_spare(&self) -> bool {
        self.state.lock().spare().is_some()
    }

    pub(super) fn close_spare(self: &Arc<Self>) -> bool {
        self.with(|state, outside| {
            let client = state.spare().and_then(|member| member.client.take());
            let was_there = client.is_some();
            outside.end(client, Closed::Surplus);
            was_there
        })
    }

    /// Lets nothing begin any more, and waits until all has ended.
    pub(super) async fn close(self: &Arc<Self>) {
        self.with(|state, outside| {
            state.is_closed = true;
            for member in &mut state.members {
                outside.end(member.client.take(), Closed::Surplus);
            }
            state.refuse(outside, || Refusal::Closed);
        });
        self.closing.cancel();
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if self.has_ended() {
                return;
            }
            changed.await;
        }
    }

    fn has_ended(&self) -> bool {
        let state = self.state.lock();
        state.members.is_empty() && !state.is_connecting
    }
}

impl State {
    fn member(&mut self, generation: u64) -> Option<&mut Member> {
        self.members.iter_mut().find(|member| member.generation == generation)
    }

    /// Connections that take requests.
    fn live(&self) -> usize {
        self.members.iter().filter(|member| member.client.is_some()).count()
    }

    /// A connection that takes requests and has none. While somebody waits, there is none.
    fn spare(&mut self) -> Option<&mut Member> {
        self.members.iter_mut().find(|member| member.client.is_some() && member.open() == 0)
    }

    /// Lets connections end that take no more requests.
    fn retire_done(&mut self, outside: &mut Outside) {
        for member in self.members.iter_mut().filter(|member| member.client.is_some() && member.is_done()) {
            outside.end(member.client.take(), Closed::Surplus);
        }
    }

    /// Streams on all connections.
    fn open(&self) -> usize {
        self.members.iter().map(Member::open).sum()
    }

    /// Streams that connections which take requests may have.
    fn capacity(&self) -> usize {
        self.members.iter().filter(|member| member.client.is_some()).map(Member::limit).sum()
    }

    fn wants_connect(&self, config: &Http2PoolConfig) -> bool {
        let demand = self.open() + self.queue.len();
        if self.is_closed || self.is_connecting || demand == 0 || self.live() >= config.max_connections {
            return false;
        }
        if self.live() == 0 {
            return self.queue.len() > 0;
        }
        demand * 100 >= self.capacity() * config.grow_at_percent as usize && now() >= self.retry_at
    }

    /// A stream on the less loaded of two connections that are chosen at random.
    fn lease(&mut self, pool: &Arc<Shared>) -> Option<Lease> {
        let count = self.members.iter().filter(|member| member.is_free()).count();
        let (first, second) = (self.random(), self.random());
        let member = self.less_loaded(count, first, second)?;
        if self.open() == 0 {
            pool.busy.notify_one();
        }
        self.next_number += 1;
        let number = self.next_number;
        let member = self.members.get_mut(member)?;
        let client = member.client.clone()?;
        let permit = Arc::new(Permit::new(Arc::clone(pool), member.generation, number));
        let reader = Arc::new(Reader::new(Arc::clone(&permit), Arc::clone(&member.facts.traffic)));
        let connection = member.info();
        let is_doubtful = self.pings && pool.config.doubts(member.silence());
        member.begin(number, &reader);
        self.peak = self.peak.max(self.open());
        Some(Lease { client, permit, reader, connection, is_doubtful })
    }

    /// The place of one of `count` connections that are free.
    fn less_loaded(&self, count: usize, first: u64, second: u64) -> Option<usize> {
        let others = count.checked_sub(1)?;
        let mut free = self.members.iter().enumerate().filter(|(_, member)| member.is_free());
        if others == 0 {
            return free.next().map(|(at, _)| at);
        }
        // Two that differ.
        let one = first as usize % count;
        let other = (one + 1 + second as usize % others) % count;
        let (low, high) = (one.min(other), one.max(other));
        let low = free.by_ref().nth(low).map(|found| (found, low))?;
        let ((low, lower), place) = low;
        let (high, higher) = free.nth(high - place - 1)?;
        Some(if higher.open() < lower.open() { high } else { low })
    }

    /// Gives streams that are free to the waiters.
    fn serve(&mut self, pool: &Arc<Shared>, outside: &mut Outside) {
        while self.queue.len() > 0
            && let Some(lease) = self.lease(pool)
        {
            match self.queue.grant(Ok(lease)) {
                Ok(waker) => outside.wakers.push(waker),
                Err(grant) => {
                    outside.grant = Some(grant);
                    return;
                }
            }
        }
    }

    /// Tells all waiters that there will be no stream.
    fn refuse(&mut self, outside: &mut Outside, why: impl Fn() -> Refusal) {
        while let Ok(waker) = self.queue.grant(Err(why())) {
            outside.wakers.push(waker);
        }
    }

    /// A connection that was not needed for as long as an idle one is kept: the others could have twice its streams besides
    /// their own before another one was made.
    fn take_surplus(&mut self, config: &Http2PoolConfig, now: u64) -> Option<Client> {
        let open = self.open();
        let peak = mem::replace(&mut self.peak, open);
        let live = self.members.iter_mut().filter(|member| member.client.is_some());
        let least = live.min_by_key(|member| member.open())?;
        let rest = least.limit();
        let rest = self.capacity() - rest;
        if peak * 200 >= rest * config.grow_at_percent as usize {
            self.surplus_since = None;
            return None;
        }
        let since = *self.surplus_since.get_or_insert(now);
        if now.saturating_sub(since) < millis(config.idle_timeout) {
            return None;
        }
        self.surplus_since = Some(now);
        let live = self.members.iter_mut().filter(|member| member.client.is_some());
        live.min_by_key(|member| member.open())?.client.take()
    }

    /// xorshift.
    fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}
