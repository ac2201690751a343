//! A pool of PostgreSQL sessions, with the manager of bb8-postgres.
//!
//! `cargo run --features connection --example postgres_pool` starts a server in a temporary folder. With
//! `DATABASE_URL=postgres://user@host/database`, it asks that one.

#[path = "../tests/servers/mod.rs"]
mod servers;

use bb8_postgres::PostgresConnectionManager;
use millpond::connection::Pool;
use servers::postgres::Postgres;
use tokio_postgres::NoTls;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (url, _server) = servers::given("DATABASE_URL", Postgres::start, Postgres::parameters);
    let manager = PostgresConnectionManager::new_from_stringlike(url, NoTls)?;
    let pool = Pool::builder().max_size(10).min_idle(2).build(manager).await?;

    let session = pool.get().await?; // waits for its turn if all ten are in use
    let row = session.query_one("SELECT 6 * 7", &[]).await?;
    println!("{}", row.get::<_, i32>(0));
    drop(session); // the next get has it again

    println!("{}", pool.state()); // three connections: two stayed idle beside the one in use
    pool.close().await;
    Ok(())
}
