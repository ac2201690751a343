//! Byte stuffing: frames stand between flags, and an escape stands before what must not occur in them. HDLC and
//! KISS differ in their bytes only, and in the command that a KISS frame begins with.

use super::sink::copied_len;
use super::{EncodeError, FrameError, FrameErrorKind, FrameSink, Payload, Reader};
use crate::pool::{PooledBuffer, PooledBytes};

/// The bytes that a framing uses.
#[derive(Debug)]
pub(super) struct Alphabet {
    /// Ends a frame and begins the next.
    pub(super) flag: u8,
    pub(super) escape: u8,
    /// Behind an escape: a flag of the payload.
    pub(super) escaped_flag: u8,
    /// Behind an escape: an escape of the payload.
    pub(super) escaped_escape: u8,
    /// In front of every payload, never escaped. Only its low nibble counts: the high one numbers a port.
    pub(super) command: Option<u8>,
}

impl Alphabet {
    pub(super) fn encoded_len(&self, payload: &[u8]) -> usize {
        let escapes = memchr::memchr2_iter(self.flag, self.escape, payload).count();
        2 + usize::from(self.command.is_some()) + payload.len() + escapes
    }

    pub(super) fn copied_len<P: Payload>(&self, payload: &P) -> usize {
        let bytes = payload.as_ref();
        let (mut start, mut copied) = (0, 2 + usize::from(self.command.is_some()));
        for at in memchr::memchr2_iter(self.flag, self.escape, bytes) {
            copied += copied_len::<P>(at - start) + 2;
            start = at + 1;
        }
        copied + copied_len::<P>(bytes.len() - start)
    }

    pub(super) fn encode<P: Payload>(&self, payload: P, out: &mut impl FrameSink) -> Result<(), EncodeError> {
        let bytes = payload.as_ref();
        EncodeError::check_room(self.encoded_len(bytes), out.room())?;
        match self.command {
            None => out.push_copy(&[self.flag]),
            Some(command) => out.push_copy(&[self.flag, command]),
        }
        let mut start = 0;
        for at in memchr::memchr2_iter(self.flag, self.escape, bytes) {
            payload.push_part(start..at, out);
            let is_flag = bytes.get(at) == Some(&self.flag);
            out.push_copy(&[self.escape, if is_flag { self.escaped_flag } else { self.escaped_escape }]);
            start = at + 1;
        }
        payload.push_rest(start, out);
        out.push_copy(&[self.flag]);
        Ok(())
    }

    /// What a byte behind an escape stands for.
    fn unescaped(&self, byte: u8) -> Option<u8> {
        match byte {
            _ if byte == self.escaped_flag => Some(self.flag),
            _ if byte == self.escaped_escape => Some(self.escape),
            _ => None,
        }
    }

    fn unescape(&self, mut stuffed: &[u8], payload: &mut PooledBuffer) {
        while let Some(at) = memchr::memchr(self.escape, stuffed)
            && let Some((plain, &[_, byte, ref behind @ ..])) = stuffed.split_at_checked(at)
        {
            payload.extend_from_slice(plain);
            payload.extend_from_slice(self.unescaped(byte).as_slice());
            stuffed = behind;
        }
        payload.extend_from_slice(stuffed);
    }
}

/// The decoder. It leaves a frame where it lies until all of it is there, and remembers how far it has looked.
#[derive(Debug)]
pub(super) struct Unstuffing {
    alphabet: &'static Alphabet,
    max_frame: usize,
    pub(super) min_frame: usize,
    pub(super) dropped: u64,
    place: Place,
    /// Bytes of the frame under way that were looked at, and are neither a flag nor the half of an escape.
    scanned: usize,
    /// Escapes among them.
    escapes: usize,
}

#[derive(Debug)]
enum Place {
    /// Before the first flag, or in a frame that was refused or is none of ours.
    Skipping,
    BehindFlag,
    /// Behind the first byte that is no flag; behind the command, if there is one.
    Inside,
}

