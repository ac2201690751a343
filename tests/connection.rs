//! The pool of connections beyond what bb8 promises: waits, limits, faults, and changes at run time. A connection here is a
//! TCP connection to a server that counts.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use millpond::connection::{
    Builder, ErrorSink, ManageConnection, NopErrorSink, Pool, PooledConnection, RunError,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime;
use tokio::time::{sleep, timeout};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// Time for tasks to do what they must not do.
const A_WHILE: Duration = Duration::from_millis(200);

/// A server that keeps what it accepts until it is told to close it.
#[derive(Clone)]
struct Server {
    address: SocketAddr,
    open: Arc<Mutex<Vec<TcpStream>>>,
    accepted: Arc<AtomicUsize>,
}

impl Server {
    /// On a runtime of its own.
    fn start() -> Self {
        let (open, accepted) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
        let (tell, told) = std::sync::mpsc::channel();
        let (streams, count) = (Arc::clone(&open), Arc::clone(&accepted));
        std::thread::spawn(move || {
            single_thread().block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                tell.send(listener.local_addr().unwrap()).unwrap();
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    count.fetch_add(1, SeqCst);
                    streams.lock().unwrap().push(stream);
                }
            });
        });
        Self { address: told.recv().unwrap(), open, accepted }
    }

    fn accepted(&self) -> usize {
        self.accepted.load(SeqCst)
    }

    /// Closes all connections, as a restart does, once it has accepted this many.
    async fn close_all(&self, count: usize) {
        eventually("the server accepts", || self.accepted() == count).await;
        self.open.lock().unwrap().clear();
    }
}

/// How the manager of a test misbehaves.
#[derive(Clone)]
struct Upstream {
    address: SocketAddr,
    /// Connects that are under way, and the most there were.
    connecting: Arc<(AtomicUsize, AtomicUsize)>,
    connect_time: Duration,
    panics: Arc<AtomicBool>,
    hangs: bool,
    tests: Arc<AtomicUsize>,
    test_hangs: bool,
}

impl Upstream {
    fn to(address: SocketAddr) -> Self {
        Self {
            address,
            connecting: Arc::default(),
            connect_time: Duration::ZERO,
            panics: Arc::default(),
            hangs: false,
            tests: Arc::default(),
            test_hangs: false,
        }
    }
}

impl ManageConnection for Upstream {
    type Connection = TcpStream;
    type Error = io::Error;

    async fn connect(&self) -> io::Result<TcpStream> {
        let now = self.connecting.0.fetch_add(1, SeqCst) + 1;
        self.connecting.1.fetch_max(now, SeqCst);
        sleep(self.connect_time).await;
        self.connecting.0.fetch_sub(1, SeqCst);
        assert!(!self.panics.load(SeqCst), "the manager panics, as it should");
        if self.hangs {
            std::future::pending::<()>().await;
        }
        TcpStream::connect(self.address).await
    }

