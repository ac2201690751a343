//! Which region serves: the one that a client names, and none whose breaker is open.

mod upstream;

use std::time::Duration;

use http::{Method, Request};
use http_body_util::BodyExt;
use millpond::connection::https::{HttpVersion, HttpsConfig, RequestBody, Upstreams, UpstreamsConfig};
use millpond::net::Endpoint;
use millpond::policy::{BreakerPolicy, BudgetPolicy, RegionPolicy, RetryPolicy};
use millpond::resilience::{Refusal, RegionService, Retries, Stay};
use tokio::time::{sleep, timeout};
use tower::retry::RetryLayer;
use tower::{Layer, ServiceExt};
use upstream::{Node, PATIENCE};

/// Tells its name, or fails for `/broken/NAME`.
fn node(name: &str) -> Node {
    Node::http2(&format!(
        "if (request.url === '/broken/{name}') {{ response.writeHead(500); return response.end(); }}
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

/// The name of the region that answers.
async fn ask<K>(
    service: &RegionService<Upstreams, millpond::resilience::ByStatus, K>,
    path: &str,
    region: &str,
) -> Result<String, Box<dyn std::error::Error + Send + Sync>>
where
    K: Stay<Request<RequestBody>> + Clone,
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

#[tokio::test]
async fn a_region_whose_breaker_is_open_is_left_at_once() {
    let nodes = [node("north"), node("south")];
    let breaker = BreakerPolicy::default().failures(2);
    let regions =
        [("north", region(&nodes[0], breaker.into())), ("south", region(&nodes[1], breaker.into()))];
    let service = RegionService::new(policy(), regions);
    let stays = service.clone().stay(named);
    for _ in 0..2 {
        ask(&stays, "/broken/north", "north").await.unwrap();
    }
    let error = ask(&stays, "/", "north").await.unwrap_err();
    assert_eq!(Refusal::of(&*error), Some(Refusal::RegionEjected));
    // For longer than the policy says by itself.
    sleep(Duration::from_millis(5)).await;
    let state = service.state();
    assert!(state[0].is_ejected, "{state:?}");
    assert_eq!(ask(&stays, "/", "north").await.unwrap(), "south");
}

#[tokio::test]
async fn a_retry_goes_to_another_region_when_the_breaker_of_one_is_open() {
    let nodes = [node("north"), node("south")];
    let breaker = BreakerPolicy::default().failures(2);
    let regions =
        [("north", region(&nodes[0], breaker.into())), ("south", region(&nodes[1], breaker.into()))];
    let service = RegionService::new(policy(), regions).stay(named);
    for _ in 0..2 {
        ask(&service, "/broken/north", "north").await.unwrap();
    }
    let retries = Retries::new(RetryPolicy::default(), BudgetPolicy::default());
    let mut request = request("/", "north");
    // It is certain that it was not sent.
    *request.method_mut() = Method::POST;
    let answer = RetryLayer::new(retries).layer(service).oneshot(request);
    let answer = timeout(PATIENCE, answer).await.expect("no end").unwrap();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "south");
}

#[tokio::test]
async fn the_last_region_says_that_its_breaker_is_open() {
    let north = node("north");
    let breaker = BreakerPolicy::default().failures(1);
    let service = RegionService::new(policy(), [("north", region(&north, breaker.into()))]);
    ask(&service, "/broken/north", "").await.unwrap();
    let error = ask(&service, "/", "").await.unwrap_err();
    assert!(matches!(Refusal::of(&*error), Some(Refusal::BreakerOpen { .. })), "{error:?}");
}
