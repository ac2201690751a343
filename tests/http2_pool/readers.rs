//! Responses that nobody reads.

use std::time::Duration;

use futures_util::future::join_all;
use http::Response;
use http_body_util::BodyExt;
use millpond::connection::https::{
    Http2Body, Http2Pool, Http2PoolConfig, Http2Windows, HttpsConfig, HttpsErrorKind, StalledReader,
    Upstreams, UpstreamsConfig,
};
use millpond::{BufferPool, BufferPoolConfig};
use tokio::time::timeout;

use crate::server::{Node, eventually, fetch, get, read};
use crate::upstream::PATIENCE;

const LIMIT: Duration = Duration::from_millis(200);
const LARGE: usize = 1024 * 1024;

fn config() -> Http2PoolConfig {
    Http2PoolConfig::default().max_connections(1).stalled_reader(StalledReader::Reset { after: LIMIT })
}

/// Two responses that fill the window of the connection.
async fn stalled(pool: &Http2Pool) -> [Response<Http2Body>; 2] {
    let (first, second) = tokio::join!(pool.send(get("/large")), pool.send(get("/large")));
    [first.unwrap(), second.unwrap()]
}

/// How 98 responses arrive. `Ok` is their size.
async fn arriving(pool: &Http2Pool) -> Vec<Result<usize, HttpsErrorKind>> {
    join_all((0..98).map(|_| fetch(pool, "/large")))
        .await
        .into_iter()
        .map(|body| body.map(|body| body.len()).map_err(|error| error.kind().clone()))
        .collect()
}

fn spilling(buffers: &BufferPool) -> StalledReader {
    StalledReader::Spill { after: LIMIT, buffers: buffers.clone() }
}

fn buffers(limit: usize) -> BufferPool {
    BufferPool::new(BufferPoolConfig::builder().class(16 * 1024, 1_000).memory_limit(limit).build().unwrap())
}

#[tokio::test]
async fn responses_that_are_not_read_do_not_stop_the_others() {
    let node = Node::with("{ maxSessionMemory: 1000 }", "");
    let pool = node.pool(config().stalled_reader(StalledReader::Reset { after: Duration::from_secs(3600) }));
    // Twice the window of the connection.
    let stalled = [stalled(&pool).await, stalled(&pool).await];
    let others = timeout(PATIENCE, join_all((0..96).map(|_| fetch(&pool, "/large")))).await.unwrap();
    assert!(others.into_iter().all(|body| body.unwrap().len() == LARGE));
    for response in stalled.into_iter().flatten() {
        assert_eq!(read(response).await.unwrap().len(), LARGE);
    }
    assert_eq!(pool.state().http2.stalled_resets, 0);
}

#[tokio::test]
async fn responses_that_are_not_read_hold_no_more_than_is_allowed() {
    const WINDOW: u32 = 131_072;
    const MAX_UNREAD: u32 = 262_144;
    const HEADS: u64 = 16 * 1024;
    let limit = u64::from(WINDOW + MAX_UNREAD);
    let node = Node::with("{ maxSessionMemory: 1000 }", "");
    let windows = Http2Windows::Fixed { stream: LARGE as u32, connection: WINDOW };
    let never = StalledReader::Reset { after: Duration::from_secs(3600) };
    let config = config().https(HttpsConfig::default().windows(windows)).stalled_reader(never);
    let pool = node.pool(config.max_unread(MAX_UNREAD));
    let stalled = [stalled(&pool).await, stalled(&pool).await];
    eventually(&pool, |state| state.connections[0].bytes_received >= limit).await;
    tokio::time::sleep(3 * LIMIT).await;
    let received = pool.state().connections[0].bytes_received;
    assert!(received <= limit + HEADS, "{received}");
    let read = join_all(stalled.into_iter().flatten().map(read)).await;
    assert!(read.into_iter().all(|body| body.unwrap().len() == LARGE));
}

#[test]
fn a_spill_into_buffers_without_a_limit_is_refused() {
    let unlimited = BufferPool::new(BufferPoolConfig::builder().class(16 * 1024, 1_000).build().unwrap());
    let config = config().stalled_reader(spilling(&unlimited));
    let error = Http2Pool::new("http://mill.example", config.clone()).unwrap_err();
    assert_eq!(error.kind(), &HttpsErrorKind::UnlimitedSpill);
    let error = Upstreams::new(UpstreamsConfig::default().http2(config)).unwrap_err();
    assert_eq!(error.kind(), &HttpsErrorKind::UnlimitedSpill);
}

#[tokio::test]
async fn stalled_responses_are_reset_and_the_others_arrive() {
    let node = Node::with("{ maxSessionMemory: 1000 }", "");
    let pool = node.pool(config());
    let responses = stalled(&pool).await;
    assert_eq!(arriving(&pool).await, vec![Ok(LARGE); 98]);
    eventually(&pool, |state| state.http2.stalled_resets == 2).await;
    for response in responses {
        let error = read(response).await.unwrap_err();
        assert_eq!(error.kind(), &HttpsErrorKind::ReaderStalled { after: LIMIT });
    }
    assert_eq!(pool.state().errors.to_string(), "total=2 reader_stalled=2");
    assert_eq!(pool.state().connections[0].errors, 2);
    assert_eq!(pool.state().streams, 0);
}

