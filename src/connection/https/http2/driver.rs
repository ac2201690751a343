//! One connection: made, and driven by one task that lives as long as it.

use std::io;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Request;
use hyper::client::conn::http2::{Connection, SendRequest};
use hyper::rt::Executor;
use hyper_util::rt::TokioIo;

use super::super::config::HttpsConfig;
use super::super::error::{HttpsError, HttpsErrorKind};
use super::super::multiplexed;
use super::super::request_body::RequestBody;
use super::super::wire::Wire;
use super::permit::Tracked;
use crate::sync::{Arc, Mutex};

/// Sends requests to the driver.
pub(super) type Sender = SendRequest<Tracked>;

/// A task of hyper's.
type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How many streams there may be before the server has said so. No server says this.
const UNKNOWN: usize = usize::MAX - 1;

/// Reads and writes a connection. hyper has two tasks for that, and wakes one from the other; here they are one, which sees
/// what the server has just said: how many streams it allows, and that it will close.
pub(super) struct Driver {
    io: Work,
    dispatch: Option<Connection<TokioIo<Wire>, Tracked, Spawner>>,
}

/// What a poll of the driver found.
pub(super) struct Observed {
    /// The streams that the server allows now, once it has said so.
    pub(super) allowed: Option<usize>,
    /// It takes no more requests, for this reason.
    pub(super) retired: Option<hyper::Result<()>>,
    /// It is closed.
    pub(super) is_closed: bool,
}

/// Spawns hyper's tasks, but keeps the first one: the connection.
#[derive(Clone)]
pub(super) struct Spawner(Arc<Mutex<First>>);

enum First {
    Awaited,
    Kept(Work),
    Taken,
}

impl<F> Executor<F> for Spawner
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, work: F) {
        let mut first = self.0.lock();
        if matches!(*first, First::Awaited) {
            *first = First::Kept(Box::pin(work));
            return;
        }
        drop(first);
        tokio::spawn(work);
    }
}

impl Driver {
    /// Begins HTTP/2, and waits for the server's settings: only then it is known how many streams it allows, and that it
    /// speaks HTTP/2 at all.
    pub(super) async fn begin(wire: Wire, config: &HttpsConfig) -> Result<(Sender, Self, usize), HttpsError> {
        let spawner = Spawner(Arc::new(Mutex::new(First::Awaited)));
        let mut builder = multiplexed::builder(spawner.clone(), config);
        builder.initial_max_send_streams(UNKNOWN);
        let begun = builder.handshake(TokioIo::new(wire)).await;
        let (sender, dispatch) = begun.map_err(HttpsError::of_request)?;
        let First::Kept(io) = mem::replace(&mut *spawner.0.lock(), First::Taken) else {
            return Err(closed_early());
        };
        let mut driver = Self { io, dispatch: Some(dispatch) };
        let allowed = std::future::poll_fn(|cx| {
            let observed = driver.observe(cx);
            match (observed.allowed, observed.retired) {
                (_, Some(Err(error))) => Poll::Ready(Err(HttpsError::of_request(error))),
                (_, Some(Ok(()))) => Poll::Ready(Err(closed_early())),
                (Some(allowed), None) => Poll::Ready(Ok(allowed)),
                (None, None) => Poll::Pending,
            }
        })
        .await?;
        Ok((sender, driver, allowed))
    }

    pub(super) fn observe(&mut self, cx: &mut Context<'_>) -> Observed {
        // Requests first, so that they are written; once more afterwards, because only this tells of a GOAWAY.
        let before = self.dispatch(cx);
        let mut is_closed = self.io.as_mut().poll(cx).is_ready();
        let retired = before.or_else(|| self.dispatch(cx));
        if retired.is_some() && !is_closed {
            // It does not notice by itself that there is nothing left for it.
            is_closed = self.io.as_mut().poll(cx).is_ready();
        }
        let allowed = self.dispatch.as_ref().map(Connection::current_max_send_streams);
        Observed { allowed: allowed.filter(|&allowed| allowed != UNKNOWN), retired, is_closed }
    }

    fn dispatch(&mut self, cx: &mut Context<'_>) -> Option<hyper::Result<()>> {
        let Poll::Ready(ended) = Pin::new(self.dispatch.as_mut()?).poll(cx) else { return None };
        self.dispatch = None;
        Some(ended)
    }
}

/// The server closed the connection where its settings should be.
fn closed_early() -> HttpsError {
    HttpsError::new(HttpsErrorKind::Incomplete).because(io::Error::from(io::ErrorKind::UnexpectedEof))
}

/// Sends a request. The future does not borrow the sender.
pub(super) fn send(
    mut sender: Sender,
    request: Request<Tracked>,
) -> impl Future<Output = Result<http::Response<hyper::body::Incoming>, HttpsError>> {
    let response = sender.try_send_request(request);
    async move {
        response.await.map_err(|mut error| {
            let request = error.take_message().map(|request| request.map(|body: Tracked| body.into_body()));
            HttpsError::of_maybe_unsent(error.into_error(), request as Option<Request<RequestBody>>)
        })
    }
}
