//! Corners of the pool of connections: dead connections in the wrong place, endless times, panics, and runtimes that rest.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use millpond::connection::{Builder, ErrorSink, ManageConnection, Pool, PooledConnection, RunError};
use millpond::metric::{Report, Source};
use tokio::runtime;
use tokio::time::{sleep, timeout};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// Time for tasks to do what they must not do.
const A_WHILE: Duration = Duration::from_millis(200);

#[derive(Clone, Default)]
struct Manager {
    opened: Arc<Mutex<Vec<Arc<AtomicBool>>>>,
    /// So many connects fail.
    refusals: Arc<AtomicUsize>,
    tests: Arc<AtomicUsize>,
    /// Called when a connection is dropped.
    on_close: Option<Arc<dyn Fn() + Send + Sync>>,
}

struct Connection {
    is_broken: Arc<AtomicBool>,
    on_close: Option<Arc<dyn Fn() + Send + Sync>>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(on_close) = &self.on_close {
            on_close();
        }
    }
}

impl Manager {
    fn opened(&self) -> usize {
        self.opened.lock().unwrap().len()
    }

    fn break_all(&self) {
        self.opened.lock().unwrap().iter().for_each(|is_broken| is_broken.store(true, SeqCst));
    }
}

impl ManageConnection for Manager {
    type Connection = Connection;
    type Error = io::Error;

