//! HTTP/2 connections: requests on streams, by the h2 crate.
//!
//! ```text
//!  Client ── a request ─▶ h2 ─▶ Tap ─▶ Wire         the driver, a task, polls h2; at rest there is
//!    ▲                     ▲      │                   no h2, and the driver waits for the wire:
//!    └─── a response ──────┘      └─ a ledger         Client ┄┄┄ Driver ┄┄┄ Tap ─▶ Wire
//! ```
//!
//! | file | idea |
//! |---|---|
//! | `client` | what requests are sent on |
//! | `driver` | reads and writes a connection, and takes h2 down while it is at rest |
//! | `tap` | the wire as h2 sees it, and a ledger of what both sides know of each other |
//! | `frames` | frames as they pass, and settings as they are played back |
//! | `table` | whether the server compresses headers by a table, which another h2 would not know |
//! | `numbers` | each h2 counts streams from 1 on, and the wire goes on from the last one |
//! | `pings` | a silent server is found out, health checks are answered, and adaptive windows grow |
//! | `received` | the body of a response |
//! | `upload` | the body of a request, on its way |
//!
//! # At rest
//!
//! h2 allocates 28 KiB per connection and never gives any of it back: 16 to write, 8 to read, 4 for header lists, and what
//! a burst of streams has needed besides. No setting changes that. So 10 ms after the last stream, h2 is dropped,
//! and only the wire stays. For the next request, or when the server says something, another h2 is made on the same wire: the
//! driver plays the server's settings back to it, and what it writes at its beginning is not sent, because both were sent
//! once.
//!
//! It is possible because nothing else is left between two requests that the other side would miss:
//!
//! * Windows: the ledger counts what both sides may still send, and the new h2 gets the same. It begins with 65 535 bytes. If
//!   we may send less, it sends the difference to nobody. If the server may send more, h2 would announce that only from half
//!   as much again on, so an idle connection with a window in between first gets a larger one. Where the server may send
//!   less, h2 is not dropped, which only happens with a [window](super::Http2Windows) of the connection below 128 KiB.
//! * Header compression: the server's table is empty, because we announce a size of 0. So the headers of responses are not
//!   compressed by their predecessors. A connection whose server has a table nevertheless does not rest. Our own table begins
//!   anew, which the server need not know: the newest entries have the lowest indices, and the oldest ones are the first to
//!   go. The server must know its size, though, where that is not the default: the new h2 announces the one that the server
//!   set. A server that has set several may wait for the announcement of an earlier one, so its connection does not rest.
//! * Streams: none is open. Each h2 counts from 1 on, and the numbers are changed on the way. Its stream 1 is over before it
//!   begins, and stands for all earlier ones: frames for them that come late are answered as h2 answers those of closed ones.
//! * Bytes: the ledger knows where frames end, and nothing is half read or half written.
//! * Settings: all that we sent are acknowledged, and all that the server sent are kept.

mod client;
mod driver;
mod frames;
mod numbers;
mod pings;
mod received;
mod table;
mod tap;
mod upload;

#[cfg(feature = "websocket")]
pub(super) use self::client::Busy;
pub(super) use self::client::{Client, Link};
pub(super) use self::driver::{Driver, begin};
pub(super) use self::received::Received;