    async fn is_valid(&self, connection: &mut TcpStream) -> io::Result<()> {
        self.tests.fetch_add(1, SeqCst);
        if self.test_hangs {
            std::future::pending::<()>().await;
        }
        if self.has_broken(connection) { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
    }

    fn has_broken(&self, connection: &mut TcpStream) -> bool {
        !matches!(connection.try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}

fn builder() -> Builder<Upstream> {
    Pool::builder().min_idle(0).connection_timeout(PATIENCE)
}

/// A pool of one connection, and the connection.
async fn only_connection(server: &Server) -> (Pool<Upstream>, PooledConnection<'static, Upstream>) {
    let pool = builder().max_size(1).build(Upstream::to(server.address)).await.unwrap();
    let connection = pool.get_owned().await.unwrap();
    (pool, connection)
}

fn single_thread() -> runtime::Runtime {
    runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// An address at which nobody listens.
fn nowhere() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let condition = async {
        while !condition() {
            sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(PATIENCE, condition).await.unwrap_or_else(|_| panic!("never: {what}"));
}

fn poll_once<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test]
async fn an_idle_connection_is_ready_at_the_first_poll() {
    let server = Server::start();
    let (pool, connection) = only_connection(&server).await;
    drop(connection);
    assert!(poll_once(pin!(pool.get())).is_ready());
}

#[tokio::test]
async fn waiters_are_served_in_their_order() {
    let server = Server::start();
    let (pool, connection) = only_connection(&server).await;
    let (mut first, mut second) = (pin!(pool.get()), pin!(pool.get()));
    assert!(poll_once(first.as_mut()).is_pending());
    assert!(poll_once(second.as_mut()).is_pending());
    drop(connection);
    assert!(poll_once(second.as_mut()).is_pending());
    assert!(poll_once(first.as_mut()).is_ready());
}

#[tokio::test]
async fn a_newcomer_does_not_take_what_a_waiter_was_given() {
    let server = Server::start();
    let (pool, connection) = only_connection(&server).await;
    let mut waiter = pin!(pool.get());
    assert!(poll_once(waiter.as_mut()).is_pending());
    drop(connection);
    assert!(poll_once(pin!(pool.get())).is_pending());
}

#[tokio::test]
async fn a_cancelled_waiter_passes_its_connection_on() {
    let server = Server::start();
    let (pool, connection) = only_connection(&server).await;
    let mut first = Box::pin(pool.get());
    let mut second = pin!(pool.get());
    assert!(poll_once(first.as_mut()).is_pending());
    assert!(poll_once(second.as_mut()).is_pending());
    drop(connection);
    drop(first);
    assert!(poll_once(second.as_mut()).is_ready());
}

#[tokio::test]
async fn a_cancelled_get_does_not_abort_the_connect() {
    let server = Server::start();
    let upstream = Upstream { connect_time: Duration::from_millis(50), ..Upstream::to(server.address) };
    let pool = builder().build(upstream).await.unwrap();
    assert!(timeout(Duration::from_millis(5), pool.get()).await.is_err());
    eventually("the connect ends", || pool.state().idle_connections == 1).await;
}

#[tokio::test]
async fn a_full_queue_refuses_at_once() {
    let server = Server::start();
    let pool = builder().max_size(1).max_waiting(1).build(Upstream::to(server.address)).await.unwrap();
    let _connection = pool.get().await.unwrap();
    let mut waiter = pin!(pool.get());
    assert!(poll_once(waiter.as_mut()).is_pending());
    assert!(matches!(pool.get().await, Err(RunError::PoolFull)));
}

#[tokio::test]
async fn a_larger_pool_serves_its_waiters() {
    let server = Server::start();
    let (pool, _connection) = only_connection(&server).await;
    let mut waiter = pin!(pool.get());
    assert!(poll_once(waiter.as_mut()).is_pending());
    pool.resize(2);
    assert!(timeout(PATIENCE, waiter).await.unwrap().is_ok());
}

#[tokio::test]
async fn a_smaller_pool_closes_idle_connections_at_once() {
    let server = Server::start();
    let pool = builder().max_size(4).min_idle(4).build(Upstream::to(server.address)).await.unwrap();
    pool.resize(1);
    assert_eq!(pool.state().connections, 1);
}

#[tokio::test]
async fn a_smaller_pool_closes_connections_in_use_when_they_return() {
    let server = Server::start();
    let pool = builder().max_size(3).build(Upstream::to(server.address)).await.unwrap();
    let connections = [pool.get().await.unwrap(), pool.get().await.unwrap(), pool.get().await.unwrap()];
    pool.resize(1);
    assert_eq!(pool.state().connections, 3);
    drop(connections);
    assert_eq!(pool.state().connections, 1);
}

#[tokio::test]
async fn a_closed_pool_refuses_those_that_wait() {
    let server = Server::start();
    let (pool, _connection) = only_connection(&server).await;
    let mut waiter = pin!(pool.get());
    assert!(poll_once(waiter.as_mut()).is_pending());
    let mut close = pin!(pool.close());
    assert!(poll_once(close.as_mut()).is_pending());
    assert!(matches!(waiter.await, Err(RunError::Closed)));
}

#[tokio::test]
async fn close_waits_for_the_connections_in_use() {
    let server = Server::start();
    let (pool, connection) = only_connection(&server).await;
    let mut close = pin!(pool.close());
    assert!(poll_once(close.as_mut()).is_pending());
    drop(connection);
    assert!(timeout(PATIENCE, close).await.is_ok());
}

#[tokio::test]
async fn close_waits_for_broken_connections_in_use() {
    let server = Server::start();
    let (pool, connection) = only_connection(&server).await;
    let mut close = pin!(pool.close());
    assert!(poll_once(close.as_mut()).is_pending());
    server.close_all(1).await;
    eventually("the end arrives", || connection.try_read(&mut [0]).is_ok()).await;
    drop(connection);
    assert!(timeout(PATIENCE, close).await.is_ok());
}

#[tokio::test]
async fn close_aborts_connects() {
    let upstream = Upstream { hangs: true, ..Upstream::to(nowhere()) };
    let pool = builder().build_unchecked(upstream);
    assert!(poll_once(pin!(pool.get())).is_pending());
    assert!(timeout(PATIENCE, pool.close()).await.is_ok());
}

#[tokio::test]
async fn a_closed_pool_opens_nothing() {
    let server = Server::start();
    let pool = builder().min_idle(2).build(Upstream::to(server.address)).await.unwrap();
    pool.close().await;
    assert!(matches!(pool.get().await, Err(RunError::Closed)));
    eventually("the server has both", || server.accepted() == 2).await;
    sleep(A_WHILE).await;
    assert_eq!((pool.state().connections, server.accepted()), (0, 2));
}

#[tokio::test]
async fn retain_closes_what_it_rejects() {
    let server = Server::start();
    let pool = builder().min_idle(4).max_size(4).build(Upstream::to(server.address)).await.unwrap();
    let mut seen = 0;
    pool.retain(|_| {
        seen += 1;
        seen % 2 == 0
    });
    assert_eq!(pool.state().statistics.connections_closed_surplus, 2);
}

#[tokio::test]
async fn a_detached_connection_makes_room() {
    let server = Server::start();
    let (pool, connection) = only_connection(&server).await;
    let _connection = connection.detach();
    assert!(timeout(PATIENCE, pool.get()).await.unwrap().is_ok());
    eventually("the server has both", || server.accepted() == 2).await;
}

#[tokio::test]
async fn connects_have_a_limit() {
    const LIMIT: usize = 3;
    let server = Server::start();
    let upstream = Upstream { connect_time: Duration::from_millis(20), ..Upstream::to(server.address) };
    let most = Arc::clone(&upstream.connecting);
    let pool = builder().max_connecting(LIMIT).build(upstream).await.unwrap();
    let gets = (0..20).map(|_| {
        let pool = pool.clone();
        tokio::spawn(async move { drop(pool.get().await.unwrap()) })
    });
    for get in gets.collect::<Vec<_>>() {
        get.await.unwrap();
    }
    assert_eq!(most.1.load(SeqCst), LIMIT);
}

/// All idle ones, so that none is left when one is taken.
async fn two_idle_connections(server: &Server) -> Pool<Upstream> {
    let pool = builder().max_size(3).min_idle(2).reaper_rate(Duration::from_secs(3_600));
    pool.build(Upstream::to(server.address)).await.unwrap()
}

#[tokio::test]
async fn a_new_idle_connection_is_replaced_when_it_is_taken() {
    let server = Server::start();
    let pool = two_idle_connections(&server).await;
    let _connection = pool.get().await.unwrap();
    eventually("two are idle again", || pool.state().idle_connections == 2).await;
}

#[tokio::test]
async fn a_used_idle_connection_is_replaced_when_it_is_taken() {
    let server = Server::start();
    let pool = two_idle_connections(&server).await;
    // Both were used, and the third that took their place is closed.
    let both = [pool.get().await.unwrap(), pool.get().await.unwrap()];
    drop(both);
    let mut seen = 0;
    eventually("three are idle", || pool.state().idle_connections == 3).await;
    pool.retain(|_| {
        seen += 1;
        seen < 3
    });
    let _connection = pool.get().await.unwrap();
    eventually("two are idle again", || pool.state().idle_connections == 2).await;
}

#[tokio::test]
async fn the_minimum_of_idle_connections_is_restored_after_a_restart() {
    let server = Server::start();
    let pool = builder().min_idle(3).max_size(3).reaper_rate(Duration::from_millis(20));
    let pool = pool.bypass_window(Duration::ZERO).build(Upstream::to(server.address)).await.unwrap();
    server.close_all(3).await;
    eventually("three new ones", || server.accepted() == 6 && pool.state().idle_connections == 3).await;
}

#[tokio::test]
async fn a_connection_that_the_server_closed_is_not_handed_out() {
    let server = Server::start();
    let (pool, connection) = only_connection(&server).await;
    drop(connection);
    server.close_all(1).await;
    // Once it has arrived here.
    sleep(A_WHILE).await;
    let mut connection = pool.get().await.unwrap();
    assert!(!pool_manager(&server).has_broken(&mut connection));
}

fn pool_manager(server: &Server) -> Upstream {
    Upstream::to(server.address)
}

#[tokio::test]
async fn a_connection_that_was_just_used_is_not_tested() {
    let server = Server::start();
    let upstream = Upstream::to(server.address);
    let tests = Arc::clone(&upstream.tests);
    let pool = builder().max_size(1).build(upstream).await.unwrap();
    for _ in 0..10 {
        drop(pool.get().await.unwrap());
    }
    assert_eq!(tests.load(SeqCst), 0);
}

#[tokio::test]
async fn a_connection_beyond_the_bypass_window_is_tested() {
    let server = Server::start();
    let upstream = Upstream::to(server.address);
    let tests = Arc::clone(&upstream.tests);
    let pool = builder().max_size(1).bypass_window(Duration::from_millis(20)).build(upstream).await.unwrap();
    drop(pool.get().await.unwrap());
    sleep(A_WHILE).await;
    drop(pool.get().await.unwrap());
    assert_eq!(tests.load(SeqCst), 1);
}

#[tokio::test]
async fn a_test_that_does_not_end_costs_a_part_of_the_time() {
    let server = Server::start();
    let upstream = Upstream { test_hangs: true, ..Upstream::to(server.address) };
    let tests = Arc::clone(&upstream.tests);
    let pool = builder().max_size(1).connection_timeout(Duration::from_secs(1)).test_on_check_out(true);
    let pool = pool.build(upstream).await.unwrap();
    assert!(pool.get().await.unwrap_err().is_timeout());
    assert!(tests.load(SeqCst) > 1, "another connection has its chance");
}

#[tokio::test]
async fn a_get_whose_connections_fail_their_test_says_so() {
    let server = Server::start();
    let upstream = Upstream { test_hangs: true, ..Upstream::to(server.address) };
    let pool = builder().max_size(1).connection_timeout(Duration::from_secs(1)).test_on_check_out(true);
    let pool = pool.build(upstream).await.unwrap();
    let error = pool.get().await.unwrap_err().to_string();
    assert!(error.ends_with("connections fail their test: no answer within 500ms"), "{error}");
}

#[tokio::test]
async fn a_connection_whose_test_was_cancelled_is_closed() {
    let server = Server::start();
    let upstream = Upstream { test_hangs: true, ..Upstream::to(server.address) };
    let pool = builder().min_idle(1).max_size(1).test_on_check_out(true).build(upstream).await.unwrap();
    assert!(timeout(A_WHILE, pool.get()).await.is_err());
    assert_eq!(pool.state().statistics.connections_closed_invalid, 1);
}

#[tokio::test]
async fn an_expired_connection_is_not_handed_out() {
    let server = Server::start();
    let pool = builder().max_size(1).max_lifetime(Duration::from_millis(100));
    let pool =
        pool.reaper_rate(Duration::from_secs(3_600)).build(Upstream::to(server.address)).await.unwrap();
    drop(pool.get().await.unwrap());
    sleep(Duration::from_millis(150)).await;
    let _connection = pool.get().await.unwrap();
    assert_eq!(pool.state().statistics.connections_closed_max_lifetime, 1);
}

#[tokio::test]
async fn a_connection_past_its_idle_timeout_is_not_handed_out() {
    let server = Server::start();
    let pool = builder().max_size(1).idle_timeout(Duration::from_millis(100));
    let pool =
        pool.reaper_rate(Duration::from_secs(3_600)).build(Upstream::to(server.address)).await.unwrap();
    drop(pool.get().await.unwrap());
    sleep(Duration::from_millis(150)).await;
    let _connection = pool.get().await.unwrap();
    assert_eq!(pool.state().statistics.connections_closed_idle_timeout, 1);
}

#[tokio::test]
async fn the_last_connect_error_is_in_the_message_of_the_timeout() {
    let pool = builder().connection_timeout(A_WHILE).build_unchecked(Upstream::to(nowhere()));
    let message = pool.get().await.unwrap_err().to_string();
    assert!(message.contains("ConnectionRefused"), "{message}");
}

#[tokio::test]
async fn a_connect_that_never_ends_is_given_up() {
    let upstream = Upstream { hangs: true, ..Upstream::to(nowhere()) };
    let pool = builder().connection_timeout(A_WHILE).build_unchecked(upstream);
    assert!(pool.get().await.unwrap_err().is_timeout());
    eventually("it is counted", || pool.state().statistics.connect_timeouts > 0).await;
}

/// The connect begins after the get, and so would end after it.
#[tokio::test]
async fn a_connect_that_was_not_answered_yet_is_the_reason_of_a_timeout() {
    let upstream = Upstream { hangs: true, ..Upstream::to(nowhere()) };
    let pool = builder().connection_timeout(10 * A_WHILE).build_unchecked(upstream);
    pool.resize(0);
    let grow = async {
        sleep(A_WHILE).await;
        pool.resize(1);
    };
    let (got, ()) = tokio::join!(pool.get(), grow);
    let Err(RunError::ConnectFailing(failing)) = got else { panic!("nothing else has failed") };
    assert_eq!(failing.last_error(), "the connect attempt has not finished");
}

#[tokio::test]
async fn a_pool_whose_server_does_not_answer_can_be_built() {
    let upstream = Upstream { hangs: true, ..Upstream::to(nowhere()) };
    let pool = builder().min_idle(1).connection_timeout(A_WHILE).build(upstream).await;
    assert_eq!(pool.unwrap().state().connections, 0);
}

#[tokio::test]
async fn a_pool_whose_server_refuses_is_an_error() {
    let pool = builder().min_idle(1).connection_timeout(A_WHILE).build(Upstream::to(nowhere())).await;
    assert_eq!(pool.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn without_retries_the_first_error_ends_the_build() {
    let started = Instant::now();
    let pool = builder().min_idle(1).retry_connection(false).build(Upstream::to(nowhere())).await;
    assert!(pool.is_err());
    assert!(started.elapsed() < PATIENCE);
}

#[tokio::test]
async fn without_retries_each_get_fails_when_its_connect_does() {
    const GETS: usize = 50;
    let pool = builder().retry_connection(false).build_unchecked(Upstream::to(nowhere()));
    let gets: Vec<_> = (0..GETS)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move { matches!(pool.get().await, Err(RunError::ConnectFailing(_))) })
        })
        .collect();
    for get in gets {
        assert!(timeout(PATIENCE / 2, get).await.unwrap().unwrap());
    }
    assert_eq!(pool.state().statistics.connect_errors, GETS as u64);
}

#[tokio::test]
async fn a_get_that_fails_has_the_error_of_the_manager() {
    let pool = builder().retry_connection(false).build_unchecked(Upstream::to(nowhere()));
    let Err(RunError::ConnectFailing(failing)) = pool.get().await else { panic!("it connects") };
    assert_eq!(failing.error().unwrap().kind(), io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn an_error_that_a_sink_has_taken_is_left_as_text() {
    let pool = builder().retry_connection(false).error_sink(Box::new(NopErrorSink));
    let pool = pool.build_unchecked(Upstream::to(nowhere()));
    let Err(RunError::ConnectFailing(failing)) = pool.get().await else { panic!("it connects") };
    assert!(failing.error().is_none());
    assert!(failing.last_error().contains("refused"), "{failing:?}");
}

#[tokio::test]
async fn without_retries_a_get_fails_when_its_connect_does_also_beside_a_connection_in_use() {
    let server = Server::start();
    let upstream = Upstream::to(server.address);
    let panics = Arc::clone(&upstream.panics);
    let pool = builder().retry_connection(false).build(upstream).await.unwrap();
    let _connection = pool.get().await.unwrap();
    panics.store(true, SeqCst);
    let failed = timeout(PATIENCE / 2, pool.get()).await.unwrap();
    assert!(matches!(failed, Err(RunError::ConnectFailing(_))));
}

#[tokio::test]
async fn while_the_server_refuses_one_attempt_at_a_time_is_made() {
    let pool = builder().connection_timeout(Duration::from_secs(2)).build_unchecked(Upstream::to(nowhere()));
    let gets: Vec<_> = (0..50)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move { drop(pool.get().await.unwrap_err()) })
        })
        .collect();
    for get in gets {
        get.await.unwrap();
    }
    let attempts = pool.state().statistics.connect_errors;
    // 16 at first, and then after 100, 200, 400 and 800 ms.
    assert!((16..30).contains(&attempts), "{attempts}");
}

#[tokio::test]
async fn a_pool_recovers_when_its_server_does() {
    let address = nowhere();
    let pool = builder().build_unchecked(Upstream::to(address));
    let mut get = pin!(pool.get());
    assert!(timeout(A_WHILE, get.as_mut()).await.is_err());
    let _listener = TcpListener::bind(address).await.unwrap();
    assert!(timeout(PATIENCE, get).await.unwrap().is_ok());
}

#[tokio::test]
async fn a_manager_that_panics_is_a_failed_connect() {
    let server = Server::start();
    let upstream = Upstream::to(server.address);
    let panics = Arc::clone(&upstream.panics);
    panics.store(true, SeqCst);
    let pool = builder().build_unchecked(upstream);
    let mut get = pin!(pool.get());
    assert!(timeout(A_WHILE, get.as_mut()).await.is_err());
    assert!(pool.state().statistics.connect_panics > 0);
    panics.store(false, SeqCst);
    assert!(timeout(PATIENCE, get).await.unwrap().is_ok());
}

#[derive(Clone, Debug, Default)]
struct Sink(Arc<Mutex<Vec<io::ErrorKind>>>);

impl ErrorSink<io::Error> for Sink {
    fn sink(&self, error: io::Error) {
        self.0.lock().unwrap().push(error.kind());
    }

    fn boxed_clone(&self) -> Box<dyn ErrorSink<io::Error>> {
        Box::new(self.clone())
    }
}

#[tokio::test]
async fn each_connect_error_reaches_the_sink() {
    let sink = Sink::default();
    let pool = builder().error_sink(Box::new(sink.clone())).connection_timeout(Duration::from_millis(500));
    let pool = pool.build_unchecked(Upstream::to(nowhere()));
    pool.get().await.unwrap_err();
    let seen = sink.0.lock().unwrap().len() as u64;
    assert_eq!(seen, pool.state().statistics.connect_errors);
}

#[test]
fn a_guard_may_be_dropped_outside_of_a_runtime() {
    let server = Server::start();
    let runtime = single_thread();
    let (pool, connection) = runtime.block_on(only_connection(&server));
    drop(connection);
    assert_eq!(pool.state().idle_connections, 1);
}

#[test]
fn a_broken_guard_may_be_dropped_after_its_runtime() {
    let server = Server::start();
    let runtime = single_thread();
    let (pool, connection) = runtime.block_on(only_connection(&server));
    drop(runtime);
    drop(connection);
    assert!(pool.state().connections <= 1);
}

#[test]
fn a_pool_outlives_the_runtime_that_built_it() {
    let server = Server::start();
    let first = single_thread();
    let pool = first.block_on(builder().max_size(2).min_idle(1).build(Upstream::to(server.address))).unwrap();
    drop(first);
    let second = single_thread();
    let connections = second.block_on(async {
        pool.retain(|_| false);
        let both = async { [pool.get().await.unwrap(), pool.get().await.unwrap()] };
        timeout(PATIENCE, both).await.unwrap()
    });
    assert_eq!(connections.len(), 2);
}

#[test]
fn a_waiter_on_another_runtime_is_served_when_the_first_ends_during_its_connect() {
    let server = Server::start();
    let upstream = Upstream { connect_time: Duration::from_millis(300), ..Upstream::to(server.address) };
    let first = runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let pool = first.block_on(async { builder().build_unchecked(upstream) });
    let waiter = std::thread::spawn({
        let pool = pool.clone();
        move || single_thread().block_on(async move { pool.get().await.map(drop) })
    });
    // The first runtime has the task that connects, and ends before the task does.
    let is_connecting = || pool.state().connecting == 1;
    first.block_on(eventually("the connect begins", is_connecting));
    drop(first);
    assert!(waiter.join().unwrap().is_ok());
}

#[test]
fn two_runtimes_share_a_pool() {
    let server = Server::start();
    let pool = single_thread_pool(&server);
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let pool = pool.1.clone();
            std::thread::spawn(move || {
                single_thread().block_on(async {
                    for _ in 0..1_000 {
                        let connection = pool.get().await.unwrap();
                        tokio::task::yield_now().await;
                        drop(connection);
                    }
                });
            })
        })
        .collect();
    pool.0.block_on(async { sleep(A_WHILE).await });
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(pool.1.state().statistics.completed_gets(), 2_000);
}

