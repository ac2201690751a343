//! What requests are sent on.

use std::future::poll_fn;
use std::io;
use std::mem;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use http::header::{
    CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, TE, TRANSFER_ENCODING, UPGRADE,
};
use http::{Method, Request, Response};
use http_body::Body;
use tokio::sync::Notify;

use super::super::error::{HttpsError, HttpsErrorKind};
use super::received::Received;
use super::tap::Tapped;
use super::upload::Upload;
use crate::sync::{Arc, Mutex};

/// Sends requests on a connection. When the last one is dropped, the connection ends after its last stream.
#[derive(Clone)]
pub(in super::super) struct Client(Arc<Handle>);

struct Handle(Arc<Link>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// What clients and the driver share.
pub(in super::super) struct Link {
    pub(super) tap: Arc<Mutex<Tapped>>,
    state: Mutex<State>,
    /// The phase is another one.
    changed: Notify,
}

struct State {
    phase: Phase,
    /// How many [`Busy`] there are.
    busy: usize,
    /// Whether a request waits at rest.
    is_wanted: bool,
    /// Bytes by which the window of the connection is larger than configured.
    held: u32,
    /// Whether the server has not answered a ping.
    is_silent: bool,
    /// Whether the server has complained of pings.
    stops_pings: bool,
    checks: Checks,
    /// Whether a request has failed with the connection. It may hear of that before the driver does.
    has_failed: bool,
    /// The error with which the connection has ended, if there was one.
    retired: Option<HttpsError>,
    driver: Option<Waker>,
}

/// The pings of health checks, which have numbers. Checks that begin before a ping is sent share it.
#[derive(Default)]
struct Checks {
    /// The last one that is wanted, sent, and answered.
    asked: u64,
    sent: u64,
    answered: u64,
}

impl Checks {
    fn ask(&mut self) -> u64 {
        self.asked = self.sent + 1;
        self.asked
    }

    /// Whether a ping is to be sent.
    fn is_asked(&self) -> bool {
        self.asked > self.sent
    }
}

pub(super) enum Phase {
    Live(SendRequest<Bytes>),
    /// There is no h2.
    Rest,
    /// No request begins any more.
    Closed,
}

/// Exists as long as a stream: until then the connection is not put to rest.
pub(in super::super) struct Busy(Arc<Link>);

impl Clone for Busy {
    fn clone(&self) -> Self {
        self.0.state.lock().busy += 1;
        Self(Arc::clone(&self.0))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.busy -= 1;
        let driver = if state.busy == 0 { state.driver.take() } else { None };
        drop(state);
        driver.into_iter().for_each(Waker::wake);
    }
}

impl Busy {
    /// What the error of the stream means.
    pub(super) fn explain(&self, error: h2::Error) -> HttpsError {
        self.0.explain(error)
    }
}

/// A stream whose request has been sent, and may still have a body.
pub(in super::super) struct Stream {
    pub(in super::super) response: ResponseFuture,
    pub(in super::super) send: h2::SendStream<Bytes>,
    pub(in super::super) busy: Busy,
}

/// Why no stream was opened, and the request if it is not lost.
pub(in super::super) type Unsent<R> = (HttpsError, Option<R>);

impl Client {
    pub(super) fn new(link: Arc<Link>) -> Self {
        Self(Arc::new(Handle(link)))
    }

    pub(in super::super) fn link(&self) -> &Arc<Link> {
        &self.0.0
    }

    /// Whether requests can begin, as far as this machine knows.
    pub(in super::super) fn is_open(&self) -> bool {
        let state = self.link().state.lock();
        !state.has_failed && !matches!(state.phase, Phase::Closed)
    }

    /// Whether the server answers a ping. The settings must have asked for [`HealthCheck::Ping`].
    ///
    /// [`HealthCheck::Ping`]: super::super::config::HealthCheck::Ping
    pub(in super::super) async fn check(&self) -> Result<(), HttpsError> {
        self.link().check().await
    }

    /// Opens a stream. If that fails, nothing was sent.
    pub(in super::super) async fn open(
        &self,
        request: Request<()>,
        ends: bool,
    ) -> Result<Stream, Unsent<Request<()>>> {
        let Some((mut sender, busy)) = self.link().sender().await else {
            return Err((closed(), Some(request)));
        };
        if let Err(error) = poll_fn(|cx| sender.poll_ready(cx)).await {
            return Err((self.link().failed(error), Some(request)));
        }
        // h2 keeps what it refuses, and the body, which may stream, must not be left without its head.
        let copy = request.clone();
        match sender.send_request(request, ends) {
            Ok((response, send)) => Ok(Stream { response, send, busy }),
            // The connection has failed since.
            Err(error) if error.is_io() || error.is_go_away() => Err((self.link().failed(error), Some(copy))),
            Err(error) => Err((HttpsError::of_h2(error), Some(copy))),
        }
    }

    /// Sends a request, and waits for the head of the response. If nothing was sent, the request is returned.
    pub(in super::super) async fn send<B>(
        &self,
        request: Request<B>,
    ) -> Result<Response<Received>, Unsent<Request<B>>>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (parts, body) = request.into_parts();
        let mut head = Request::from_parts(parts, ());
        prepare(&mut head, &body);
        let is_head = head.method() == Method::HEAD;
        let ends = body.is_end_stream();
        let Stream { response, send, busy } = match self.open(head, ends).await {
            Ok(stream) => stream,
            Err((error, head)) => return Err((error, head.map(|head| head.map(|()| body)))),
        };
        let upload = if ends { None } else { Upload::begin(send, body, busy.clone()).await };
        let stream = response.stream_id().as_u32();
        match response.await {
            Ok(response) => {
                let (head, stream) = response.into_parts();
                let rest = if is_head { None } else { content_length(&head.headers) };
                Ok(Response::from_parts(head, Received::new(stream, rest, upload, busy)))
            }
            Err(error) => {
                let is_reset_here = error.is_reset() && !error.is_remote() && !error.is_library();
                let error = self.link().explain_of(stream, error);
                let failure = match upload.filter(|_| is_reset_here) {
                    Some(upload) => upload.failure().await,
                    None => None,
                };
                Err((if let Some(failure) = failure { error.because(failure) } else { error }, None))
            }
        }
    }
}

