//! The framings as codecs of `tokio_util`'s [`Framed`](tokio_util::codec::Framed), for programs that already use it.

use std::error::Error;
use std::ops::RangeInclusive;
use std::{fmt, io};

use bytes::BytesMut;
use tokio_util::codec;

use crate::frame::{Assembler, Decoder, EncodeError, Encoder, FrameError, ReadMode};
use crate::pool::{AcquireError, BufferPool, Lent, PooledBytes};
use crate::size::ReadSize;

/// A framing as a [`tokio_util::codec`] decoder and encoder, in buffers of a pool.
///
/// `Framed` hands its own two buffers to the codec. The codec exchanges their storage for that of pooled buffers, so that
/// a payload stays where it was read: no copy and no heap allocation per frame. Only what has arrived of a frame is copied
/// once the read buffer is too small for the rest.
///
/// - **At rest** the read buffer is one of the smaller read size, 8 KiB unless
///   [set](Self::with_read_sizes), or of the larger one if the last read filled its buffer. The write buffer is that of
///   the last message that was sent. Neither depends on the largest frame that was received. A
///   [`FrameReader`](super::FrameReader) and a [`FrameWriter`](super::FrameWriter) hold nothing at rest.
/// - **Payloads** are [`PooledBytes`](crate::PooledBytes), slices of the read, which they keep in use:
///   [`with_read_mode`](Self::with_read_mode) gives each frame a buffer of its own. As the only handle of a buffer they
///   turn into a plain [`Bytes`](bytes::Bytes) without a copy or an allocation, as one of several with one small
///   allocation.
/// - **Memory limit.** The codec never exceeds it. A frame for which there is no memory is skipped, with one error, which
///   is fatal if the framing cannot skip, as [`Tlv`](crate::frame::Tlv). Without memory to read into, or to write from,
///   `Framed` takes a few bytes, or the message, from the heap.
/// - Bytes that were read are in the codec, and not in `Framed`'s read buffer, until all frames of the read were taken:
///   [`into_parts`](Self::into_parts).
/// - A program may add to the read buffer, and exchange it for one with the same bytes, at the cost of a copy. It may take
///   bytes out of it only between two frames: the decoder has seen those of the frame under way.
/// - What `Framed` drops with its buffers is not [wiped](crate::BufferPoolConfigBuilder::wipe_on_return).
///
/// # Examples
///
/// ```
/// use futures_util::{SinkExt, StreamExt};
/// use millpond::frame::Hdlc;
/// use millpond::net::Codec;
/// use millpond::{BufferPool, BufferPoolConfig};
/// use tokio_util::codec::Framed;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = BufferPool::new(BufferPoolConfig::embedded());
/// let (here, there) = tokio::io::duplex(4096);
/// let mut sender = Framed::new(here, Codec::new(Hdlc::default(), pool.clone()));
/// let mut receiver = Framed::new(there, Codec::new(Hdlc::default(), pool));
///
/// sender.send(&b"a packet"[..]).await?;
/// assert_eq!(receiver.next().await.unwrap()??, *b"a packet");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Codec<F> {
    frames: Assembler<F>,
    /// The storage of `Framed`'s read buffer, and how much of it was written when it was lent.
    reading: Option<(Lent, usize)>,
    /// The storage of `Framed`'s write buffer.
    writing: Option<Lent>,
    /// The last read filled its buffer.
    filled: bool,
}

impl<F> Codec<F> {
    /// A codec for one stream, from its start.
    #[must_use]
    pub fn new(framing: F, pool: BufferPool) -> Self {
        let frames = Assembler::new(framing, pool, ReadMode::Batched { detach_below: 0 });
        Self { frames, reading: None, writing: None, filled: false }
    }

    /// Stores frames in this way. By default payloads stay where they were read, whatever their size:
    /// [`ReadMode::Batched`] that detaches none.
    #[must_use]
    pub fn with_read_mode(self, read_mode: ReadMode) -> Self {
        Self { frames: self.frames.with_read_mode(read_mode), ..self }
    }

    /// As [`Assembler::with_read_sizes`].
    #[must_use]
    pub fn with_read_sizes(self, sizes: RangeInclusive<usize>) -> Self {
        Self { frames: self.frames.with_read_sizes(sizes), ..self }
    }

    /// The framing.
    #[must_use]
    pub fn framing(&self) -> &F {
        self.frames.decoder()
    }

    /// The framing, for example to change a limit between two frames: see
    /// [`Tlv::set_max_payload`](crate::frame::Tlv::set_max_payload). Another one in its place knows nothing of the frame under way.
    pub fn framing_mut(&mut self) -> &mut F {
        self.frames.decoder_mut()
    }

    /// The framing, and the bytes that were read and not taken, if there are any. They come before those in the read
    /// buffer of [`FramedParts`](codec::FramedParts).
    #[must_use]
    pub fn into_parts(self) -> (F, Option<PooledBytes>) {
        self.frames.into_parts()
    }

