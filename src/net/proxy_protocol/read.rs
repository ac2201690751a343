//! Exactly the PROXY header off an accepted connection.

use std::io;
use std::time::Duration;

use rustix::net::{RecvFlags, recv};
use tokio::io::{Interest, Ready};
use tokio::time::timeout;

use super::{ProxyHeader, ProxyHeaderError};
use crate::net::{AsyncStream, Stream};

impl Stream {
    /// Reads a PROXY header and not one byte more. While it waits it holds no memory: it peeks until the header is complete.
    ///
    /// # Errors
    ///
    /// A [`ProxyHeaderError`] within an [`InvalidData`](io::ErrorKind::InvalidData), and errors of the connection.
    /// [`UnexpectedEof`](io::ErrorKind::UnexpectedEof) if it ended without a byte, as the probes of some load balancers do.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: until it returns nothing is read.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use millpond::net::{Listener, ProxyHeader, Stream};
    /// use tokio::io::{AsyncReadExt, AsyncWriteExt};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let limit = Duration::from_secs(5);
    /// let listener = Listener::bind("127.0.0.1:0").await?;
    /// let mut client = Stream::connect(listener.local_endpoint().clone(), limit).await?;
    /// client.write_all(b"PROXY UNKNOWN\r\nhello").await?;
    ///
    /// let mut accepted = listener.accept().await?;
    /// assert_eq!(accepted.read_proxy_header(limit).await?, ProxyHeader::Local);
    /// let mut bytes = [0; 5];
    /// accepted.read_exact(&mut bytes).await?;
    /// assert_eq!(&bytes, b"hello");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn read_proxy_header(&mut self, limit: Duration) -> io::Result<ProxyHeader> {
        match timeout(limit, self.peek_proxy_header()).await {
            Err(_) => Err(ProxyHeaderError::Timeout.into()),
            Ok(decoded) => {
                let (header, length) = decoded?;
                // In a frame that is gone when this waits the next time.
                self.consume_peeked(&mut vec![0; length])?;
                Ok(header)
            }
        }
    }

    async fn peek_proxy_header(&self) -> io::Result<(ProxyHeader, usize)> {
        loop {
            let ready = self.readable().await?;
            match self.try_read_io(|| self.decode_peeked(ready.is_read_closed())) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                decoded => return decoded,
            }
        }
    }

    /// [`WouldBlock`](io::ErrorKind::WouldBlock) is the wish for more bytes: the next that come wake the task then. `is_closed` says
    /// that no more will, and was asked before the bytes are.
    fn decode_peeked(&self, is_closed: bool) -> io::Result<(ProxyHeader, usize)> {
        let mut bytes = [0; ProxyHeader::MAX_LENGTH];
        let (count, _) = match self {
            Self::Tcp(stream) => recv(stream, &mut bytes[..], RecvFlags::PEEK)?,
            Self::Unix(stream) => recv(stream, &mut bytes[..], RecvFlags::PEEK)?,
        };
        match ProxyHeader::decode(bytes.get(..count).unwrap_or_default())? {
            Some(decoded) => Ok(decoded),
            None if count == 0 => Err(io::ErrorKind::UnexpectedEof.into()),
            None if is_closed => {
                // After a reset, too, the bytes before it are there.
                let reset = match self {
                    Self::Tcp(stream) => stream.take_error()?,
                    Self::Unix(stream) => stream.take_error()?,
                };
                Err(reset.unwrap_or_else(|| ProxyHeaderError::Truncated.into()))
            }
            None => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    async fn readable(&self) -> io::Result<Ready> {
        match self {
            Self::Tcp(stream) => stream.ready(Interest::READABLE).await,
            Self::Unix(stream) => stream.ready(Interest::READABLE).await,
        }
    }

    fn try_read_io<T>(&self, read: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        match self {
            Self::Tcp(stream) => stream.try_io(Interest::READABLE, read),
            Self::Unix(stream) => stream.try_io(Interest::READABLE, read),
        }
    }
}

impl From<ProxyHeaderError> for io::Error {
    fn from(error: ProxyHeaderError) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}
