//! A watch for the hang-up of a peer that is not read from.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::task::{Context, Poll, ready};

use socket2::SockRef;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

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
    /// If this socket was shut down for writing, the end of the peer's direction is such a close, too.
    ///
    /// # Errors
    ///
    /// The error with which the connection ended.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut writable = ready!(self.descriptor.poll_write_ready(cx))?;
            if writable.ready().is_write_closed() {
                return Poll::Ready(match SockRef::from(self.descriptor.get_ref()).take_error()? {
                    None => Ok(()),
                    // Linux's name for a reset after the end of the peer's direction.
                    Some(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                        Err(io::ErrorKind::ConnectionReset.into())
                    }
                    Some(error) => Err(error),
                });
            }
            writable.clear_ready();
        }
    }
}
