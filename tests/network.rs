//! Networks that fail: bursts of clients, addresses that do not answer, silent name servers, and no free port. Each test has
//! a network and name servers of its own, by `unshare` (util-linux) and `ip` (iproute2).

mod proxy;

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use std::{env, io};

use millpond::net::{Endpoint, ErrorKind, Stream};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use proxy::{PATIENCE, Proxy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio::time::timeout;

const IN_NETWORK: &str = "MILLPOND_IN_NETWORK";

/// Whether this process has a network of its own with a loopback interface, these hosts and this name server. If not, the
/// test is run once more in such a process, and must pass there.
fn in_network(test: &str, hosts: &str, resolver: &str) -> bool {
    if env::var_os(IN_NETWORK).is_some() {
        return true;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    let status = Command::new("unshare")
        .args(["--net", "--mount"])
        .args((!is_root).then_some("--map-root-user"))
        .args(["sh", "-ec"])
        .arg(
            "ip link set lo up; mount --bind $0 /etc/hosts; mount --bind $1 /etc/resolv.conf; shift; exec \"$@\"",
        )
        .args([file("hosts", hosts), file("resolv.conf", resolver)])
        .arg(env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(IN_NETWORK, "1")
        .status()
        .unwrap();
    assert!(status.success(), "{test} failed in its network");
    false
}

/// Answers each connection with one byte and closes it after the client.
fn greet(listener: TcpListener) {
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let _ = stream.write_all(b"!");
                let _ = io::copy(&mut stream, &mut io::sink());
            });
        }
    });
}

fn is_greeted(client: &mut TcpStream) -> bool {
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.read_exact(&mut [0]).is_ok()
}

/// The first columns of a line of `/proc/net/tcp`.
struct Socket<'a> {
    local: &'a str,
    remote: &'a str,
    state: &'a str,
    timer: &'a str,
}

/// The states and the timer of `/proc/net/tcp`.
const ESTABLISHED: &str = "01";
const SYN_SENT: &str = "02";
const KEEPALIVE_TIMER: &str = "02:";

/// Whether this network has such a TCP socket.
fn has_socket(is_wanted: impl Fn(Socket<'_>) -> bool) -> bool {
    let files = ["tcp", "tcp6"].map(|name| fs::read_to_string(format!("/proc/self/net/{name}")).unwrap());
    files.iter().flat_map(|file| file.lines().skip(1)).any(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        is_wanted(Socket { local: fields[1], remote: fields[2], state: fields[3], timer: fields[5] })
    })
}

fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "never: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// A listener whose accept queue is full, so that the kernel drops each further SYN packet, and what fills the queue.
fn deaf(address: SocketAddr) -> (tokio::net::TcpListener, Vec<tokio::net::TcpStream>) {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.unwrap();
    socket.bind(address).unwrap();
    let listener = socket.listen(0).unwrap();
    let fill = TcpStream::connect(address).unwrap();
    fill.set_nonblocking(true).unwrap();
    let fill = vec![tokio::net::TcpStream::from_std(fill).unwrap()];
    (listener, fill)
}

fn allow_many_descriptors() {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
}

/// Clients that this network's listeners had no room for, since its creation.
fn lost_clients() -> u64 {
    let counters = fs::read_to_string("/proc/self/net/netstat").unwrap();
    let mut lines = counters.lines().filter_map(|line| line.strip_prefix("TcpExt: "));
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    let mut counters = names.split(' ').zip(values.split(' '));
    counters.find(|(name, _)| *name == "ListenDrops").unwrap().1.parse().unwrap()
}

/// A client that has its greeting leaves.
async fn is_served(mut client: tokio::net::TcpStream) {
    client.read_exact(&mut [0]).await.unwrap();
}

/// An upstream that greets all of many clients, on a thread of its own.
fn greet_many() -> SocketAddr {
    let runtime = Runtime::new().unwrap();
    let listener = runtime.block_on(async {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        socket.listen(4096).unwrap()
    });
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        runtime.block_on(async {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let _ = stream.write_all(b"!").await;
                    let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
                });
            }
        });
    });
    address
}