#[tokio::test]
async fn stalled_responses_are_spilled_and_the_others_arrive() {
    let node = Node::with("{ maxSessionMemory: 1000 }", "");
    let buffers = buffers(8 * LARGE);
    let pool = node.pool(config().stalled_reader(spilling(&buffers)));
    let responses = stalled(&pool).await;
    assert_eq!(arriving(&pool).await, vec![Ok(LARGE); 98]);
    eventually(&pool, |state| state.http2.spills == 2).await;
    for response in responses {
        let body = read(response).await.unwrap();
        assert_eq!(body.len(), LARGE);
        assert!(body.iter().all(|&byte| byte == b'g'));
    }
    assert_eq!(buffers.stats().in_use, 0);
    assert_eq!(pool.state().streams, 0);
}

#[tokio::test]
async fn a_spilled_response_frees_its_stream_when_it_has_arrived() {
    let node = Node::start();
    let pool = node.pool(config().stalled_reader(spilling(&buffers(8 * LARGE))));
    let responses = stalled(&pool).await;
    eventually(&pool, |state| state.streams == 0).await;
    for response in responses {
        assert_eq!(read(response).await.unwrap().len(), LARGE);
    }
}

#[tokio::test]
async fn a_spilled_response_is_reset_when_the_pool_has_no_buffer_left() {
    let node = Node::with("{ maxSessionMemory: 1000 }", "");
    let buffers = buffers(LARGE / 2);
    let pool = node.pool(config().stalled_reader(spilling(&buffers)));
    let responses = stalled(&pool).await;
    assert_eq!(arriving(&pool).await, vec![Ok(LARGE); 98]);
    eventually(&pool, |state| state.http2.stalled_resets > 0).await;
    let mut failed = 0;
    for response in responses {
        failed += usize::from(read(response).await.is_err());
    }
    assert!(failed > 0);
    assert_eq!(buffers.stats().in_use, 0);
}

#[tokio::test]
async fn a_reader_that_returns_goes_on_where_its_response_was_spilled() {
    let mut node = Node::start();
    let pool = node.pool(config().stalled_reader(spilling(&buffers(8 * LARGE))));
    let mut body = pool.send(get("/half")).await.unwrap().into_body();
    eventually(&pool, |state| state.http2.spills == 1).await;
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(first, "grist");
    let rest = tokio::spawn(body.collect());
    node.free();
    assert_eq!(rest.await.unwrap().unwrap().to_bytes(), "mill");
}

#[tokio::test]
async fn a_response_that_has_arrived_whole_is_kept() {
    let node = Node::start();
    let pool = node.pool(config());
    let response = pool.send(get("/")).await.unwrap();
    tokio::time::sleep(3 * LIMIT).await;
    assert_eq!(read(response).await.unwrap(), b"grist");
    assert_eq!(pool.state().http2.stalled_resets, 0);
}

#[tokio::test]
async fn a_reader_that_waits_for_the_server_is_not_stalled() {
    let mut node = Node::start();
    let pool = node.pool(config());
    let reading = tokio::spawn(read(pool.send(get("/half")).await.unwrap()));
    tokio::time::sleep(3 * LIMIT).await;
    node.free();
    assert_eq!(reading.await.unwrap().unwrap(), b"gristmill");
}

#[tokio::test]
async fn a_slow_reader_is_not_stalled() {
    let node = Node::start();
    let pool = node.pool(config());
    let mut body = pool.send(get("/large")).await.unwrap().into_body();
    for _ in 0..5 {
        tokio::time::sleep(LIMIT / 2).await;
        body.frame().await.unwrap().unwrap();
    }
    assert_eq!(pool.state().http2.stalled_resets, 0);
}

#[tokio::test]
async fn a_reader_that_is_woken_and_does_not_come_is_stalled() {
    let node = Node::start();
    let pool = node.pool(config());
    let mut body = pool.send(get("/half")).await.unwrap().into_body();
    body.frame().await.unwrap().unwrap();
    // It has asked once, and now it does other work.
    let mut other = pool.send(get("/large")).await.unwrap().into_body();
    let asked = std::future::poll_fn(|cx| {
        std::task::Poll::Ready(http_body::Body::poll_frame(std::pin::Pin::new(&mut other), cx).is_pending())
    });
    let _ = asked.await;
    eventually(&pool, |state| state.http2.stalled_resets == 1).await;
    // Nobody has asked for the rest.
    assert_eq!(pool.state().errors.to_string(), "total=1 reader_stalled=1");
    assert_eq!(pool.state().connections[0].errors, 1);
    drop(body);
}
