//! Pools of connections to upstream servers.
#[cfg_attr(not(test), expect(dead_code, reason = "the pool on top of it comes with the next commit"))]
mod core;
