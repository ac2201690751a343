//! Several servers behind one listener, over real sockets: failover, reload, and what is reported of it.

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use millpond::net::{Endpoint, Listener, Stream};
use millpond::relay::{
    Backend, BackendConfig, Balance, Relay, RelayConfig, Server, ServerPolicy, ServerStanding,
};
use millpond::{BufferPool, BufferPoolConfig};
use socket2::{Domain, Socket, Type};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

const PATIENCE: Duration = Duration::from_secs(20);

/// A relay that serves a backend in a task.
struct Setup {
    relay: Relay,
    listen: Endpoint,
}

impl Setup {
    async fn new(backend: &Backend, config: RelayConfig) -> Self {
        let relay = Relay::new(BufferPool::new(BufferPoolConfig::proxy()), config);
        let listener = Listener::bind("127.0.0.1:0").await.unwrap();
        let listen = listener.local_endpoint().clone();
        let (serving, backend) = (relay.clone(), backend.clone());
        tokio::spawn(async move { serving.serve(listener, backend, std::future::pending()).await });
        Self { relay, listen }
    }

    async fn client(&self) -> Stream {
        Stream::connect(&self.listen, PATIENCE).await.unwrap()
    }

    /// What the server of a new connection is called. The connection stays open.
    async fn greeted(&self) -> (String, Stream) {
        let mut client = self.client().await;
        let name = timeout(PATIENCE, name(&mut client)).await.unwrap().unwrap();
        (name, client)
    }
}

async fn name(client: &mut Stream) -> std::io::Result<String> {
    let mut name = [0; 1];
    client.read_exact(&mut name).await?;
    Ok(String::from_utf8_lossy(&name).into_owned())
}

/// A server that greets each client with its name and then waits for the end.
async fn server(name: &'static str) -> Endpoint {
    let listener = Listener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_endpoint().clone();
    tokio::spawn(greet(listener, name));
    at
}

async fn greet(listener: Listener, name: &'static str) {
    let greet = move |mut stream: Stream| async move {
        if stream.write_all(name.as_bytes()).await.is_ok() {
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
    };
    listener.serve(1000, Duration::ZERO, std::future::pending(), greet).await;
}

/// A server that can be killed and started again. Nobody else can take its place meanwhile, unlike a port.
struct Mortal {
    at: Endpoint,
    name: &'static str,
    task: JoinHandle<()>,
    _folder: TempDir,
}

impl Mortal {
    async fn new(name: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = Endpoint::from(folder.path().join("server.sock"));
        let listener = Listener::bind(&at).await.unwrap();
        Self { at, name, task: tokio::spawn(greet(listener, name)), _folder: folder }
    }

    /// Its connections end, too.
    async fn kill(&mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }

    async fn start(&mut self) {
        let listener = Listener::bind(&self.at).await.unwrap();
        self.task = tokio::spawn(greet(listener, self.name));
    }
}

/// A server that accepts nobody, and whose accept queue is full.
struct Deaf {
    at: SocketAddr,
    _listener: Socket,
    _queue: Vec<Socket>,
}

impl Deaf {
    fn new() -> Self {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        listener.listen(0).unwrap();
        let at = listener.local_addr().unwrap();
        // As many as fit, until one does not.
        let connect = |_| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            let connected = socket.connect_timeout(&at, Duration::from_millis(300));
            connected.is_ok().then_some(socket)
        };
        let queue = (0..100).map_while(connect).collect();
        Self { at: at.as_socket().unwrap(), _listener: listener, _queue: queue }
    }
}

fn policy(policy: ServerPolicy) -> BackendConfig {
    BackendConfig::default().policy(policy)
}

fn balance(balance: Balance) -> BackendConfig {
    policy(ServerPolicy::default().balance(balance))
}

