//! A watch for the hang-up of a peer that is not read from.

use std::future::{pending, poll_fn};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::task::{Context, Poll, ready};

use rustix::net::{RecvFlags, recv};
use socket2::SockRef;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::stream::Stream;

/// Waits until the peer of a socket has reset the connection, or has closed both of its directions.
///
/// A socket that is not read from does not tell this: after the end of the stream, or with bytes that nobody takes, it
/// is readable all the time. So a second descriptor of the same socket is registered for this alone. The connection stays
/// open for as long as the watch exists.
///
/// The close of a Unix socket is seen at once. TCP tells it only by the reset that answers the next bytes sent, so a TCP
/// peer that has ended its direction and then closes without a reset looks like one that waits for an answer.
#[derive(Debug)]
pub struct HangUp {
    /// Boxed: few connections have one.
    descriptor: Box<AsyncFd<OwnedFd>>,
}

impl HangUp {
    /// Watches the peer of `socket`. It takes one descriptor.
    ///
    /// # Errors
    ///
    /// No descriptor is left, or the runtime's I/O driver fails.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime with I/O.
    pub fn new(socket: &impl AsFd) -> io::Result<Self> {
        let descriptor = socket.as_fd().try_clone_to_owned()?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe for the sake of types that do not own a descriptor"
        )]
        let descriptor = AsyncFd::with_interest(descriptor, Interest::WRITABLE)?;
        Ok(Self { descriptor: Box::new(descriptor) })
    }

    /// Waits for the hang-up. `Ok` is a close of a peer that lacks nothing, the error is a reset.
    ///
    /// This socket must not be shut down for writing: that and the end of the peer's direction look like a hang-up.
    ///
    /// # Errors
    ///
    /// The error with which the connection ended.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut writable = ready!(self.descriptor.poll_write_ready(cx))?;
            if writable.ready().is_write_closed() {
                let error = SockRef::from(self.descriptor.get_ref()).take_error()?;
                return Poll::Ready(error.map_or(Ok(()), Err));
            }
            writable.clear_ready();
        }
    }
}

impl Stream {
    /// Waits until the peer has gone, while nothing is read from it or written to it, for example before there is
    /// anything to relay to. `Ok` is a close of a Unix peer that has left no byte to read, the error is a reset.
    ///
    /// # Errors
    ///
    /// The error with which the connection ended.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it reads nothing.
    pub async fn hung_up(&self) -> io::Result<()> {
        match self {
            // TCP has no other hang-up than an error, and waiting for that alone needs no descriptor.
            Self::Tcp(stream) => {
                stream.ready(Interest::ERROR).await?;
                Err(stream.take_error()?.unwrap_or_else(|| io::ErrorKind::ConnectionReset.into()))
            }
            Self::Unix(stream) => {
                let Ok(mut watch) = HangUp::new(stream) else {
                    // Without a descriptor for the watch the peer may stay.
                    return pending().await;
                };
                poll_fn(|cx| watch.poll(cx)).await?;
                if recv(stream, &mut [0], RecvFlags::PEEK | RecvFlags::DONTWAIT)
                    .is_ok_and(|(count, _)| count > 0)
                {
                    // What it sent before it closed is still to be delivered.
                    pending::<()>().await;
                }
                Ok(())
            }
        }
    }
}
