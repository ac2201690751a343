//! Pools of connections to upstream servers: checkout without a lock, bounded waits, and every manager that was written for
//! [bb8](https://docs.rs/bb8/0.9).
//!
//! ```text
//!                 idle connection at hand: no lock, no allocation
//!  Pool::get ──┬──────────────────────────────────────────────────────▶ PooledConnection ──drop──┐
//!              │ stale: tested, closed if dead                                ▲                  │
//!              └─▶ queue of waiters ──────── first come, first served ────────┤                  │
//!                     │ asks for                                              │                  │
//!                     ▼                                                       │                  ▼
//!                  connects: tasks of the pool, limited, with a timeout ──────┴─── idle ◀── has_broken? expired?
//! ```
//!
//! A [`ManageConnection`] says how to connect and how to tell a dead connection: the trait is bb8's own, so its managers for
//! PostgreSQL, Redis and others run unchanged. Where bb8 has a name for something, it has the same name here: the page
//! [`migration`] lists them, and those of deadpool.
//!
//! * **Waits.** A returned connection goes to the first waiter, and a newcomer cannot take it. With
//!   [`barging`](Builder::barging), a get may take an idle one while others wait. The queue may be bounded:
//!   [`max_waiting`](Builder::max_waiting).
//! * **Connects** have a limit and a timeout. A cancelled get aborts none. After three failures in a row, only one is tried
//!   at a time. The error is in the timeout's message, counted, and logged when it changes. With a
//!   [`breaker`](Builder::breaker), gets fail at once while a server is down.
//! * **Dead connections.** [`has_broken`](ManageConnection::has_broken) is called at checkout and return. A connection that
//!   was idle for longer than [`bypass_window`](Builder::bypass_window) is tested. An expired one is never handed out. A
//!   manager whose `has_broken` always says no, such as that of bb8-redis, needs
//!   [`test_on_check_out(true)`](Builder::test_on_check_out).
//! * **Changes at run time.** [`Pool::resize`], or [`adaptive_size`](Builder::adaptive_size) by the load, [`Pool::retain`],
//!   [`Pool::close`], which waits for the last connection.
//! * **Regions.** [`Builder::build_regions`] makes a pool for each of several regions that serve the same: a [`RegionPool`].
//! * **Leaks.** [`Pool::holders`] is the leak report: who has checked out a connection, for how long, and for what, if it
//!   has a [label](PooledConnection::set_label).
//! * **Memory.** An empty pool takes 3 KiB with its task, and each connection 130 bytes beside what it holds itself
//!   (`tests/connection_memory.rs`, with 10 000 connections open at once).
//!
//! # Examples
//!
//! ```
//! use std::io;
//!
//! use millpond::connection::{ManageConnection, Pool};
//! use tokio::net::{TcpListener, TcpStream};
//!
//! struct Upstream(std::net::SocketAddr);
//!
//! impl ManageConnection for Upstream {
//!     type Connection = TcpStream;
//!     type Error = io::Error;
//!
//!     async fn connect(&self) -> io::Result<TcpStream> {
//!         TcpStream::connect(self.0).await
//!     }
//!
//!     async fn is_valid(&self, connection: &mut TcpStream) -> io::Result<()> {
//!         if self.has_broken(connection) { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
//!     }
//!
//!     // An idle connection has nothing to say: it is at its end if it can be read.
//!     fn has_broken(&self, connection: &mut TcpStream) -> bool {
//!         !matches!(connection.try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = TcpListener::bind("127.0.0.1:0").await?;
//! let pool = Pool::builder().max_size(8).min_idle(1).build(Upstream(server.local_addr()?)).await?;
//! {
//!     let connection = pool.get().await?;
//!     connection.writable().await?;
//! }
//! assert_eq!(pool.state().idle_connections, 1);
//! # Ok(())
//! # }
//! ```
//!
//! Absent on purpose: what a connection speaks (its manager's; `https` has one for HTTP), and several servers in one
//! [`Pool`].

#[cfg(feature = "connection")]
mod breaker;
#[cfg(feature = "connection")]
mod clock;
#[cfg_attr(
    not(feature = "connection"),
    expect(dead_code, reason = "the models leave out what is known of items that are out")
)]
mod core;
#[cfg(feature = "connection")]
mod error;
#[cfg(feature = "connection")]
mod histogram;
#[cfg(feature = "https")]
pub mod https;
#[cfg(feature = "connection")]
mod metrics;
#[cfg(any(millpond_loom, millpond_shuttle, millpond_tsan))]
#[doc(hidden)]
pub mod model;
#[cfg(feature = "connection")]
#[doc = include_str!("migration.md")]
pub mod migration {}
#[cfg(feature = "connection")]
mod pool;
#[cfg(feature = "connection")]
mod span;
#[cfg(feature = "connection")]
mod statistics;
#[cfg(feature = "websocket")]
pub mod websocket;

#[cfg(feature = "connection")]
pub use bb8::{AddError, CustomizeConnection, ErrorSink, ManageConnection, NopErrorSink, QueueStrategy};

#[cfg(feature = "connection")]
pub use self::error::{ConnectFailing, RunError};
#[cfg(feature = "connection")]
pub use self::histogram::Histogram;
#[cfg(feature = "connection")]
pub use self::pool::{
    Builder, Config, Pool, PooledConnection, RegionConnection, RegionPool, RegionPoolState,
};
#[cfg(feature = "connection")]
pub use self::statistics::{Holder, State, Statistics};
