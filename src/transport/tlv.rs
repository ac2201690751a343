//! TLV frames over any tokio reader or writer, straight between the socket and the pooled buffer.

use std::error::Error;
use std::{fmt, io};

use bytes::Buf;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::frame::tlv::{DEFAULT_MAX_PAYLOAD, Frame, HEADER_LEN, Header, PartialFrame, TlvError};
use crate::pool::BufferPool;

/// Reads one frame with a payload of at most [`DEFAULT_MAX_PAYLOAD`] bytes; see
/// [`read_frame_pooled_with`].
///
/// # Errors
///
/// As [`read_frame_pooled_with`].
///
/// # Cancel safety
///
/// As [`read_frame_pooled_with`].
///
/// # Examples
///
/// ```
/// use millpond::transport::{read_frame_pooled, write_frame};
/// use millpond::{BufferPool, BufferPoolConfig};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = BufferPool::new(BufferPoolConfig::proxy());
/// let (mut here, mut there) = tokio::io::duplex(64);
/// write_frame(&mut here, 1001, b"hello").await?;
/// drop(here);
///
/// while let Some(frame) = read_frame_pooled(&mut there, &pool).await? {
///     assert_eq!((frame.type_id, frame.payload.as_ref()), (1001, b"hello".as_slice()));
/// }
/// # Ok(())
/// # }
/// ```
pub async fn read_frame_pooled<R>(reader: &mut R, pool: &BufferPool) -> Result<Option<Frame>, ReadFrameError>
where
    R: AsyncRead + Unpin,
{
    read_frame_pooled_with(reader, pool, DEFAULT_MAX_PAYLOAD).await
}

/// Reads one frame with a payload of at most `max_payload` bytes. `None`: the stream ended between frames.
///
/// The payload is read straight into a pooled buffer of its own class; while the pool can serve that class
/// nothing is copied and nothing is allocated. A payload that no class can hold is given room as its bytes
/// arrive, from 64 KiB upward. Never reads beyond the frame, so a socket sees one read for the header and at
/// least one for the payload: wrap it in a [`BufReader`](tokio::io::BufReader) when messages are small.
///
/// # Errors
///
/// [`ReadFrameErrorKind::Protocol`] for a payload over the limit (before a byte of it is read or reserved)
/// and for a stream that ends inside the frame; [`ReadFrameErrorKind::Io`] for what the reader reports. The
/// buffer is back in the pool, and the stream is of no further use.
///
/// # Cancel safety
///
/// Until the first byte of a frame has arrived, dropping the future loses nothing. From then on the bytes
/// read so far are lost and the stream is no longer at the start of a frame, so it must be closed; the
/// buffer goes back to the pool. Do not race this against a timer and then read on.
pub async fn read_frame_pooled_with<R>(
    reader: &mut R,
    pool: &BufferPool,
    max_payload: usize,
) -> Result<Option<Frame>, ReadFrameError>
where
    R: AsyncRead + Unpin,
{
    let Some(bytes) = read_header(reader).await? else { return Ok(None) };
    let mut partial = PartialFrame::with_room_for(Header::decode(&bytes, max_payload)?, pool);
    while partial.missing() > 0 {
        if reader.read_buf(&mut partial.room()).await? == 0 {
            return Err(partial.truncated().into());
        }
    }
    Ok(Some(partial.into_frame()))
}

/// Writes one frame. A writer that can gather takes header and payload in one call, without a copy or an
/// allocation; one that cannot gets them one after the other, so put a
/// [`BufWriter`](tokio::io::BufWriter) over it. Does not flush.
///
/// # Errors
///
/// What the writer reports, with [`io::ErrorKind::WriteZero`] for one that takes no more bytes, and
/// [`io::ErrorKind::InvalidInput`] around a [`TlvError`] for a payload whose length is no `u32`: nothing was
/// written then.
///
/// # Cancel safety
///
/// Not cancel safe: a dropped future may have written a part of the frame, and then the stream must be
/// closed.
pub async fn write_frame<W>(writer: &mut W, type_id: u16, payload: &[u8]) -> io::Result<()>
where
    W: AsyncWrite + Unpin,
{
    let header = Header::new(type_id, payload.len())
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?
        .encode();
    writer.write_all_buf(&mut Buf::chain(header.as_slice(), payload)).await
}

/// Why no frame could be read. [`kind`](Self::kind) tells a peer that broke the protocol from a connection
/// that broke; the [`source`](Error::source) is the [`TlvError`] or the [`io::Error`] itself.
#[derive(Debug)]
pub struct ReadFrameError(Cause);

/// What a [`ReadFrameError`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadFrameErrorKind {
    /// The bytes are no frame: close the connection.
    Protocol(TlvError),
    /// The reader failed.
    Io(io::ErrorKind),
}

impl ReadFrameError {
    /// What the error is about.
    #[must_use]
    pub fn kind(&self) -> ReadFrameErrorKind {
        match &self.0 {
            Cause::Protocol(error) => ReadFrameErrorKind::Protocol(*error),
            Cause::Io(error) => ReadFrameErrorKind::Io(error.kind()),
        }
    }
}

impl fmt::Display for ReadFrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Cause::Protocol(_) => "the peer broke the framing",
            Cause::Io(_) => "reading a frame failed",
        })
    }
}

impl Error for ReadFrameError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0 {
            Cause::Protocol(error) => Some(error),
            Cause::Io(error) => Some(error),
        }
    }
}

impl From<TlvError> for ReadFrameError {
    fn from(error: TlvError) -> Self {
        Self(Cause::Protocol(error))
    }
}

impl From<io::Error> for ReadFrameError {
    fn from(error: io::Error) -> Self {
        Self(Cause::Io(error))
    }
}

#[derive(Debug)]
enum Cause {
    Protocol(TlvError),
    Io(io::Error),
}

async fn read_header<R>(reader: &mut R) -> Result<Option<[u8; HEADER_LEN]>, ReadFrameError>
where
    R: AsyncRead + Unpin,
{
    let mut bytes = [0; HEADER_LEN];
    let mut unread = bytes.as_mut_slice();
    while !unread.is_empty() {
        if reader.read_buf(&mut unread).await? == 0 {
            return match HEADER_LEN - unread.len() {
                0 => Ok(None),
                received => Err(TlvError::Truncated { received, expected: HEADER_LEN }.into()),
            };
        }
    }
    Ok(Some(bytes))
}
