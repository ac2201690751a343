//! Listening and accepting over TCP and Unix sockets, sockets that are shared or were handed over.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::task::{Context, Poll, ready};

use socket2::{SockAddr, SockRef, Socket as AnySocket, Type};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream, lookup_host};

use super::endpoint::{Endpoint, host_and_port};
use super::error::{Error, ErrorKind};
use super::listener_config::{self, ListenerConfig};
use super::peer::Peer;
use super::socket_file::{self, Failure, SocketFile};
use super::stream::Stream;
use super::unix_path::obstacle;
use crate::sync::Arc;

/// Accepts [`Stream`]s at an [`Endpoint`].
///
/// A Unix listener removes its socket file when it and all its [clones](Self::try_clone) are dropped.
///
/// The system completes connections before they are accepted and keeps them in the accept queue, 4096 by default: see
/// [`set_backlog`](Self::set_backlog).
///
/// # Examples
///
/// Echo what a client sends:
///
/// ```
/// use std::time::Duration;
///
/// use millpond::net::{Listener, Stream};
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let listener = Listener::bind("127.0.0.1:0").await?;
/// let mut client = Stream::connect(listener.local_endpoint(), Duration::from_secs(10)).await?;
/// let mut server = listener.accept().await?;
///
/// client.write_all(b"hello").await?;
/// let mut received = [0; 5];
/// server.read_exact(&mut received).await?;
/// assert_eq!(&received, b"hello");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Listener {
    endpoint: Endpoint,
    /// Before the socket: the file is removed before the socket is closed. Until then no other file can have its identity.
    origin: Arc<Origin>,
    socket: Socket,
    backlog: u32,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// What the clones of a listener have in common.
#[derive(Debug)]
struct Origin {
    /// `None` for TCP, an abstract name, and a socket that was handed over.
    _file: Option<SocketFile>,
    /// Whether another process may have the socket, too.
    handed_over: bool,
}

impl Listener {
    /// The accept queue of a new listener. A burst of clients beyond the queue's length waits a second or more, until
    /// the kernel repeats the lost SYN packets. An entry that waits takes under 2 KiB of the kernel's memory, so the
    /// default is the largest that Linux allows without a change of its settings.
    pub const DEFAULT_BACKLOG: u32 = listener_config::DEFAULT_BACKLOG;

    /// Listens at an endpoint.
    ///
    /// For TCP, port 0 takes a free port, which [`local_endpoint`](Self::local_endpoint) names. For a socket file,
    /// missing parent directories are created. A stale socket file, one that nobody listens on, is replaced. A live one
    /// is not, and neither is a file that is not a socket.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::AddressInUse`], [`ErrorKind::NotASocket`], [`ErrorKind::StorageFull`], [`ErrorKind::InvalidEndpoint`]
    /// or [`ErrorKind::Listen`].
    pub async fn bind(endpoint: impl Into<Endpoint>) -> Result<Self, Error> {
        Self::bind_with(endpoint, &ListenerConfig::default()).await
    }