async fn until(what: &str, is: impl Fn() -> bool) {
    let waiting = async {
        while !is() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// Where nobody listens.
fn nobody() -> Endpoint {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    Path::new(&format!("/nonexistent/{}.sock", NUMBER.fetch_add(1, Ordering::Relaxed))).into()
}

#[tokio::test]
async fn a_client_does_not_notice_that_the_first_server_is_dead() {
    let backend = Backend::new([nobody(), server("b").await], balance(Balance::InOrder));
    let setup = Setup::new(&backend, RelayConfig::default()).await;
    assert_eq!(setup.greeted().await.0, "b");
}

#[tokio::test]
async fn a_client_is_reset_when_all_servers_are_dead() {
    let backend = Backend::new([nobody(), nobody()], BackendConfig::default());
    let setup = Setup::new(&backend, RelayConfig::default()).await;
    let error = timeout(PATIENCE, name(&mut setup.client().await)).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    assert_eq!(setup.relay.stats().connect_errors, 1);
}

#[tokio::test]
async fn new_connections_see_the_servers_of_a_reload() {
    let backend = Backend::from(server("a").await);
    let setup = Setup::new(&backend, RelayConfig::default()).await;
    let (_, mut before) = setup.greeted().await;
    backend.replace([server("b").await], BackendConfig::default());
    assert_eq!(setup.greeted().await.0, "b");
    // The other one is where it was.
    before.shutdown().await.unwrap();
    assert_eq!(timeout(PATIENCE, before.read(&mut [0])).await.unwrap().unwrap(), 0);
}

#[tokio::test]
async fn a_connection_keeps_the_settings_from_its_accept() {
    let backend = Backend::from(server("a").await);
    let setup = Setup::new(&backend, RelayConfig::default()).await;
    let (_, mut before) = setup.greeted().await;
    let soon = Duration::from_millis(100);
    setup.relay.replace_config(RelayConfig::default().idle_timeout(Some(soon)));
    let (_, mut after) = setup.greeted().await;
    let ended = timeout(PATIENCE, after.read(&mut [0])).await.unwrap().unwrap_err();
    assert_eq!(ended.kind(), std::io::ErrorKind::ConnectionReset);
    before.shutdown().await.unwrap();
    assert_eq!(timeout(PATIENCE, before.read(&mut [0])).await.unwrap().unwrap(), 0);
}

#[tokio::test]
async fn least_connections_are_fair() {
    let servers = [server("a").await, server("b").await, server("c").await];
    let backend = Backend::new(servers, BackendConfig::default());
    let setup = Setup::new(&backend, RelayConfig::default()).await;
    let mut clients = Vec::new();
    for _ in 0..30 {
        clients.push(setup.greeted().await);
    }
    let connections: Vec<_> = backend.servers().iter().map(|server| server.connections).collect();
    assert_eq!(connections, [10, 10, 10]);
    // A server whose clients leave gets the next ones.
    clients.retain(|(name, _)| name != "b");
    until("those have left", || backend.servers()[1].connections == 0).await;
    for _ in 0..10 {
        clients.push(setup.greeted().await);
    }
    assert_eq!(clients.iter().filter(|(name, _)| name == "b").count(), 10);
}

#[tokio::test]
async fn a_server_with_three_times_the_weight_gets_three_times_the_connections() {
    let servers = [Server::new(server("a").await).weight(3), Server::new(server("b").await)];
    let backend = Backend::new(servers, BackendConfig::default());
    let setup = Setup::new(&backend, RelayConfig::default()).await;
    let mut clients = Vec::new();
    for _ in 0..12 {
        clients.push(setup.greeted().await);
    }
    assert_eq!(clients.iter().filter(|(name, _)| name == "a").count(), 9);
}

#[tokio::test]
async fn a_backup_serves_only_while_the_primary_does_not() {
    let mut primary = Mortal::new("a").await;
    let quick = ServerPolicy::default().eject_for(Duration::from_millis(1)).return_over(Duration::ZERO);
    let config = policy(quick.balance(Balance::InOrder));
    let backend = Backend::new([primary.at.clone(), server("b").await], config);
    let setup = Setup::new(&backend, RelayConfig::default()).await;
    let mut clients = Vec::new();
    for _ in 0..10 {
        clients.push(setup.greeted().await);
    }
    assert!(clients.iter().all(|(name, _)| name == "a"));
    primary.kill().await;
    for _ in 0..10 {
        assert_eq!(setup.greeted().await.0, "b");
    }
    primary.start().await;
    let back = async { while setup.greeted().await.0 != "a" {} };
    timeout(PATIENCE, back).await.unwrap();
}

/// A client with an address of its own.
async fn client_from(source: [u8; 4], to: &Endpoint) -> String {
    let Endpoint::Tcp(to) = to else { panic!("{to}") };
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::from(source), 0).into()).unwrap();
    let mut client: TcpStream = socket.connect(to.parse().unwrap()).await.unwrap();
    let mut name = [0; 1];
    timeout(PATIENCE, client.read_exact(&mut name)).await.unwrap().unwrap();
    String::from_utf8_lossy(&name).into_owned()
}