impl Client {
    #[cfg(feature = "websocket")]
    /// Opens a stream for another protocol, and waits for the answer. Returns what the client sends on, too.
    pub(in super::super) async fn connect(
        &self,
        request: Request<()>,
    ) -> Result<(Response<Received>, h2::SendStream<Bytes>, Busy), HttpsError> {
        let Stream { response, send, busy } = self.open(request, false).await.map_err(|(error, _)| error)?;
        let stream = response.stream_id().as_u32();
        let response = response.await.map_err(|error| self.link().explain_of(stream, error))?;
        let received = |stream| Received::new(stream, None, None, busy.clone());
        Ok((response.map(received), send, busy))
    }
}

impl Link {
    pub(super) fn new(tap: Arc<Mutex<Tapped>>, sender: SendRequest<Bytes>) -> Self {
        let phase = Phase::Live(sender);
        let state = State {
            phase,
            busy: 0,
            is_wanted: false,
            held: 0,
            is_silent: false,
            stops_pings: false,
            checks: Checks::default(),
            has_failed: false,
            retired: None,
            driver: None,
        };
        Self { tap, state: Mutex::new(state), changed: Notify::new() }
    }

    /// Waits until there is an h2, and returns it for a stream. `None` if there will be none any more.
    async fn sender(self: &Arc<Self>) -> Option<(SendRequest<Bytes>, Busy)> {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            let driver = {
                let mut state = self.state.lock();
                let sender = match &state.phase {
                    _ if state.has_failed => return None,
                    Phase::Live(sender) => Some(sender.clone()),
                    Phase::Closed => return None,
                    Phase::Rest => None,
                };
                if let Some(sender) = sender {
                    state.busy += 1;
                    return Some((sender, Busy(Arc::clone(self))));
                }
                state.is_wanted = true;
                state.driver.take()
            };
            driver.into_iter().for_each(Waker::wake);
            changed.await;
        }
    }

    /// Asks for a ping, and waits until it is answered.
    async fn check(&self) -> Result<(), HttpsError> {
        let number = self.state.lock().checks.ask();
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            let driver = {
                let mut state = self.state.lock();
                if state.checks.answered >= number {
                    return Ok(());
                }
                if state.is_silent {
                    return Err(HttpsError::new(HttpsErrorKind::PingTimeout));
                }
                if state.has_failed || matches!(state.phase, Phase::Closed) {
                    return Err(unanswered(state.retired.clone()));
                }
                if state.checks.sent < number { state.driver.take() } else { None }
            };
            driver.into_iter().for_each(Waker::wake);
            changed.await;
        }
    }

    /// Whether a health check wants a ping.
    pub(super) fn is_asked(&self) -> bool {
        self.state.lock().checks.is_asked()
    }

    /// Whether a health check has no answer yet.
    pub(super) fn is_unanswered(&self) -> bool {
        let checks = &self.state.lock().checks;
        checks.asked > checks.answered
    }

    /// The ping of a health check was sent.
    pub(super) fn on_ping(&self) {
        self.state.lock().checks.sent += 1;
    }

    /// The ping of a health check was answered. It says nothing to a check that began since.
    pub(super) fn on_pong(&self) {
        let mut state = self.state.lock();
        state.checks.answered = state.checks.sent;
        drop(state);
        self.changed.notify_waiters();
    }

    /// No request begins any more, because of this error if there was one.
    pub(super) fn retire(&self, error: Option<&HttpsError>) {
        if let Some(error) = error {
            self.state.lock().retired.get_or_insert_with(|| error.clone());
        }
        self.close();
    }

    /// No request begins any more.
    pub(super) fn close(&self) {
        self.enter(Phase::Closed);
    }

    /// The driver sends no more pings by itself.
    pub(in super::super) fn stop_pings(&self) {
        self.state.lock().stops_pings = true;
    }

    pub(super) fn stops_pings(&self) -> bool {
        self.state.lock().stops_pings
    }

    /// The server does not answer a ping, and so the connection ends.
    pub(super) fn give_up(&self) {
        self.state.lock().is_silent = true;
    }

    /// What the error of a stream means.
    pub(in super::super) fn explain(&self, error: h2::Error) -> HttpsError {
        let mut state = self.state.lock();
        state.has_failed |= error.is_io() || error.is_go_away();
        if error.is_io() && state.is_silent {
            return HttpsError::new(HttpsErrorKind::PingTimeout).because(error);
        }
        HttpsError::of_h2(error)
    }

    /// What the error of a stream means before there is a response.
    fn explain_of(&self, stream: u32, error: h2::Error) -> HttpsError {
        let is_unsent = error.is_io() && !self.tap.lock().has_sent(stream);
        if is_unsent { self.failed(error) } else { self.explain(error) }
    }

    /// The connection has failed before the request was sent.
    fn failed(&self, error: h2::Error) -> HttpsError {
        // Or it would be sent here again, until the driver has heard of it.
        self.state.lock().has_failed = true;
        closed().because(error)
    }

    /// Into another phase, but never out of the last one.
    pub(super) fn enter(&self, phase: Phase) {
        let mut state = self.state.lock();
        if matches!(state.phase, Phase::Closed) {
            return;
        }
        let before = mem::replace(&mut state.phase, phase);
        state.is_wanted = false;
        let driver = state.driver.take();
        drop(state);
        // It takes h2's lock.
        drop(before);
        driver.into_iter().for_each(Waker::wake);
        self.changed.notify_waiters();
    }

    /// Puts the connection to rest if it has no stream, and tells whether it has none.
    pub(super) fn rest(&self) -> bool {
        let mut state = self.state.lock();
        if state.busy > 0 || !matches!(state.phase, Phase::Live(_)) {
            return false;
        }
        let before = mem::replace(&mut state.phase, Phase::Rest);
        drop(state);
        drop(before);
        true
    }

    /// Why no request can begin any more.
    pub(super) fn poll_retired(&self, cx: &mut Context<'_>) -> Option<HttpsError> {
        let mut state = self.state.lock();
        let Phase::Live(sender) = &mut state.phase else { return None };
        match sender.poll_ready(cx) {
            Poll::Ready(Err(error)) => Some(HttpsError::of_h2(error)),
            _ => None,
        }
    }

    pub(super) fn is_busy(&self) -> bool {
        self.state.lock().busy > 0
    }

    /// Whether there is no stream and will be none.
    pub(super) fn is_ending(&self) -> bool {
        let state = self.state.lock();
        state.busy == 0 && matches!(state.phase, Phase::Closed)
    }

    /// Whether there must be an h2: for a request or a ping, or to end the connection.
    pub(super) fn is_wanted(&self) -> bool {
        let state = self.state.lock();
        state.is_wanted || state.checks.is_asked() || matches!(state.phase, Phase::Closed)
    }

    /// Who drives the connection is woken by all that it must know. Returns the bytes that are held.
    pub(super) fn driven_by(&self, waker: &Waker) -> u32 {
        let mut state = self.state.lock();
        let before = match &state.driver {
            Some(driver) if driver.will_wake(waker) => None,
            _ => state.driver.replace(waker.clone()),
        };
        let held = state.held;
        drop(state);
        drop(before);
        held
    }

    /// Makes h2's stream 1 one of the past, by a request that nobody hears. It takes the given number of bytes from what h2 may send.
    pub(super) fn pass_first(
        &self,
        sender: &mut SendRequest<Bytes>,
        bytes: u32,
        mut play: impl FnMut() -> Result<(), HttpsError>,
    ) -> Result<(), HttpsError> {
        let (_response, mut stream) =
            sender.send_request(Request::new(()), false).map_err(HttpsError::of_h2)?;
        stream.send_data(vec![0; bytes as usize].into(), true).map_err(HttpsError::of_h2)?;
        play()?;
        self.tap.lock().replay_response();
        play()
    }

    /// Whether the server takes requests for other protocols (RFC 8441).
    pub(in super::super) fn allows_extended_connect(&self) -> bool {
        self.tap.lock().settings().allows_extended_connect()
    }

    /// Whether there is no state of the protocol.
    pub(in super::super) fn is_at_rest(&self) -> bool {
        matches!(self.state.lock().phase, Phase::Rest)
    }

    /// What is held by responses that nobody reads shall not be missing to the others.
    pub(in super::super) fn hold(&self, bytes: u32) {
        let mut state = self.state.lock();
        if mem::replace(&mut state.held, bytes) == bytes {
            return;
        }
        let driver = state.driver.take();
        drop(state);
        driver.into_iter().for_each(Waker::wake);
    }
}