    async fn connect(&self) -> io::Result<Connection> {
        tokio::task::yield_now().await;
        if self.refusals.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok() {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let is_broken = Arc::<AtomicBool>::default();
        self.opened.lock().unwrap().push(Arc::clone(&is_broken));
        Ok(Connection { is_broken, on_close: self.on_close.clone() })
    }

    async fn is_valid(&self, _: &mut Connection) -> io::Result<()> {
        self.tests.fetch_add(1, SeqCst);
        Ok(())
    }

    fn has_broken(&self, connection: &mut Connection) -> bool {
        connection.is_broken.load(SeqCst)
    }
}

fn builder() -> Builder<Manager> {
    Pool::builder().min_idle(0).max_size(1).connection_timeout(PATIENCE)
}

fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn single_thread() -> runtime::Runtime {
    runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let condition = async {
        while !condition() {
            sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(PATIENCE, condition).await.unwrap_or_else(|_| panic!("never: {what}"));
}

#[tokio::test]
async fn a_try_that_fails_does_not_make_a_connection_fresh() {
    let manager = Manager::default();
    let pool = builder().bypass_window(Duration::from_millis(50)).build(manager.clone()).await.unwrap();
    drop(pool.get().await.unwrap());
    sleep(A_WHILE).await;
    assert!(pool.try_get().is_none());
    drop(pool.get().await.unwrap());
    assert_eq!(manager.tests.load(SeqCst), 1);
}

#[tokio::test]
async fn a_try_that_fails_does_not_lengthen_the_idle_time() {
    let pool = builder().test_on_check_out(false).idle_timeout(Duration::from_millis(100));
    let pool = pool.reaper_rate(Duration::from_secs(3_600)).build(Manager::default()).await.unwrap();
    drop(pool.get().await.unwrap());
    sleep(A_WHILE).await;
    assert!(pool.try_get().is_none());
    assert!(pool.try_get().is_none());
}

#[tokio::test]
async fn a_new_connection_is_at_hand() {
    let pool = builder().min_idle(1).build(Manager::default()).await.unwrap();
    assert!(pool.try_get().is_some());
}

#[tokio::test]
async fn a_waiter_that_was_given_a_dead_connection_keeps_its_place() {
    let manager = Manager::default();
    let pool = builder().build(manager.clone()).await.unwrap();
    let connection = pool.get().await.unwrap();
    let (mut first, mut second) = (pin!(pool.get()), pin!(pool.get()));
    assert!(poll_once(first.as_mut()).is_pending());
    assert!(poll_once(second.as_mut()).is_pending());
    drop(connection);
    manager.break_all();
    assert!(timeout(Duration::from_secs(2), first).await.is_ok_and(|got| got.is_ok()));
}

#[tokio::test]
async fn a_waiter_that_was_given_a_dead_connection_is_not_refused() {
    let manager = Manager::default();
    let pool = builder().max_waiting(1).build(manager.clone()).await.unwrap();
    let connection = pool.get().await.unwrap();
    let (mut first, mut second) = (pin!(pool.get()), pin!(pool.get()));
    assert!(poll_once(first.as_mut()).is_pending());
    drop(connection);
    assert!(poll_once(second.as_mut()).is_pending());
    manager.break_all();
    assert!(!matches!(poll_once(first.as_mut()), Poll::Ready(Err(RunError::PoolFull))));
}

#[tokio::test]
async fn an_unused_connection_that_died_is_replaced_even_if_none_is_tested() {
    let manager = Manager::default();
    let pool = builder().min_idle(1).test_on_check_out(false).reaper_rate(Duration::from_millis(20));
    let _pool = pool.build(manager.clone()).await.unwrap();
    manager.break_all();
    eventually("another is opened", || manager.opened() == 2).await;
}

#[tokio::test]
async fn a_get_may_wait_for_ever() {
    let pool = builder().connection_timeout(Duration::MAX).build(Manager::default()).await.unwrap();
    assert!(pool.get().await.is_ok());
}

#[tokio::test]
async fn a_pool_may_be_looked_at_never() {
    let _pool = builder().reaper_rate(Duration::MAX).build_unchecked(Manager::default());
    sleep(A_WHILE).await;
    assert_eq!(runtime::Handle::current().metrics().num_alive_tasks(), 1);
}

#[test]
fn close_waits_until_the_last_connection_is_dropped() {
    // Reached when the drop begins, and once more when it may end.
    let gate = Arc::new(Barrier::new(2));
    let on_close: Arc<dyn Fn() + Send + Sync> = Arc::new({
        let gate = Arc::clone(&gate);
        move || {
            gate.wait();
            gate.wait();
        }
    });
    let manager = Manager { on_close: Some(on_close), ..Manager::default() };
    single_thread().block_on(async {
        let pool = builder().build(manager).await.unwrap();
        let connection = pool.get_owned().await.unwrap();
        let mut close = pin!(pool.close());
        assert!(poll_once(close.as_mut()).is_pending());
        let holder = std::thread::spawn(move || drop(connection));
        gate.wait();
        let is_early = poll_once(pin!(pool.close())).is_ready();
        gate.wait();
        holder.join().unwrap();
        assert!(!is_early);
        assert!(timeout(PATIENCE, close).await.is_ok());
    });
}

#[tokio::test]
async fn connections_whose_drops_panic_do_not_abort_the_process() {
    let on_close: Arc<dyn Fn() + Send + Sync> = Arc::new(|| panic!("a drop panics, as it should"));
    let manager = Manager { on_close: Some(on_close), ..Manager::default() };
    let pool = builder().max_size(2).min_idle(2).build(manager).await.unwrap();
    drop(pool);
}

#[derive(Clone, Debug, Default)]
struct Sink(Arc<AtomicUsize>);

impl ErrorSink<io::Error> for Sink {
    fn sink(&self, _: io::Error) {
        self.0.fetch_add(1, SeqCst);
    }

    fn boxed_clone(&self) -> Box<dyn ErrorSink<io::Error>> {
        Box::new(self.clone())
    }
}

#[tokio::test]
async fn an_error_during_a_build_that_succeeds_reaches_the_sink() {
    let sink = Sink::default();
    let manager = Manager { refusals: Arc::new(AtomicUsize::new(1)), ..Manager::default() };
    let _pool = builder().min_idle(1).error_sink(Box::new(sink.clone())).build(manager).await.unwrap();
    assert_eq!(sink.0.load(SeqCst), 1);
}

#[tokio::test]
async fn the_shortest_idle_timeout_leaves_connections_to_those_that_wait() {
    let pool = builder().idle_timeout(Duration::from_micros(500)).connection_timeout(Duration::from_secs(2));
    let pool = pool.build(Manager::default()).await.unwrap();
    assert!(pool.get().await.is_ok());
}

#[tokio::test]
async fn without_retries_each_waiter_has_an_attempt() {
    let manager = Manager { refusals: Arc::new(AtomicUsize::new(1)), ..Manager::default() };
    let pool = builder().max_size(2).max_connecting(1).retry_connection(false);
    let pool = pool.connection_timeout(Duration::from_secs(2)).build_unchecked(manager);
    let (first, second) = tokio::join!(pool.get(), pool.get());
    assert!(first.is_ok() || second.is_ok());
}

/// The connect was begun for a get that was cancelled, and is still under way when the next one begins.
#[tokio::test]
async fn without_retries_a_get_does_not_fail_for_the_connect_of_an_older_one() {
    let manager = Manager { refusals: Arc::new(AtomicUsize::new(1)), ..Manager::default() };
    let pool = builder().max_size(2).retry_connection(false).build_unchecked(manager);
    let mut older = Box::pin(pool.get());
    assert!(poll_once(older.as_mut()).is_pending());
    drop(older);
    assert!(pool.get().await.is_ok());
}

/// Both connects end before either get is polled again.
#[tokio::test]
async fn a_get_fails_for_its_connect_also_if_another_has_succeeded_since() {
    let manager = Manager { refusals: Arc::new(AtomicUsize::new(1)), ..Manager::default() };
    let pool = builder().max_size(2).retry_connection(false).build_unchecked(manager);
    let (first, second) = tokio::join!(pool.get(), pool.get());
    let Some(RunError::ConnectFailing(failing)) = first.err().or(second.err()) else {
        panic!("it has failed")
    };
    assert!(failing.error().is_some());
}

#[tokio::test]
async fn an_old_error_is_not_the_reason_of_a_timeout() {
    let manager = Manager { refusals: Arc::new(AtomicUsize::new(1)), ..Manager::default() };
    let pool = builder().connection_timeout(A_WHILE).retry_connection(false).build_unchecked(manager.clone());
    assert!(pool.get().await.is_err());
    let connection = Connection { is_broken: Arc::default(), on_close: None };
    assert!(pool.add(connection).is_ok());
    let _connection = pool.get().await.unwrap();
    sleep(A_WHILE * 5).await;
    assert!(matches!(pool.get().await, Err(RunError::TimedOut)), "all connections were in use");
}

/// It is alive, but nobody is in its `block_on`.
#[test]
fn a_get_does_not_depend_on_a_runtime_that_rests() {
    let first = single_thread();
    let pool = builder().connection_timeout(Duration::from_secs(2));
    let pool = first.block_on(pool.build(Manager::default())).unwrap();
    let served =
        std::thread::spawn(move || single_thread().block_on(async move { pool.get().await.is_ok() }));
    assert!(served.join().unwrap());
}

/// Whether a get ends without being polled when the patience does.
async fn ends_in_time(get: impl Future) -> bool {
    tokio::select! {
        biased;
        () = sleep(PATIENCE / 2) => false,
        _ = get => true,
    }
}

/// Its waiter was the first, whose deadline the alarm is for.
#[test]
fn a_timeout_does_not_depend_on_a_runtime_that_rests() {
    let first = single_thread();
    let pool = first.block_on(builder().connection_timeout(A_WHILE).build(Manager::default())).unwrap();
    let held = first.block_on(pool.get()).unwrap();
    let mut waiter = Box::pin(pool.get());
    assert!(first.block_on(async { poll_once(waiter.as_mut()).is_pending() }));
    assert!(single_thread().block_on(ends_in_time(pool.get())));
    drop((waiter, held));
}

/// The alarm that serves the waiter is on it.
#[test]
fn a_timeout_does_not_depend_on_a_runtime_that_ends() {
    let threads = runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let limit = Duration::from_secs(1);
    let pool = threads.block_on(builder().connection_timeout(limit).build(Manager::default())).unwrap();
    let held = threads.block_on(pool.get()).unwrap();
    let waiter = pool.clone();
    threads.spawn(async move { drop(waiter.get().await) });
    single_thread().block_on(async {
        eventually("the first waits", || pool.state().waiting == 1).await;
        let mut get = pin!(pool.get());
        assert!(poll_once(get.as_mut()).is_pending());
        threads.shutdown_background();
        assert!(ends_in_time(get).await);
    });
    drop(held);
}

#[tokio::test]
async fn the_alarm_of_gets_that_are_over_does_not_end_later_ones() {
    let pool = builder().connection_timeout(A_WHILE).build(Manager::default()).await.unwrap();
    let held = pool.get().await.unwrap();
    for _ in 0..3 {
        let started = tokio::time::Instant::now();
        assert!(matches!(pool.get().await, Err(RunError::TimedOut)));
        assert!(started.elapsed() >= A_WHILE);
        sleep(A_WHILE / 2).await;
    }
    drop(held);
}

#[tokio::test]
async fn a_get_on_a_closed_pool_starts_no_task() {
    let pool = builder().build(Manager::default()).await.unwrap();
    pool.close().await;
    let tasks = || runtime::Handle::current().metrics().num_alive_tasks();
    eventually("those of the pool end", || tasks() == 0).await;
    assert!(matches!(pool.get().await, Err(RunError::Closed)));
    assert_eq!(tasks(), 0);
}

/// Its connects do not end, and panic when they are dropped.
struct PanicsInTheEnd;

struct Panics;

impl Drop for Panics {
    fn drop(&mut self) {
        panic!("a connect panics when it is dropped, as it should");
    }
}

impl ManageConnection for PanicsInTheEnd {
    type Connection = ();
    type Error = io::Error;

    async fn connect(&self) -> io::Result<()> {
        let _panics = Panics;
        std::future::pending().await
    }

    async fn is_valid(&self, (): &mut ()) -> io::Result<()> {
        Ok(())
    }

    fn has_broken(&self, (): &mut ()) -> bool {
        false
    }
}

#[tokio::test]
async fn a_connect_that_panics_at_its_timeout_is_counted() {
    let pool = Pool::builder().min_idle(1).max_size(1).connection_timeout(A_WHILE).retry_connection(false);
    let pool = pool.build_unchecked(PanicsInTheEnd);
    eventually("it is counted", || pool.state().statistics.connect_timeouts > 0).await;
}

#[tokio::test]
async fn the_leak_report_has_the_label() {
    let pool = builder().build(Manager::default()).await.unwrap();
    let connection = pool.get().await.unwrap();
    PooledConnection::set_label(&connection, "login");
    assert_eq!(pool.holders()[0].label, Some("login"));
    assert!(pool.holders()[0].to_string().ends_with("(login)"));
}

#[tokio::test]
async fn the_leak_report_is_a_report_of_the_pool() {
    let pool = builder().build(Manager::default()).await.unwrap();
    let (connection, line) = (pool.get().await.unwrap(), line!());
    PooledConnection::set_label(&connection, "login");
    let mut rows = Vec::new();
    let mut keep = |row: millpond::metric::Row<'_>| {
        rows.push((row.labels[0].1.to_string(), row.labels[1].1.to_string(), row.number("samples")));
    };
    assert!(pool.reports()(Report::Holders, &mut keep));
    assert!(pool.reports()(Report::Connections, &mut keep));
    let [(caller, label, samples)] = &rows[..] else { panic!("{rows:?}") };
    assert!(caller.starts_with(&format!("tests/connection_corners.rs:{line}:")), "{caller}");
    assert_eq!(label, "login");
    assert_eq!(*samples, 1.0);
}

#[tokio::test]
async fn a_label_ends_with_its_checkout() {
    let pool = builder().build(Manager::default()).await.unwrap();
    PooledConnection::set_label(&pool.get().await.unwrap(), "login");
    let _connection = pool.get().await.unwrap();
    assert_eq!(pool.holders()[0].label, None);
}

/// Its connections tell once that they are broken, as one does that finds out by a read.
#[derive(Clone, Default)]
struct TellsOnce {
    is_broken: Arc<AtomicBool>,
    opened: Arc<AtomicUsize>,
}

impl ManageConnection for TellsOnce {
    type Connection = usize;
    type Error = io::Error;

    async fn connect(&self) -> io::Result<usize> {
        Ok(self.opened.fetch_add(1, SeqCst))
    }

    async fn is_valid(&self, _: &mut usize) -> io::Result<()> {
        Ok(())
    }

    fn has_broken(&self, _: &mut usize) -> bool {
        self.is_broken.swap(false, SeqCst)
    }
}

#[tokio::test]
async fn a_connection_that_was_called_broken_is_not_asked_again() {
    let manager = TellsOnce::default();
    let pool = Pool::builder().min_idle(0).max_size(1).build_unchecked(manager.clone());
    drop(pool.get().await.unwrap());
    manager.is_broken.store(true, SeqCst);
    assert_eq!(*pool.get().await.unwrap(), 1, "the first is closed");
}

/// Its `Debug` panics.
struct Unspeakable;

impl std::fmt::Debug for Unspeakable {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        panic!("a Debug panics, as it should");
    }
}

impl std::fmt::Display for Unspeakable {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Ok(())
    }
}

