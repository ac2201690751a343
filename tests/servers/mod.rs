//! Real servers for one test or example, each on a free port, gone when dropped. `tests/install` installs them.
#![allow(dead_code, clippy::allow_attributes, reason = "each test and example uses its part")]

pub(crate) mod haproxy;
pub(crate) mod nginx;
pub(crate) mod postgres;
pub(crate) mod redis;

use std::net::TcpListener;
use std::time::Duration;

/// A server that is silent for this long hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

const MISSING: &str = "is missing, and this needs it: run tests/install";

/// The URL in this environment variable, or that of a server that this starts.
pub(crate) fn given<S>(variable: &str, start: fn() -> S, url: fn(&S) -> String) -> (String, Option<S>) {
    match std::env::var(variable) {
        Ok(url) => (url, None),
        Err(_) => {
            let server = start();
            (url(&server), Some(server))
        }
    }
}

/// Tries a few ports, because another process may take a free one before the server binds it.
fn on_a_free_port<S>(start: impl FnMut(u16) -> Option<S>) -> S {
    (0..5)
        .map(|_| free_port())
        .find_map(start)
        .expect("other processes took five free ports before the server bound them")
}

/// Of 127.0.0.1. Nobody listens there.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