fn closed() -> HttpsError {
    HttpsError::new(HttpsErrorKind::Closed)
}

/// Why a health check has no answer. Errors that speak of a request would mislead: there was none.
fn unanswered(retired: Option<HttpsError>) -> HttpsError {
    match retired {
        Some(error) if !matches!(error.kind(), HttpsErrorKind::Closed | HttpsErrorKind::Incomplete) => error,
        _ => {
            let aborted = io::Error::from(io::ErrorKind::ConnectionAborted);
            HttpsError::new(HttpsErrorKind::Io(aborted.kind())).because(aborted)
        }
    }
}

/// Takes out the headers of HTTP/1.1 connections, and says how long the body is.
fn prepare(request: &mut Request<()>, body: &impl Body) {
    let method = request.method().clone();
    let headers = request.headers_mut();
    let connection: Vec<HeaderValue> = headers.get_all(CONNECTION).iter().cloned().collect();
    headers.remove(CONNECTION);
    for name in connection.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')) {
        if let Ok(name) = HeaderName::try_from(name.trim()) {
            headers.remove(name);
        }
    }
    for name in ["keep-alive", "proxy-connection"] {
        headers.remove(name);
    }
    for name in [TRANSFER_ENCODING, UPGRADE] {
        headers.remove(name);
    }
    if headers.get_all(TE).iter().any(|te| te != "trailers") {
        headers.remove(TE);
    }
    let has_meaning = !matches!(method, Method::GET | Method::HEAD | Method::DELETE | Method::CONNECT);
    if let Some(len) = body.size_hint().exact()
        && (len > 0 || has_meaning)
    {
        headers.entry(CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(len));
    }
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
