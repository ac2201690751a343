//! Server-sent events: the event stream of the WHATWG's HTML standard, section 9.2.
//!
//! ```text
//! event: message
//! id: 7
//! data: {"jsonrpc":"2.0",
//! data: "id":1}
//!
//! ```
//!
//! Lines end in LF, CR or CRLF, a blank one ends the event, and one that begins with a colon is a comment. The lines of
//! `data` are joined with line feeds. An event without data only sets the id.
//!
//! What the standard decodes as UTF-8 stays bytes here; a byte order mark at the start of the stream is skipped.
//!
//! # Examples
//!
//! ```
//! use millpond::frame::{Assembler, ReadMode, Sse};
//! use millpond::{BufferPool, BufferPoolConfig};
//!
//! let pool = BufferPool::new(BufferPoolConfig::messages());
//! let mut events = Assembler::new(Sse::default(), pool, ReadMode::PerFrame);
//! events.push(&mut &b"event: endpoint\ndata: /messages?session=7\n\n: still here\n"[..])?;
//! let event = events.next_frame()?.unwrap();
//! assert_eq!(event.event.unwrap(), b"endpoint");
//! assert_eq!(event.data, b"/messages?session=7");
//! assert_eq!(events.next_frame()?, None);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod block;
mod encode;
mod line_ends;
#[cfg(test)]
mod tests;

use core::time::Duration;

use self::block::Block;
use self::line_ends::LineEnds;
use super::{Decoder, FrameError, FrameErrorKind, Reader};
use crate::pool::{AcquireError, PooledBytes};

/// The largest event accepted by default, in bytes as it arrives, from its first line to the blank one: 1 MiB, as for
/// [`lines`](super::lines).
pub const DEFAULT_MAX_EVENT: usize = 1024 * 1024;

/// The longest [retry time](Sse::retry): a year. A longer one is shortened to it, so that no peer can choose a time that
/// overflows a clock.
pub const MAX_RETRY: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Three bytes at the start of a stream without a meaning.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// One event: as it was decoded, or to be encoded, with any [`Payload`](super::Payload) for its fields.
///
/// # Examples
///
/// ```
/// use millpond::frame::{Encoder, Sse, sse::Event};
///
/// let event = Event::new(&b"one\ntwo"[..]).with_type(b"message");
/// let mut wire = Vec::new();
/// Sse::default().encode(event, &mut wire)?;
/// assert_eq!(wire, b"event: message\ndata: one\ndata: two\n\n");
/// # Ok::<(), millpond::frame::EncodeError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event<P = PooledBytes> {
    /// Its type. `None`, or an empty one on the wire, means `message`.
    pub event: Option<P>,
    /// Its data, the lines joined with line feeds. The data of a single line is not copied if the
    /// [`ReadMode`](super::ReadMode) lets it stay where it was read.
    pub data: P,
    /// Decoded: the last id that the stream has set, with this event or before it; `None` if there is none or it is
    /// empty. To be encoded: the id to set, where an empty one takes back the last.
    pub id: Option<P>,
    /// How long to wait before connecting again, if this event says so. Decoded: at most [`MAX_RETRY`]. Whole
    /// milliseconds are encoded.
    pub retry: Option<Duration>,
}

impl<P> Event<P> {
    /// An event of the type `message`, without an id.
    #[must_use]
    pub fn new(data: P) -> Self {
        Self { event: None, data, id: None, retry: None }
    }

    /// With this type.
    #[must_use]
    pub fn with_type(self, event: P) -> Self {
        Self { event: Some(event), ..self }
    }

    /// With this id.
    #[must_use]
    pub fn with_id(self, id: P) -> Self {
        Self { id: Some(id), ..self }
    }

    /// With this time to wait before connecting again.
    #[must_use]
    pub fn with_retry(self, retry: Duration) -> Self {
        Self { retry: Some(retry), ..self }
    }
}

/// The framing.
///
/// The decoder skips a refused event up to its blank line, holds nothing of it, and does not set its id. It discards a
/// last event without its blank line, as the standard demands; that is no error.
///
/// Between events it holds the last id, in a buffer of the id's class, and nothing else.
#[derive(Debug)]
pub struct Sse {
    max_event: usize,
    id: Option<PooledBytes>,
    retry: Option<Duration>,
    state: State,
    /// How far it has looked. While it skips, it takes everything that it has looked at.
    lines: LineEnds,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// Before the first byte, where a byte order mark may stand.
    Start,
    /// In an event, or between two.
    Event,
    /// In a refused event.
    Skipping,
}

impl Sse {
    /// At the start of a stream. Refuses events of more than `max_event` bytes as they arrive, without their blank
    /// lines.
    #[must_use]
    pub fn new(max_event: usize) -> Self {
        Self { max_event, id: None, retry: None, state: State::Start, lines: LineEnds::default() }
    }

    /// Refuses events of more than `max_event` bytes from now on.
    pub fn set_max_event(&mut self, max_event: usize) {
        self.max_event = max_event;
    }

    /// The last id that the stream has set: what to send as `Last-Event-ID` when connecting again.
    #[must_use]
    pub fn last_event_id(&self) -> Option<&PooledBytes> {
        self.id.as_ref()
    }

    /// How long to wait before connecting again: the last such time in the stream, at most [`MAX_RETRY`]. It counts once
    /// its line has arrived, even if the event is refused later.
    #[must_use]
    pub fn retry(&self) -> Option<Duration> {
        self.retry
    }

    /// Whether the start of the stream is over, which takes up to three bytes to see.
    fn start(&mut self, input: &mut Reader<'_>) -> bool {
        let len = input.remaining().min(BYTE_ORDER_MARK.len());
        let is_mark = input.look(len).is_some_and(|bytes| BYTE_ORDER_MARK.starts_with(bytes));
        if is_mark && len < BYTE_ORDER_MARK.len() {
            return false;
        }
        if is_mark {
            input.skip(len);
        }
        self.state = State::Event;
        true
    }

