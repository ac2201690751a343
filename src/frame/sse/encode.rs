//! Server-sent events, encoded.

use alloc::string::ToString;
use core::time::Duration;

use super::{Event, Sse};
use crate::frame::sink::copied_len;
use crate::frame::{EncodeError, Encoder, FrameSink, Payload};

/// What stands before the values.
const RETRY: &str = "retry: ";
const EVENT: &str = "event: ";
const ID: &str = "id: ";
const DATA: &str = "data: ";

/// Each line of the data, with a line feed between two, becomes a line of its own. An id is written even if it is the
/// last one that was set.
impl<P: Payload> Encoder<Event<P>> for Sse {
    fn encoded_len(&self, event: &Event<P>) -> usize {
        event.wire_len(|len| len)
    }

    fn copied_len(&self, event: &Event<P>) -> usize {
        event.wire_len(copied_len::<P>)
    }

    /// # Errors
    ///
    /// [`EncodeError::Delimiter`] for a line end in the type or the id, for a NUL in the id, for which it would be ignored,
    /// and for a carriage return in the data, which would arrive as a line feed; the place is that in the field.
    /// [`EncodeError::NoRoom`].
    fn encode(&self, event: Event<P>, out: &mut impl FrameSink) -> Result<(), EncodeError> {
        event.check()?;
        EncodeError::check_room(self.encoded_len(&event), out.room())?;
        if let Some(retry) = event.retry {
            push_field(RETRY, retry.as_millis().to_string().into_bytes(), out);
        }
        if let Some(kind) = event.event {
            push_field(EVENT, kind, out);
        }
        if let Some(id) = event.id {
            push_field(ID, id, out);
        }
        let mut start = 0;
        for at in memchr::memchr_iter(b'\n', event.data.as_ref()) {
            out.push_copy(DATA.as_bytes());
            event.data.push_part(start..at, out);
            out.push_copy(b"\n");
            start = at + 1;
        }
        out.push_copy(DATA.as_bytes());
        event.data.push_rest(start, out);
        out.push_copy(b"\n\n");
        Ok(())
    }
}

fn push_field(name: &str, value: impl Payload, out: &mut impl FrameSink) {
    out.push_copy(name.as_bytes());
    value.push_rest(0, out);
    out.push_copy(b"\n");
}

impl<P: Payload> Event<P> {
    /// Bytes of the encoded event, if `count` of those of each value count.
    fn wire_len(&self, count: impl Fn(usize) -> usize) -> usize {
        let line = |name: &str, len: usize| name.len() + count(len) + 1;
        let field =
            |name: &str, value: &Option<P>| value.as_ref().map_or(0, |v| line(name, v.as_ref().len()));
        let data = self.data.as_ref().split(|&byte| byte == b'\n').map(|data| line(DATA, data.len()));
        let retry = self.retry.map_or(0, |retry| RETRY.len() + digits(retry) + 1);
        retry + field(EVENT, &self.event) + field(ID, &self.id) + data.sum::<usize>() + 1
    }

    /// That nothing in the fields would end one of them, or make a reader ignore it.
    fn check(&self) -> Result<(), EncodeError> {
        let in_event = self.event.as_ref().and_then(|event| memchr::memchr2(b'\r', b'\n', event.as_ref()));
        let in_id = self.id.as_ref().and_then(|id| memchr::memchr3(b'\r', b'\n', 0, id.as_ref()));
        let in_data = memchr::memchr(b'\r', self.data.as_ref());
        in_event.or(in_id).or(in_data).map_or(Ok(()), |at| Err(EncodeError::Delimiter { at }))
    }
}

/// How many digits the milliseconds have.
fn digits(time: Duration) -> usize {
    time.as_millis().checked_ilog10().map_or(1, |power| power as usize + 1)
}
