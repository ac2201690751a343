//! What idle connections of a pool of HTTP/2 connections hold at rest, by allocator and by the system: new ones, ones that
//! have each moved 1 MiB, and one that has carried a hundred such responses at once.
//!
//! `MILLPOND_REST=10 cargo test --features https --test http2_memory -- --nocapture` looks 10 s later.

mod upstream;

use std::alloc::System;
use std::env;
use std::fs;
use std::process::Command;
use std::time::Duration;

use futures_util::future::join_all;
use http::Request;
use http_body_util::BodyExt;
use millpond::connection::https::{Http2Pool, Http2PoolConfig, RequestBody};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokio::time::{sleep, timeout};
use upstream::{LARGE, Nginx};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const KIB: usize = 1024;

/// How many connections are open, with how many streams each at once, and the KiB of heap that each may hold at rest. rustls
/// takes 6 to 7 of them.
const CASES: [(&str, usize, usize, usize); 2] = [("idle", 100, 1, 12), ("burst", 1, 100, 16)];

fn main() {
    // A process of its own for each case: what the first one frees would hide what the second one takes.
    if let Some(case) = env::args().find_map(|argument| CASES.into_iter().find(|case| case.0 == argument)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        return runtime.block_on(measure(case));
    }
    for (name, ..) in CASES {
        let status = Command::new(env::current_exe().unwrap()).arg(name).status().unwrap();
        assert!(status.success(), "{name}");
    }
}

async fn measure((name, connections, streams, limit): (&str, usize, usize, usize)) {
    let nginx = Nginx::start();
    let https = nginx.trusting(&["h2"]);
    let config = Http2PoolConfig::default().https(https).max_connections(connections).max_streams(streams);
    // What is made once: the runtime's tables, the sessions of TLS.
    let warm = Http2Pool::new(&nginx.https(), config.clone()).unwrap();
    fetch_all(&warm, "/large", LARGE, 1).await;
    warm.close().await;

    let (region, resident_before) = (Region::new(ALLOCATOR), resident());
    let pool = Http2Pool::new(&nginx.https(), config).unwrap();
    for (path, len) in [("/", 5), ("/large", LARGE)] {
        fetch_all(&pool, path, len, connections * streams).await;
        let held = || {
            let change = region.change();
            let held = change.bytes_allocated.saturating_sub(change.bytes_deallocated) / KIB / connections;
            let resident = resident().saturating_sub(resident_before) / KIB / connections;
            (held, resident)
        };
        let (before, before_resident) = held();
        let at_rest = timeout(Duration::from_secs(20), async {
            while !pool.state().connections.iter().all(|connection| connection.is_at_rest) {
                sleep(Duration::from_millis(10)).await;
            }
        });
        at_rest.await.unwrap();
        let rest = env::var("MILLPOND_REST").ok().and_then(|seconds| seconds.parse().ok());
        sleep(Duration::from_secs(rest.unwrap_or_default())).await;
        let state = pool.state();
        assert_eq!((state.streams, state.connections.len()), (0, connections));
        let (at_rest, resident) = held();
        give_back();
        println!(
            "{name} after {streams} × {len} bytes: {at_rest} KiB of heap, {resident} KiB resident, and {} without what glibc \
             keeps, per connection; before the rest {before} and {before_resident}",
            held().1
        );
        assert!(at_rest <= limit, "{at_rest} KiB of heap");
    }
}

/// All of these requests at once.
async fn fetch_all(pool: &Http2Pool, path: &str, len: usize, requests: usize) {
    let heads = join_all((0..requests).map(|_| {
        // Larger than a window, so that its stream is open until it is read.
        pool.send(Request::get(path).body(RequestBody::empty()).unwrap())
    }));
    let bodies = heads.await.into_iter().map(|response| async {
        let mut body = response.unwrap().into_body();
        let mut read = 0;
        while let Some(frame) = body.frame().await {
            read += frame.unwrap().into_data().unwrap().len();
        }
        assert_eq!(read, len);
    });
    join_all(bodies).await;
}

/// Has glibc return what is free, as the docs of `BufferPool::decay` recommend. By itself it returns only the end of its heap.
fn give_back() {
    // SAFETY: no precondition.
    unsafe { libc::malloc_trim(0) };
}

/// Bytes of memory that the system counts for this process.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * KIB
}
