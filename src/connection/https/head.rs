//! Requests whose head contradicts their body are not sent: the server would look for the next request in the wrong place.

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Method, Request};
use http_body::Body;

use super::connection::Protocol;
use super::error::{HttpsError, HttpsErrorKind};
use super::request_body::RequestBody;

/// Refuses a request that must not be sent. From now on its body fails if it is not as long as announced.
pub(super) fn check(request: &mut Request<RequestBody>, protocol: Protocol) -> Result<(), HttpsError> {
    let refused = |why: &str| HttpsError::new(HttpsErrorKind::InvalidHead).because(why);
    if protocol == Protocol::Http1 && request.method() == Method::CONNECT {
        return Err(refused("CONNECT is for HTTP/2 only"));
    }
    let hint = request.body().size_hint();
    // If the head has no length, it gets the body's own.
    let declared = declared(request.headers()).map_err(refused)?.or(hint.exact());
    let Some(declared) = declared else { return Ok(()) };
    if declared < hint.lower() || hint.upper().is_some_and(|upper| declared > upper) {
        return Err(refused("its Content-Length is not the length of its body"));
    }
    request.body_mut().declare(declared);
    Ok(())
}

/// The body's length, if the head has it.
fn declared(headers: &HeaderMap) -> Result<Option<u64>, &'static str> {
    let mut encodings = headers.get_all(TRANSFER_ENCODING).iter();
    let is_chunked = match (encodings.next(), encodings.next()) {
        (None, _) => false,
        (Some(encoding), None) if encoding.as_bytes().eq_ignore_ascii_case(b"chunked") => true,
        _ => return Err("its Transfer-Encoding is another one than chunked"),
    };
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    match (lengths.next(), lengths.next()) {
        (None, _) => Ok(None),
        (Some(_), _) if is_chunked => Err("it has both Content-Length and Transfer-Encoding"),
        (Some(length), None) => number(length).map(Some).ok_or("its Content-Length is not a number"),
        _ => Err("it has several Content-Length headers"),
    }
}

/// Digits only: to `parse`, `+5` is a number, too.
fn number(value: &HeaderValue) -> Option<u64> {
    let text = value.to_str().ok()?;
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}
