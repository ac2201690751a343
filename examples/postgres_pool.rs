//! A pool of PostgreSQL sessions, with the manager of bb8-postgres.
//!
//! `DATABASE_URL=postgres://user@host/database cargo run --features connection --example postgres_pool`
//!
//! Without the variable it starts a server in a temporary folder, which is how CI runs it.

#[path = "../tests/servers/mod.rs"]
mod servers;

use bb8_postgres::PostgresConnectionManager;
use millpond::connection::{Pool, RunError};
use servers::postgres::Postgres;
use tokio::task::JoinSet;
use tokio_postgres::{Error, NoTls};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let given = std::env::var("DATABASE_URL").ok();
    let server = given.is_none().then(Postgres::start);
    let url = given.or(server.as_ref().map(Postgres::parameters)).unwrap_or_default();

    let manager = PostgresConnectionManager::new_from_stringlike(url, NoTls)?;
    let pool = Pool::builder().max_size(10).min_idle(2).build(manager).await?;
    let mut tasks = JoinSet::new();
    for number in 0..100 {
        let pool = pool.clone();
        tasks.spawn(async move {
            let session = pool.get().await?;
            let row = session.query_one("SELECT $1::int4 * 2", &[&number]).await?;
            Ok::<i32, RunError<Error>>(row.get(0))
        });
    }
    let mut sum = 0;
    while let Some(answer) = tasks.join_next().await {
        sum += answer??;
    }
    println!("{sum}\n{}", pool.state());
    pool.close().await;
    Ok(())
}
