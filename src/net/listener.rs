//! Accepting connections over TCP and Unix sockets.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::time::sleep;

use super::endpoint::Endpoint;
use super::error::{Error, ErrorKind};
use super::stream::Stream;

/// For another server that binds in the same folder: two seconds, where it needs microseconds.
const LOCK_TRIES: u32 = 400;
const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// Accepts [`Stream`]s at an [`Endpoint`]. A Unix listener removes its socket file when dropped.
#[derive(Debug)]
pub struct Listener {
    endpoint: Endpoint,
    socket: Socket,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    /// The file goes first: while the socket is open, no other file can have its identity.
    Unix {
        _file: SocketFile,
        listener: UnixListener,
    },
}

impl Listener {
    /// Listens. Port 0 takes a free one, which [`local_endpoint`](Self::local_endpoint) names. For a Unix
    /// socket the parent directories are made, and a stale socket file, one that nobody listens on, is
    /// replaced; a live one never is, nor a file that is no socket.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::AddressInUse`], [`ErrorKind::StorageFull`] or [`ErrorKind::Listen`].
    pub async fn bind(endpoint: impl Into<Endpoint>) -> Result<Self, Error> {
        let endpoint = endpoint.into();
        let failed = |source: io::Error| {
            let kind = match source.kind() {
                io::ErrorKind::AddrInUse => ErrorKind::AddressInUse,
                io::ErrorKind::StorageFull => ErrorKind::StorageFull,
                _ => ErrorKind::Listen,
            };
            Error::new(kind, endpoint.clone(), Some(source))
        };
        match &endpoint {
            Endpoint::Tcp(address) => {
                let listener = TcpListener::bind(address).await.map_err(failed)?;
                let local = listener.local_addr().map_err(failed)?;
                Ok(Self { endpoint: Endpoint::Tcp(local.to_string()), socket: Socket::Tcp(listener) })
            }
            Endpoint::Unix(path) => {
                let (listener, file) = bind_unix(path).await.map_err(failed)?;
                Ok(Self { endpoint: endpoint.clone(), socket: Socket::Unix { _file: file, listener } })
            }
        }
    }

    /// Where it listens, with the port that was taken.
    #[must_use]
    pub fn local_endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Waits for the next connection.
    ///
    /// # Errors
    ///
    /// Those of `accept(2)`; most concern one connection or pass by (no file descriptor left), so a
    /// server goes on after a pause.
    ///
    /// # Cancel safety
    ///
    /// Cancelled, it has accepted nothing.
    pub async fn accept(&self) -> io::Result<Stream> {
        match &self.socket {
            Socket::Tcp(listener) => Stream::from_tcp(listener.accept().await?.0),
            Socket::Unix { listener, .. } => Ok(Stream::Unix(listener.accept().await?.0)),
        }
    }
}

async fn bind_unix(path: &Path) -> io::Result<(UnixListener, SocketFile)> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let _alone = alone_in(path.parent().filter(|parent| !parent.as_os_str().is_empty())).await;
    let listener = match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_stale(path).await => {
            fs::remove_file(path)?;
            UnixListener::bind(path)
        }
        bound => bound,
    }?;
    let file = SocketFile { path: path.to_owned(), identity: identity(path)? };
    Ok((listener, file))
}

/// Of several servers that want one path each looks, and takes it or leaves it, alone: or one would remove as stale what
/// another has bound, but does not listen on yet. The lock is the folder's: it ends with the process, and leaves no
/// file behind. Where there is none to be had, or somebody else does not let it go, it goes without.
async fn alone_in(folder: Option<&Path>) -> Option<File> {
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

/// Whether it is a socket file that nobody listens on. A listener too busy to take the connection is one
/// still; a blocking connect would wait for it.
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
            // Somebody may have removed it since.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Which file the path names now: its device and inode.
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}
