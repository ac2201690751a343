//! What the layers do with any service: outcomes as a closure judges them, bodies as they are, and what they say of themselves.

use std::convert::Infallible;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as _;
use http_body_util::{BodyExt, Full};
use millpond::connection::https::RequestBody;
use millpond::policy::{
    BreakerPolicy, BreakerState, BudgetPolicy, Deadline, LimitPolicy, Outcome, QueuePolicy, RegionPolicy,
    RetryPolicy, Shed,
};
use millpond::resilience::{
    BreakerLayer, ByteLimitLayer, DeadlineLayer, FallbackLayer, LimitLayer, PerServerLayer, Quota,
    RateLimitLayer, Refusal, RegionService, Retries,
};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};

/// It answers with what it is asked, and never fails.
fn echo() -> impl Service<u8, Response = u8, Error = Infallible, Future: Send + 'static> + Clone {
    service_fn(|number: u8| async move { Ok(number) })
}

/// Answers above 9 are failures.
fn judge(result: &Result<u8, BoxError>) -> Outcome {
    match result {
        Ok(0..10) => Outcome::Success,
        Ok(_) | Err(_) => Outcome::Failure,
    }
}

#[tokio::test]
async fn a_breaker_judges_as_it_is_told() {
    let layer = BreakerLayer::new("echo", BreakerPolicy::default().failures(2)).classify(judge);
    let service = layer.layer(echo());
    for number in [10, 1, 10] {
        service.clone().oneshot(number).await.unwrap();
        assert_eq!(layer.state(), BreakerState::Closed);
    }
    service.oneshot(10).await.unwrap();
    assert_eq!(layer.state(), BreakerState::Open);
}

#[tokio::test]
async fn a_limit_judges_as_it_is_told() {
    let policy = LimitPolicy::default().window(Duration::ZERO).min_samples(1);
    let layer = LimitLayer::new(policy, QueuePolicy::default()).classify(judge);
    let service = layer.layer(echo());
    let before = layer.state().limit;
    service.clone().oneshot(1).await.unwrap();
    assert_eq!(layer.state().limit, before);
    service.oneshot(10).await.unwrap();
    assert!(layer.state().limit < before, "{:?}", layer.state());
}

#[tokio::test]
async fn a_counted_body_has_the_length_of_its_body() {
    let service = service_fn(|_: Request<RequestBody>| async {
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"flour"))))
    });
    let layer = ByteLimitLayer::new(100);
    let response = layer.layer(service).oneshot(Request::new(RequestBody::empty())).await.unwrap();
    let mut body = response.into_body();
    assert_eq!(body.size_hint().exact(), Some(5));
    assert!(!body.is_end_stream());
    let data = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!((data.as_ref(), layer.state().held), (&b"flour"[..], 5));
    assert!(body.is_end_stream());
    assert!(body.get_ref().is_end_stream());
    drop((data, body));
    assert_eq!(layer.state().held, 0);
}