#[tokio::test]
async fn a_client_stays_at_its_server_by_the_hash_of_its_address() {
    let servers = [server("a").await, server("b").await, server("c").await];
    let backend = Backend::new(servers, balance(Balance::SourceHash));
    let setup = Setup::new(&backend, RelayConfig::default()).await;
    let mut used = HashSet::new();
    for client in 1..=20 {
        let source = [127, 0, 0, client];
        let first = client_from(source, &setup.listen).await;
        assert_eq!(client_from(source, &setup.listen).await, first);
        used.insert(first);
    }
    assert!(used.len() > 1, "{used:?}");
}

#[tokio::test]
async fn failed_connects_eject_a_server() {
    let config = policy(ServerPolicy::default().balance(Balance::InOrder));
    let backend = Backend::new([nobody(), server("b").await], config);
    let setup = Setup::new(&backend, RelayConfig::default()).await;
    for _ in 0..10 {
        assert_eq!(setup.greeted().await.0, "b");
    }
    let first = &backend.servers()[0];
    assert_eq!(first.standing, ServerStanding::Ejected);
    assert_eq!((first.connect_errors, first.ejections), (3, 1));
}

#[tokio::test]
async fn the_last_resort_is_tried_when_all_are_ejected() {
    let mut only = Mortal::new("a").await;
    let config = policy(ServerPolicy::default().eject_after(1));
    let backend = Backend::new([only.at.clone(), nobody()], config);
    let setup = Setup::new(&backend, RelayConfig::default()).await;
    only.kill().await;
    timeout(PATIENCE, name(&mut setup.client().await)).await.unwrap().unwrap_err();
    assert!(backend.servers().iter().all(|server| server.standing == ServerStanding::Ejected));
    only.start().await;
    assert_eq!(setup.greeted().await.0, "a");
    assert!(backend.servers()[0].last_resorts > 0);
    assert_ne!(backend.servers()[0].standing, ServerStanding::Ejected);
}

#[tokio::test]
async fn a_server_that_does_not_answer_takes_its_share_of_the_timeout_only() {
    let deaf = Deaf::new();
    let backend = Backend::new([Endpoint::from(deaf.at), server("b").await], balance(Balance::InOrder));
    let setup = Setup::new(&backend, RelayConfig::default().connect_timeout(Duration::from_secs(3))).await;
    assert_eq!(setup.greeted().await.0, "b");
    assert_eq!(backend.servers()[0].timeouts, 1);
}