#[test]
fn a_busy_proxy_loses_no_client_of_a_burst() {
    const CLIENTS: usize = 3_000;
    if !in_network("a_busy_proxy_loses_no_client_of_a_burst", "", "") {
        return;
    }
    allow_many_descriptors();
    let proxy = Proxy::start("tcp://127.0.0.1:0", &format!("tcp://{}", greet_many()), &[]);
    let address: SocketAddr = proxy.address().parse().unwrap();
    // All wait in the accept queue: a stopped proxy accepts none.
    proxy.signal(Signal::SIGSTOP);
    Runtime::new().unwrap().block_on(async {
        let connects = (0..CLIENTS).map(|_| tokio::net::TcpStream::connect(address)).collect::<JoinSet<_>>();
        let clients = timeout(PATIENCE, connects.join_all()).await.unwrap();
        assert_eq!(lost_clients(), 0);
        proxy.signal(Signal::SIGCONT);
        let served: JoinSet<_> = clients.into_iter().map(|client| is_served(client.unwrap())).collect();
        timeout(PATIENCE, served.join_all()).await.unwrap();
    });
}

#[test]
fn a_full_proxy_serves_a_burst_as_places_become_free() {
    const CLIENTS: usize = 5_000;
    if !in_network("a_full_proxy_serves_a_burst_as_places_become_free", "", "") {
        return;
    }
    allow_many_descriptors();
    let to = format!("tcp://{}", greet_many());
    let proxy = Proxy::start("tcp://127.0.0.1:0", &to, &["--max-connections", "1000"]);
    let address: SocketAddr = proxy.address().parse().unwrap();
    let begin = Instant::now();
    Runtime::new().unwrap().block_on(async {
        let client =
            || async move { is_served(tokio::net::TcpStream::connect(address).await.unwrap()).await };
        let served: JoinSet<_> = (0..CLIENTS).map(|_| client()).collect();
        timeout(PATIENCE, served.join_all()).await.unwrap();
    });
    println!("{CLIENTS} clients were served in {:?}", begin.elapsed());
    assert_eq!(lost_clients(), 0);
}

#[test]
fn the_second_address_of_a_name_is_tried_if_the_first_does_not_answer() {
    let hosts = "127.0.0.2 two\n127.0.0.3 two\n::1 both\n127.0.0.3 both\n";
    if !in_network("the_second_address_of_a_name_is_tried_if_the_first_does_not_answer", hosts, "") {
        return;
    }
    let runtime = Runtime::new().unwrap();
    let _entered = runtime.enter();
    let good = TcpListener::bind("127.0.0.3:0").unwrap();
    let port = good.local_addr().unwrap().port();
    greet(good);
    let _deaf =
        [deaf(SocketAddr::from(([127, 0, 0, 2], port))), deaf(format!("[::1]:{port}").parse().unwrap())];
    for name in ["two", "both"] {
        // Less than the first address has in a row of attempts with a second each.
        let proxy =
            Proxy::start("tcp://127.0.0.1:0", &format!("tcp://{name}:{port}"), &["--connect-timeout", "5"]);
        assert!(is_greeted(&mut TcpStream::connect(proxy.address()).unwrap()), "{name}");
        eventually("the other attempt is closed", || !has_socket(|socket| socket.state == SYN_SENT));
    }
}

