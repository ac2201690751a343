//! What a hundred idle HTTPS connections hold at rest, by allocator and by the system: new ones, and ones that have each moved 1 MiB.
//!
//! `MILLPOND_REST=10 cargo test --features https --test https_memory -- --nocapture` looks again 10 s later.

mod upstream;

use std::alloc::System;
use std::env;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use http::Request;
use http_body_util::BodyExt;
use millpond::connection::Pool;
use millpond::connection::https::{HttpsConnection, HttpsConnectionManager, RequestBody};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokio::time::sleep;
use upstream::{LARGE, Nginx};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const CONNECTIONS: usize = 100;
const KIB: usize = 1024;

/// A protocol, and the KiB that a connection may take by the allocator and by the system.
///
/// rustls takes 6 to 7.
const LIMITS: [(&str, usize, usize); 2] = [("http/1.1", 10, 25), ("h2", 10, 50)];

fn main() {
    // A process of its own for each protocol: what the first one frees would hide what the second one takes.
    if let Some(protocol) =
        env::args().find(|argument| LIMITS.iter().any(|(protocol, ..)| protocol == argument))
    {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        return runtime.block_on(measure(&protocol));
    }
    for (protocol, ..) in LIMITS {
        let status = Command::new(env::current_exe().unwrap()).arg(protocol).status().unwrap();
        assert!(status.success(), "{protocol}");
    }
}

async fn measure(protocol: &str) {
    let nginx = Nginx::start();
    let config = nginx.trusting(&[protocol]);
    let manager = HttpsConnectionManager::with_config(&nginx.https(), config).unwrap();
    let pool_of = |size| Pool::builder().max_size(size as u32).build(manager.clone());
    // What is made once: the runtime's tables, the sessions of TLS.
    use_all(&pool_of(1).await.unwrap(), 1, "/large", LARGE).await;

    let (region, resident_before) = (Region::new(ALLOCATOR), resident());
    let pool = pool_of(CONNECTIONS).await.unwrap();
    let &(_, heap_limit, resident_limit) = LIMITS.iter().find(|(name, ..)| *name == protocol).unwrap();
    for (path, len) in [("/", 5), ("/large", LARGE)] {
        use_all(&pool, CONNECTIONS, path, len).await;
        let held = || {
            let change = region.change();
            change.bytes_allocated.saturating_sub(change.bytes_deallocated) / KIB / CONNECTIONS
        };
        // Until they are at rest.
        let begun = Instant::now();
        while held() > heap_limit && begun.elapsed() < Duration::from_secs(20) {
            sleep(Duration::from_millis(10)).await;
        }
        let rest = env::var("MILLPOND_REST").ok().and_then(|seconds| seconds.parse().ok());
        sleep(Duration::from_secs(rest.unwrap_or_default())).await;
        let held = held();
        let resident_now = || resident().saturating_sub(resident_before) / KIB / CONNECTIONS;
        let resident = resident_now();
        give_back();
        let without_free = resident_now();
        println!(
            "{protocol} after {len} bytes: {held} KiB of heap, {resident} KiB resident, and {without_free} without what \
             glibc keeps, per connection"
        );
        assert!(held <= heap_limit, "{held} KiB of heap");
        assert!(resident <= resident_limit, "{resident} KiB resident");
    }
}

/// One request on each connection of the pool.
async fn use_all(pool: &Pool<HttpsConnectionManager>, connections: usize, path: &str, len: usize) {
    let mut guards = Vec::new();
    for _ in 0..connections {
        guards.push(pool.get().await.unwrap());
    }
    for guard in guards {
        let request = Request::get(path).body(RequestBody::empty()).unwrap();
        let mut body = HttpsConnection::send(guard, request).await.unwrap().into_body();
        let mut read = 0;
        while let Some(frame) = body.frame().await {
            read += frame.unwrap().into_data().unwrap().len();
        }
        assert_eq!(read, len);
    }
    assert_eq!(pool.state().idle_connections, connections as u32);
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