    /// As [`bind`](Self::bind), with a configuration.
    ///
    /// A socket file gets its mode and owner before anybody can connect: the system refuses connections until then.
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind), and [`ErrorKind::FilePermissions`].
    pub async fn bind_with(endpoint: impl Into<Endpoint>, config: &ListenerConfig) -> Result<Self, Error> {
        let endpoint = endpoint.into();
        let failed = |source: io::Error| {
            let kind = match (obstacle(&endpoint), source.kind()) {
                (Some(found), _) => ErrorKind::NotASocket { found },
                (None, io::ErrorKind::AddrInUse) => ErrorKind::AddressInUse,
                (None, io::ErrorKind::StorageFull) => ErrorKind::StorageFull,
                (None, _) => ErrorKind::Listen,
            };
            Error::new(kind, endpoint.clone(), Some(source))
        };
        let invalid = |error| Error::new(ErrorKind::InvalidEndpoint(error), endpoint.clone(), None);
        let (bound, file, socket) = match &endpoint {
            Endpoint::Invalid { error, .. } => return Err(invalid(*error)),
            Endpoint::Tcp(address) => {
                let address = host_and_port(address).map_err(invalid)?;
                let listener = listen_tcp(address, config).await.map_err(failed)?;
                let local = listener.local_addr().map_err(failed)?;
                (Endpoint::Tcp(local.to_string()), None, Socket::Tcp(listener))
            }
            Endpoint::Unix(path) => {
                let listening = socket_file::listen(path, config).await;
                let (listener, file) = listening.map_err(|failure| match failure {
                    Failure::Listen(source) => failed(source),
                    Failure::Permissions(source) => {
                        Error::new(ErrorKind::FilePermissions, endpoint.clone(), Some(source))
                    }
                })?;
                (endpoint.clone(), file, Socket::Unix(listener))
            }
        };
        let origin = Arc::new(Origin { _file: file, handed_over: false });
        Ok(Self { endpoint: bound, origin, socket, backlog: config.backlog })
    }

    /// Accepts at a listening socket that exists already, such as one of a service manager (`LISTEN_FDS`).
    ///
    /// The accept queue keeps its length. A socket file is not removed when the listener is dropped: it belongs to who made it.
    /// [`serve`](Self::serve) leaves the clients for whom it has no place at its shutdown in the queue, for the
    /// next process.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidInput`] if it is no socket that listens for streams over TCP or a Unix socket, and errors
    /// of the system.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    ///
    /// # Examples
    ///
    /// ```
    /// use millpond::net::Listener;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// let handed_over = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let listener = Listener::from_fd(handed_over.into())?;
    /// println!("listening on {}", listener.local_endpoint());
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        let socket = AnySocket::from(fd);
        let endpoint = listening_at(&socket)?;
        socket.set_nonblocking(true)?;
        let socket = match &endpoint {
            Endpoint::Unix(_) => Socket::Unix(UnixListener::from_std(socket.into())?),
            _ => Socket::Tcp(TcpListener::from_std(socket.into())?),
        };
        let origin = Arc::new(Origin { _file: None, handed_over: true });
        Ok(Self { endpoint, origin, socket, backlog: Self::DEFAULT_BACKLOG })
    }

    /// Another listener at the same socket and accept queue, for another thread or runtime: it belongs to the runtime in
    /// which this is called.
    ///
    /// Each connection goes to one of the clones, and wakes all that wait for one. For TCP,
    /// [`reuse_port`](ListenerConfig::reuse_port) is cheaper, and distributes evenly.
    ///
    /// # Errors
    ///
    /// If there is no descriptor left.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn try_clone(&self) -> io::Result<Self> {
        let fd = self.as_fd().try_clone_to_owned()?;
        let socket = match &self.socket {
            Socket::Tcp(_) => Socket::Tcp(TcpListener::from_std(fd.into())?),
            Socket::Unix(_) => Socket::Unix(UnixListener::from_std(fd.into())?),
        };
        let (endpoint, origin) = (self.endpoint.clone(), Arc::clone(&self.origin));
        Ok(Self { endpoint, origin, socket, backlog: self.backlog })
    }

    /// Sets the most connections that wait to be accepted, [`DEFAULT_BACKLOG`](Self::DEFAULT_BACKLOG) at first.
    ///
    /// The system may allow fewer: on Linux `sysctl net.core.somaxconn`, which is 4096 by default, bounds it.
    ///
    /// # Errors
    ///
    /// Errors of `listen(2)`.
    pub fn set_backlog(&mut self, backlog: u32) -> io::Result<()> {
        // A second listen(2) on a listening socket changes nothing but the length of its queue.
        SockRef::from(&*self).listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
        self.backlog = backlog;
        Ok(())
    }

    /// The endpoint that it listens at, with the actual port.
    #[must_use]
    pub fn local_endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Waits for the next connection.
    ///
    /// # Errors
    ///
    /// Errors of `accept(2)`. Most concern one connection, or are temporary (no file descriptor left), so a server
    /// should pause and accept again.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no connection is lost.
    pub async fn accept(&self) -> io::Result<Stream> {
        match &self.socket {
            Socket::Tcp(listener) => Stream::from_tcp(listener.accept().await?.0),
            Socket::Unix(listener) => Ok(Stream::Unix(listener.accept().await?.0)),
        }
    }

    /// As [`accept`](Self::accept), with who connected. One task at a time may call it. The stream belongs to the runtime in
    /// whose context it is called.
    pub(super) fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Stream, Peer)>> {
        Poll::Ready(match &self.socket {
            Socket::Tcp(listener) => {
                let (stream, address) = ready!(listener.poll_accept(cx))?;
                Ok((Stream::from_tcp(stream)?, Peer::Tcp(address)))
            }
            Socket::Unix(listener) => {
                let (stream, _) = ready!(listener.poll_accept(cx))?;
                let peer = Peer::of_unix(&stream);
                Ok((Stream::Unix(stream), peer))
            }
        })
    }

    /// Accepts a connection that is in the accept queue at this moment.
    ///
    /// It asks the system, not the runtime, which learns of a connection later.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::WouldBlock`] if the queue is empty, and as [`accept`](Self::accept).
    pub(super) fn try_accept(&self) -> io::Result<(Stream, Peer)> {
        let (socket, address) = SockRef::from(self).accept()?;
        socket.set_nonblocking(true)?;
        match address.as_socket() {
            Some(address) => Ok((Stream::from_tcp(TcpStream::from_std(socket.into())?)?, Peer::Tcp(address))),
            None => {
                let stream = UnixStream::from_std(socket.into())?;
                let peer = Peer::of_unix(&stream);
                Ok((Stream::Unix(stream), peer))
            }
        }
    }

    /// Whether another listener, maybe of another process, accepts from the same queue.
    pub(super) fn is_shared(&self) -> bool {
        self.origin.handed_over || Arc::strong_count(&self.origin) > 1
    }

    /// The most connections in the accept queue.
    pub(super) fn backlog(&self) -> u32 {
        self.backlog
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.socket {
            Socket::Tcp(listener) => listener.as_fd(),
            Socket::Unix(listener) => listener.as_fd(),
        }
    }
}

