//! The body of a response over HTTP/2.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, RecvStream};
use http_body::{Frame, SizeHint};

use super::super::error::{HttpsError, HttpsErrorKind};
use super::client::Busy;
use super::upload::Upload;

/// The body of a response. Dropped before its end, it resets the stream.
pub(in super::super) struct Received {
    /// Until the end.
    stream: Option<RecvStream>,
    /// The bytes that are missing, if the server has said how many there are.
    rest: Option<u64>,
    has_data: bool,
    upload: Option<Upload>,
    busy: Busy,
}

impl Received {
    pub(super) fn new(stream: RecvStream, rest: Option<u64>, upload: Option<Upload>, busy: Busy) -> Self {
        Self { stream: Some(stream), rest, has_data: true, upload, busy }
    }

    pub(in super::super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpsError>>> {
        let Some(stream) = &mut self.stream else { return Poll::Ready(None) };
        while self.has_data {
            match ready!(stream.poll_data(cx)) {
                Some(Ok(data)) => {
                    // An error means that the stream is closed.
                    let _ = stream.flow_control().release_capacity(data.len());
                    self.rest = self.rest.map(|rest| rest.saturating_sub(data.len() as u64));
                    if !data.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(data))));
                    }
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(self.fail(error)))),
                None => self.has_data = false,
            }
        }
        let trailers = ready!(stream.poll_trailers(cx));
        Poll::Ready(match trailers {
            Ok(Some(trailers)) => {
                self.end();
                Some(Ok(Frame::trailers(trailers)))
            }
            Ok(None) => {
                self.end();
                None
            }
            Err(error) => Some(Err(self.fail(error))),
        })
    }

    /// The response has come to its end. The request may still be on its way.
    fn end(&mut self) {
        self.stream = None;
        if let Some(upload) = self.upload.take() {
            upload.go_on();
        }
    }

    fn fail(&mut self, error: h2::Error) -> HttpsError {
        self.stream = None;
        self.upload = None;
        // It says that the rest of the request is not wanted, which is no error only after the end of the response (RFC 9113,
        // section 8.1), and then h2 reports none.
        if error.reason() == Some(Reason::NO_ERROR) && error.is_remote() && !error.is_go_away() {
            return HttpsError::new(HttpsErrorKind::Incomplete);
        }
        self.busy.explain(error)
    }

    /// Whether it is known that nothing more comes.
    pub(in super::super) fn is_end_stream(&self) -> bool {
        self.stream.as_ref().is_none_or(RecvStream::is_end_stream)
    }

    pub(in super::super) fn size_hint(&self) -> SizeHint {
        match self.rest {
            _ if self.is_end_stream() => SizeHint::with_exact(0),
            Some(rest) => SizeHint::with_exact(rest),
            None => SizeHint::default(),
        }
    }

    /// Bytes that have arrived and are not read.
    pub(in super::super) fn unread(&mut self) -> usize {
        self.stream.as_mut().map_or(0, |stream| stream.flow_control().used_capacity())
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        if self.is_end_stream() {
            self.end();
        }
    }
}
