//! Which region serves: the one that a client names, unless that is ejected or refuses.

mod upstream;

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use millpond::connection::https::{
    HttpVersion, HttpsConfig, HttpsError, RequestBody, UpstreamBody, Upstreams, UpstreamsConfig,
};
use millpond::net::Endpoint;
use millpond::policy::{BreakerPolicy, BudgetPolicy, RegionPolicy, RetryPolicy};
use millpond::resilience::{ByStatus, Refusal, RegionService, Retries, Stay};
use tokio::time::timeout;
use tower::retry::RetryLayer;
use tower::{Layer, Service, ServiceExt};
use upstream::{Node, PATIENCE, free_port};

/// Tells its name, or fails for `/broken` and `/broken/NAME`, and for `/full/NAME` in a way that may be tried again.
fn node(name: &str) -> Node {
    Node::http2(&format!(
        "if (['/broken', '/broken/{name}'].includes(request.url)) {{ response.writeHead(500); return response.end(); }}
        if (request.url === '/full/{name}') {{ response.writeHead(503); return response.end(); }}
        response.end('{name}');"
    ))
}

fn region(node: &Node, breaker: Option<BreakerPolicy>) -> Upstreams {
    let endpoint = format!("tcp://127.0.0.1:{}", node.port).parse::<Endpoint>().unwrap();
    let https = HttpsConfig::default().version(HttpVersion::Http2).endpoint(Some(endpoint));
    Upstreams::new(UpstreamsConfig::default().https(https).breaker(breaker)).unwrap()
}