#[tokio::test]
async fn a_client_that_resets_during_the_failover_frees_its_place() {
    let deaf = Deaf::new();
    let backend = Backend::new([nobody(), Endpoint::from(deaf.at)], balance(Balance::InOrder));
    let setup = Setup::new(&backend, RelayConfig::default().connect_timeout(PATIENCE * 100)).await;
    let client = setup.client().await;
    until("the second is tried", || backend.servers()[1].connections == 1).await;
    let Stream::Tcp(client) = client else { panic!("no TCP") };
    socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    until("its place is free", || setup.relay.stats().active == 0).await;
    assert_eq!(backend.servers()[1].connections, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_other_connection_is_lost_when_a_server_dies_and_comes_back_under_load() {
    let mut mortal = Mortal::new("a").await;
    let quick = ServerPolicy::default().eject_for(Duration::from_millis(20)).return_over(Duration::ZERO);
    let backend = Backend::new([mortal.at.clone(), server("b").await, server("c").await], policy(quick));
    let setup = Arc::new(Setup::new(&backend, RelayConfig::default()).await);
    let stop = Arc::new(AtomicBool::new(false));
    let mut clients = Vec::new();
    for _ in 0..15 {
        clients.push(setup.greeted().await);
    }
    // A client that greets a dying server may lose its connection. It never fails to get one.
    let load = |setup: Arc<Setup>, stop: Arc<AtomicBool>| async move {
        let mut served = 0_u64;
        while !stop.load(Ordering::Relaxed) {
            let mut client = setup.client().await;
            let greeted = timeout(PATIENCE, name(&mut client)).await;
            match greeted.unwrap_or_else(|_| panic!("{:?}", setup.relay.connections())) {
                Ok(_) => served += 1,
                // The dying server had accepted it.
                Err(error) => assert_ne!(error.kind(), std::io::ErrorKind::ConnectionRefused),
            }
        }
        served
    };
    let loads: Vec<_> = (0..8).map(|_| tokio::spawn(load(Arc::clone(&setup), Arc::clone(&stop)))).collect();
    for _ in 0..3 {
        mortal.kill().await;
        let before = backend.servers()[1].connected;
        until("the others serve", || backend.servers()[1].connected > before + 50).await;
        mortal.start().await;
        let before = backend.servers()[0].connected;
        until("it serves again", || backend.servers()[0].connected > before + 20).await;
    }
    stop.store(true, Ordering::Relaxed);
    for load in loads {
        assert!(load.await.unwrap() > 0);
    }
    assert_eq!(setup.relay.stats().connect_errors, 0);
    for (_, mut other) in clients.into_iter().filter(|(name, _)| name != "a") {
        other.shutdown().await.unwrap();
        assert_eq!(timeout(PATIENCE, other.read(&mut [0])).await.unwrap().unwrap(), 0);
    }
}

#[tokio::test]
async fn checks_find_a_server_that_accepts_nobody() {
    let deaf = Deaf::new();
    let config = BackendConfig::default().check_every(Some(Duration::from_millis(200)));
    let backend = Backend::new([Endpoint::from(deaf.at), server("b").await], config);
    until("it is ejected", || backend.servers()[0].standing == ServerStanding::Ejected).await;
    assert!(backend.servers()[0].checks_failed >= 3);
    assert_eq!(backend.servers()[1].standing, ServerStanding::Serving);
}

#[tokio::test]
async fn checks_find_a_server_that_is_back() {
    let mut mortal = Mortal::new("a").await;
    mortal.kill().await;
    let config = BackendConfig::default().check_every(Some(Duration::from_millis(20)));
    let backend = Backend::new([mortal.at.clone(), server("b").await], config);
    until("it is ejected", || backend.servers()[0].standing == ServerStanding::Ejected).await;
    mortal.start().await;
    until("it is back", || backend.servers()[0].standing != ServerStanding::Ejected).await;
}

#[tokio::test]
async fn checks_end_with_the_last_handle() {
    let backend = Backend::from(server("a").await);
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    backend.replace(["127.0.0.1:1"], BackendConfig::default().check_every(Some(PATIENCE * 100)));
    assert_eq!(tasks(), before + 1);
    // The task has its turn, and waits for the first check from then on.
    tokio::task::yield_now().await;
    drop(backend);
    until("the task has ended", || tasks() == before).await;
}

#[tokio::test]
async fn a_reload_can_end_the_checks() {
    let backend = Backend::from("127.0.0.1:1");
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    backend.replace(["127.0.0.1:1"], BackendConfig::default().check_every(Some(PATIENCE * 100)));
    backend.replace(["127.0.0.1:1"], BackendConfig::default());
    until("the task has ended", || tasks() == before).await;
}

#[tokio::test]
async fn a_reload_keeps_the_state_and_the_counters_of_a_server_that_stays() {
    let (dead, live) = (nobody(), server("b").await);
    let backend = Backend::new([dead.clone(), live.clone()], policy(ServerPolicy::default().eject_after(1)));
    let setup = Setup::new(&backend, RelayConfig::default()).await;
    let clients = [setup.greeted().await, setup.greeted().await, setup.greeted().await];
    assert_eq!(clients.len(), 3);
    backend.replace([live, server("c").await, dead], BackendConfig::default());
    let servers = backend.servers();
    assert_eq!((servers[0].connected, servers[0].connections), (3, 3));
    assert_eq!((servers[1].connected, servers[1].connections), (0, 0));
    assert_eq!((servers[2].connect_errors, servers[2].standing), (1, ServerStanding::Ejected));
}

#[tokio::test]
async fn the_error_names_the_number_of_servers_and_the_last_cause() {
    let (one, other) = (nobody(), nobody());
    let backend = Backend::new([&one, &other], BackendConfig::default());
    let error = backend.reach(PATIENCE).await.unwrap_err().to_string();
    assert!(error.starts_with("none of 2 servers can be reached; the last: "), "{error}");
    assert!(error.contains(&one.to_string()) || error.contains(&other.to_string()), "{error}");
}

#[tokio::test]
async fn a_backend_is_reached_if_one_server_is() {
    let backend = Backend::new([nobody(), server("b").await], BackendConfig::default());
    backend.reach(PATIENCE).await.unwrap();
    assert_eq!(backend.servers()[1].connected, 0);
}

#[tokio::test]
async fn a_backend_without_a_server_resets_the_client() {
    let backend = Backend::new(Vec::<Server>::new(), BackendConfig::default());
    let setup = Setup::new(&backend, RelayConfig::default()).await;
    let error = timeout(PATIENCE, name(&mut setup.client().await)).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn the_list_of_connections_names_the_server() {
    let (dead, live) = (nobody(), server("b").await);
    let backend = Backend::new([&dead, &live], balance(Balance::InOrder));
    let setup = Setup::new(&backend, RelayConfig::default()).await;
    let _client = setup.greeted().await;
    assert_eq!(setup.relay.connections()[0].upstream.as_deref(), Some(&live));
}
