//! Policies as tower layers, in front of a real server.

mod upstream;

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use millpond::connection::Pool;
use millpond::connection::https::{
    HttpVersion, HttpsConfig, HttpsError, RequestBody, UpstreamBody, Upstreams, UpstreamsConfig,
};
use millpond::net::Endpoint;
use millpond::policy::{
    BreakerPolicy, BreakerState, BudgetPolicy, Deadline, LimitPolicy, Outcome, QueuePolicy, RegionPolicy,
    RetryPolicy, Shed,
};
use millpond::resilience::{
    BreakerLayer, DeadlineLayer, FallbackLayer, LimitLayer, Quota, RateLimitLayer, Refusal, RegionService,
    Retries,
};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tower::retry::RetryLayer;
use tower::{Layer, Service, ServiceExt};
use upstream::{Nginx, Node, PATIENCE};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Counts requests by path, and answers `/count/PATH` with the number.
const HANDLER: &str = "
    const at = request.url;
    globalThis.counts ??= {};
    globalThis.open ??= [];
    if (at.startsWith('/count')) return response.end(String(counts[at.slice(6)] ?? 0));
    if (at === '/free') { open.splice(0).forEach(other => other.end()); return response.end(); }
    const count = counts[at] = (counts[at] ?? 0) + 1;
    if (at === '/held') return open.push(response);
    if (at === '/broken') { response.writeHead(500); return response.end(); }
    if (at === '/full') { response.writeHead(503); return response.end(); }
    if (at === '/third' && count < 3) { response.writeHead(503); return response.end(); }
    if (at === '/later' && count < 2) { response.writeHead(429, {'retry-after': '1'}); return response.end(); }
    if (at === '/grpc') return response.end(request.headers['grpc-timeout'] ?? 'none');
    response.end('grist');";

struct Mill {
    node: Node,
    upstreams: Upstreams,
}

impl Mill {
    fn start() -> Self {
        let node = Node::http2(HANDLER);
        let config = UpstreamsConfig::default().https(HttpsConfig::default().version(HttpVersion::Http2));
        Self { node, upstreams: Upstreams::new(config).unwrap() }
    }

    fn request(&self, method: Method, path: &str) -> Request<RequestBody> {
        let uri = format!("http://127.0.0.1:{}{path}", self.node.port);
        Request::builder().method(method).uri(uri).body(RequestBody::empty()).unwrap()
    }

    fn get(&self, path: &str) -> Request<RequestBody> {
        self.request(Method::GET, path)
    }

    async fn ask(&self, path: &str) -> String {
        let mut upstreams = self.upstreams.clone();
        let response = upstreams.ready().await.unwrap().call(self.get(path)).await.unwrap();
        text(response).await
    }

