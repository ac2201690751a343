//! Listening at a socket file: a stale one is replaced, it gets its mode and owner before anybody can connect, and it is
//! removed in the end.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::{UnixListener, UnixSocket, UnixStream};
use tokio::time::sleep;

use super::listener_config::ListenerConfig;
use super::unix_path::is_abstract;

/// How often and how fast to retry while another server binds in the same folder: two seconds in all for what takes
/// microseconds.
const LOCK_TRIES: u32 = 400;
const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// Why a Unix listener could not listen.
pub(super) enum Failure {
    Listen(io::Error),
    /// The socket file could not get its mode or owner.
    Permissions(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Listen(error)
    }
}

/// Listens at a path or an abstract name. `None` for the file of an abstract name.
///
/// The system refuses all connects until `listen`, so there is no moment in which the file's mode and owner are not yet
/// those of the configuration and somebody connects. A umask would concern the files of all threads.
pub(super) async fn listen(
    path: &Path,
    config: &ListenerConfig,
) -> Result<(UnixListener, Option<SocketFile>), Failure> {
    let socket = UnixSocket::new_stream()?;
    if is_abstract(path)? {
        socket.bind(path)?;
        return Ok((socket.listen(config.backlog)?, None));
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let _lock = lock_folder(path.parent().filter(|parent| !parent.as_os_str().is_empty())).await;
    match socket.bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_stale(path).await => {
            fs::remove_file(path)?;
            socket.bind(path)
        }
        bound => bound,
    }?;
    let file = SocketFile { path: path.to_owned(), identity: identity(path)? };
    set_permissions(path, config).map_err(Failure::Permissions)?;
    Ok((socket.listen(config.backlog)?, Some(file)))
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

/// Changes the socket only, never the target of a link that somebody puts in its place meanwhile.
fn set_permissions(path: &Path, config: &ListenerConfig) -> io::Result<()> {
    let ListenerConfig { unix_mode, unix_user, unix_group, .. } = *config;
    if (unix_mode, unix_user, unix_group) == (None, None, None) {
        return Ok(());
    }
    #[cfg(any(target_os = "android", target_os = "linux"))]
    let (_held, path) = {
        use rustix::fs::{FileType, Mode, OFlags, fstat, open};
        use std::os::fd::AsRawFd;

        let held = open(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
        if FileType::from_raw_mode(fstat(&held)?.st_mode) != FileType::Socket {
            return Err(io::Error::other("the socket file has been replaced"));
        }
        // The only name of a file without a race. A socket cannot be opened to change it by its descriptor.
        let path = PathBuf::from(format!("/proc/self/fd/{}", held.as_raw_fd()));
        (held, path)
    };
    if unix_user.is_some() || unix_group.is_some() {
        std::os::unix::fs::chown(&path, unix_user, unix_group)?;
    }
    if let Some(mode) = unix_mode {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
    }
    Ok(())
}

/// Removes the file when dropped, unless another one has taken its path.
#[derive(Debug)]
pub(super) struct SocketFile {
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