fn single_thread_pool(server: &Server) -> (runtime::Runtime, Pool<Upstream>) {
    let runtime = runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let pool = runtime.block_on(builder().max_size(1).build(Upstream::to(server.address))).unwrap();
    (runtime, pool)
}

#[tokio::test]
async fn the_leak_report_names_the_place_of_the_get() {
    let server = Server::start();
    let pool = builder().max_size(1).build(Upstream::to(server.address)).await.unwrap();
    let line = line!() + 1;
    let _connection = pool.get().await.unwrap();
    let holders = pool.holders();
    assert_eq!(holders.iter().map(|holder| holder.caller.line()).collect::<Vec<_>>(), [line]);
}

#[tokio::test]
async fn what_is_returned_is_not_in_the_leak_report() {
    let server = Server::start();
    let pool = builder().max_size(1).build(Upstream::to(server.address)).await.unwrap();
    drop(pool.get().await.unwrap());
    drop(pool.get().await.unwrap());
    assert!(pool.holders().is_empty());
}

#[tokio::test]
async fn what_was_detached_is_not_in_the_leak_report() {
    let server = Server::start();
    let (pool, connection) = only_connection(&server).await;
    let _connection = connection.detach();
    assert!(pool.holders().is_empty());
}

#[tokio::test]
async fn every_get_is_counted_once() {
    let server = Server::start();
    let pool =
        builder().max_size(1).connection_timeout(A_WHILE).build(Upstream::to(server.address)).await.unwrap();
    let connection = pool.get().await.unwrap();
    assert!(pool.get().await.is_err());
    assert!(timeout(Duration::from_millis(5), pool.get()).await.is_err());
    drop(connection);
    drop(pool.get().await.unwrap());
    let statistics = pool.state().statistics;
    let counted = [
        statistics.get_started,
        statistics.get_direct,
        statistics.get_waited,
        statistics.get_timed_out,
        statistics.get_cancelled,
        statistics.get_new,
    ];
    assert_eq!(counted, [4, 1, 1, 1, 1, 1]);
}
