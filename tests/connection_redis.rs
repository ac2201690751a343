//! A real Redis behind bb8-redis, whose manager runs on our pool as it is on crates.io. It never says that a connection is
//! broken, so that the pool has to ask the server.

mod numbered;
mod servers;

use std::collections::BTreeSet;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bb8_redis::RedisConnectionManager as Manager;
use bb8_redis::redis::{AsyncCommands, RedisResult, cmd};
use millpond::connection::{Builder, ManageConnection, Pool};
use numbered::{Graveyard, Numbered};
use servers::redis::{Client, Redis, field};
use servers::{PATIENCE, free_port};
use tokio::sync::watch;
use tokio::task::{JoinSet, block_in_place, yield_now};
use tokio::time::sleep;

fn manager(server: &Redis) -> Manager {
    Manager::new(server.url()).unwrap()
}

fn builder<M: ManageConnection>() -> Builder<M> {
    Pool::builder().connection_timeout(PATIENCE).test_on_check_out(true)
}

/// A connection beside the pool, which asks about those of the pool.
struct Admin {
    client: Client,
    id: u64,
}

impl Admin {
    fn connect(server: &Redis) -> Self {
        let mut client = Client::connect(&server.address).unwrap();
        let id = client.ask("CLIENT ID").unwrap().parse().unwrap();
        Self { client, id }
    }

    /// The pool's connections, by the numbers that the server gave them.
    fn connections(&mut self) -> BTreeSet<u64> {
        let list = self.client.ask("CLIENT LIST TYPE normal").unwrap();
        let ids = list.lines().map(|line| field(line, "id=") as u64);
        ids.filter(|&id| id != self.id).collect()
    }
}

/// The numbers of so many connections that are in use at once.
async fn connections_in_hand(pool: &Pool<Manager>, count: usize) -> BTreeSet<u64> {
    let mut guards = Vec::new();
    for _ in 0..count {
        guards.push(pool.get().await.unwrap());
    }
    let mut numbers = BTreeSet::new();
    for guard in &mut guards {
        numbers.insert(cmd("CLIENT").arg("ID").query_async(&mut **guard).await.unwrap());
    }
    numbers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_tasks_share_ten_connections() {
    const TASKS: usize = 100;
    const QUERIES: usize = 20;
    let server = Redis::start();
    let mut admin = Admin::connect(&server);
    // The server itself refuses an eleventh.
    admin.client.ask("CONFIG SET maxclients 11").unwrap();
    let pool = builder().max_size(10).build(manager(&server)).await.unwrap();

    let mut tasks = JoinSet::new();
    for _ in 0..TASKS {
        let pool = pool.clone();
        tasks.spawn(async move {
            for _ in 0..QUERIES {
                let _: u64 = pool.get().await.unwrap().incr("queries", 1).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    assert_eq!(admin.client.ask("GET queries").unwrap(), (TASKS * QUERIES).to_string());
    assert_eq!(field(&admin.client.info("stats").unwrap(), "rejected_connections:"), 0);
    let state = pool.state();
    assert_eq!(admin.connections().len(), state.connections as usize);
    assert_eq!(state.statistics.connections_created, u64::from(state.connections));
    assert_eq!(state.statistics.completed_gets(), (TASKS * QUERIES) as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_failed_is_never_handed_out_again() {
    let mut server = Redis::start();
    let pool = builder().max_size(10).build(Numbered::new(manager(&server))).await.unwrap();
    let graveyard = Arc::new(Graveyard::default());

    // They work while the server is killed and until it answers again.
    let (stop, stopped) = watch::channel(false);
    let mut tasks = JoinSet::new();
    for _ in 0..20 {
        let (pool, graveyard, stopped) = (pool.clone(), Arc::clone(&graveyard), stopped.clone());
        tasks.spawn(async move {
            while !*stopped.borrow() {
                let mut redis = pool.get().await.unwrap();
                graveyard.meet(redis.number);
                let reply: RedisResult<u64> = redis.incr("queries", 1).await;
                if reply.is_err() {
                    graveyard.bury(redis.number);
                }
                // A dead connection fails at once, and nothing else here would wait.
                yield_now().await;
            }
        });
    }
    for _ in 0..5 {
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
        let _: u64 = pool.get().await.unwrap().incr("queries", 1).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_the_server_ended_are_not_handed_out() {
    let server = Redis::start();
    let mut admin = Admin::connect(&server);
    let pool = builder().max_size(5).min_idle(5).build(manager(&server)).await.unwrap();
    let before = connections_in_hand(&pool, 5).await;
    assert_eq!(before.len(), 5);

    assert_eq!(admin.client.ask("CLIENT KILL TYPE normal SKIPME yes").unwrap(), "5");
    let after = connections_in_hand(&pool, 5).await;
    assert_eq!(after.len(), 5);
    assert!(after.is_disjoint(&before), "{before:?}, {after:?}");
    assert_eq!(admin.connections(), after);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stalls_costs_a_timeout_and_no_connection() {
    let server = Redis::start();
    let pool = builder().connection_timeout(Duration::from_millis(200)).max_size(2);
    let pool = pool.build(manager(&server)).await.unwrap();
    assert_eq!(connections_in_hand(&pool, 2).await.len(), 2);

    server.stall();
    for _ in 0..4 {
        assert!(pool.get().await.is_err());
    }
    server.go_on();
    let mut admin = Admin::connect(&server);
    assert_eq!(connections_in_hand(&pool, 2).await, admin.connections());
}

#[tokio::test]
async fn the_reason_of_a_timeout_is_told() {
    let manager = Manager::new(format!("redis://127.0.0.1:{}", free_port())).unwrap();
    let pool = Pool::builder().connection_timeout(Duration::from_millis(300)).build_unchecked(manager);
    let error = pool.get().await.map(drop).unwrap_err();
    let sources = std::iter::successors(Some(&error as &dyn Error), |&error| error.source());
    let story = sources.map(ToString::to_string).collect::<Vec<_>>().join(": ");
    assert!(error.is_timeout(), "{story}");
    assert!(story.contains("refused"), "{story}");
}
