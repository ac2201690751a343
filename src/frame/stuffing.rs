//! Byte stuffing: flags stand between frames, and an escape stands before each byte that must not occur in them. HDLC
//! and KISS differ only in these bytes, and in the command at the start of a KISS frame.

use core::fmt::Debug;
use core::marker::PhantomData;

use super::sink::copied_len;
use super::{Decoder, EncodeError, Encoder, FrameError, FrameErrorKind, FrameSink, Payload, Reader};
use crate::pool::{AcquireError, PooledBuffer, PooledBytes};

/// The bytes that a framing uses.
pub trait Alphabet: Debug {
    /// What it decodes.
    type Frame;
    /// Ends a frame and begins the next.
    const FLAG: u8;
    /// Stands before what is escaped.
    const ESCAPE: u8;
    /// After an escape: a flag of the payload.
    const ESCAPED_FLAG: u8;
    /// After an escape: an escape of the payload.
    const ESCAPED_ESCAPE: u8;
    /// The low nibble of the command byte before every payload that is data, if there is one. The high nibble numbers a
    /// port. A command byte is never escaped.
    const COMMAND: Option<u8>;
    /// The longest payload that is accepted by default, in bytes.
    const MAX_FRAME: usize;

    /// The frame of a command byte, 0 if the framing has none, and a payload.
    fn frame(command: u8, payload: PooledBytes) -> Self::Frame;
}

/// A framing with byte stuffing: [`Hdlc`](super::Hdlc) or [`Kiss`](super::Kiss).
///
/// The decoder skips all bytes before the first flag, empty frames, and, unless they are
/// [asked for](Stuffing::with_commands), KISS commands other than data, whatever their length. It drops and counts frames
/// that are too short. After an error it continues at the next flag, and holds nothing of what it skips. If the stream
/// ends in a frame that was refused already, there is no second error.
///
/// A payload without an escape stays where it was read, if the [`ReadMode`](super::ReadMode) allows it. One with escapes
/// is put together in a buffer of its own class.
#[derive(Debug)]
pub struct Stuffing<A> {
    max_frame: usize,
    min_frame: usize,
    all_commands: bool,
    dropped: u64,
    /// The command byte of the frame under way.
    command: u8,
    place: Place,
    /// Bytes of the frame under way that were looked at, and are neither a flag nor the half of an escape.
    scanned: usize,
    /// Escapes among them.
    escapes: usize,
    alphabet: PhantomData<A>,
}

#[derive(Debug)]
enum Place {
    /// Before the first flag, or in a frame that is not decoded.
    Skipping,
    AfterFlag,
    /// After the first byte that is no flag; if there is a command, after the command.
    Inside,
}

impl<A: Alphabet> Stuffing<A> {
    /// Before the first flag of a stream. Refuses payloads of more than `max_frame` bytes.
    #[must_use]
    pub fn new(max_frame: usize) -> Self {
        Self {
            max_frame,
            min_frame: 1,
            all_commands: false,
            dropped: 0,
            command: 0,
            place: Place::Skipping,
            scanned: 0,
            escapes: 0,
            alphabet: PhantomData,
        }
    }

    /// Refuses payloads of more than `max_frame` bytes from now on.
    pub fn set_max_frame(&mut self, max_frame: usize) {
        self.max_frame = max_frame;
    }

    /// Drops payloads of fewer than `min_frame` bytes when it reads, and refuses them when it writes. Empty ones are
    /// always skipped.
    #[must_use]
    pub fn with_min_frame(self, min_frame: usize) -> Self {
        Self { min_frame: min_frame.max(1), ..self }
    }

    /// Decodes all commands, and not only data.
    pub(super) fn with_all_commands(self) -> Self {
        Self { all_commands: true, ..self }
    }

    /// Frames that were dropped because they were too short. Empty frames and KISS commands other than data do not
    /// count.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// `byte`, which is the next one, stands after a flag.
    fn enter(&mut self, byte: u8, input: &mut Reader<'_>) {
        match A::COMMAND {
            _ if byte == A::FLAG => input.skip(1),
            Some(command) if byte & 0x0F != command && (!self.all_commands || byte == A::ESCAPE) => {
                self.place = Place::Skipping;
            }
            Some(_) => {
                self.command = byte;
                input.skip(1);
                self.place = Place::Inside;
            }
            None => self.place = Place::Inside,
        }
    }