impl Unstuffing {
    pub(super) fn new(alphabet: &'static Alphabet, max_frame: usize, min_frame: usize) -> Self {
        let place = Place::Skipping;
        Self { alphabet, max_frame, min_frame, dropped: 0, place, scanned: 0, escapes: 0 }
    }

    pub(super) fn decode(&mut self, input: &mut Reader<'_>) -> Result<Option<PooledBytes>, FrameError> {
        loop {
            match self.place {
                Place::Skipping => {
                    let Some(at) = input.find(self.alphabet.flag, 0) else {
                        input.skip(input.remaining());
                        return Ok(None);
                    };
                    input.skip(at + 1);
                    self.place = Place::BehindFlag;
                }
                Place::BehindFlag => {
                    let Some(byte) = input.peek() else { return Ok(None) };
                    self.enter(byte, input);
                }
                Place::Inside => {
                    let Some(end) = self.scan(input)? else { return Ok(None) };
                    let payload = self.take(end, input);
                    input.skip(1);
                    self.go_to(Place::BehindFlag);
                    if payload.is_some() {
                        return Ok(payload);
                    }
                }
            }
        }
    }

    pub(super) fn is_partial(&self) -> bool {
        self.taken() > 0
    }

    pub(super) fn finish(&mut self, input: &mut Reader<'_>) -> Result<(), FrameError> {
        let received = self.taken() + input.remaining();
        self.go_to(Place::Skipping);
        // Of a frame that was refused everything was taken.
        if received == 0 {
            return Ok(());
        }
        let kind = FrameErrorKind::Truncated { received, expected: received + 1 };
        Err(FrameError::fatal(kind, input.offset() + input.remaining() as u64))
    }

    /// `byte`, which is the next one, stands behind a flag.
    fn enter(&mut self, byte: u8, input: &mut Reader<'_>) {
        match self.alphabet.command {
            _ if byte == self.alphabet.flag => input.skip(1),
            Some(command) if byte & 0x0F != command => self.place = Place::Skipping,
            command => {
                input.skip(usize::from(command.is_some()));
                self.place = Place::Inside;
            }
        }
    }

    /// How many bytes stand before the flag that ends the frame.
    fn scan(&mut self, input: &mut Reader<'_>) -> Result<Option<usize>, FrameError> {
        let Alphabet { flag, escape, .. } = *self.alphabet;
        loop {
            let special = input.find_either(flag, escape, self.scanned);
            let at = special.unwrap_or(input.remaining());
            let max = self.max_frame;
            if at.saturating_sub(self.escapes) > max {
                let start = input.offset() - self.taken() as u64;
                input.skip(at);
                self.go_to(Place::Skipping);
                let kind = FrameErrorKind::MessageTooLarge { size: max.saturating_add(1), max };
                return Err(FrameError::new(kind, start));
            }
            self.scanned = at;
            if special.is_none() || input.peek_at(at) == Some(flag) {
                return Ok(special);
            }
            let Some(byte) = input.peek_at(at + 1) else { return Ok(None) };
            if self.alphabet.unescaped(byte).is_none() {
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

    /// The payload of the next `end` bytes, if it is long enough; they are taken in any case.
    fn take(&mut self, end: usize, input: &mut Reader<'_>) -> Option<PooledBytes> {
        let len = end.saturating_sub(self.escapes);
        if len < self.min_frame.max(1) {
            self.dropped += u64::from(len > 0);
            input.skip(end);
            return None;
        }
        if self.escapes == 0 {
            return input.take(end);
        }
        let mut payload = input.pool().acquire(len);
        self.alphabet.unescape(input.look(end)?, &mut payload);
        input.skip(end);
        Some(payload.into_shared())
    }

    fn go_to(&mut self, place: Place) {
        (self.place, self.scanned, self.escapes) = (place, 0, 0);
    }

    /// Bytes of the frame under way that were taken: its command.
    fn taken(&self) -> usize {
        usize::from(matches!(self.place, Place::Inside) && self.alphabet.command.is_some())
    }
}
