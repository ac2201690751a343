//! The permit of a stream, which both bodies of a request hold.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::super::request_body::RequestBody;
use super::shared::Shared;
use crate::sync::Arc;

/// The permission for one stream. It is given back when the last reference to it is dropped, so exactly once: the body of
/// the request holds one, and the reader of the response the other.
pub(super) struct Permit {
    pool: Arc<Shared>,
    /// Of the connection. No other one ever has it, so that a late permit cannot hit its successor.
    generation: u64,
    /// Among the streams of the pool.
    number: u64,
}

impl Permit {
    pub(super) fn new(pool: Arc<Shared>, generation: u64, number: u64) -> Self {
        Self { pool, generation, number }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.pool.release(self.generation, self.number);
    }
}

/// The body of a request with its permit. It is dropped when it is sent, or the stream reset.
pub(super) struct Tracked {
    body: RequestBody,
    _permit: Arc<Permit>,
}

impl Tracked {
    pub(super) fn new(body: RequestBody, permit: Arc<Permit>) -> Self {
        Self { body, _permit: permit }
    }

    pub(super) fn into_body(self) -> RequestBody {
        self.body
    }
}

impl Body for Tracked {
    type Data = Bytes;
    type Error = <RequestBody as Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
