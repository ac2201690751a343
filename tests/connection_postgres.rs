//! A real PostgreSQL behind bb8-postgres, whose manager runs on our pool as it is on crates.io.

mod numbered;
mod servers;

use std::collections::BTreeSet;
use std::error::Error;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bb8_postgres::PostgresConnectionManager;
use millpond::connection::{Builder, CustomizeConnection, Pool, PooledConnection, RunError};
use numbered::{Graveyard, Numbered};
use servers::postgres::Postgres;
use servers::{PATIENCE, free_port};
use tokio::sync::watch;
use tokio::task::{JoinSet, block_in_place, yield_now};
use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::{Client, NoTls};

type Manager = PostgresConnectionManager<NoTls>;

/// What the server calls the sessions of the pool.
const NAME: &str = "pool";
/// How often a test looks again at what the server says.
const LOOK: Duration = Duration::from_millis(20);
/// How often the pool looks at its idle connections.
const OFTEN: Duration = Duration::from_millis(50);

fn manager(server: &Postgres) -> Manager {
    let parameters = format!("{} application_name={NAME}", server.parameters());
    PostgresConnectionManager::new(parameters.parse().unwrap(), NoTls)
}

fn builder() -> Builder<Manager> {
    Pool::builder().connection_timeout(PATIENCE).reaper_rate(OFTEN)
}