    /// Lends `out` storage with room for `needed` more bytes. Without memory of the pool, `out` grows by itself.
    fn make_room(&mut self, out: &mut BytesMut, needed: usize) {
        let len = out.len() + needed;
        let size = len.max(ReadSize::at_most(self.frames.pool().largest_class()).size());
        let lent = self.writing.as_ref().map_or(0, Lent::capacity);
        // A large message must not keep its buffer after the next small one.
        let is_too_large = out.is_empty() && lent > size.saturating_mul(4);
        if lent > 0 && !is_too_large && out.try_reclaim(needed) {
            return;
        }
        let Ok(mut buffer) = self.frames.pool().acquire_within_limit(size) else {
            return out.reserve(needed);
        };
        buffer.extend_from_slice(out);
        out.clear();
        drop(self.writing.take().and_then(|lent| lent.take_back(out)));
        self.writing = Some(buffer.lend(out));
    }
}

impl<F: Decoder> Codec<F> {
    /// Takes back what was lent to `source`, with what was read into it.
    ///
    /// # Errors
    ///
    /// [`AcquireError`] if other storage is in its place, and there is no memory for a copy. All of it is in `source` then.
    fn end_read(&mut self, source: &mut BytesMut) -> Result<(), AcquireError> {
        let Some((lent, written)) = self.reading.take() else { return Ok(()) };
        let room = lent.capacity() - written;
        let buffer = match lent.take_back(source) {
            Some(buffer) => buffer,
            None if source.is_empty() => return Ok(()),
            // The program has exchanged it, or read more than fits. The decoder must see all that it has seen before.
            None => {
                let mut copy = self.frames.pool().acquire_within_limit(source.len() + 1)?;
                copy.extend_from_slice(source);
                source.clear();
                copy
            }
        };
        let count = buffer.len().saturating_sub(written);
        self.filled = count >= room;
        self.frames.end_read(buffer, count, room);
        Ok(())
    }
}

/// A frame, or the error of one, as the outcome of a codec.
fn item<T>(outcome: Result<T, FrameError>) -> Result<Option<Result<T, FrameError>>, CodecError> {
    match outcome {
        Err(error) if error.is_fatal() => Err(error.into()),
        outcome => Ok(Some(outcome)),
    }
}

impl<F: Decoder> codec::Decoder for Codec<F> {
    /// A frame, or why one was skipped. A skipped frame is an item and not an error of the codec, because `Framed` ends
    /// the stream at such an error.
    type Item = Result<F::Frame, FrameError>;
    type Error = CodecError;

    fn decode(&mut self, source: &mut BytesMut) -> Result<Option<Self::Item>, CodecError> {
        let mut outcome = match self.end_read(source) {
            Ok(()) => self.frames.next_frame(),
            Err(error) => self.frames.next_frame_of(source, error),
        };
        // `Framed`'s own buffer: the first one, or one that it made when there was no memory.
        while let Ok(None) = outcome
            && !source.is_empty()
        {
            outcome = match self.frames.push(source) {
                Ok(()) => self.frames.next_frame(),
                Err(error) => self.frames.next_frame_of(source, error),
            };
        }
        if let Some(outcome) = outcome.transpose() {
            return item(outcome);
        }
        match self.frames.begin_read(self.filled) {
            Ok(Some(buffer)) => {
                let written = buffer.len();
                self.reading = Some((buffer.lend(source), written));
                Ok(None)
            }
            Err(error) if self.frames.is_partial() => item(Err(self.frames.refuse(error))),
            // Nothing is under way. `Framed` learns with a few bytes of its own whether there is something to read.
            Ok(None) | Err(_) => Ok(None),
        }
    }

    fn decode_eof(&mut self, source: &mut BytesMut) -> Result<Option<Self::Item>, CodecError> {
        match self.decode(source)? {
            Some(outcome) => Ok(Some(outcome)),
            None => {
                // It is what `decode` has lent, so no copy can fail.
                self.end_read(source).ok();
                Ok(self.frames.finish().map(|()| None)?)
            }
        }
    }
}

impl<F: Encoder<M>, M> codec::Encoder<M> for Codec<F> {
    type Error = CodecError;

    fn encode(&mut self, message: M, out: &mut BytesMut) -> Result<(), CodecError> {
        self.make_room(out, self.frames.decoder().encoded_len(&message));
        let before = out.len();
        // A part of a frame would break the framing of those after it.
        let encoded = self.frames.decoder().encode(message, out).inspect_err(|_| out.truncate(before));
        Ok(encoded?)
    }
}

/// Why a [`Codec`] failed.
///
/// Its text names this layer only. The cause, with what the framing says, is the `source`: log both.
#[derive(Debug)]
#[non_exhaustive]
pub enum CodecError {
    /// The bytes are not a frame, and no frame can be found after them. `Framed` ends the stream.
    Frame(FrameError),
    /// The framing cannot carry the message.
    Encode(EncodeError),
    /// The reader or writer failed.
    Io(io::Error),
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frame(_) => f.write_str("the peer broke the framing"),
            Self::Encode(_) => f.write_str("the framing cannot carry the message"),
            Self::Io(_) => f.write_str("the connection failed"),
        }
    }
}

impl Error for CodecError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Frame(error) => Some(error),
            Self::Encode(error) => Some(error),
            Self::Io(error) => Some(error),
        }
    }
}

impl From<FrameError> for CodecError {
    fn from(error: FrameError) -> Self {
        Self::Frame(error)
    }
}

impl From<EncodeError> for CodecError {
    fn from(error: EncodeError) -> Self {
        Self::Encode(error)
    }
}

impl From<io::Error> for CodecError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}
