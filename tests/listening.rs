//! How to listen: shared ports, clones, sockets that were handed over, and socket files with a mode and an owner.

use std::fs;
use std::net;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use millpond::net::{Endpoint, ErrorKind, Listener, ListenerConfig, Stream};
use tokio::sync::oneshot;
use tokio::time::timeout;

/// A test that waits this long has failed, even on a slow machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Nobody's user and group.
const NOBODY: u32 = 65_534;

fn is_root() -> bool {
    nix::unistd::Uid::effective().is_root()
}

/// A folder for one test that every user may enter and write to, removed when the test ends.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("millpond-listening-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
        Self(folder)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("s.sock")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("it took too long")
}

/// A client is accepted at `listener`.
async fn assert_accepts(listener: &Listener) {
    let connect = Stream::connect(listener.local_endpoint(), PATIENCE);
    let (connected, accepted) = tokio::join!(connect, within(listener.accept()));
    connected.unwrap();
    accepted.unwrap();
}

fn any_port() -> Endpoint {
    "127.0.0.1:0".into()
}

#[tokio::test]
async fn listeners_that_reuse_a_port_share_it_and_others_do_not() {
    let config = ListenerConfig::default().reuse_port(true);
    let first = Listener::bind_with(any_port(), &config).await.unwrap();
    let second = Listener::bind_with(first.local_endpoint(), &config).await.unwrap();
    let error = Listener::bind(first.local_endpoint()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddressInUse);

    // The system distributes by a hash of both ports, so each gets some of many.
    let (mut clients, mut counts) = (Vec::new(), [0, 0]);
    while counts.contains(&0) && clients.len() < 1000 {
        clients.push(Stream::connect(first.local_endpoint(), PATIENCE).await.unwrap());
        tokio::select! {
            accepted = first.accept() => { accepted.unwrap(); counts[0] += 1 }
            accepted = second.accept() => { accepted.unwrap(); counts[1] += 1 }
        }
    }
    assert!(!counts.contains(&0), "{counts:?}");
}