    /// Whether the blank line of the refused event has arrived. All bytes before it are taken.
    fn skip(&mut self, input: &mut Reader<'_>) -> bool {
        let mut is_over = false;
        while !is_over && let Some(end) = self.lines.next_end(input) {
            is_over = end.is_blank;
        }
        input.skip(self.lines.restart());
        if is_over {
            self.state = State::Event;
        }
        is_over
    }

    /// How many bytes of an event, at least one line, stand before its blank line.
    fn scan(&mut self, input: &mut Reader<'_>) -> Result<Option<usize>, FrameError> {
        loop {
            self.lines.skip_second_half(input);
            let is_first = self.lines.ended() == 0;
            let end = self.lines.next_end(input);
            let (size, is_blank) = end.map_or((input.remaining(), false), |end| (end.at, end.is_blank));
            if size > self.max_event {
                let max = self.max_event;
                let kind = FrameErrorKind::MessageTooLarge { size: max.saturating_add(1), max };
                return Err(self.skip_event(kind, is_blank, input));
            }
            match end {
                None => return Ok(None),
                Some(end) if is_blank && !is_first => return Ok(Some(end.at)),
                // A comment before an event is not kept until the event arrives: that may take days.
                Some(_) if is_blank || (is_first && input.peek() == Some(b':')) => {
                    input.skip(self.lines.restart());
                }
                Some(end) => {
                    let line = input.look(end.at).and_then(|lines| lines.get(end.start..));
                    self.retry = line.and_then(block::retry).or(self.retry);
                }
            }
        }
    }

    /// Takes what was looked at of an event that is refused: all of it, if it `is_over`, with its blank line.
    fn skip_event(&mut self, kind: FrameErrorKind, is_over: bool, input: &mut Reader<'_>) -> FrameError {
        let refused = FrameError::new(kind, input.offset());
        input.skip(self.lines.restart());
        self.state = if is_over { State::Event } else { State::Skipping };
        refused
    }

    /// The event whose lines are the next `len` bytes, if it has data. They and the blank line are taken.
    fn dispatch(&mut self, len: usize, input: &mut Reader<'_>) -> Result<Option<Event>, FrameError> {
        let start = input.offset();
        let end = start + self.lines.restart() as u64;
        let event = self.take_event(len, input);
        input.skip((end - input.offset()) as usize);
        event.map_err(|error| FrameError::new(FrameErrorKind::OutOfMemory(error), start))
    }

    /// Takes at most the next `len` bytes, and changes nothing if there is an error.
    fn take_event(&mut self, len: usize, input: &mut Reader<'_>) -> Result<Option<Event>, AcquireError> {
        let block = Block::parse(input.look(len).unwrap_or_default());
        let new_id = block.id.filter(|&id| id != self.id.as_deref().unwrap_or_default());
        let new_id = new_id.map(|id| copied(id, input)).transpose()?;
        let event = block.event.filter(|_| block.data_lines > 0);
        let event = event.map(|event| copied(event, input)).transpose()?.flatten();
        let retry = block.retry;
        let data = match block.data_lines {
            0 => None,
            1 => {
                let (start, len) = (block.data_start, block.data_len);
                input.skip(start);
                input.take(len)?
            }
            _ => Some(block.join(input.acquire(block.data_len)?).into_shared()),
        };
        if let Some(id) = new_id {
            self.id = id;
        }
        Ok(data.map(|data| Event { event, data, id: self.id.clone(), retry }))
    }
}

/// With a limit of [`DEFAULT_MAX_EVENT`].
impl Default for Sse {
    fn default() -> Self {
        Self::new(DEFAULT_MAX_EVENT)
    }
}

impl Decoder for Sse {
    type Frame = Event;

    /// # Errors
    ///
    /// None is fatal, and the offset is that of the event's first byte.
    /// - [`MessageTooLarge`](FrameErrorKind::MessageTooLarge) as soon as what has arrived of the event is over the limit,
    ///   so its size is given as the limit plus 1.
    /// - [`OutOfMemory`](FrameErrorKind::OutOfMemory) if the memory limit leaves no memory for the event.
    fn decode(&mut self, input: &mut Reader<'_>) -> Result<Option<Event>, FrameError> {
        loop {
            let continues = match self.state {
                State::Start => self.start(input),
                State::Skipping => self.skip(input),
                State::Event => {
                    let Some(len) = self.scan(input)? else { return Ok(None) };
                    if let Some(event) = self.dispatch(len, input)? {
                        return Ok(Some(event));
                    }
                    true
                }
            };
            if !continues {
                return Ok(None);
            }
        }
    }

    fn needs(&self) -> usize {
        1
    }

    fn is_partial(&self) -> bool {
        false
    }

    fn refuse(&mut self, input: &mut Reader<'_>, error: AcquireError) -> FrameError {
        let refused = self.skip_event(FrameErrorKind::OutOfMemory(error), false, input);
        self.skip(input);
        refused
    }

    /// Never an error: what is left is discarded.
    fn finish(&mut self, input: &mut Reader<'_>) -> Result<(), FrameError> {
        input.skip(input.remaining());
        (self.state, self.lines) = (State::Start, LineEnds::default());
        Ok(())
    }
}

/// A copy in a buffer of its own class, as it may be kept for long; `None` for an empty one.
fn copied(bytes: &[u8], input: &Reader<'_>) -> Result<Option<PooledBytes>, AcquireError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let mut copy = input.acquire(bytes.len())?;
    copy.extend_from_slice(bytes);
    Ok(Some(copy.into_shared()))
}
