//! Limits of bytes, and layers per server, in front of real servers; and what all layers report.

mod upstream;

use std::num::NonZeroU32;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt, stream};
use http::{Method, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use millpond::connection::https::{
    HttpVersion, HttpsConfig, HttpsError, HttpsErrorKind, RequestBody, Upstreams, UpstreamsConfig,
};
use millpond::observe::{Format, Registry};
use millpond::policy::{
    BreakerPolicy, BudgetPolicy, Deadline, LimitPolicy, QueuePolicy, RegionPolicy, RetryPolicy,
};
use millpond::resilience::{
    BreakerLayer, ByteLimitLayer, DeadlineLayer, FallbackLayer, LimitLayer, PerServerLayer, Quota,
    RateLimitLayer, Refusal, RegionService, Retries,
};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tower::retry::RetryLayer;
use tower::{Layer, Service, ServiceExt};
use upstream::{LARGE, Nginx, Node, PATIENCE};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Answers `/held` never, and reads nothing of uploads.
const HANDLER: &str = "
    if (request.url === '/held') return;
    if (request.url === '/full') {
        globalThis.count = (globalThis.count ?? 0) + 1;
        response.writeHead(503, {count});
        return response.end();
    }
    if (request.url === '/broken') { response.writeHead(500); return response.end(); }
    response.end('grist');";

fn upstreams(version: HttpVersion) -> Upstreams {
    let https = HttpsConfig::default().version(version);
    Upstreams::new(UpstreamsConfig::default().https(https)).unwrap()
}

fn url(node: &Node, path: &str) -> String {
    format!("http://127.0.0.1:{}{path}", node.port)
}

fn get(uri: &str) -> Request<RequestBody> {
    Request::get(uri).body(RequestBody::empty()).unwrap()
}

async fn call<S, R, T>(service: &S, request: R) -> Result<T, BoxError>
where
    S: Service<R, Response = T, Error = BoxError> + Clone,
{
    timeout(PATIENCE, service.clone().oneshot(request)).await.expect("no end")
}

fn refusal<T>(result: Result<T, BoxError>) -> Option<Refusal> {
    Refusal::of(&*result.err()?)
}

async fn until(mut reached: impl FnMut() -> bool) {
    let reached = async {
        while !reached() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, reached).await.expect("it was not reached");
}

#[tokio::test]
async fn a_response_counts_until_the_program_drops_it() {
    let nginx = Nginx::start();
    for (version, url) in [(HttpVersion::Http1, nginx.http1()), (HttpVersion::Http2, nginx.http2())] {
        let layer = ByteLimitLayer::new(LARGE - 1);
        let service = layer.layer(upstreams(version));
        let response = call(&service, get(&format!("{url}/large"))).await.unwrap();
        let page = response.into_body().collect().await.unwrap();
        assert_eq!(layer.state().held, LARGE, "{version:?}");
        assert_eq!(refusal(call(&service, get(&url)).await), Some(Refusal::TooManyBytes), "{version:?}");
        assert_eq!(layer.state().refused, 1, "{version:?}");
        drop(page);
        assert_eq!(layer.state().held, 0, "{version:?}");
        assert_eq!(call(&service, get(&url)).await.unwrap().status(), 200, "{version:?}");
    }
}

#[tokio::test]
async fn as_many_bytes_as_allowed_refuse_nothing() {
    let nginx = Nginx::start();
    let service = ByteLimitLayer::new(LARGE).layer(upstreams(HttpVersion::Http1));
    let response = call(&service, get(&format!("{}/large", nginx.http1()))).await.unwrap();
    let page = response.into_body().collect().await.unwrap();
    assert_eq!(call(&service, get(&nginx.http1())).await.unwrap().status(), 200);
    drop(page);
}

#[tokio::test]
async fn an_upload_counts_until_it_was_sent_or_dropped() {
    let node = Node::http2(HANDLER);
    let layer = ByteLimitLayer::new(LARGE - 1);
    let service = layer.layer(upstreams(HttpVersion::Http2));
    let upload = Request::post(url(&node, "/held")).body(vec![b'g'; LARGE].into()).unwrap();
    let mut uploads = JoinSet::new();
    uploads.spawn(service.clone().oneshot(upload));
    until(|| layer.state().held == LARGE).await;
    assert_eq!(refusal(call(&service, get(&url(&node, "/"))).await), Some(Refusal::TooManyBytes));
    uploads.shutdown().await;
    until(|| layer.state().held == 0).await;
    assert_eq!(call(&service, get(&url(&node, "/"))).await.unwrap().status(), 200);
}

#[tokio::test]
async fn an_upload_that_streams_counts_from_when_it_is_read() {
    let node = Node::http2(HANDLER);
    let layer = ByteLimitLayer::new(LARGE);
    let service = layer.layer(upstreams(HttpVersion::Http2));
    let (pieces, body) = mpsc::unbounded_channel::<Bytes>();
    let body = stream::unfold(body, async |mut body| {
        Some((Ok::<_, BoxError>(Frame::data(body.recv().await?)), body))
    });
    let upload = Request::post(url(&node, "/held")).body(RequestBody::stream(StreamBody::new(body))).unwrap();
    let mut uploads = JoinSet::new();
    uploads.spawn(service.clone().oneshot(upload));
    sleep(Duration::from_millis(20)).await;
    assert_eq!(layer.state().held, 0);
    pieces.send(vec![b'g'; LARGE].into()).unwrap();
    until(|| layer.state().held == LARGE).await;
    uploads.shutdown().await;
    until(|| layer.state().held == 0).await;
}

#[tokio::test]
async fn each_attempt_of_an_upload_counts_once() {
    let node = Node::http2(HANDLER);
    let layer = ByteLimitLayer::new(LARGE);
    let retries = Retries::new(RetryPolicy::default(), BudgetPolicy::default());
    let service = layer.layer(RetryLayer::new(retries).layer(boxed(upstreams(HttpVersion::Http2))));
    let upload = Request::put(url(&node, "/held")).body(vec![b'g'; LARGE].into()).unwrap();
    let mut uploads = JoinSet::new();
    uploads.spawn(service.oneshot(upload));
    until(|| layer.state().held > 0).await;
    assert_eq!(layer.state().held, LARGE);
}

/// With the errors that `Retries` expects.
fn boxed(
    upstreams: Upstreams,
) -> impl Service<
    Request<RequestBody>,
    Response = Response<millpond::connection::https::UpstreamBody>,
    Error = BoxError,
    Future: Send,
> + Clone
+ Send
+ 'static {
    upstreams.map_err(BoxError::from)
}

