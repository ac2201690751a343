//! Listening and accepting over TCP and Unix sockets, and ownership of the socket file.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::time::sleep;

use super::endpoint::{Endpoint, host_and_port};
use super::error::{Error, ErrorKind};
use super::peer::Peer;
use super::stream::Stream;
use super::unix_path::{is_abstract, obstacle};

/// How often and how fast to retry while another server binds in the same folder: two seconds in all for what takes
/// microseconds.
const LOCK_TRIES: u32 = 400;
const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// Accepts [`Stream`]s at an [`Endpoint`].
///
/// A Unix listener removes its socket file when dropped.
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
    socket: Socket,
    backlog: u32,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    /// The file is removed before the socket is closed: until then no other file can have its identity.
    Unix {
        /// `None` for an abstract name.
        _file: Option<SocketFile>,
        listener: UnixListener,
    },
}

impl Listener {
    /// The accept queue of a new listener. A burst of clients beyond the queue's length waits a second or more, until
    /// the kernel repeats the lost SYN packets. An entry that waits takes under 2 KiB of the kernel's memory, so the
    /// default is the largest that Linux allows without a change of its settings.
    pub const DEFAULT_BACKLOG: u32 = 4096;

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
        let (bound, socket) = match &endpoint {
            Endpoint::Invalid { error, .. } => return Err(invalid(*error)),
            Endpoint::Tcp(address) => {
                let address = host_and_port(address).map_err(invalid)?;
                let listener = TcpListener::bind(address).await.map_err(failed)?;
                let local = listener.local_addr().map_err(failed)?;
                (Endpoint::Tcp(local.to_string()), Socket::Tcp(listener))
            }
            Endpoint::Unix(path) => {
                let (listener, file) = bind_unix(path).await.map_err(failed)?;
                (endpoint.clone(), Socket::Unix { _file: file, listener })
            }
        };
        let mut listener = Self { endpoint: bound, socket, backlog: 0 };
        listener.set_backlog(Self::DEFAULT_BACKLOG).map_err(failed)?;
        Ok(listener)
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
        self.accept_peer().await.map(|(stream, _)| stream)
    }

    /// As [`accept`](Self::accept), with who connected.
    pub(super) async fn accept_peer(&self) -> io::Result<(Stream, Peer)> {
        match &self.socket {
            Socket::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                Ok((Stream::from_tcp(stream)?, Peer::Tcp(address)))
            }
            Socket::Unix { listener, .. } => {
                let (stream, _) = listener.accept().await?;
                let peer = Peer::of_unix(&stream);
                Ok((Stream::Unix(stream), peer))
            }
        }
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

    /// The most connections in the accept queue.
    pub(super) fn backlog(&self) -> u32 {
        self.backlog
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.socket {
            Socket::Tcp(listener) => listener.as_fd(),
            Socket::Unix { listener, .. } => listener.as_fd(),
        }
    }
}

async fn bind_unix(path: &Path) -> io::Result<(UnixListener, Option<SocketFile>)> {
    if is_abstract(path)? {
        return Ok((UnixListener::bind(path)?, None));
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let _lock = lock_folder(path.parent().filter(|parent| !parent.as_os_str().is_empty())).await;
    let listener = match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_stale(path).await => {
            fs::remove_file(path)?;
            UnixListener::bind(path)
        }
        bound => bound,
    }?;
    let file = SocketFile { path: path.to_owned(), identity: identity(path)? };
    Ok((listener, Some(file)))
}

/// Locks the folder, so that of several servers that want one path only one at a time looks at it and takes it.
/// Otherwise one could remove as stale a file that another has bound but does not listen on yet. The lock is on the
/// folder, so it ends with the process and leaves no file. If it cannot be had, binding continues without it.
async fn lock_folder(folder: Option<&Path>) -> Option<File> {
    let folder = File::open(folder.unwrap_or(Path::new("."))).ok()?;
    for _ in 0..LOCK_TRIES {
        match folder.try_lock() {
            Err(TryLockError::WouldBlock) => sleep(LOCK_PAUSE).await,
            Err(TryLockError::Error(_)) => return None,
            Ok(()) => return Some(folder),
        }
    }
    None
}

/// Whether it is a socket file that nobody listens on. A listener with a full accept queue still listens. The connect
/// does not block, or it would wait for that listener.
async fn is_stale(path: &Path) -> bool {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket());
    is_socket
        && UnixStream::connect(path)
            .await
            .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

/// Removes the file when dropped, unless another one has taken its path.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|identity| identity == self.identity) {
            // Another process may have removed it since.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Which file the path names now: its device and inode.
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}
