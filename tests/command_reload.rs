//! Several listeners in one file, and SIGHUP: the file is read again, and no client notices.

mod proxy;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use proxy::{PATIENCE, Proxy};
use tempfile::TempDir;

/// A server that sends its name to each client and closes.
struct Server {
    address: SocketAddr,
}

impl Server {
    fn start(name: &'static [u8; 3]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for client in listener.incoming() {
                // A client may have left.
                let _ = client.unwrap().write_all(name);
            }
        });
        Self { address }
    }
}

/// A proxy with a configuration file. It listens at a free port, as `main` in the file.
struct Setup {
    folder: TempDir,
    proxy: Proxy,
}

impl Setup {
    fn new(config: impl FnOnce(&TempDir) -> String) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (file, log) = (folder.path().join("mill.toml"), folder.path().join("log"));
        fs::write(&file, config(&folder)).unwrap();
        let arguments = ["--config", file.to_str().unwrap()];
        let log = File::create(log).unwrap();
        let program = ["env", "--default-signal=HUP"];
        let proxy = Proxy::start_program(&program, &arguments, |command| command.stderr(log));
        Self { folder, proxy }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn reload(&self, config: &str) {
        fs::write(self.path("mill.toml"), config).unwrap();
        self.proxy.signal(Signal::SIGHUP);
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap()
    }