    /// Takes what is there up to and including the next flag; `false` if the flag is not there yet.
    fn skip(&mut self, input: &mut Reader<'_>) -> bool {
        let flag = input.find(A::FLAG, 0);
        input.skip(flag.map_or(input.remaining(), |at| at + 1));
        self.go_to(if flag.is_some() { Place::AfterFlag } else { Place::Skipping });
        flag.is_some()
    }

    /// How many bytes stand before the flag that ends the frame.
    fn scan(&mut self, input: &mut Reader<'_>) -> Result<Option<usize>, FrameError> {
        loop {
            let special = input.find_either(A::FLAG, A::ESCAPE, self.scanned);
            let at = special.unwrap_or(input.remaining());
            let max = self.max_frame;
            if at.saturating_sub(self.escapes) > max {
                let kind = FrameErrorKind::MessageTooLarge { size: max.saturating_add(1), max };
                return Err(self.skip_frame(kind, at, input));
            }
            self.scanned = at;
            if special.is_none() || input.peek_at(at) == Some(A::FLAG) {
                return Ok(special);
            }
            let Some(byte) = input.peek_at(at + 1) else { return Ok(None) };
            if unescaped::<A>(byte).is_none() {
                let offset = input.offset() + at as u64;
                // The byte stays: it may be a flag.
                input.skip(at + 1);
                self.go_to(Place::Skipping);
                return Err(FrameError::new(FrameErrorKind::BadEscape { byte }, offset));
            }
            self.scanned += 2;
            self.escapes += 1;
        }
    }

    /// Takes `count` bytes of the frame, whose rest is then skipped.
    fn skip_frame(&mut self, kind: FrameErrorKind, count: usize, input: &mut Reader<'_>) -> FrameError {
        let start = input.offset() - self.taken() as u64;
        input.skip(count);
        self.go_to(Place::Skipping);
        FrameError::new(kind, start)
    }

    /// The payload of the next `end` bytes, if it is long enough. They are taken, unless there is an error.
    fn take(&mut self, end: usize, input: &mut Reader<'_>) -> Result<Option<PooledBytes>, AcquireError> {
        let len = end.saturating_sub(self.escapes);
        let is_data = A::COMMAND.is_none_or(|command| self.command & 0x0F == command);
        if is_data && len < self.min_frame {
            self.dropped += u64::from(len > 0);
            input.skip(end);
            return Ok(None);
        }
        if self.escapes == 0 {
            return input.take(end);
        }
        let mut payload = input.acquire(len)?;
        unescape::<A>(input.look(end).unwrap_or_default(), &mut payload);
        input.skip(end);
        Ok(Some(payload.into_shared()))
    }

    fn go_to(&mut self, place: Place) {
        (self.place, self.scanned, self.escapes) = (place, 0, 0);
    }

    /// Bytes of the frame under way that were taken: its command.
    fn taken(&self) -> usize {
        usize::from(matches!(self.place, Place::Inside) && A::COMMAND.is_some())
    }
}

/// With the framing's own limits.
impl<A: Alphabet> Default for Stuffing<A> {
    fn default() -> Self {
        Self::new(A::MAX_FRAME)
    }
}

impl<A: Alphabet> Decoder for Stuffing<A> {
    /// The payload, without flags and escapes; for KISS, with its command.
    type Frame = A::Frame;

    /// # Errors
    ///
    /// None is fatal. The offset is that of the frame's first byte after the flag, or of the escape.
    /// - [`MessageTooLarge`](FrameErrorKind::MessageTooLarge) as soon as the payload is over the limit, so its size is
    ///   given as the limit plus 1.
    /// - [`BadEscape`](FrameErrorKind::BadEscape).
    /// - [`OutOfMemory`](FrameErrorKind::OutOfMemory) if the memory limit leaves no memory for the frame.
    fn decode(&mut self, input: &mut Reader<'_>) -> Result<Option<A::Frame>, FrameError> {
        loop {
            match self.place {
                Place::Skipping => {
                    if !self.skip(input) {
                        return Ok(None);
                    }
                }
                Place::AfterFlag => {
                    let Some(byte) = input.peek() else { return Ok(None) };
                    self.enter(byte, input);
                }
                Place::Inside => {
                    let Some(end) = self.scan(input)? else { return Ok(None) };
                    let payload = self.take(end, input).map_err(|error| self.refuse(input, error))?;
                    input.skip(1);
                    self.go_to(Place::AfterFlag);
                    if let Some(payload) = payload {
                        return Ok(Some(A::frame(self.command, payload)));
                    }
                }
            }
        }
    }

    fn needs(&self) -> usize {
        1
    }

