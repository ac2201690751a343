//! The body of a request over HTTP/2, sent as far as the server lets it.

use std::error::Error;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::{Reason, SendStream};
use http_body::{Body, Frame};
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::client::Busy;

/// How long a server may take nothing of a body after its response has ended. It should have reset the stream if it does not
/// want the rest. Nobody else can: the sender of the request has its answer.
const UNWANTED: Duration = Duration::from_secs(10);

type BoxError = Box<dyn Error + Send + Sync>;

/// A task that sends a body. Dropped, it ends, and resets the stream if nobody else has it.
pub(super) struct Upload {
    /// Returns the body's own error.
    task: Option<JoinHandle<Option<BoxError>>>,
    /// Of a body that has failed before there was a task.
    failure: Option<BoxError>,
    /// Cancelled when the response has ended.
    answered: CancellationToken,
}

impl Upload {
    /// Sends what can be sent at once, and begins a task if anything is left.
    pub(super) async fn begin<B>(stream: SendStream<Bytes>, body: B, busy: Busy) -> Option<Self>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        let mut sending = Sending { stream, body, data: Bytes::new(), failure: None, _busy: busy };
        let answered = CancellationToken::new();
        if poll_fn(|cx| Poll::Ready(sending.poll(cx).is_ready())).await {
            let failure = sending.failure?;
            return Some(Self { task: None, failure: Some(failure), answered });
        }
        let task = tokio::spawn(sending.run(answered.clone()));
        Some(Self { task: Some(task), failure: None, answered })
    }

    /// Why the body failed, once its stream was reset for that: then the task ends.
    pub(super) async fn failure(mut self) -> Option<BoxError> {
        match self.task.take() {
            Some(task) => task.await.ok().flatten(),
            None => self.failure.take(),
        }
    }

    /// Lets it come to its end.
    pub(super) fn go_on(mut self) {
        self.task = None;
        self.answered.cancel();
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

struct Sending<B> {
    stream: SendStream<Bytes>,
    body: B,
    /// What is taken from the body and not sent.
    data: Bytes,
    failure: Option<BoxError>,
    _busy: Busy,
}

impl<B> Sending<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    async fn run(mut self, answered: CancellationToken) -> Option<BoxError> {
        let unwanted = async || {
            answered.cancelled().await;
            sleep(UNWANTED).await;
        };
        let mut has_ended = false;
        while !has_ended {
            // Otherwise it is the body that lets the server wait.
            let waits_for_server = !self.data.is_empty();
            tokio::select! {
                biased;
                step = poll_fn(|cx| self.step(cx)) => has_ended = step.unwrap_or(true),
                () = unwanted(), if waits_for_server => {
                    self.stream.send_reset(Reason::CANCEL);
                    has_ended = true;
                }
            }
        }
        self.failure
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // An error means that the stream is closed, and the response says why.
        while let Ok(false) = ready!(self.step(cx)) {}
        Poll::Ready(())
    }

    /// Sends one piece. Whether it was the last.
    fn step(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, h2::Error>> {
        if let Poll::Ready(reset) = self.stream.poll_reset(cx) {
            return Poll::Ready(reset.map(|_| true));
        }
        if !self.data.is_empty() {
            return self.send(cx);
        }
        match ready!(Pin::new(&mut self.body).poll_frame(cx)).map(|frame| frame.map(Frame::into_data)) {
            None => Poll::Ready(self.stream.send_data(Bytes::new(), true).map(|()| true)),
            Some(Ok(Ok(data))) => {
                self.data = data;
                Poll::Ready(Ok(false))
            }
            Some(Ok(Err(frame))) => {
                let trailers = frame.into_trailers().unwrap_or_default();
                Poll::Ready(self.stream.send_trailers(trailers).map(|()| true))
            }
            Some(Err(error)) => {
                let error = self.failure.insert(error.into());
                tracing::debug!(%error, "the body of a request failed");
                self.stream.send_reset(Reason::INTERNAL_ERROR);
                Poll::Ready(Ok(true))
            }
        }
    }

    fn send(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, h2::Error>> {
        self.stream.reserve_capacity(self.data.len());
        while self.stream.capacity() == 0 {
            match ready!(self.stream.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(error)),
                None => return Poll::Ready(Ok(true)),
            }
        }
        let piece = self.data.split_to(self.data.len().min(self.stream.capacity()));
        let ends = self.data.is_empty() && self.body.is_end_stream();
        Poll::Ready(self.stream.send_data(piece, ends).map(|()| ends))
    }
}