    /// Waits until the log has this text that many times.
    fn logged(&self, text: &str, times: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.log().matches(text).count() < times {
            assert!(Instant::now() < deadline, "{text:?} is not in {}", self.log());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Which server answers.
    fn asks(&self) -> String {
        ask(self.proxy.address())
    }
}

fn ask(address: &str) -> String {
    answer(TcpStream::connect(address).unwrap())
}

fn answer(mut stream: impl Read) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

fn listen(name: &str, at: &str, to: SocketAddr) -> String {
    format!("[[listen]]\nname = '{name}'\nlisten = '{at}'\nto = '{to}'\n")
}

fn main(to: &Server) -> String {
    listen("main", "127.0.0.1:0", to.address)
}

fn socket(folder: &TempDir, name: &str, to: &Server) -> String {
    listen(name, &format!("unix://{}", folder.path().join(name).display()), to.address)
}

#[test]
fn each_listener_of_a_file_leads_to_its_own_servers() {
    let (one, two) = (Server::start(b"one"), Server::start(b"two"));
    let setup = Setup::new(|folder| main(&one) + &socket(folder, "side", &two));
    assert_eq!(setup.asks(), "one");
    assert_eq!(answer(UnixStream::connect(setup.path("side")).unwrap()), "two");
    setup.proxy.interrupt();
    let Setup { proxy, folder } = setup;
    proxy.wait();
    let log = fs::read_to_string(folder.path().join("log")).unwrap();
    for name in ["main", "side"] {
        let is_line =
            |line: &&str| line.contains("connections") && line.contains(&format!("listener=\"{name}\""));
        let lines: Vec<_> = log.lines().filter(is_line).collect();
        assert_eq!(lines.len(), 1, "{log}");
        assert!(lines[0].contains("accepted=1"), "{lines:?}");
    }
}

#[test]
fn a_reload_replaces_the_servers_for_new_connections_and_leaves_open_ones() {
    let (one, two) = (TcpListener::bind("127.0.0.1:0").unwrap(), Server::start(b"two"));
    let setup = Setup::new(|_| listen("main", "127.0.0.1:0", one.local_addr().unwrap()));
    let client = TcpStream::connect(setup.proxy.address()).unwrap();
    let (mut server, _) = one.accept().unwrap();
    setup.reload(&main(&two));
    setup.logged("reloaded", 1);
    assert_eq!(setup.asks(), "two");
    server.write_all(b"old").unwrap();
    drop(server);
    assert_eq!(answer(client), "old");
}

#[test]
fn a_reload_adds_listeners_and_lets_removed_ones_drain() {
    let one = Server::start(b"one");
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let setup = Setup::new(|folder| {
        main(&one)
            + &listen("old", &format!("unix://{}/old", folder.path().display()), held.local_addr().unwrap())
    });
    let mut client = UnixStream::connect(setup.path("old")).unwrap();
    let (server, _) = held.accept().unwrap();
    setup.reload(&(main(&one) + &socket(&setup.folder, "new", &one)));
    setup.logged("reloaded", 2);
    assert_eq!(answer(UnixStream::connect(setup.path("new")).unwrap()), "one");
    let deadline = Instant::now() + PATIENCE;
    while setup.path("old").exists() {
        assert!(Instant::now() < deadline, "the removed listener still listens");
        thread::sleep(Duration::from_millis(5));
    }
    client.write_all(b"grist").unwrap();
    let mut arrived = [0; 5];
    (&server).read_exact(&mut arrived).unwrap();
    assert_eq!(&arrived, b"grist");
    drop((client, server));
    assert_eq!(setup.asks(), "one");
}

#[test]
fn a_wrong_file_changes_nothing_and_the_log_says_where_it_is_wrong() {
    let (one, two) = (Server::start(b"one"), Server::start(b"two"));
    let setup = Setup::new(|_| main(&one));
    setup.reload(&format!("{}idle-timout = 3\n", main(&two)));
    setup.logged("mill.toml:5:1", 1);
    assert_eq!(setup.asks(), "one");
    setup.reload(&main(&two));
    setup.logged("reloaded", 1);
    assert_eq!(setup.asks(), "two");
}

#[test]
fn a_listener_that_cannot_be_bound_changes_nothing() {
    let (one, two) = (Server::start(b"one"), Server::start(b"two"));
    let setup = Setup::new(|_| main(&one));
    let config = main(&two) + &listen("busy", &two.address.to_string(), one.address);
    setup.reload(&config);
    setup.logged("nothing has changed", 1);
    assert!(setup.log().contains(&two.address.to_string()), "{}", setup.log());
    assert_eq!(setup.asks(), "one");
}

/// Clients that connect and ask all the time.
struct Load {
    stop: Arc<AtomicBool>,
    answers: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(address: &str) -> Self {
        let (stop, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let client = |_| {
            let (address, stop, answers) = (address.to_owned(), Arc::clone(&stop), Arc::clone(&answers));
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let answer = ask(&address);
                    assert!(["one", "two"].contains(&&*answer), "the answer is {answer:?}");
                    answers.fetch_add(1, Ordering::Relaxed);
                }
            })
        };
        let clients = (0..4).map(client).collect();
        Self { stop, answers, clients }
    }

    /// Waits for that many further answers.
    fn more(&self, answers: usize) {
        let (enough, deadline) = (self.answers.load(Ordering::Relaxed) + answers, Instant::now() + PATIENCE);
        while self.answers.load(Ordering::Relaxed) < enough {
            assert!(Instant::now() < deadline, "the clients got no answers");
            assert!(!self.clients.iter().any(JoinHandle::is_finished), "a client failed");
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.join().expect("a request failed");
        }
    }
}

#[test]
fn no_request_fails_while_the_file_is_reloaded_under_load() {
    const RELOADS: usize = 20;
    let (one, two) = (Server::start(b"one"), Server::start(b"two"));
    let setup = Setup::new(|_| main(&one));
    let load = Load::start(setup.proxy.address());
    let mut lines = 0;
    for reload in 0..RELOADS {
        let to = if reload % 2 == 0 { &two } else { &one };
        // Every third file has another listener, which comes and goes.
        let is_more = reload % 3 == 0;
        let more = if is_more { socket(&setup.folder, "side", to) } else { String::new() };
        setup.reload(&(main(to) + &more));
        lines += 1 + usize::from(is_more);
        setup.logged("reloaded", lines);
        load.more(50);
    }
    load.end();
    setup.proxy.interrupt();
    setup.proxy.wait();
}