#[tokio::test]
async fn an_ipv6_listener_takes_ipv4_clients_unless_it_may_not() {
    for (only, expected) in [(false, true), (true, false)] {
        let config = ListenerConfig::default().ipv6_only(Some(only));
        let listener = Listener::bind_with("[::]:0", &config).await.unwrap();
        let text = listener.local_endpoint().to_string();
        let port = text.rsplit(':').next().unwrap().parse().unwrap();
        let connected = Stream::connect(("127.0.0.1", port), PATIENCE).await;
        assert_eq!(connected.is_ok(), expected, "IPv6 only: {only}");
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_accept_queue_is_as_long_as_configured() {
    let listener = Listener::bind_with(any_port(), &ListenerConfig::default().backlog(3)).await.unwrap();
    let info = Command::new("ss").args(["-Hltn", "src"]).arg(address(&listener)).output();
    let Ok(info) = info else { return println!("no `ss` on this machine") };
    let line = String::from_utf8(info.stdout).unwrap();
    assert_eq!(line.split_whitespace().nth(2), Some("3"), "{line}");
}

fn address(listener: &Listener) -> String {
    listener.local_endpoint().to_string().strip_prefix("tcp://").unwrap().to_owned()
}

#[tokio::test]
async fn clones_accept_from_one_queue_and_the_last_one_removes_the_file() {
    let folder = Folder::new("clones");
    let listener = Listener::bind(folder.socket()).await.unwrap();
    let clone = listener.try_clone().unwrap();
    assert_eq!(clone.local_endpoint(), listener.local_endpoint());
    assert_accepts(&listener).await;
    assert_accepts(&clone).await;
    drop(listener);
    assert!(folder.socket().exists());
    assert_accepts(&clone).await;
    drop(clone);
    assert!(!folder.socket().exists());
}

#[tokio::test]
async fn a_clone_works_in_another_runtime() {
    let listener = Listener::bind(any_port()).await.unwrap();
    let endpoint = listener.local_endpoint().clone();
    let (tell, told) = oneshot::channel();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let clone = listener.try_clone().unwrap();
            tell.send(()).unwrap();
            within(clone.accept()).await.map(drop)
        })
    });
    told.await.unwrap();
    let _client = Stream::connect(endpoint, PATIENCE).await.unwrap();
    tokio::task::spawn_blocking(|| thread.join()).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn sockets_that_were_handed_over_accept_at_their_endpoints() {
    let folder = Folder::new("handed-over");
    let tcp = net::TcpListener::bind("127.0.0.1:0").unwrap();
    let tcp6 = net::TcpListener::bind("[::1]:0").unwrap();
    let endpoints = [
        tcp.local_addr().unwrap().into(),
        tcp6.local_addr().unwrap().into(),
        Endpoint::from(folder.socket()),
    ];
    let unix = UnixListener::bind(folder.socket()).unwrap();
    for (fd, endpoint) in [OwnedFd::from(tcp), tcp6.into(), unix.into()].into_iter().zip(endpoints) {
        let listener = Listener::from_fd(fd).unwrap();
        assert_eq!(listener.local_endpoint(), &endpoint);
        assert_accepts(&listener).await;
    }
    assert!(folder.socket().exists(), "the file of a socket that was handed over is not ours");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_abstract_socket_that_was_handed_over_has_its_name() {
    use std::os::linux::net::SocketAddrExt;

    let name = format!("millpond-handed-over-{}", std::process::id());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let listener = Listener::from_fd(UnixListener::bind_addr(&address).unwrap().into()).unwrap();
    assert_eq!(listener.local_endpoint().to_string(), format!("unix://@{name}"));
    assert_accepts(&listener).await;
}

#[tokio::test]
async fn what_is_no_listening_stream_socket_is_refused() {
    let tcp = net::TcpListener::bind("127.0.0.1:0").unwrap();
    let connected = net::TcpStream::connect(tcp.local_addr().unwrap()).unwrap();
    for (fd, what) in [
        (fs::File::open("/dev/null").unwrap().into(), "it is no socket"),
        (net::UdpSocket::bind("127.0.0.1:0").unwrap().into(), "it is no stream socket"),
        (connected.into(), "it does not listen"),
        (UnixStream::pair().unwrap().0.into(), "it does not listen"),
    ] {
        let error = Listener::from_fd(fd).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
        let text = error.to_string();
        assert_eq!(text, format!("{what}; hand over a TCP or Unix stream socket that listens"));
    }
}

/// Another process with the socket finds its clients in the queue that a shutdown had no place for.
#[tokio::test]
async fn a_shutdown_leaves_clients_without_a_place_to_others_who_have_the_socket() {
    let socket = net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listener = Listener::from_fd(socket.try_clone().unwrap().into()).unwrap();
    let endpoint = listener.local_endpoint().clone();
    let (stop, stopped) = oneshot::channel::<()>();
    let (came, mut come) = tokio::sync::mpsc::unbounded_channel();
    let hold = move |stream| {
        came.send(()).unwrap();
        async move {
            let _held: Stream = stream;
            std::future::pending::<()>().await;
        }
    };
    let stopped = async { drop(stopped.await) };
    let served = tokio::spawn(listener.serve(1, Duration::from_millis(50), stopped, hold));
    let _first = Stream::connect(&endpoint, PATIENCE).await.unwrap();
    within(come.recv()).await.unwrap();
    let _second = Stream::connect(&endpoint, PATIENCE).await.unwrap();
    drop(stop);
    assert_eq!(within(served).await.unwrap().aborted, 1);

    // The queue has kept its length.
    let _third = Stream::connect(&endpoint, PATIENCE).await.unwrap();
    let next = Listener::from_fd(socket.into()).unwrap();
    for _ in 0..2 {
        within(next.accept()).await.expect("a client in the queue");
    }
}

#[tokio::test]
async fn a_socket_file_has_exactly_the_mode_and_the_owner_of_the_configuration() {
    let folder = Folder::new("mode");
    let me = (nix::unistd::Uid::effective().as_raw(), nix::unistd::Gid::effective().as_raw());
    let (user, group) = if is_root() { (NOBODY, NOBODY) } else { me };
    for mode in [0o600, 0o660, 0o666] {
        let config = ListenerConfig::default().unix_mode(Some(mode));
        let config = config.unix_user(Some(user)).unix_group(Some(group));
        let listener = Listener::bind_with(folder.socket(), &config).await.unwrap();
        let file = fs::metadata(folder.socket()).unwrap();
        assert_eq!(file.mode() & 0o7777, mode);
        assert_eq!((file.uid(), file.gid()), (user, group));
        assert_accepts(&listener).await;
    }
    let config = ListenerConfig::default().unix_group(Some(group));
    let _listener = Listener::bind_with(folder.socket(), &config).await.unwrap();
    let file = fs::metadata(folder.socket()).unwrap();
    assert_eq!((file.uid(), file.gid()), (me.0, group), "only the group was asked for");
}

/// Runs the test of this name again as nobody, with the path.
fn as_nobody(test: &str, path: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env("MILLPOND_TEST_PATH", path);
    command.uid(NOBODY).gid(NOBODY).current_dir("/").stdout(Stdio::piped()).spawn().unwrap()
}

fn path_of_nobody() -> Option<PathBuf> {
    std::env::var_os("MILLPOND_TEST_PATH").map(PathBuf::from)
}

#[tokio::test]
async fn a_mode_that_cannot_be_set_is_an_error_and_leaves_no_file() {
    const TEST: &str = "a_mode_that_cannot_be_set_is_an_error_and_leaves_no_file";
    if let Some(path) = path_of_nobody() {
        let config = ListenerConfig::default().unix_user(Some(0));
        let error = Listener::bind_with(&path, &config).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::FilePermissions, "{error}");
        return assert!(!path.exists());
    }
    if !is_root() {
        return println!("only root can become another user");
    }
    let folder = Folder::new("denied");
    let output = as_nobody(TEST, &folder.socket()).wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// Another user tries to connect all the while, and the umask lets every user.
#[tokio::test]
async fn nobody_connects_before_the_file_has_its_mode() {
    const TEST: &str = "nobody_connects_before_the_file_has_its_mode";
    const ROUNDS: usize = 2000;
    if let Some(path) = path_of_nobody() {
        println!("ready");
        // Until the folder is removed.
        while path.parent().unwrap().exists() {
            assert!(UnixStream::connect(&path).is_err(), "connected");
        }
        return;
    }
    if !is_root() {
        return println!("only root can become another user");
    }
    let folder = Folder::new("window");
    let mut child = as_nobody(TEST, &folder.socket());
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    assert!(lines.any(|line| line.unwrap().contains("ready")));
    let config = ListenerConfig::default().unix_mode(Some(0o600));
    let usual = nix::sys::stat::umask(nix::sys::stat::Mode::empty());
    for _ in 0..ROUNDS {
        drop(Listener::bind_with(folder.socket(), &config).await.unwrap());
    }
    nix::sys::stat::umask(usual);
    drop(folder);
    assert!(child.wait().unwrap().success(), "{:?}", lines.map_while(Result::ok).collect::<Vec<_>>());
}
