//! The framings as codecs of `tokio_util`'s [`Framed`](tokio_util::codec::Framed), for programs that already use it.

use std::error::Error;
use std::{fmt, io};

use bytes::{Buf, BytesMut};
use tokio_util::codec;

use crate::frame::{Decoder, EncodeError, Encoder, FrameError, Reader};
use crate::pool::BufferPool;

/// A framing as a [`tokio_util::codec`] decoder and encoder.
///
/// Payloads are copied from `Framed`'s own buffer into pooled buffers of their class, so there is no heap allocation
/// per frame, and no frame keeps `Framed`'s buffer alive. A [`FrameReader`](super::FrameReader) copies less: it reads
/// into pooled buffers, and holds none while there is nothing to read. `Framed` keeps its two buffers as long as it
/// lives.
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
/// sender.send(&b"a packet of more than nineteen bytes"[..]).await?;
/// assert_eq!(receiver.next().await.unwrap()??, *b"a packet of more than nineteen bytes");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Codec<F> {
    framing: F,
    pool: BufferPool,
    offset: u64,
}

impl<F> Codec<F> {
    /// A codec for one stream, from its start.
    #[must_use]
    pub fn new(framing: F, pool: BufferPool) -> Self {
        Self { framing, pool, offset: 0 }
    }

    fn read<T>(&mut self, source: &mut BytesMut, read: impl FnOnce(&mut F, &mut Reader<'_>) -> T) -> T {
        let mut taken = 0;
        let mut reader = Reader::of_foreign(source, &mut taken, &self.pool, self.offset);
        let outcome = read(&mut self.framing, &mut reader);
        self.offset = reader.offset();
        source.advance(taken);
        outcome
    }
}

impl<F: Decoder> codec::Decoder for Codec<F> {
    /// A frame, or why one was skipped. A skipped frame is an item and not an error of the codec, because `Framed` ends
    /// the stream at such an error.
    type Item = Result<F::Frame, FrameError>;
    type Error = CodecError;

    fn decode(&mut self, source: &mut BytesMut) -> Result<Option<Self::Item>, CodecError> {
        match self.read(source, F::decode) {
            Ok(None) => {
                // As in the assembler: a declared length reserves only in proportion to what has arrived.
                let missing = self.framing.needs().saturating_sub(source.len());
                source.reserve(missing.min(source.len().saturating_mul(3).max(8 * 1024)));
                Ok(None)
            }
            Err(error) if error.is_fatal() => Err(error.into()),
            outcome => Ok(outcome.transpose()),
        }
    }

    fn decode_eof(&mut self, source: &mut BytesMut) -> Result<Option<Self::Item>, CodecError> {
        match self.decode(source)? {
            Some(outcome) => Ok(Some(outcome)),
            None => {
                let finished = self.read(source, F::finish);
                source.clear();
                Ok(finished.map(|()| None)?)
            }
        }
    }
}

impl<F: Encoder<M>, M> codec::Encoder<M> for Codec<F> {
    type Error = CodecError;

    fn encode(&mut self, message: M, out: &mut BytesMut) -> Result<(), CodecError> {
        out.reserve(self.framing.encoded_len(&message));
        Ok(self.framing.encode(message, out)?)
    }
}

/// Why a [`Codec`] failed.
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