fn request(path: &str, region: &str) -> Request<RequestBody> {
    let uri = format!("http://mill.example{path}");
    Request::get(uri).header("region", region).body(RequestBody::empty()).unwrap()
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The name of the region that answers.
async fn ask<S>(service: &S, path: &str, region: &str) -> Result<String, BoxError>
where
    S: Service<Request<RequestBody>, Response = Response<UpstreamBody>, Error = BoxError> + Clone,
{
    let answer = timeout(PATIENCE, service.clone().oneshot(request(path, region))).await.expect("no end")?;
    let body = answer.into_body().collect().await?.to_bytes();
    Ok(String::from_utf8(body.to_vec())?)
}

fn named(request: &Request<RequestBody>) -> Option<&str> {
    request.headers().get("region")?.to_str().ok()
}

/// Without requests that only see what another region is like.
fn policy() -> RegionPolicy {
    RegionPolicy::default().probe_interval(Duration::from_secs(3600)).eject_for(Duration::from_millis(1))
}

async fn probed(service: &RegionService<Upstreams>) {
    // The first request to a region that does not serve is due at once.
    ask(service, "/", "").await.unwrap();
}

#[tokio::test]
async fn a_request_is_served_in_the_region_that_it_names() {
    let nodes = [node("north"), node("south")];
    let regions = [("north", region(&nodes[0], None)), ("south", region(&nodes[1], None))];
    let service = RegionService::new(policy(), regions);
    probed(&service).await;
    let service = service.stay(named);
    for name in ["south", "north", "south"] {
        assert_eq!(ask(&service, "/", name).await.unwrap(), name);
    }
    assert_eq!(ask(&service, "/", "west").await.unwrap(), "north");
    assert_eq!(service.state()[1].sticky, 2);
}

#[tokio::test]
async fn a_region_that_is_ejected_serves_nobody_whoever_names_it() {
    let nodes = [node("north"), node("south")];
    let regions = [("north", region(&nodes[0], None)), ("south", region(&nodes[1], None))];
    let service = RegionService::new(policy().eject_for(PATIENCE), regions).stay(named);
    for _ in 0..5 {
        ask(&service, "/broken/south", "south").await.unwrap();
    }
    assert!(service.state()[1].is_ejected);
    assert_eq!(ask(&service, "/", "south").await.unwrap(), "north");
}

/// Two regions with breakers, of which that of the first is open.
async fn open(nodes: &[Node; 2]) -> [(&'static str, Upstreams); 2] {
    let breaker = BreakerPolicy::default().failures(2);
    let regions = nodes.each_ref().map(|node| region(node, breaker.into()));
    for _ in 0..2 {
        let broken = regions[0].send(request("/broken/north", "")).await.unwrap();
        assert_eq!(broken.status(), 500);
    }
    let [north, south] = regions;
    [("north", north), ("south", south)]
}

#[tokio::test]
async fn a_request_that_a_region_refuses_goes_to_another_one() {
    let nodes = [node("north"), node("south")];
    let service = RegionService::new(policy(), open(&nodes).await).stay(named);
    let mut request = request("/", "north");
    // It is certain that it was not sent, and its body was not begun.
    *request.method_mut() = Method::POST;
    *request.body_mut() = RequestBody::stream(Full::new(Bytes::from_static(b"grist")));
    let answer = timeout(PATIENCE, service.clone().oneshot(request)).await.expect("no end").unwrap();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "south");
    let state = service.state();
    assert!(!state[0].is_ejected, "{state:?}");
    assert_eq!(state[1].fallback, 1);
}

#[tokio::test]
async fn a_region_that_is_closed_is_none() {
    let nodes = [node("north"), node("south")];
    let regions = nodes.each_ref().map(|node| region(node, None));
    regions[0].close().await;
    let [north, south] = regions;
    let service = RegionService::new(policy(), [("north", north), ("south", south)]).stay(named);
    assert_eq!(ask(&service, "/", "north").await.unwrap(), "south");
}

#[tokio::test]
async fn a_server_that_fails_in_all_regions_ejects_none() {
    let nodes = [node("north"), node("south")];
    let breaker = BreakerPolicy::default();
    let regions = nodes.each_ref().map(|node| region(node, breaker.into()));
    let [north, south] = regions;
    let service = RegionService::new(policy().eject_for(PATIENCE), [("north", north), ("south", south)]);
    let mut bad = 0;
    for _ in 0..40 {
        for _ in 0..4 {
            ask(&service, "/", "").await.unwrap();
        }
        let request = Request::get("http://bad.example/broken").body(RequestBody::empty()).unwrap();
        bad += u32::from(service.clone().oneshot(request).await.is_err());
        let state = service.state();
        assert!(state.iter().all(|region| !region.is_ejected), "{state:?}");
    }
    assert!(bad > 0, "its breakers did not open");
}

#[tokio::test]
async fn the_last_region_says_that_its_breaker_is_open_and_gives_the_request_back() {
    let north = node("north");
    let breaker = BreakerPolicy::default().failures(1);
    let service = RegionService::new(policy(), [("north", region(&north, breaker.into()))]);
    ask(&service, "/broken/north", "").await.unwrap();
    let mut error = ask(&service, "/", "").await.unwrap_err();
    assert!(matches!(Refusal::of(&*error), Some(Refusal::BreakerOpen { .. })), "{error:?}");
    assert!(error.downcast_mut::<HttpsError>().unwrap().take_request().is_some());
}

/// Both regions fail until they are ejected, the first for a shorter time.
async fn eject_all<K>(service: &RegionService<Upstreams, ByStatus, K>)
where
    K: Stay<Request<RequestBody>> + Clone,
{
    for name in ["north", "south"] {
        for _ in 0..5 {
            ask(service, "/broken", name).await.unwrap();
        }
    }
    let state = service.state();
    assert!(state.iter().all(|region| region.is_ejected), "{state:?}");
}

#[tokio::test]
async fn the_only_region_that_serves_again_is_found_by_the_second_request() {
    let nodes = [node("north"), node("south")];
    let regions = [("north", region(&nodes[0], None)), ("south", region(&nodes[1], None))];
    let service = RegionService::new(policy().eject_for(PATIENCE), regions).stay(named);
    eject_all(&service).await;
    assert_eq!(ask(&service, "/broken/north", "").await.unwrap(), "");
    for _ in 0..3 {
        assert_eq!(ask(&service, "/broken/north", "").await.unwrap(), "south");
    }
}

#[tokio::test]
async fn a_request_that_the_last_resort_refuses_goes_to_another_one() {
    let nodes = [node("north"), node("south")];
    let breaker = BreakerPolicy::default().failures(5);
    let regions = [("north", region(&nodes[0], breaker.into())), ("south", region(&nodes[1], None))];
    let service = RegionService::new(policy().eject_for(PATIENCE), regions).stay(named);
    eject_all(&service).await;
    assert_eq!(ask(&service, "/", "").await.unwrap(), "south");
}

fn retries() -> Retries {
    let backoff = RetryPolicy::default().backoff.initial(Duration::from_millis(1));
    Retries::new(RetryPolicy::default().backoff(backoff), BudgetPolicy::default())
}

#[tokio::test]
async fn a_retry_goes_to_another_region() {
    let nodes = [node("north"), node("south")];
    let regions = [("north", region(&nodes[0], None)), ("south", region(&nodes[1], None))];
    let service = RegionService::new(policy(), regions);
    probed(&service).await;
    let retries = retries();
    let retrying = RetryLayer::new(retries.clone()).layer(service.clone());
    assert_eq!(ask(&retrying, "/full/north", "").await.unwrap(), "south");
    assert_eq!(retries.stats().sent, 1);
    assert_eq!(service.state()[1].fallback, 1);
}

#[tokio::test]
async fn a_region_that_is_down_costs_a_request_one_retry() {
    let (mut north, south) = (node("north"), node("south"));
    north.port = free_port();
    let regions = [("north", region(&north, None)), ("south", region(&south, None))];
    let service = RegionService::new(policy(), regions).stay(named);
    let retries = retries();
    let retrying = RetryLayer::new(retries.clone()).layer(service);
    assert_eq!(ask(&retrying, "/", "north").await.unwrap(), "south");
    assert_eq!(retries.stats().sent, 1);
}

#[tokio::test]
async fn a_retry_that_no_other_region_can_serve_stays() {
    let north = node("north");
    let service = RegionService::new(policy(), [("north", region(&north, None))]);
    let retries = retries();
    let retrying = RetryLayer::new(retries.clone()).layer(service.clone());
    assert_eq!(ask(&retrying, "/full/north", "").await.unwrap(), "");
    assert_eq!(retries.stats().sent, 2);
    assert_eq!(service.state()[0].best, 3);
}
