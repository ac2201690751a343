//! What the layers do with any service: outcomes as a closure judges them, bodies as they are, and what they say of themselves.

use std::convert::Infallible;
use std::num::NonZeroU32;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as _;
use http_body_util::{BodyExt, Full};
use millpond::connection::https::RequestBody;
use millpond::policy::{
    BreakerPolicy, BreakerState, BudgetPolicy, LimitPolicy, Outcome, QueuePolicy, RetryPolicy,
};
use millpond::resilience::{
    BreakerLayer, ByteLimitLayer, DeadlineLayer, FallbackLayer, LimitLayer, PerServerLayer, Quota,
    RateLimitLayer, RegionService, Retries,
};
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