#[test]
fn a_silent_name_server_takes_few_threads_and_its_clients_learn_why() {
    const CLIENTS: usize = 2_500;
    const FEW: usize = 24;
    let test = "a_silent_name_server_takes_few_threads_and_its_clients_learn_why";
    if !in_network(test, "", "nameserver 127.0.0.1\n") {
        return;
    }
    allow_many_descriptors();
    let _silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 53)).unwrap();
    let proxy = Proxy::start("tcp://127.0.0.1:0", "tcp://upstream.test:80", &["--connect-timeout", "3"]);
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| TcpStream::connect(proxy.address()).unwrap()).collect();
    thread::sleep(Duration::from_secs(1));
    let threads = fs::read_dir(format!("/proc/{}/task", proxy.child.id())).unwrap().count();
    assert!(threads < FEW, "{threads} threads");
    for client in &mut clients {
        assert!(!is_greeted(client));
    }
    let runtime = Runtime::new().unwrap();
    let connect = Stream::connect("tcp://upstream.test:80", Duration::from_millis(100));
    let error = runtime.block_on(connect).unwrap_err();
    runtime.shutdown_background();
    assert_eq!(error.kind(), ErrorKind::LookupTimeout { after: Duration::from_millis(100) });
    assert!(error.is_timeout());
    let begin = Instant::now();
    proxy.interrupt();
    proxy.wait();
    assert!(begin.elapsed() < Duration::from_secs(5), "it waits for the name server");
}

#[test]
fn a_signal_stops_a_proxy_that_waits_for_the_address_to_listen_at() {
    if !in_network(
        "a_signal_stops_a_proxy_that_waits_for_the_address_to_listen_at",
        "",
        "nameserver 127.0.0.1\n",
    ) {
        return;
    }
    let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 53)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_millpond"));
    let mut proxy = command
        .args(["proxy", "--listen", "tcp://here.test:7000", "--to", "tcp://127.0.0.1:1"])
        .spawn()
        .unwrap();
    silent.recv_from(&mut [0; 512]).unwrap();
    let begin = Instant::now();
    kill(Pid::from_raw(proxy.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    assert_eq!(proxy.wait().unwrap().code(), Some(0));
    // The system's resolver gives up after ten seconds.
    assert!(begin.elapsed() < Duration::from_secs(5), "it waits for the name server");
}

/// A name server that knows one address for every name. Returns a counter of the questions.
fn name_server() -> Arc<AtomicUsize> {
    const HEADER: usize = 12;
    const TYPE_A: u8 = 1;
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 53)).unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    thread::spawn(move || {
        let mut question = [0; 512];
        while let Ok((len, client)) = socket.recv_from(&mut question) {
            counter.fetch_add(1, Ordering::Relaxed);
            let name = question[HEADER..].iter().position(|byte| *byte == 0).unwrap();
            let end = HEADER + name + 5;
            assert!(end <= len);
            let is_v4 = question[end - 3] == TYPE_A;
            // The same identification; a response, recursion available; one question, and one answer if it has one.
            let mut answer = [&question[..2], &[0x81, 0x80, 0, 1, 0, u8::from(is_v4), 0, 0, 0, 0]].concat();
            answer.extend(&question[HEADER..end]);
            if is_v4 {
                // The name of the question, type A, class IN, a TTL of a minute, 4 bytes.
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
            }
            socket.send_to(&answer, client).unwrap();
        }
    });
    asked
}

#[test]
fn many_clients_need_one_lookup() {
    const CLIENTS: usize = 200;
    if !in_network("many_clients_need_one_lookup", "", "nameserver 127.0.0.1\n") {
        return;
    }
    let asked = name_server();
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = upstream.local_addr().unwrap().port();
    greet(upstream);
    let proxy = Proxy::start("tcp://127.0.0.1:0", &format!("tcp://upstream.test:{port}"), &[]);
    let begin = Instant::now();
    for _ in 0..CLIENTS {
        assert!(is_greeted(&mut TcpStream::connect(proxy.address()).unwrap()));
    }
    // Both types of addresses, at the start and every five seconds.
    let most = 2 * (1 + begin.elapsed().as_secs() as usize / 5);
    let asked = asked.load(Ordering::Relaxed);
    assert!((1..=most).contains(&asked), "{asked} questions");
}

#[test]
fn a_name_that_does_not_exist_is_a_failed_lookup() {
    if !in_network("a_name_that_does_not_exist_is_a_failed_lookup", "", "") {
        return;
    }
    let error = Runtime::new().unwrap().block_on(Stream::connect("tcp://upstream.test:80", PATIENCE));
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Lookup);
    assert!(error.to_string().contains("tcp://upstream.test:80"), "{error}");
}

