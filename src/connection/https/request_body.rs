//! The body of a request: nothing, bytes, or a stream.

use std::error::Error;
use std::fmt;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Request;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;

/// The request once more, if its body does not stream.
pub(crate) fn copy(request: &Request<RequestBody>) -> Option<Request<RequestBody>> {
    Some(copy_head(request, request.body().try_clone()?))
}

/// The head of the request with another body.
pub(crate) fn copy_head(request: &Request<RequestBody>, body: RequestBody) -> Request<RequestBody> {
    let mut copy = Request::new(body);
    copy.method_mut().clone_from(request.method());
    copy.uri_mut().clone_from(request.uri());
    *copy.version_mut() = request.version();
    copy.headers_mut().clone_from(request.headers());
    copy.extensions_mut().clone_from(request.extensions());
    copy
}

type BoxError = Box<dyn Error + Send + Sync>;

/// The body of a request. Only [`stream`](Self::stream) allocates.
///
/// # Examples
///
/// ```
/// use http::Request;
/// use millpond::connection::https::RequestBody;
///
/// let get = Request::get("/mill").body(RequestBody::empty())?;
/// let post = Request::post("/mill").body(RequestBody::from("grist"))?;
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Default)]
pub struct RequestBody(Kind);

#[derive(Default)]
enum Kind {
    #[default]
    Empty,
    Bytes(Bytes),
    Stream(Stream),
}

struct Stream {
    body: UnsyncBoxBody<Bytes, BoxError>,
    /// What is left of the length that was announced, if one was.
    rest: Option<u64>,
}

impl RequestBody {
    /// No body.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// A body that is made while it is sent, such as one that a client of a proxy sends. One that is at its end already, as that
    /// of a GET, is [`empty`](Self::empty), so that the request may be sent again.
    pub fn stream<B>(body: B) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        if body.is_end_stream() {
            return Self::empty();
        }
        Self(Kind::Stream(Stream { body: body.map_err(Into::into).boxed_unsync(), rest: None }))
    }

    /// Lets it fail if it is not that long.
    pub(super) fn declare(&mut self, len: u64) {
        if let Kind::Stream(stream) = &mut self.0 {
            stream.rest = Some(len);
        }
    }

    /// The same body, whose data is what `map` makes of it, as long as before.
    #[cfg(feature = "resilience")]
    pub(crate) fn map_data(self, mut map: impl FnMut(Bytes) -> Bytes + Send + Unpin + 'static) -> Self {
        match self.0 {
            Kind::Empty => Self::empty(),
            Kind::Bytes(bytes) => map(bytes).into(),
            Kind::Stream(Stream { body, rest }) => {
                Self(Kind::Stream(Stream { body: Mapped { body, map }.boxed_unsync(), rest }))
            }
        }
    }

    /// The same body once more, if it does not stream.
    #[must_use]
    pub fn try_clone(&self) -> Option<Self> {
        match &self.0 {
            Kind::Empty => Some(Self::empty()),
            Kind::Bytes(bytes) => Some(bytes.clone().into()),
            Kind::Stream(_) => None,
        }
    }
}

/// Other data of the same length. That of http-body-util does not know its length.
#[cfg(feature = "resilience")]
struct Mapped<F> {
    body: UnsyncBoxBody<Bytes, BoxError>,
    map: F,
}

#[cfg(feature = "resilience")]
impl<F: FnMut(Bytes) -> Bytes + Unpin> Body for Mapped<F> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Self { body, map } = self.get_mut();
        Pin::new(body).poll_frame(cx).map_ok(|frame| frame.map_data(map))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl From<Bytes> for RequestBody {
    fn from(bytes: Bytes) -> Self {
        if bytes.is_empty() { Self::empty() } else { Self(Kind::Bytes(bytes)) }
    }
}

impl From<&'static str> for RequestBody {
    fn from(text: &'static str) -> Self {
        Bytes::from_static(text.as_bytes()).into()
    }
}

impl From<String> for RequestBody {
    fn from(text: String) -> Self {
        Bytes::from(text).into()
    }
}

impl From<Vec<u8>> for RequestBody {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl Stream {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx)?);
        let Some(rest) = &mut self.rest else { return Poll::Ready(frame.map(Ok)) };
        let wrong = match frame.as_ref().map(Frame::data_ref) {
            // What comes after the end is not sent.
            Some(Some(data)) if *rest == 0 && !data.is_empty() => return Poll::Ready(None),
            Some(Some(data)) => match rest.checked_sub(data.len() as u64) {
                Some(left) => {
                    *rest = left;
                    None
                }
                None => Some("the body is longer than its announced length"),
            },
            // The end, or trailers.
            _ => (*rest > 0).then_some("the body is shorter than its announced length"),
        };
        Poll::Ready(match wrong {
            Some(wrong) => Some(Err(wrong.into())),
            None => frame.map(Ok),
        })
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.0 {
            Kind::Empty => Poll::Ready(None),
            Kind::Bytes(bytes) => {
                let frame = Frame::data(mem::take(bytes));
                self.0 = Kind::Empty;
                Poll::Ready(Some(Ok(frame)))
            }
            Kind::Stream(stream) => stream.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Empty => true,
            Kind::Bytes(_) => false,
            // One that is too short must be polled once more, to fail.
            Kind::Stream(Stream { body, rest }) => rest.unwrap_or(0) == 0 && body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Bytes(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Stream(stream) => stream.body.size_hint(),
        }
    }
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.0 {
            Kind::Empty => "empty",
            Kind::Bytes(_) => "bytes",
            Kind::Stream(_) => "stream",
        };
        f.debug_tuple("RequestBody").field(&format_args!("{kind}, {:?}", self.size_hint())).finish()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;

    use super::*;

    fn streamed(bytes: &'static str) -> RequestBody {
        RequestBody::stream(Full::new(Bytes::from_static(bytes.as_bytes())))
    }

    #[test]
    fn only_a_body_that_streams_cannot_be_sent_again() {
        for (body, len) in [
            (RequestBody::empty(), 0),
            ("grist".into(), 5),
            (String::from("grist").into(), 5),
            (vec![0; 7].into(), 7),
        ] {
            let again = body.try_clone().unwrap();
            assert_eq!(again.size_hint().exact(), Some(len), "{body:?}");
        }
        assert!(streamed("grist").try_clone().is_none());
    }

    #[test]
    fn what_has_nothing_to_stream_is_no_body() {
        assert!(streamed("").try_clone().unwrap().is_end_stream());
    }

    #[cfg(feature = "resilience")]
    #[test]
    fn a_body_with_other_data_is_as_long() {
        for body in [RequestBody::empty(), "grist".into(), streamed("grist")] {
            let len = body.size_hint().exact();
            assert_eq!(body.map_data(|data| data).size_hint().exact(), len);
        }
    }

    #[test]
    fn its_debug_output_says_how_much_and_not_what() {
        for (body, expected) in
            [(RequestBody::empty(), "empty"), ("grist".into(), "bytes"), (streamed("grist"), "stream")]
        {
            let said = format!("{body:?}");
            assert!(said.contains(expected) && !said.contains("grist"), "{said}");
        }
    }
}