/// A session of its own, which asks the server about those of the pool.
async fn admin(server: &Postgres) -> Client {
    let (client, connection) = tokio_postgres::connect(&server.parameters(), NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// The process numbers of the pool's sessions, as the server lists them.
async fn sessions(admin: &Client) -> BTreeSet<i32> {
    let sql = "SELECT pid FROM pg_stat_activity WHERE application_name = $1";
    admin.query(sql, &[&NAME]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

/// The process number of the session at the other end.
async fn session(client: &Client) -> Result<i32, tokio_postgres::Error> {
    Ok(client.query_one("SELECT pg_backend_pid()", &[]).await?.get(0))
}

/// So many clients at once.
async fn clients(pool: &Pool<Manager>, count: usize) -> Vec<PooledConnection<'_, Manager>> {
    let mut clients = Vec::new();
    for _ in 0..count {
        clients.push(pool.get().await.unwrap());
    }
    clients
}

/// The process numbers of so many sessions that are in use at once.
async fn sessions_in_hand(pool: &Pool<Manager>, count: usize) -> BTreeSet<i32> {
    let mut numbers = BTreeSet::new();
    for client in &clients(pool, count).await {
        numbers.insert(session(client).await.unwrap());
    }
    numbers
}

/// Waits until the server lists what is wanted.
async fn until(admin: &Client, what: &str, wanted: impl Fn(&BTreeSet<i32>) -> bool) -> BTreeSet<i32> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let sessions = sessions(admin).await;
        if wanted(&sessions) {
            return sessions;
        }
        assert!(Instant::now() < deadline, "never {what}: {sessions:?}");
        sleep(LOOK).await;
    }
}

/// An error and its sources.
fn story(error: &dyn Error) -> String {
    let sources = std::iter::successors(Some(error), |&error| error.source());
    sources.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_tasks_share_ten_sessions() {
    const TASKS: i32 = 100;
    const QUERIES: i32 = 20;
    let server = Postgres::start();
    let admin = admin(&server).await;
    // The server itself refuses an eleventh.
    admin.batch_execute("CREATE ROLE ten LOGIN CONNECTION LIMIT 10").await.unwrap();
    let parameters = server.parameters().replace("user=postgres", "user=ten");
    let manager = PostgresConnectionManager::new(parameters.parse().unwrap(), NoTls);
    let pool = builder().max_size(10).build(manager).await.unwrap();

    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let pool = pool.clone();
        tasks.spawn(async move {
            let mut sessions = BTreeSet::new();
            for query in 0..QUERIES {
                let client = pool.get().await.unwrap();
                let row = client
                    .query_one("SELECT pg_backend_pid(), $1::int4 + $2::int4", &[&task, &query])
                    .await
                    .unwrap();
                assert_eq!(row.get::<_, i32>(1), task + query);
                sessions.insert(row.get(0));
            }
            sessions
        });
    }
    let sessions: BTreeSet<i32> = tasks.join_all().await.into_iter().flatten().collect();
    assert!(sessions.len() <= 10, "{sessions:?}");
    let state = pool.state();
    assert_eq!(state.statistics.connections_created, sessions.len() as u64);
    assert_eq!(state.statistics.completed_gets(), (TASKS * QUERIES) as u64);
    assert_eq!(state.idle_connections, state.connections);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_failed_is_never_handed_out_again() {
    let mut server = Postgres::start();
    let pool = Pool::builder().connection_timeout(PATIENCE).max_size(10);
    let pool = pool.build(Numbered::new(manager(&server))).await.unwrap();
    let graveyard = Arc::new(Graveyard::default());

    // They work while the server is killed and until it answers again.
    let (stop, stopped) = watch::channel(false);
    let mut tasks = JoinSet::new();
    for _ in 0..20 {
        let (pool, graveyard, stopped) = (pool.clone(), Arc::clone(&graveyard), stopped.clone());
        tasks.spawn(async move {
            while !*stopped.borrow() {
                let client = pool.get().await.unwrap();
                graveyard.meet(client.number);
                if session(&client).await.is_err() {
                    graveyard.bury(client.number);
                }
                // A dead connection fails at once, and nothing else here would wait.
                yield_now().await;
            }
        });
    }
    for _ in 0..3 {
        sleep(Duration::from_millis(200)).await;
        block_in_place(|| {
            server.kill();
            server.start_again();
        });
    }
    stop.send_replace(true);
    tasks.join_all().await;
    assert_eq!(graveyard.returned(), BTreeSet::new(), "of {} that failed", graveyard.dead());

    for _ in 0..20 {
        session(&pool.get().await.unwrap()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_that_the_server_ended_are_not_handed_out() {
    let server = Postgres::start();
    let admin = admin(&server).await;
    let pool = builder().max_size(5).min_idle(5).build(manager(&server)).await.unwrap();
    let before = sessions_in_hand(&pool, 5).await;
    assert_eq!(before.len(), 5);

    for session in &before {
        admin.execute("SELECT pg_terminate_backend($1)", &[session]).await.unwrap();
    }
    until(&admin, "without the old sessions", |sessions| sessions.is_disjoint(&before)).await;
    let after = sessions_in_hand(&pool, 5).await;
    assert_eq!(after.len(), 5);
    assert!(after.is_disjoint(&before), "{before:?}, {after:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_are_replaced_at_the_end_of_their_lives() {
    let server = Postgres::start();
    let admin = admin(&server).await;
    let pool = builder().max_size(3).min_idle(3).max_lifetime(Duration::from_millis(500));
    let pool = pool.build(manager(&server)).await.unwrap();
    let before = sessions(&admin).await;
    assert_eq!(before.len(), 3);

    let new = |sessions: &BTreeSet<i32>| sessions.len() == 3 && sessions.is_disjoint(&before);
    until(&admin, "three new sessions", new).await;
    assert!(pool.state().statistics.connections_closed_max_lifetime >= 3, "{:?}", pool.state());
    assert_eq!(sessions_in_hand(&pool, 3).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_sessions_are_closed_when_nobody_wants_them() {
    let server = Postgres::start();
    let admin = admin(&server).await;
    let pool = builder().max_size(8).min_idle(2).idle_timeout(Duration::from_millis(300));
    let pool = pool.build(manager(&server)).await.unwrap();
    assert_eq!(sessions_in_hand(&pool, 8).await.len(), 8);
    until(&admin, "two sessions", |sessions| sessions.len() == 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_minimum_idle_holds_after_a_restart_of_the_server() {
    let mut server = Postgres::start();
    let pool = builder().max_size(10).min_idle(4).build(manager(&server)).await.unwrap();
    block_in_place(|| {
        server.kill();
        server.start_again();
    });
    // Nobody takes a session.
    let admin = admin(&server).await;
    until(&admin, "four sessions", |sessions| sessions.len() == 4).await;
    drop(pool);
}

#[tokio::test]
async fn the_reason_of_a_timeout_is_told() {
    let parameters = format!("host=127.0.0.1 port={} user=postgres", free_port());
    let manager = PostgresConnectionManager::new(parameters.parse().unwrap(), NoTls);
    let pool = Pool::builder().connection_timeout(Duration::from_millis(300)).build_unchecked(manager);
    let error = pool.get().await.map(drop).unwrap_err();
    let story = story(&error);
    assert!(error.is_timeout(), "{story}");
    assert!(story.contains("refused"), "{story}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_session_is_prepared_by_the_customizer() {
    #[derive(Debug)]
    struct ReadOnly;

    impl CustomizeConnection<Client, tokio_postgres::Error> for ReadOnly {
        fn on_acquire<'a>(
            &'a self,
            client: &'a mut Client,
        ) -> Pin<Box<dyn Future<Output = Result<(), tokio_postgres::Error>> + Send + 'a>> {
            Box::pin(client.batch_execute("SET default_transaction_read_only = on"))
        }
    }

    let server = Postgres::start();
    let pool = builder().max_size(3).connection_customizer(Box::new(ReadOnly));
    let pool = pool.build(manager(&server)).await.unwrap();
    for client in &clients(&pool, 3).await {
        let refused = client.execute("CREATE TABLE t ()", &[]).await.unwrap_err();
        assert!(story(&refused).contains("read-only transaction"), "{}", story(&refused));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_get_loses_no_session() {
    let server = Postgres::start();
    let admin = admin(&server).await;
    let pool = builder().max_size(2).build(manager(&server)).await.unwrap();
    let mut tasks = JoinSet::new();
    for task in 0..200 {
        let pool = pool.clone();
        tasks.spawn(async move {
            let query = async {
                let client = pool.get().await.unwrap();
                client.query_one("SELECT pg_sleep(0.002)", &[]).await.unwrap();
            };
            // Most of them give up, some while they wait and some while they hold a session.
            _ = timeout(Duration::from_millis(task % 40), query).await;
        });
    }
    tasks.join_all().await;
    assert_eq!(sessions_in_hand(&pool, 2).await.len(), 2);
    assert_eq!(sessions(&admin).await.len(), 2);
    assert_eq!(pool.state().connections, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_is_resized_while_its_sessions_are_in_use() {
    let server = Postgres::start();
    let admin = admin(&server).await;
    let pool = builder().max_size(4).min_idle(0).build(manager(&server)).await.unwrap();
    let guards = clients(&pool, 4).await;
    pool.resize(2);
    for client in &guards {
        session(client).await.unwrap();
    }
    drop(guards);
    until(&admin, "two sessions", |sessions| sessions.len() == 2).await;

    pool.resize(6);
    assert_eq!(sessions_in_hand(&pool, 6).await.len(), 6);
    assert_eq!(sessions(&admin).await.len(), 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn close_waits_for_the_session_in_use_and_leaves_none() {
    let server = Postgres::start();
    let admin = admin(&server).await;
    let pool = builder().max_size(4).min_idle(3).build(manager(&server)).await.unwrap();
    let client = pool.get().await.unwrap();
    let mut closed = pin!(pool.close());
    assert!(poll_fn(|cx| Poll::Ready(closed.as_mut().poll(cx))).await.is_pending());

    assert!(matches!(pool.get().await, Err(RunError::Closed)));
    let number = session(&client).await.unwrap();
    until(&admin, "one session", |sessions| *sessions == BTreeSet::from([number])).await;
    drop(client);
    timeout(PATIENCE, closed).await.unwrap();
    until(&admin, "no session", BTreeSet::is_empty).await;
}