fn hourly(count: u32) -> Quota {
    Quota::per_hour(NonZeroU32::new(count).unwrap())
}

#[tokio::test]
async fn each_server_has_its_own_rate() {
    let nodes = [Node::http2(HANDLER), Node::http2(HANDLER)];
    let layer = PerServerLayer::new(2, |_| RateLimitLayer::new(hourly(1)));
    let service = layer.layer(upstreams(HttpVersion::Http2));
    for node in &nodes {
        call(&service, get(&url(node, "/"))).await.unwrap();
    }
    for node in &nodes {
        let refused = refusal(call(&service, get(&url(node, "/"))).await);
        assert!(matches!(refused, Some(Refusal::RateLimited { .. })), "{refused:?}");
    }
}

#[tokio::test]
async fn a_server_that_is_busy_holds_up_no_other() {
    let [busy, other] = [Node::http2(HANDLER), Node::http2(HANDLER)];
    let one = || LimitPolicy::default().initial(1).min(1).max(1);
    let layer =
        PerServerLayer::new(2, move |_| LimitLayer::new(one(), QueuePolicy::default().max_waiting(0)));
    let service = layer.layer(upstreams(HttpVersion::Http2));
    let mut held = JoinSet::new();
    held.spawn(service.clone().oneshot(get(&url(&busy, "/held"))));
    let mut full = None;
    until(|| {
        full = service.clone().call(get(&url(&busy, "/"))).now_or_never();
        full.is_some()
    })
    .await;
    assert_eq!(refusal(full.unwrap()), Some(Refusal::QueueFull));
    assert_eq!(call(&service, get(&url(&other, "/"))).await.unwrap().status(), 200);
}

#[tokio::test]
async fn the_server_that_was_asked_least_recently_is_forgotten() {
    let [first, second, third] = [(); 3].map(|()| Node::http2(HANDLER));
    let layer = PerServerLayer::new(2, |_| RateLimitLayer::new(hourly(2)));
    let service = layer.layer(upstreams(HttpVersion::Http2));
    for node in [&first, &second, &first, &third] {
        call(&service, get(&url(node, "/"))).await.unwrap();
    }
    assert!(matches!(
        refusal(call(&service, get(&url(&first, "/"))).await),
        Some(Refusal::RateLimited { .. })
    ));
    for _ in 0..2 {
        call(&service, get(&url(&second, "/"))).await.unwrap();
    }
}

#[tokio::test]
async fn a_request_that_names_no_server_is_refused() {
    let layer = PerServerLayer::new(2, |_| RateLimitLayer::new(hourly(1)));
    let error = call(&layer.layer(upstreams(HttpVersion::Http2)), get("/grist")).await.unwrap_err();
    let kind = error.downcast_ref().map(HttpsError::kind);
    assert_eq!(kind, Some(&HttpsErrorKind::InvalidUri));
}