#[test]
fn an_address_of_a_family_that_this_machine_lacks_fails_at_once() {
    if !in_network("an_address_of_a_family_that_this_machine_lacks_fails_at_once", "::1 only\n", "") {
        return;
    }
    fs::write("/proc/sys/net/ipv6/conf/lo/disable_ipv6", "1").unwrap();
    for endpoint in ["tcp://[::1]:80", "tcp://only:80"] {
        let error = Runtime::new().unwrap().block_on(Stream::connect(endpoint, PATIENCE)).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Connect | ErrorKind::Lookup), "{error:?}");
    }
}

#[test]
fn without_ports_clients_wait_and_the_failure_names_them() {
    const PORTS: usize = 5;
    if !in_network("without_ports_clients_wait_and_the_failure_names_them", "", "") {
        return;
    }
    fs::write("/proc/sys/net/ipv4/ip_local_port_range", format!("40000 {}", 40_000 + PORTS - 1)).unwrap();
    let upstream = TcpListener::bind("127.0.0.1:8080").unwrap();
    greet(upstream);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("proxy");
    let _proxy = Proxy::start(&format!("unix://{}", path.display()), "tcp://127.0.0.1:8080", &[]);
    let connect = || {
        let client = UnixStream::connect(&path).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client
    };
    let mut clients: Vec<_> = (0..PORTS).map(|_| connect()).collect();
    for client in &mut clients {
        client.read_exact(&mut [0]).unwrap();
    }
    let after = Duration::from_millis(200);
    let endpoint = Endpoint::from("tcp://127.0.0.1:8080");
    let error = Runtime::new().unwrap().block_on(Stream::connect(&endpoint, after)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutOfResources, "{error:?}");
    assert!(error.to_string().contains("no local port left"), "{error}");

    let to = "tcp://127.0.0.1:8080";
    let short = Proxy::start("tcp://127.0.0.1:7001", to, &["--connect-timeout", "0.2"]);
    assert!(!is_greeted(&mut TcpStream::connect(short.address()).unwrap()));
    short.interrupt();
    let said = short.wait();
    assert!(said.contains("ended_by=relay cause=out_of_resources"), "{said}");
    assert!(said.contains("connect_errors=0 out_of_resources=1"), "{said}");

    let mut waits = connect();
    waits.set_read_timeout(Some(after)).unwrap();
    assert_eq!(waits.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    waits.set_read_timeout(Some(PATIENCE)).unwrap();
    // The kernel uses a port of loopback again one second after its connection has ended.
    clients.iter().for_each(|client| client.shutdown(Shutdown::Both).unwrap());
    waits.read_exact(&mut [0]).expect("a client without a port is cut");
}

#[test]
fn a_proxy_finds_dead_peers_on_both_sides_by_keepalive() {
    if !in_network("a_proxy_finds_dead_peers_on_both_sides_by_keepalive", "", "") {
        return;
    }
    let upstream = TcpListener::bind("127.0.0.1:8080").unwrap();
    greet(upstream);
    let proxy = Proxy::start("tcp://127.0.0.1:7000", "tcp://127.0.0.1:8080", &[]);
    let mut client = TcpStream::connect(proxy.address()).unwrap();
    assert!(is_greeted(&mut client));
    let end = |port: u16| format!("0100007F:{port:04X}");
    let is_watched =
        |socket: &Socket<'_>| socket.state == ESTABLISHED && socket.timer.starts_with(KEEPALIVE_TIMER);
    // What was sent is acknowledged soon, and then the timer of keepalive runs.
    eventually("keepalive for the client", || {
        has_socket(|socket| socket.local == end(7000) && is_watched(&socket))
    });
    eventually("keepalive for the upstream", || {
        has_socket(|socket| socket.remote == end(8080) && is_watched(&socket))
    });
}
