//! One TLV frame at a time, read into a pooled buffer or written from one.

use std::io;

use bytes::Buf;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::frame_reader::{FrameReader, ReadFrameError};
use crate::frame::tlv::{DEFAULT_MAX_PAYLOAD, Frame, Header, Tlv};
use crate::frame::{Assembler, ReadMode};
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
/// use millpond::net::{read_frame_pooled, write_frame};
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

/// Reads one frame with a payload of at most `max_payload` bytes. `None` means that the stream ended between frames.
///
/// It never reads beyond the frame, so it takes one read for the header and at least one for the payload. For many
/// frames use a [`FrameReader`], which reads ahead.
///
/// # Errors
///
/// [`ReadFrameError`]. The buffer was returned to the pool, and the stream is of no further use.
///
/// # Cancel safety
///
/// Not cancel safe once the first byte of a frame has arrived: the bytes read so far are lost, so the stream must be
/// closed. Do not race this against a timer and then read again. Before the first byte nothing is lost. The buffer is
/// returned to the pool in any case.
pub async fn read_frame_pooled_with<R>(
    reader: &mut R,
    pool: &BufferPool,
    max_payload: usize,
) -> Result<Option<Frame>, ReadFrameError>
where
    R: AsyncRead + Unpin,
{
    let frames = Assembler::new(Tlv::new(max_payload), pool.clone(), ReadMode::PerFrame);
    FrameReader::new(reader, frames.without_read_ahead()).next_frame().await
}

/// Writes one frame. Does not flush.
///
/// A writer with vectored writes gets header and payload in one call, without a copy or an allocation. Any other gets
/// them in two calls, so wrap it in a [`BufWriter`](tokio::io::BufWriter).
///
/// # Errors
///
/// The writer's errors, and [`io::ErrorKind::WriteZero`] if it takes no more bytes. If the payload's length does not
/// fit a `u32`, nothing is written, and the error is [`io::ErrorKind::InvalidInput`] around an
/// [`EncodeError`](crate::frame::EncodeError).
///
/// # Cancel safety
///
/// Not cancel safe: a part of the frame may have been written, so the stream must be closed.
pub async fn write_frame<W>(writer: &mut W, type_id: u16, payload: &[u8]) -> io::Result<()>
where
    W: AsyncWrite + Unpin,
{
    let header = Header::new(type_id, payload.len())
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?
        .encode();
    writer.write_all_buf(&mut Buf::chain(header.as_slice(), payload)).await
}