    fn is_partial(&self) -> bool {
        self.taken() > 0
    }

    fn refuse(&mut self, input: &mut Reader<'_>, error: AcquireError) -> FrameError {
        let refused = self.skip_frame(FrameErrorKind::OutOfMemory(error), 0, input);
        self.skip(input);
        refused
    }

    /// # Errors
    ///
    /// [`Truncated`](FrameErrorKind::Truncated) if a frame has begun.
    fn finish(&mut self, input: &mut Reader<'_>) -> Result<(), FrameError> {
        let received = self.taken() + input.remaining();
        self.go_to(Place::Skipping);
        // All of a refused frame was taken.
        if received == 0 {
            return Ok(());
        }
        let kind = FrameErrorKind::Truncated { received, expected: received + 1 };
        Err(FrameError::fatal(kind, input.offset() + input.remaining() as u64))
    }
}

/// A payload; for KISS, as data for port 0.
impl<A: Alphabet, P: Payload> Encoder<P> for Stuffing<A> {
    fn encoded_len(&self, payload: &P) -> usize {
        self.wire_len(payload)
    }

    fn copied_len(&self, payload: &P) -> usize {
        self.copied(payload)
    }

    /// # Errors
    ///
    /// [`EncodeError::MessageTooShort`] if a reader with the same minimum would drop the payload.
    /// [`EncodeError::NoRoom`].
    fn encode(&self, payload: P, out: &mut impl FrameSink) -> Result<(), EncodeError> {
        self.encode_with(A::COMMAND, payload, out)
    }
}

/// The encoder, which is the same for any command byte.
impl<A: Alphabet> Stuffing<A> {
    pub(super) fn wire_len(&self, payload: &impl Payload) -> usize {
        let bytes = payload.as_ref();
        let escapes = memchr::memchr2_iter(A::FLAG, A::ESCAPE, bytes).count();
        2 + usize::from(A::COMMAND.is_some()) + bytes.len() + escapes
    }

    pub(super) fn copied<P: Payload>(&self, payload: &P) -> usize {
        let bytes = payload.as_ref();
        let (mut start, mut copied) = (0, 2 + usize::from(A::COMMAND.is_some()));
        for at in memchr::memchr2_iter(A::FLAG, A::ESCAPE, bytes) {
            copied += copied_len::<P>(at - start) + 2;
            start = at + 1;
        }
        copied + copied_len::<P>(bytes.len() - start)
    }

    pub(super) fn encode_with(
        &self,
        command: Option<u8>,
        payload: impl Payload,
        out: &mut impl FrameSink,
    ) -> Result<(), EncodeError> {
        let (size, min) = (payload.payload_len(), self.min_frame);
        let is_data = command.map(|byte| byte & 0x0F) == A::COMMAND;
        if is_data && size < min {
            return Err(EncodeError::MessageTooShort { size, min });
        }
        EncodeError::check_room(self.wire_len(&payload), out.room())?;
        match command {
            None => out.push_copy(&[A::FLAG]),
            Some(command) => out.push_copy(&[A::FLAG, command]),
        }
        let (bytes, mut start) = (payload.as_ref(), 0);
        for at in memchr::memchr2_iter(A::FLAG, A::ESCAPE, bytes) {
            payload.push_part(start..at, out);
            let is_flag = bytes.get(at) == Some(&A::FLAG);
            out.push_copy(&[A::ESCAPE, if is_flag { A::ESCAPED_FLAG } else { A::ESCAPED_ESCAPE }]);
            start = at + 1;
        }
        payload.push_rest(start, out);
        out.push_copy(&[A::FLAG]);
        Ok(())
    }
}

/// What a byte after an escape stands for.
fn unescaped<A: Alphabet>(byte: u8) -> Option<u8> {
    match byte {
        _ if byte == A::ESCAPED_FLAG => Some(A::FLAG),
        _ if byte == A::ESCAPED_ESCAPE => Some(A::ESCAPE),
        _ => None,
    }
}

fn unescape<A: Alphabet>(mut stuffed: &[u8], payload: &mut PooledBuffer) {
    while let Some(at) = memchr::memchr(A::ESCAPE, stuffed)
        && let Some((plain, &[_, byte, ref rest @ ..])) = stuffed.split_at_checked(at)
    {
        payload.extend_from_slice(plain);
        payload.extend_from_slice(unescaped::<A>(byte).as_slice());
        stuffed = rest;
    }
    payload.extend_from_slice(stuffed);
}