    /// Waits until the server has seen so many requests for the path.
    async fn has_seen(&self, path: &str, count: usize) {
        let seen = async {
            while self.ask(&format!("/count{path}")).await != count.to_string() {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, seen).await.expect("it has not seen as many");
    }
}

async fn text<B>(response: Response<B>) -> String
where
    B: http_body::Body,
    B::Error: std::fmt::Debug,
{
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
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

fn at_once(attempts: u32) -> RetryPolicy {
    let backoff = RetryPolicy::default().backoff.initial(Duration::from_millis(1));
    RetryPolicy::default().attempts(attempts).backoff(backoff)
}

fn hourly(count: u32) -> Quota {
    Quota::per_hour(NonZeroU32::new(count).unwrap())
}

/// A limit that does not move.
fn two() -> LimitPolicy {
    LimitPolicy::default().initial(2).min(2).max(2)
}

async fn breaker_that_opened(mill: &Mill, policy: BreakerPolicy) -> BreakerLayer {
    let layer = BreakerLayer::new("mill", policy);
    let service = layer.layer(mill.upstreams.clone());
    for _ in 0..5 {
        assert_eq!(call(&service, mill.get("/broken")).await.unwrap().status(), 500);
    }
    layer
}

#[tokio::test]
async fn an_open_breaker_sends_nothing() {
    let mill = Mill::start();
    let layer = breaker_that_opened(&mill, BreakerPolicy::default()).await;
    assert_eq!(layer.state(), BreakerState::Open);
    let refused = refusal(call(&layer.layer(mill.upstreams.clone()), mill.get("/")).await);
    assert!(matches!(refused, Some(Refusal::BreakerOpen { .. })), "{refused:?}");
    assert_eq!(mill.ask("/count/").await, "0");
}

#[tokio::test]
async fn a_breaker_closes_after_as_many_probes() {
    let mill = Mill::start();
    let layer = breaker_that_opened(&mill, BreakerPolicy::default().open_for(Duration::ZERO)).await;
    let service = layer.layer(mill.upstreams.clone());
    for _ in 0..2 {
        call(&service, mill.get("/")).await.unwrap();
    }
    assert_eq!(layer.state(), BreakerState::HalfOpen);
    call(&service, mill.get("/")).await.unwrap();
    assert_eq!(layer.state(), BreakerState::Closed);
}

#[tokio::test]
async fn probes_that_are_cancelled_give_their_places_back() {
    let mill = Mill::start();
    let layer = breaker_that_opened(&mill, BreakerPolicy::default().open_for(Duration::from_millis(1))).await;
    sleep(Duration::from_millis(2)).await;
    let service = layer.layer(mill.upstreams.clone());
    for _ in 0..10 {
        drop(service.clone().call(mill.get("/held")));
    }
    for _ in 0..3 {
        call(&service, mill.get("/")).await.unwrap();
    }
    assert_eq!(layer.state(), BreakerState::Closed);
}

#[tokio::test]
async fn a_server_that_never_answers_opens_the_breaker_within_a_deadline() {
    let mill = Mill::start();
    mill.ask("/").await;
    let layer = BreakerLayer::new("mill", BreakerPolicy::default());
    let service = DeadlineLayer::new(Duration::from_millis(20)).layer(layer.layer(mill.upstreams.clone()));
    for _ in 0..5 {
        assert_eq!(refusal(call(&service, mill.get("/held")).await), Some(Refusal::DeadlineOver));
    }
    assert_eq!(layer.state(), BreakerState::Open);
}

#[tokio::test]
async fn mistakes_of_a_client_open_no_breaker_and_are_not_repeated() {
    let mill = Mill::start();
    let layer = BreakerLayer::new("mill", BreakerPolicy::default());
    let retries = Retries::new(RetryPolicy::persistent(), BudgetPolicy::default());
    let service = RetryLayer::new(retries).layer(layer.layer(mill.upstreams.clone()));
    for _ in 0..10 {
        let mut request = mill.get("/");
        request.headers_mut().insert("content-length", "5".parse().unwrap());
        call(&service, request).await.unwrap_err();
    }
    assert_eq!(layer.state(), BreakerState::Closed);
    assert_eq!(mill.ask("/count/").await, "0");
}

#[tokio::test]
async fn a_refusal_is_not_tried_again() {
    let mill = Mill::start();
    let layer = breaker_that_opened(&mill, BreakerPolicy::default()).await;
    let service = RetryLayer::new(Retries::new(RetryPolicy::persistent(), BudgetPolicy::default()))
        .layer(layer.layer(mill.upstreams.clone()));
    let refused = refusal(call(&service, mill.get("/")).await);
    assert!(matches!(refused, Some(Refusal::BreakerOpen { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_request_for_which_a_pool_is_full_is_not_sent_again() {
    let nginx = Nginx::start();
    let config = UpstreamsConfig::default().https(HttpsConfig::default().version(HttpVersion::Http1));
    let config = config.http1(|| Pool::builder().min_idle(None).max_size(1).max_waiting(0));
    let upstreams = Upstreams::new(config).unwrap();
    let retries = Retries::new(at_once(3), BudgetPolicy::default());
    let service = RetryLayer::new(retries.clone()).layer(upstreams.map_err(BoxError::from));
    let request = || Request::get(format!("{}/large", nginx.http1())).body(RequestBody::empty()).unwrap();
    let _held = call(&service, request()).await.unwrap();
    let error = call(&service, request()).await.unwrap_err();
    assert!(error.downcast_ref::<HttpsError>().unwrap().is_refusal(), "{error:?}");
    assert_eq!(retries.stats().sent, 0);
}

#[tokio::test]
async fn no_more_requests_than_the_limit_reach_the_server_at_once() {
    let mill = Mill::start();
    let layer = LimitLayer::new(two(), QueuePolicy::default());
    let service = layer.layer(mill.upstreams.clone());
    let mut requests = JoinSet::new();
    for _ in 0..5 {
        requests.spawn(service.clone().oneshot(mill.get("/held")));
    }
    mill.has_seen("/held", 2).await;
    let state = layer.state();
    assert_eq!((state.in_flight, state.waiting), (2, 3));
    for seen in [4, 5] {
        mill.ask("/free").await;
        mill.has_seen("/held", seen).await;
    }
    mill.ask("/free").await;
    while let Some(answered) = requests.join_next().await {
        assert_eq!(answered.unwrap().unwrap().status(), 200);
    }
    assert_eq!(layer.state().in_flight, 0);
}

#[tokio::test]
async fn a_full_queue_refuses_the_newest() {
    let mill = Mill::start();
    let layer = LimitLayer::new(two(), QueuePolicy::default().max_waiting(1));
    let service = layer.layer(mill.upstreams.clone());
    let mut requests = JoinSet::new();
    for _ in 0..2 {
        requests.spawn(service.clone().oneshot(mill.get("/held")));
    }
    mill.has_seen("/held", 2).await;
    let waits = service.clone().call(mill.get("/"));
    assert_eq!(refusal(call(&service, mill.get("/")).await), Some(Refusal::QueueFull));
    assert_eq!(layer.state().queue_full, 1);
    mill.ask("/free").await;
    assert_eq!(timeout(PATIENCE, waits).await.unwrap().unwrap().status(), 200);
}

#[tokio::test]
async fn a_full_queue_sheds_the_oldest() {
    let mill = Mill::start();
    let queue = QueuePolicy::default().max_waiting(2).shed(Shed::Oldest);
    let layer = LimitLayer::new(two(), queue);
    let service = layer.layer(mill.upstreams.clone());
    let mut requests = JoinSet::new();
    for _ in 0..2 {
        requests.spawn(service.clone().oneshot(mill.get("/held")));
    }
    mill.has_seen("/held", 2).await;
    let [oldest, others @ ..] = [(); 3].map(|()| service.clone().call(mill.get("/")));
    assert_eq!(refusal(timeout(PATIENCE, oldest).await.unwrap()), Some(Refusal::Shed));
    assert_eq!(layer.state().shed, 1);
    mill.ask("/free").await;
    for other in others {
        assert_eq!(timeout(PATIENCE, other).await.unwrap().unwrap().status(), 200);
    }
}

#[tokio::test]
async fn a_request_that_is_cancelled_leaves_its_place_to_the_next() {
    let mill = Mill::start();
    let layer = LimitLayer::new(two(), QueuePolicy::default().max_waiting(2));
    let service = layer.layer(mill.upstreams.clone());
    let held = [service.clone().call(mill.get("/held")), service.clone().call(mill.get("/held"))];
    let [gone, next] = [service.clone().call(mill.get("/")), service.clone().call(mill.get("/"))];
    assert_eq!(layer.state().waiting, 2);
    drop(gone);
    assert_eq!(layer.state().waiting, 1);
    let last = service.clone().call(mill.get("/"));
    drop(held);
    for waiting in [next, last] {
        assert_eq!(timeout(PATIENCE, waiting).await.unwrap().unwrap().status(), 200);
    }
    assert_eq!(layer.state().in_flight, 0);
}

#[tokio::test]
async fn a_request_is_sent_again_until_it_succeeds() {
    let mill = Mill::start();
    let service = RetryLayer::new(Retries::new(at_once(3), BudgetPolicy::default()))
        .layer(BreakerLayer::new("mill", BreakerPolicy::default()).layer(mill.upstreams.clone()));
    let response = call(&service, mill.get("/third")).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(mill.ask("/count/third").await, "3");
}

#[tokio::test]
async fn a_request_that_may_have_done_something_is_not_sent_again() {
    let mill = Mill::start();
    let service = RetryLayer::new(Retries::new(at_once(3), BudgetPolicy::default()))
        .layer(BreakerLayer::new("mill", BreakerPolicy::default()).layer(mill.upstreams.clone()));
    let response = call(&service, mill.request(Method::POST, "/third")).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(mill.ask("/count/third").await, "1");
}

#[tokio::test]
async fn a_body_that_streams_is_not_sent_again_and_is_counted() {
    let mill = Mill::start();
    let retries = Retries::new(at_once(3), BudgetPolicy::default());
    let service = RetryLayer::new(retries.clone()).layer(mill.upstreams.clone().map_err(BoxError::from));
    let put = |path| {
        let mut request = mill.request(Method::PUT, path);
        *request.body_mut() = RequestBody::stream(Full::new(Bytes::from_static(b"grist")));
        request
    };
    assert_eq!(call(&service, put("/")).await.unwrap().status(), 200);
    assert_eq!(retries.stats().not_replayable, 0);
    assert_eq!(call(&service, put("/full")).await.unwrap().status(), 503);
    assert_eq!(retries.stats().not_replayable, 1);
    assert_eq!(mill.ask("/count/full").await, "1");
}

#[tokio::test]
async fn a_server_that_asks_for_a_pause_gets_it() {
    let mill = Mill::start();
    let service = RetryLayer::new(Retries::new(at_once(3), BudgetPolicy::default()))
        .layer(BreakerLayer::new("mill", BreakerPolicy::default()).layer(mill.upstreams.clone()));
    let begun = std::time::Instant::now();
    assert_eq!(call(&service, mill.get("/later")).await.unwrap().status(), 200);
    assert!(begun.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn retries_end_with_their_budget() {
    let mill = Mill::start();
    let budget = BudgetPolicy::default().min_per_second(0).percent(20);
    let service = RetryLayer::new(Retries::new(at_once(3), budget)).layer(
        BreakerLayer::new("mill", BreakerPolicy::default().failures(1000).error_percent(101))
            .layer(mill.upstreams.clone()),
    );
    for _ in 0..20 {
        call(&service, mill.get("/")).await.unwrap();
    }
    for _ in 0..10 {
        call(&service, mill.get("/full")).await.unwrap();
    }
    // 30 requests allow 6 retries.
    assert_eq!(mill.ask("/count/full").await, "16");
}

#[tokio::test]
async fn a_retry_that_would_come_too_late_is_not_made() {
    let mill = Mill::start();
    let service = DeadlineLayer::new(Duration::from_millis(900)).layer(
        RetryLayer::new(Retries::new(at_once(3), BudgetPolicy::default()))
            .layer(BreakerLayer::new("mill", BreakerPolicy::default()).layer(mill.upstreams.clone())),
    );
    assert_eq!(call(&service, mill.get("/later")).await.unwrap().status(), 429);
}

#[tokio::test]
async fn a_request_ends_at_its_deadline() {
    let mill = Mill::start();
    let service = DeadlineLayer::new(Duration::from_millis(50)).layer(mill.upstreams.clone());
    assert_eq!(refusal(call(&service, mill.get("/held")).await), Some(Refusal::DeadlineOver));
}

#[tokio::test]
async fn a_request_whose_deadline_has_passed_is_not_sent() {
    let inner = tower::service_fn(|_: Request<()>| async { panic!("it was sent") as Result<(), BoxError> });
    let mut request = Request::new(());
    request.extensions_mut().insert(Deadline::at(std::time::Instant::now()));
    let layer = DeadlineLayer::new(PATIENCE);
    let refused = refusal(call(&layer.layer(inner), request).await);
    assert_eq!(refused, Some(Refusal::DeadlineOver));
    assert_eq!(layer.stats().expired, 1);
}

#[tokio::test]
async fn the_server_learns_the_shorter_timeout_of_grpc() {
    let mill = Mill::start();
    let service = DeadlineLayer::new(Duration::from_secs(10)).layer(mill.upstreams.clone());
    let mut request = mill.get("/grpc");
    request.headers_mut().insert("grpc-timeout", "1H".parse().unwrap());
    assert_eq!(text(call(&service, request).await.unwrap()).await, "10000m");
}

#[tokio::test]
async fn no_timeout_is_made_up_for_grpc() {
    let mill = Mill::start();
    let service = DeadlineLayer::new(PATIENCE).layer(mill.upstreams.clone());
    assert_eq!(text(call(&service, mill.get("/grpc")).await.unwrap()).await, "none");
}

#[tokio::test]
async fn requests_above_the_rate_are_refused() {
    let mill = Mill::start();
    let service = RateLimitLayer::new(hourly(2)).layer(mill.upstreams.clone());
    for _ in 0..2 {
        call(&service, mill.get("/")).await.unwrap();
    }
    let refused = refusal(call(&service, mill.get("/")).await).unwrap();
    let Refusal::RateLimited { retry_in } = refused else { panic!("{refused:?}") };
    assert!(retry_in > PATIENCE && retry_in <= Duration::from_secs(1800), "{retry_in:?}");
}

#[tokio::test]
async fn each_key_has_its_own_rate() {
    let mill = Mill::start();
    let path = |request: &Request<RequestBody>| request.uri().path().to_owned();
    let service = RateLimitLayer::per_key(hourly(1), path).layer(mill.upstreams.clone());
    call(&service, mill.get("/a")).await.unwrap();
    call(&service, mill.get("/b")).await.unwrap();
    let refused = refusal(call(&service, mill.get("/a")).await);
    assert!(matches!(refused, Some(Refusal::RateLimited { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_stale_answer_takes_the_place_of_a_failure() {
    let mill = Mill::start();
    let stale = Arc::new(Mutex::new(None));
    let plain = mill.upstreams.clone().map_response(|response: Response<_>| response.status());
    let keep = Arc::clone(&stale);
    let service = FallbackLayer::new(
        |_: &Request<RequestBody>| (),
        move |(), result: &Result<StatusCode, BoxError>| match result {
            Ok(status) if status.is_success() => {
                *keep.lock().unwrap() = Some(*status);
                None
            }
            _ => *keep.lock().unwrap(),
        },
    )
    .layer(plain);
    assert_eq!(call(&service, mill.get("/broken")).await.unwrap(), 500);
    assert_eq!(call(&service, mill.get("/")).await.unwrap(), 200);
    assert_eq!(call(&service, mill.get("/broken")).await.unwrap(), 200);
}

/// A region whose server is told the path by its own service, as all ask for `/`.
fn region(
    mill: &Mill,
    path: &'static str,
) -> impl Service<(), Response = StatusCode, Error = BoxError, Future: Send> + Clone + Send + 'static {
    let upstreams = mill.upstreams.clone();
    let uri = mill.get(path).uri().clone();
    let request = move |()| Request::get(uri.clone()).body(RequestBody::empty()).unwrap();
    let status = |response: Response<_>| response.status();
    upstreams.map_request(request).map_response(status).map_err(BoxError::from)
}

fn judge(result: &Result<StatusCode, BoxError>) -> Outcome {
    if result.as_ref().is_ok_and(StatusCode::is_success) { Outcome::Success } else { Outcome::Failure }
}

#[tokio::test]
async fn a_region_that_fails_fast_is_left() {
    let mill = Mill::start();
    let policy = RegionPolicy::default().probe_interval(Duration::from_secs(3600));
    let regions =
        [("north", region(&mill, "/broken").boxed_clone()), ("south", region(&mill, "/").boxed_clone())];
    let service = RegionService::new(policy, regions).classify(judge);
    for _ in 0..20 {
        call(&service, ()).await.unwrap();
    }
    let state = service.state();
    assert!(state[0].is_ejected, "{state:?}");
    assert!(state[1].is_current, "{state:?}");
    assert_eq!(mill.ask("/count/broken").await, "5");
    assert_eq!(mill.ask("/count/").await, "15");
}

#[tokio::test]
async fn a_region_that_never_answers_is_left_within_a_deadline() {
    let mill = Mill::start();
    mill.ask("/").await;
    let regions = [("north", region(&mill, "/held").boxed_clone())];
    let regions = RegionService::new(RegionPolicy::default(), regions).classify(judge);
    let service =
        DeadlineLayer::new(Duration::from_millis(20)).layer(regions.clone().map_request(|_: Request<()>| ()));
    for _ in 0..5 {
        assert_eq!(refusal(call(&service, Request::new(())).await), Some(Refusal::DeadlineOver));
    }
    assert!(regions.state()[0].is_ejected);
}

#[tokio::test]
async fn without_any_region_left_one_serves_as_a_last_resort() {
    let mill = Mill::start();
    let regions = [("north", region(&mill, "/broken").boxed_clone())];
    let service = RegionService::new(RegionPolicy::default(), regions).classify(judge);
    for _ in 0..10 {
        call(&service, ()).await.unwrap();
    }
    assert_eq!(mill.ask("/count/broken").await, "10");
    assert!(service.state()[0].is_ejected);
}

/// A forwarder to a server. It can be shut, as if the server were gone, and opened again.
struct Gate {
    address: SocketAddr,
    to: SocketAddr,
    tasks: JoinSet<()>,
}

impl Gate {
    async fn open(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut gate = Self { address: listener.local_addr().unwrap(), to, tasks: JoinSet::new() };
        gate.serve(listener);
        gate
    }

    async fn open_again(&mut self) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(self.address).unwrap();
        self.serve(socket.listen(1024).unwrap());
    }

    fn serve(&mut self, listener: TcpListener) {
        let to = self.to;
        self.tasks.spawn(async move {
            let mut streams = JoinSet::new();
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                streams.spawn(async move {
                    let mut server = TcpStream::connect(to).await.unwrap();
                    let _ = copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
    }

    async fn shut(&mut self) {
        self.tasks.shutdown().await;
    }
}

/// Sends so many requests, 20 at a time. Returns how many failed.
async fn requests<S>(service: &S, count: usize) -> usize
where
    S: Service<Request<RequestBody>, Response = Response<UpstreamBody>, Error = BoxError, Future: Send>
        + Clone
        + Send
        + 'static,
{
    let mut clients = JoinSet::new();
    for _ in 0..20 {
        let service = service.clone();
        clients.spawn(async move {
            let mut failures = 0;
            for _ in 0..count / 20 {
                let request = Request::get("http://mill.test/").body(RequestBody::empty()).unwrap();
                let answer = timeout(PATIENCE, service.clone().oneshot(request)).await.expect("no end");
                failures += usize::from(!answer.is_ok_and(|response| response.status().is_success()));
            }
            failures
        });
    }
    clients.join_all().await.into_iter().sum()
}

#[tokio::test]
async fn a_region_that_goes_costs_next_to_no_request_and_comes_back() {
    outage(None).await;
}

#[tokio::test]
async fn a_region_that_goes_and_has_a_breaker_costs_no_more_and_comes_back() {
    outage(Some(BreakerPolicy::default().open_for(Duration::from_millis(200)))).await;
}

async fn outage(breaker: Option<BreakerPolicy>) {
    let servers = [(); 3].map(|()| Nginx::start());
    let mut gates = Vec::new();
    for server in &servers {
        gates.push(Gate::open(server.http1().strip_prefix("http://").unwrap().parse().unwrap()).await);
    }
    let regions = gates.iter().zip(["north", "east", "south"]).map(|(gate, name)| {
        let https = HttpsConfig::default().endpoint(Some(Endpoint::from(gate.address)));
        (name, Upstreams::new(UpstreamsConfig::default().https(https).breaker(breaker)).unwrap())
    });
    let (eject_for, probe_interval) = (Duration::from_millis(200), Duration::from_millis(50));
    let policy = RegionPolicy::default().eject_for(eject_for).probe_interval(probe_interval);
    let regions = RegionService::new(policy, regions);
    let service =
        RetryLayer::new(Retries::new(RetryPolicy::default(), BudgetPolicy::default())).layer(regions.clone());

    assert_eq!(requests(&service, 1_000).await, 0, "at first");
    let serving = regions.state().iter().position(|region| region.is_current).unwrap();
    gates[serving].shut().await;
    let lost = requests(&service, 5_000).await;
    assert!(lost < 50, "{lost} of 5000 requests were lost");
    assert!(!regions.state()[serving].is_current, "{:?}", regions.state());

    gates[serving].open_again().await;
    let returns = async {
        while regions.state()[serving].score.is_none() {
            assert_eq!(requests(&service, 20).await, 0, "after the recovery");
        }
    };
    timeout(PATIENCE, returns).await.expect("the region did not come back");
}