#[tokio::test]
async fn each_server_has_its_own_budget_of_retries() {
    let nodes = [Node::http2(HANDLER), Node::http2(HANDLER)];
    // One retry per two requests.
    let budget = BudgetPolicy::default().percent(50).min_per_second(0);
    let layer =
        PerServerLayer::new(2, move |_| RetryLayer::new(Retries::new(RetryPolicy::default(), budget)));
    let service = layer.layer(boxed(upstreams(HttpVersion::Http2)));
    for node in &nodes {
        let response = call(&service, get(&url(node, "/full"))).await.unwrap();
        assert_eq!(response.headers()["count"], "1");
    }
    let response = call(&service, get(&url(&nodes[0], "/full"))).await.unwrap();
    assert_eq!(response.headers()["count"], "3");
}

/// The samples of a registry, without the lines about them.
fn samples(registry: &Registry) -> Vec<String> {
    let text = Format::Prometheus.encode(registry);
    text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

#[tokio::test]
async fn every_layer_reports_to_a_registry() {
    let node = Node::http2(HANDLER);
    let registry = Registry::new();
    let breaker = BreakerLayer::new("mill", BreakerPolicy::default().failures(3));
    let limit = LimitLayer::new(LimitPolicy::default(), QueuePolicy::default());
    let rate = RateLimitLayer::new(hourly(7));
    let deadline = DeadlineLayer::new(PATIENCE);
    let bytes = ByteLimitLayer::new(100);
    let fallback = FallbackLayer::new(
        |request: &Request<RequestBody>| request.uri().path() == "/fixed",
        |is_fixed: &bool, _: &Result<Response<_>, _>| is_fixed.then(|| Response::new(String::new())),
    );
    let retries = Retries::new(RetryPolicy::default(), BudgetPolicy::default());
    let regions = RegionService::new(RegionPolicy::default(), [("north", upstreams(HttpVersion::Http2))]);
    registry.add("api", &breaker);
    registry.add("api", &limit);
    registry.add("api", &rate);
    registry.add("api", &deadline);
    registry.add("api", &bytes);
    registry.add("api", &fallback);
    registry.add("api", &retries);
    registry.add("api", &regions);
    let inner = RetryLayer::new(retries).layer(breaker.layer(limit.layer(bytes.layer(regions))));
    let service = fallback
        .layer(deadline.layer(rate.layer(inner)).map_response(|_: Response<_>| Response::new(String::new())));
    for path in ["/", "/fixed", "/held", "/full", "/broken", "/", "/", "/"] {
        let mut request = get(&url(&node, path));
        *request.method_mut() = if path == "/full" { Method::POST } else { Method::GET };
        if path == "/held" {
            let soon = std::time::Instant::now() + Duration::from_millis(50);
            request.extensions_mut().insert(Deadline::at(soon));
        }
        let _ = call(&service, request).await;
    }
    let samples = samples(&registry);
    for expected in [
        r#"millpond_breaker_state{name="api",state="open"} 1"#,
        r#"millpond_concurrency_limit_requests{name="api",state="limit"} 20"#,
        r#"millpond_rate_limit_requests_total{name="api",outcome="allowed"} 7"#,
        r#"millpond_rate_limit_requests_total{name="api",outcome="refused"} 1"#,
        r#"millpond_byte_limit_bytes{name="api",state="limit"} 100"#,
        r#"millpond_deadline_expired_total{name="api"} 1"#,
        r#"millpond_fallback_answers_total{name="api"} 1"#,
        r#"millpond_retries_total{name="api",outcome="not_replayable"} 1"#,
        r#"millpond_region_requests_total{name="api",region="north",reason="best"} 5"#,
    ] {
        assert!(samples.iter().any(|sample| sample == expected), "{expected}: {samples:#?}");
    }
    drop(service);
    drop((breaker, limit, rate, deadline, bytes, fallback));
    assert_eq!(self::samples(&registry), [""; 0]);
}

#[tokio::test]
async fn a_layer_per_server_reports_with_the_name_of_the_server() {
    let node = Node::http2(HANDLER);
    let layer = PerServerLayer::new(2, |_| RateLimitLayer::new(hourly(1)));
    call(&layer.layer(upstreams(HttpVersion::Http2)), get(&url(&node, "/"))).await.unwrap();
    let registry = Registry::new();
    registry.add("api", &layer);
    let server = url(&node, "");
    let expected =
        format!(r#"millpond_rate_limit_requests_total{{name="api",server="{server}",outcome="allowed"}} 1"#);
    assert!(samples(&registry).contains(&expected), "{:?}", samples(&registry));
}
