//! Listening where something is already: a listener, a stale socket file, a file that is no socket. Abstract names, scoped
//! addresses, and connecting to a busy listener.

use std::error::Error;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use millpond::net::{Endpoint, ErrorKind, Listener, Stream};
use tokio::net::{UnixListener, UnixSocket, UnixStream};
use tokio::runtime;
use tokio::time::timeout;

/// A test that waits this long has failed, even on a slow machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A folder for one test, removed when the test ends.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("millpond-transport-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn socket(&self) -> (PathBuf, Endpoint) {
        let path = self.0.join("s.sock");
        (path.clone(), Endpoint::Unix(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// A listener whose accept queue is full, and the connections that fill it.
async fn busy(path: &Path) -> (UnixListener, Vec<UnixStream>) {
    let socket = UnixSocket::new_stream().unwrap();
    socket.bind(path).unwrap();
    let listener = socket.listen(1).unwrap();
    let mut waiting = Vec::new();
    while let Ok(stream) = UnixStream::connect(path).await {
        waiting.push(stream);
    }
    (listener, waiting)
}

#[tokio::test]
async fn the_socket_file_of_a_busy_listener_is_in_use() {
    let folder = Folder::new("busy");
    let (path, endpoint) = folder.socket();
    let _busy = busy(&path).await;
    // In its own thread, so that a bind that blocks does not block the test.
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tell.send(runtime.block_on(Listener::bind(&endpoint)).map(drop).map_err(|error| error.kind()))
    });
    let bound = told.recv_timeout(PATIENCE).expect("the bind waited for the busy listener");
    assert_eq!(bound, Err(ErrorKind::AddressInUse));
    assert!(path.exists());
}

#[tokio::test]
async fn a_dropped_listener_keeps_the_socket_file_of_another() {
    let folder = Folder::new("replaced");
    let (path, endpoint) = folder.socket();
    let old = Listener::bind(&endpoint).await.unwrap();
    fs::remove_file(&path).unwrap();
    let new = Listener::bind(&endpoint).await.unwrap();
    drop(old);
    let (client, accepted) =
        tokio::join!(Stream::connect(&endpoint, PATIENCE), timeout(PATIENCE, new.accept()));
    client.expect("the new listener's file was removed");
    accepted.unwrap().unwrap();
    drop(new);
    assert!(!path.exists());
}

#[tokio::test]
async fn a_connect_waits_for_a_busy_unix_listener() {
    let folder = Folder::new("queue");
    let (path, endpoint) = folder.socket();
    let (listener, waiting) = busy(&path).await;

    let after = Duration::from_millis(100);
    let error = Stream::connect(&endpoint, after).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectTimeout { after }, "{error}");
    assert!(error.is_timeout());
    let text = error.to_string();
    assert!(text.contains(&endpoint.to_string()) && !text.contains('\n'), "{text}");

    let accept_all = async {
        for _ in 0..=waiting.len() {
            timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
        }
    };
    let (connected, ()) = tokio::join!(Stream::connect(&endpoint, PATIENCE), accept_all);
    connected.expect("the accept queue has room now");
}

