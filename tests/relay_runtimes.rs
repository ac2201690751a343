//! A relay on several runtimes: connections are shared out evenly, and one limit and one drain hold for all of them.

use std::time::Duration;

use millpond::net::{DrainReport, Endpoint, Listener, Runtimes, Stream};
use millpond::relay::{Relay, RelayConfig};
use millpond::{BufferPool, BufferPoolConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// A test that waits this long has failed, even on a slow machine.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a test watches that nothing happens.
const A_WHILE: Duration = Duration::from_millis(200);
const THREADS: usize = 3;

/// Current-thread runtimes, each on a thread of its own. Dropped, they stop.
struct Threads {
    handles: Vec<Handle>,
    _stop: Vec<oneshot::Sender<()>>,
}

impl Threads {
    fn start() -> Self {
        let start = |_| {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            let handle = runtime.handle().clone();
            let (stop, stopped) = oneshot::channel::<()>();
            std::thread::spawn(move || drop(runtime.block_on(stopped)));
            (handle, stop)
        };
        let (handles, stop) = (0..THREADS).map(start).unzip();
        Self { handles, _stop: stop }
    }

    fn runtimes(&self) -> Runtimes {
        Runtimes::new(self.handles.iter().cloned())
    }

    fn tasks(&self) -> Vec<usize> {
        self.handles.iter().map(|handle| handle.metrics().num_alive_tasks()).collect()
    }
}

/// One accept loop of a relay.
struct Serving {
    listen: Endpoint,
    stop: oneshot::Sender<()>,
    served: JoinHandle<DrainReport>,
}

impl Serving {
    async fn start(relay: &Relay, runtimes: &Runtimes, upstream: &Listener) -> Self {
        let listener = Listener::bind("127.0.0.1:0").await.unwrap();
        let listen = listener.local_endpoint().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let (relay, runtimes) = (relay.clone(), runtimes.clone());
        let to = upstream.local_endpoint().clone();
        let served = tokio::spawn(async move {
            relay.serve_on(&runtimes, listener, to, async { drop(stopped.await) }).await
        });
        Self { listen, stop, served }
    }

    async fn client(&self) -> Stream {
        Stream::connect(&self.listen, PATIENCE).await.unwrap()
    }

    async fn end(self) -> DrainReport {
        drop(self.stop);
        within(self.served).await.unwrap()
    }
}

fn relay(config: RelayConfig) -> Relay {
    Relay::new(BufferPool::new(BufferPoolConfig::proxy()), config)
}

async fn upstream() -> Listener {
    Listener::bind("127.0.0.1:0").await.unwrap()
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("it took too long")
}

async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// Passes a message both ways.
async fn pass(one: &mut Stream, other: &mut Stream) {
    send(one, other).await;
    send(other, one).await;
}

async fn send(from: &mut Stream, to: &mut Stream) {
    let mut arrived = [0; 5];
    from.write_all(b"grist").await.unwrap();
    within(to.read_exact(&mut arrived)).await.unwrap();
    assert_eq!(&arrived, b"grist");
}

#[tokio::test]
async fn each_connection_runs_on_the_runtime_with_the_fewest() {
    const EACH: usize = 4;
    let (threads, upstream) = (Threads::start(), upstream().await);
    let (runtimes, relay) = (threads.runtimes(), relay(RelayConfig::default()));
    // Two accept loops, which know of each other's connections.
    let loops = [
        Serving::start(&relay, &runtimes, &upstream).await,
        Serving::start(&relay, &runtimes, &upstream).await,
    ];
    let mut connections = Vec::new();
    for number in 0..THREADS * EACH {
        let mut client = loops[number % 2].client().await;
        let mut server = within(upstream.accept()).await.unwrap();
        pass(&mut client, &mut server).await;
        connections.push((client, server));
    }
    assert_eq!(runtimes.open(), [EACH; THREADS]);
    assert_eq!(threads.tasks(), [EACH; THREADS]);

    // Two that are on one runtime end, and the next two go there.
    connections.remove(THREADS);
    connections.remove(0);
    eventually("the first runtime has the fewest", || runtimes.open() == [EACH - 2, EACH, EACH]).await;
    for _ in 0..2 {
        connections.push((loops[0].client().await, within(upstream.accept()).await.unwrap()));
    }
    assert_eq!(runtimes.open(), [EACH; THREADS]);
    drop(connections);
    eventually("no connection is open", || runtimes.open() == [0; THREADS]).await;
}

#[tokio::test]
async fn a_drain_waits_for_the_connections_of_all_runtimes() {
    let (threads, upstream) = (Threads::start(), upstream().await);
    let (runtimes, relay) = (threads.runtimes(), relay(RelayConfig::default()));
    let serving = Serving::start(&relay, &runtimes, &upstream).await;
    let mut connections = Vec::new();
    for _ in 0..THREADS {
        connections.push((serving.client().await, within(upstream.accept()).await.unwrap()));
    }
    let listen = serving.listen.clone();
    drop(serving.stop);
    eventually("the listener is closed", || {
        let Endpoint::Tcp(address) = &listen else { return false };
        std::net::TcpListener::bind(address).is_ok()
    })
    .await;
    for (client, server) in &mut connections {
        pass(client, server).await;
    }
    assert!(!serving.served.is_finished());
    drop(connections);
    let report = within(serving.served).await.unwrap();
    assert_eq!((report.drained, report.aborted), (THREADS as u64, 0));
}

#[tokio::test]
async fn a_drain_aborts_on_all_runtimes_at_its_deadline() {
    let (threads, upstream) = (Threads::start(), upstream().await);
    let (runtimes, relay) = (threads.runtimes(), relay(RelayConfig::default().drain_timeout(A_WHILE)));
    let serving = Serving::start(&relay, &runtimes, &upstream).await;
    let mut connections = Vec::new();
    for _ in 0..THREADS {
        connections.push((serving.client().await, within(upstream.accept()).await.unwrap()));
    }
    let report = serving.end().await;
    assert_eq!((report.drained, report.aborted), (0, THREADS as u64));
    assert_eq!(relay.stats().aborted, THREADS as u64);
    assert_eq!(runtimes.open(), [0; THREADS]);
}

#[tokio::test]
async fn the_limit_holds_for_all_accept_loops_and_one_without_clients_takes_no_place() {
    let (threads, upstream) = (Threads::start(), upstream().await);
    let (runtimes, relay) = (threads.runtimes(), relay(RelayConfig::default().max_connections(2)));
    let (one, other) = (
        Serving::start(&relay, &runtimes, &upstream).await,
        Serving::start(&relay, &runtimes, &upstream).await,
    );
    let mut first = (one.client().await, within(upstream.accept()).await.unwrap());
    let mut second = (one.client().await, within(upstream.accept()).await.unwrap());
    pass(&mut first.0, &mut first.1).await;
    pass(&mut second.0, &mut second.1).await;

    let mut third = other.client().await;
    timeout(A_WHILE, upstream.accept()).await.expect_err("a connection beyond the limit");
    drop(first);
    let mut server = within(upstream.accept()).await.unwrap();
    pass(&mut third, &mut server).await;
    assert_eq!(relay.stats().active, 2);
    drop((second, third, server));
    let (one, other) = (one.end().await, other.end().await);
    assert_eq!((one.aborted, other.aborted), (0, 0));
}

#[tokio::test]
async fn a_cancelled_loop_gives_its_places_back() {
    let (threads, upstream) = (Threads::start(), upstream().await);
    let (runtimes, relay) = (threads.runtimes(), relay(RelayConfig::default().max_connections(1)));
    let (one, other) = (
        Serving::start(&relay, &runtimes, &upstream).await,
        Serving::start(&relay, &runtimes, &upstream).await,
    );
    let _open = (one.client().await, within(upstream.accept()).await.unwrap());
    let mut client = other.client().await;
    timeout(A_WHILE, upstream.accept()).await.expect_err("a connection beyond the limit");
    one.served.abort();
    let mut server = within(upstream.accept()).await.unwrap();
    pass(&mut client, &mut server).await;
    assert_eq!(runtimes.open().iter().sum::<usize>(), 1);
}

#[tokio::test]
async fn a_connection_needs_nothing_of_the_runtime_that_accepted_it() {
    use std::io::{Read, Write};

    let (threads, upstream) = (Threads::start(), upstream().await);
    let (runtimes, relay) = (threads.runtimes(), relay(RelayConfig::default()));
    let serving = Serving::start(&relay, &runtimes, &upstream).await;
    let (mut client, mut server) = (serving.client().await, within(upstream.accept()).await.unwrap());
    pass(&mut client, &mut server).await;
    let (Stream::Tcp(client), Stream::Tcp(server)) = (client, server) else { panic!("not TCP") };
    let mut blocking = [client, server].map(|stream| stream.into_std().unwrap());
    for stream in &blocking {
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
    }
    // The runtime of this test, which accepted it, does nothing meanwhile.
    let mut arrived = [0; 5];
    blocking[0].write_all(b"grist").unwrap();
    blocking[1].read_exact(&mut arrived).unwrap();
    assert_eq!(&arrived, b"grist");
}