impl std::error::Error for Unspeakable {}

/// Either connects fail, or the tests of what they open.
struct Failing {
    connects: Arc<AtomicUsize>,
    fail: bool,
}

impl ManageConnection for Failing {
    type Connection = ();
    type Error = Unspeakable;

    async fn connect(&self) -> Result<(), Unspeakable> {
        self.connects.fetch_add(1, SeqCst);
        if self.fail { Err(Unspeakable) } else { Ok(()) }
    }

    async fn is_valid(&self, (): &mut ()) -> Result<(), Unspeakable> {
        Err(Unspeakable)
    }

    fn has_broken(&self, (): &mut ()) -> bool {
        false
    }
}

/// How many connects one get causes, of which none helps.
async fn connects_of_a_get(fail: bool) -> usize {
    let connects = Arc::<AtomicUsize>::default();
    let pool = Pool::builder().min_idle(0).max_size(1).connection_timeout(A_WHILE).test_on_check_out(true);
    let pool = pool.build_unchecked(Failing { connects: Arc::clone(&connects), fail });
    assert!(pool.get().await.is_err());
    connects.load(SeqCst)
}

#[tokio::test]
async fn an_error_that_cannot_be_written_is_not_tried_again_at_once() {
    let connects = connects_of_a_get(true).await;
    assert!(connects < 10, "{connects}");
}

#[tokio::test]
async fn connections_that_fail_their_first_test_are_not_opened_again_at_once() {
    let connects = connects_of_a_get(false).await;
    assert!(connects < 10, "{connects}");
}