/// An abstract name, which no other test has.
#[cfg(target_os = "linux")]
fn abstract_endpoint(test: &str) -> Endpoint {
    format!("unix://@millpond-{}-{test}", std::process::id()).parse().unwrap()
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_abstract_name_is_no_file() {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net;

    let endpoint = abstract_endpoint("file");
    let listener = Listener::bind(&endpoint).await.unwrap();
    assert_eq!(listener.local_endpoint(), &endpoint);
    let text = endpoint.to_string();
    let name = text.strip_prefix("unix://@").unwrap();
    assert!(!Path::new(&format!("@{name}")).exists());

    let address = net::SocketAddr::from_abstract_name(name).unwrap();
    net::UnixStream::connect_addr(&address).expect("the kernel knows the name");
    let (connected, accepted) =
        tokio::join!(Stream::connect(&endpoint, PATIENCE), timeout(PATIENCE, listener.accept()));
    connected.unwrap();
    accepted.unwrap().unwrap();
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_abstract_name_is_in_use_until_its_listener_is_dropped() {
    let endpoint = abstract_endpoint("use");
    let listener = Listener::bind(&endpoint).await.unwrap();
    assert_eq!(Listener::bind(&endpoint).await.unwrap_err().kind(), ErrorKind::AddressInUse);
    drop(listener);
    Listener::bind(&endpoint).await.unwrap();
}

#[tokio::test]
async fn what_is_at_a_path_and_is_no_socket_is_named() {
    let folder = Folder::new("no-socket");
    let path = |name: &str| folder.0.join(name);
    fs::write(path("file"), "text").unwrap();
    fs::create_dir(path("folder")).unwrap();
    symlink("nowhere", path("dangling")).unwrap();
    symlink("file", path("to-file")).unwrap();
    for (name, what) in [
        ("file", "a file"),
        ("folder", "a directory"),
        ("dangling", "a link to a file that does not exist"),
        ("to-file", "a file"),
    ] {
        let bound = Listener::bind(path(name)).await.unwrap_err().to_string();
        assert!(bound.contains(what), "{name}: {bound}");
        let connected = Stream::connect(path(name), PATIENCE).await.unwrap_err().to_string();
        assert!(connected.contains(what), "{name}: {connected}");
        assert!(path(name).symlink_metadata().is_ok(), "{name} was removed");
    }
    assert_eq!(fs::read(path("file")).unwrap(), b"text");
    assert!(!path("nowhere").exists());
}

/// What the system says to a listener at a link-local address that no interface has.
#[cfg(target_os = "linux")]
async fn bind_link_local(scope: &str) -> (io::ErrorKind, Option<i32>) {
    let error = Listener::bind(format!("tcp://[fe80::1{scope}]:0")).await.unwrap_err();
    let source = error.source().unwrap().downcast_ref::<io::Error>().unwrap();
    (source.kind(), source.raw_os_error())
}

/// Without the right scope the system finds another mistake first, so that it must have seen the scope. A connection would
/// need an interface with such an address, which not every machine has.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_link_local_address_has_its_scope_by_name_or_by_number() {
    use io::ErrorKind::{AddrNotAvailable, InvalidInput};

    let number = fs::read_to_string("/sys/class/net/lo/ifindex").unwrap();
    assert_eq!(bind_link_local("%lo").await.0, AddrNotAvailable);
    assert_eq!(bind_link_local(&format!("%{}", number.trim())).await.0, AddrNotAvailable);
    assert_eq!(bind_link_local("").await.0, InvalidInput);
    const NO_DEVICE: i32 = 19;
    assert_eq!(bind_link_local("%2147483647").await.1, Some(NO_DEVICE));
}

/// Text is checked when it is used, and never becomes a file that nobody meant.
#[tokio::test]
async fn text_that_is_no_endpoint_makes_no_file() {
    for text in [
        "tcp://localhost",
        "http://localhost:80",
        "unix:/a.sock",
        "unix://",
        "unix://@",
        "localhost",
        "tcp:///a.sock:1",
    ] {
        let Endpoint::Invalid { error, .. } = Endpoint::from(text) else { panic!("{text} is an endpoint") };
        let bound = Listener::bind(text).await.unwrap_err();
        assert_eq!(bound.kind(), ErrorKind::InvalidEndpoint(error));
        let said = bound.to_string();
        assert!(said.starts_with(text) && said.ends_with(&error.to_string()), "{said}");
        let connected = Stream::connect(text, PATIENCE).await.unwrap_err();
        assert_eq!(connected.kind(), ErrorKind::InvalidEndpoint(error));
    }
    assert!(!Path::new("tcp:").exists() && !Path::new("unix:").exists());
}
