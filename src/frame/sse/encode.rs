//! Server-sent events, encoded.

use alloc::string::ToString;
use core::time::Duration;

use bytes::BufMut;

use super::{Event, Sse};
use crate::frame::{EncodeError, Encoder};

/// An event to send.
///
/// # Examples
///
/// ```
/// use millpond::frame::{Encoder, Sse, sse::EventRef};
///
/// let event = EventRef { event: Some(b"message"), data: b"one\ntwo", ..EventRef::default() };
/// let mut wire = Vec::new();
/// Sse::default().encode(event, &mut wire)?;
/// assert_eq!(wire, b"event: message\ndata: one\ndata: two\n\n");
/// # Ok::<(), millpond::frame::EncodeError>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EventRef<'a> {
    /// Its type; `None` means `message`.
    pub event: Option<&'a [u8]>,
    /// Its data: each of its lines, with a line feed between two, becomes a line of data.
    pub data: &'a [u8],
    /// The id to set; an empty one takes back the last.
    pub id: Option<&'a [u8]>,
    /// How long to wait before connecting again, in whole milliseconds.
    pub retry: Option<Duration>,
}

/// As it was read. An id is set again even if the event has left the last one as it was.
impl<'a> From<&'a Event> for EventRef<'a> {
    fn from(event: &'a Event) -> Self {
        Self { event: event.event.as_deref(), data: &event.data, id: event.id.as_deref(), retry: event.retry }
    }
}

impl EventRef<'_> {
    /// The fields but for the retry time, in the order in which they are written.
    fn fields(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        let event = self.event.map(|event| ("event: ", event));
        let id = self.id.map(|id| ("id: ", id));
        let data = self.data.split(|&byte| byte == b'\n').map(|line| ("data: ", line));
        event.into_iter().chain(id).chain(data)
    }

    /// The time of `retry` in milliseconds, and how many digits they have.
    fn retry_millis(&self) -> Option<(u128, usize)> {
        let millis = self.retry?.as_millis();
        Some((millis, millis.checked_ilog10().map_or(1, |power| power as usize + 1)))
    }

    /// That nothing in the fields would end one of them, or make a reader ignore it.
    fn check(&self) -> Result<(), EncodeError> {
        let in_event = self.event.and_then(|event| memchr::memchr2(b'\r', b'\n', event));
        let in_id = self.id.and_then(|id| memchr::memchr3(b'\r', b'\n', 0, id));
        let in_data = memchr::memchr(b'\r', self.data);
        in_event.or(in_id).or(in_data).map_or(Ok(()), |at| Err(EncodeError::Delimiter { at }))
    }
}

impl Encoder<EventRef<'_>> for Sse {
    fn encoded_len(&self, event: &EventRef<'_>) -> usize {
        let fields: usize = event.fields().map(|(name, value)| name.len() + value.len() + 1).sum();
        fields + event.retry_millis().map_or(0, |(_, digits)| RETRY.len() + digits + 1) + 1
    }

    /// # Errors
    ///
    /// [`EncodeError::Delimiter`] for a line end in the type or the id, for a NUL in the id, for which it would be ignored,
    /// and for a carriage return in the data, which would arrive as a line feed; the place is that in the field.
    /// [`EncodeError::NoRoom`].
    fn encode(&self, event: EventRef<'_>, out: &mut impl BufMut) -> Result<(), EncodeError> {
        event.check()?;
        EncodeError::check_room(self.encoded_len(&event), out.remaining_mut())?;
        if let Some((millis, _)) = event.retry_millis() {
            out.put_slice(RETRY);
            out.put_slice(millis.to_string().as_bytes());
            out.put_u8(b'\n');
        }
        for (name, value) in event.fields() {
            out.put_slice(name.as_bytes());
            out.put_slice(value);
            out.put_u8(b'\n');
        }
        out.put_u8(b'\n');
        Ok(())
    }
}

const RETRY: &[u8] = b"retry: ";