#[test]
fn layers_say_what_they_have_done() {
    let breaker = BreakerLayer::new("echo", BreakerPolicy::default());
    let limit = LimitLayer::new(LimitPolicy::default(), QueuePolicy::default());
    let rate = RateLimitLayer::<u8>::new(Quota::per_second(NonZeroU32::MIN));
    let fallback = FallbackLayer::new(|_: &u8| (), |(), _: &Result<u8, _>| None);
    let retries = Retries::new(RetryPolicy::default(), BudgetPolicy::default());
    let regions = RegionService::new(Default::default(), [("north", echo())]);
    for (said, part) in [
        (format!("{breaker:?}"), r#"name: "echo", state: Closed"#),
        (format!("{limit:?}"), "in_flight: 0"),
        (format!("{:?}", ByteLimitLayer::new(7)), "limit: 7"),
        (format!("{rate:?}"), "refused: 0"),
        (format!("{fallback:?}"), "answers: 0"),
        (format!("{retries:?}"), "sent: 0"),
        (format!("{regions:?}"), r#"name: "north""#),
        (format!("{:?}", PerServerLayer::new(1, |_: &str| DeadlineLayer::new(Duration::MAX))), "{}"),
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
}

const MILLISECOND: Duration = Duration::from_millis(1);

/// Takes that long for each request.
fn slow(
    time: Duration,
) -> impl Service<Request<()>, Response = Response<()>, Error = Infallible, Future: Send + 'static>
+ Clone
+ Send
+ 'static {
    service_fn(move |_| async move {
        sleep(time).await;
        Ok(Response::new(()))
    })
}

#[tokio::test(start_paused = true)]
async fn a_fallback_answers_for_a_server_that_hangs() {
    let fallback = FallbackLayer::new(
        |_: &Request<()>| (),
        |(), result: &Result<Response<()>, BoxError>| result.is_err().then(|| Response::new(())),
    );
    let service = fallback.layer(DeadlineLayer::new(MILLISECOND).layer(slow(PATIENCE)));
    service.oneshot(Request::new(())).await.unwrap();
    assert_eq!(fallback.stats().answers, 1);
}

const PATIENCE: Duration = Duration::from_secs(60);

/// That many requests at once.
fn at_most(count: u32) -> LimitPolicy {
    LimitPolicy::default().initial(count).min(count).max(count)
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_comes_in_a_queue_opens_no_breaker() {
    let breaker = BreakerLayer::new("slow", BreakerPolicy::default().failures(2));
    let limit = LimitLayer::new(at_most(1), QueuePolicy::default());
    let service = DeadlineLayer::new(PATIENCE).layer(breaker.layer(limit.layer(slow(PATIENCE / 2))));
    let mut held = JoinSet::new();
    held.spawn(service.clone().oneshot(Request::new(())));
    sleep(MILLISECOND).await;
    for _ in 0..5 {
        let mut request = Request::new(());
        request.extensions_mut().insert(Deadline::at((Instant::now() + MILLISECOND).into_std()));
        let error = service.clone().oneshot(request).await.unwrap_err();
        assert_eq!(Refusal::of(&*error), Some(Refusal::DeadlineOver));
    }
    assert_eq!(breaker.state(), BreakerState::Closed);
    held.join_next().await.unwrap().unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_overload_with_deadlines_leaves_the_server_as_busy_as_it_can_be() {
    let breaker = BreakerLayer::new("slow", BreakerPolicy::default());
    let limit = LimitLayer::new(at_most(4), QueuePolicy::default().shed(Shed::Oldest));
    let deadline = DeadlineLayer::new(200 * MILLISECOND);
    let service = deadline.layer(breaker.layer(limit.layer(slow(50 * MILLISECOND))));
    let mut requests = JoinSet::new();
    // 200 per second, of which the server takes 80.
    for _ in 0..1000 {
        sleep(5 * MILLISECOND).await;
        requests.spawn(service.clone().oneshot(Request::new(())));
    }
    let answers = requests.join_all().await.into_iter().filter(Result::is_ok).count();
    assert!(answers > 350, "{answers}");
    assert_eq!(breaker.stats().opened_by_failures + breaker.stats().opened_by_error_rate, 0);
}

/// A region that says its name, or fails while it is down, and has a breaker.
fn guarded(
    name: &'static str,
    is_down: &Arc<AtomicBool>,
) -> impl Service<u8, Response = Response<&'static str>, Error = BoxError, Future: Send> + Clone + Send + 'static
{
    let is_down = Arc::clone(is_down);
    BreakerLayer::new(name, BreakerPolicy::default()).layer(service_fn(move |_: u8| {
        let status = if is_down.load(Ordering::Relaxed) { 500 } else { 200 };
        async move {
            sleep(20 * MILLISECOND).await;
            Ok::<_, Infallible>(Response::builder().status(status).body(name).unwrap())
        }
    }))
}

#[tokio::test(start_paused = true)]
async fn a_region_serves_as_soon_as_its_breaker_closes() {
    let is_down = Arc::new(AtomicBool::new(true));
    let regions = [("north", guarded("north", &is_down)), ("south", guarded("south", &Arc::default()))];
    let service = RegionService::new(RegionPolicy::default(), regions).stay(|_: &u8| Some("north"));
    let (lost, of_north) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut requests = JoinSet::new();
    // 100 per second.
    for number in 0..6_300 {
        sleep(10 * MILLISECOND).await;
        is_down.store(number < 200, Ordering::Relaxed);
        let (service, lost, of_north) = (service.clone(), Arc::clone(&lost), Arc::clone(&of_north));
        requests.spawn(async move {
            let response = service.oneshot(0).await.unwrap();
            lost.fetch_add(usize::from(!response.status().is_success()), Ordering::Relaxed);
            of_north
                .fetch_add(usize::from(number >= 6_100 && *response.body() == "north"), Ordering::Relaxed);
        });
    }
    requests.join_all().await;
    let state = service.state();
    assert_eq!(state[0].ejections, 1, "{state:?}");
    assert!(!state[0].is_ejected, "{state:?}");
    assert!(lost.load(Ordering::Relaxed) < 10, "{lost:?}");
    assert_eq!(of_north.load(Ordering::Relaxed), 200);
}

#[tokio::test(start_paused = true)]
async fn a_region_that_refuses_is_left_and_costs_no_request() {
    let north = LimitLayer::new(at_most(1), QueuePolicy::default().max_waiting(0)).layer(slow(PATIENCE));
    let south = LimitLayer::new(at_most(10), QueuePolicy::default()).layer(slow(PATIENCE / 60_000));
    let regions = [("north", north.boxed_clone()), ("south", south.boxed_clone())];
    let service = RegionService::new(RegionPolicy::default(), regions);
    let mut held = JoinSet::new();
    for _ in 0..2 {
        held.spawn(service.clone().oneshot(Request::new(())));
    }
    for _ in 0..1000 {
        sleep(10 * MILLISECOND).await;
        service.clone().oneshot(Request::new(())).await.unwrap();
    }
    let state = service.state();
    assert!(state[1].is_current, "{state:?}");
    assert!(!state[0].is_ejected, "{state:?}");
    assert!(state[1].fallback > 0, "{state:?}");
}
