//! `millpond proxy --threads`: connections are shared out, and one limit and one drain hold for all threads.

mod proxy;

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;
use std::{fs, thread};

use proxy::{PATIENCE, Proxy};

/// How long a test watches that nothing happens.
const A_WHILE: Duration = Duration::from_millis(300);

struct Setup {
    proxy: Proxy,
    upstream: TcpListener,
}

impl Setup {
    fn new(more: &[&str]) -> Self {
        let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = format!("tcp://{}", upstream.local_addr().unwrap());
        Self { proxy: Proxy::start("tcp://127.0.0.1:0", &to, more), upstream }
    }

    fn client(&self) -> TcpStream {
        let client = TcpStream::connect(self.proxy.address()).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client
    }

    fn server(&self) -> TcpStream {
        let (server, _) = self.upstream.accept().unwrap();
        server.set_read_timeout(Some(PATIENCE)).unwrap();
        server
    }

    fn connection(&self) -> (TcpStream, TcpStream) {
        let (mut client, mut server) = (self.client(), self.server());
        pass(&mut client, &mut server);
        (client, server)
    }

    /// The names of the threads that relay.
    fn relaying(&self) -> Vec<String> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.proxy.child.id())).unwrap();
        let name = |task: fs::DirEntry| fs::read_to_string(task.path().join("comm")).unwrap();
        let mut names: Vec<_> = tasks.map(|task| name(task.unwrap()).trim_end().to_owned()).collect();
        names.retain(|name| name.starts_with("millpond-"));
        names.sort();
        names
    }
}

fn pass(from: &mut impl Write, to: &mut impl Read) {
    let mut arrived = [0; 5];
    from.write_all(b"grist").unwrap();
    to.read_exact(&mut arrived).unwrap();
    assert_eq!(&arrived, b"grist");
}

#[cfg(target_os = "linux")]
#[test]
fn each_of_several_threads_has_a_name_and_one_alone_is_the_first() {
    let several = Setup::new(&["--threads", "3"]);
    assert_eq!(several.relaying(), ["millpond-1", "millpond-2", "millpond-3"]);
    assert!(Setup::new(&["--threads", "1"]).relaying().is_empty());
}

#[test]
fn several_threads_serve_and_drain() {
    for threads in ["1", "2", "5"] {
        let setup = Setup::new(&["--threads", threads]);
        let mut connections: Vec<_> = (0..10).map(|_| setup.connection()).collect();
        setup.proxy.interrupt();
        thread::sleep(A_WHILE);
        assert!(TcpStream::connect(setup.proxy.address()).is_err(), "it still listens");
        for (client, server) in &mut connections {
            pass(server, client);
        }
        drop(connections);
        let said = setup.proxy.wait();
        assert!(said.contains("aborted=0"), "{threads} threads: {said}");
    }
}

#[test]
fn the_limit_of_connections_is_one_for_all_threads() {
    let setup = Setup::new(&["--threads", "2", "--max-connections", "3"]);
    let mut connections: Vec<_> = (0..3).map(|_| setup.connection()).collect();
    let mut next = setup.client();
    next.write_all(b"grist").unwrap();
    setup.upstream.set_nonblocking(true).unwrap();
    thread::sleep(A_WHILE);
    let early = setup.upstream.accept();
    assert!(early.is_err_and(|error| error.kind() == ErrorKind::WouldBlock), "one beyond the limit");
    setup.upstream.set_nonblocking(false).unwrap();
    connections.pop();
    let mut arrived = [0; 5];
    setup.server().read_exact(&mut arrived).unwrap();
    assert_eq!(&arrived, b"grist");
}