/// As [`TcpListener::bind`], with a configuration: the first address of the name that works.
async fn listen_tcp(address: (&str, u16), config: &ListenerConfig) -> io::Result<TcpListener> {
    let mut failed = None;
    for address in lookup_host(address).await? {
        let listen = || {
            let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
            if let (true, Some(only)) = (address.is_ipv6(), config.ipv6_only) {
                SockRef::from(&socket).set_only_v6(only)?;
            }
            // Connections of an earlier listener that still linger are no obstacle.
            socket.set_reuseaddr(true)?;
            socket.set_reuseport(config.reuse_port)?;
            socket.bind(address)?;
            socket.listen(config.backlog)
        };
        match listen() {
            Ok(listener) => return Ok(listener),
            Err(error) => failed = Some(error),
        }
    }
    Err(failed.unwrap_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the name has no address")))
}

/// The endpoint of a socket that listens for streams.
fn listening_at(socket: &AnySocket) -> io::Result<Endpoint> {
    let unusable = |what: &str| {
        let text = format!("{what}; hand over a TCP or Unix stream socket that listens");
        io::Error::new(io::ErrorKind::InvalidInput, text)
    };
    let kind = socket.r#type().map_err(|error| match error.raw_os_error() {
        Some(code) if code == rustix::io::Errno::NOTSOCK.raw_os_error() => unusable("it is no socket"),
        _ => error,
    })?;
    if kind != Type::STREAM {
        return Err(unusable("it is no stream socket"));
    }
    // Others, such as Apple's, do not tell: there the first accept fails.
    #[cfg(any(target_os = "android", target_os = "freebsd", target_os = "linux"))]
    if !socket.is_listener()? {
        return Err(unusable("it does not listen"));
    }
    let address = socket.local_addr()?;
    let endpoint = address.as_socket().map(Endpoint::from).or_else(|| unix_endpoint(&address));
    endpoint.ok_or_else(|| unusable("it is neither a TCP nor a Unix socket"))
}

fn unix_endpoint(address: &SockAddr) -> Option<Endpoint> {
    if let Some(path) = address.as_pathname() {
        return Some(Endpoint::from(path));
    }
    let name = address.as_abstract_namespace()?;
    let path = [b"\0", name].concat();
    Some(Endpoint::Unix(OsString::from_vec(path).into()))
}
