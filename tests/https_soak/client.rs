//! A client of the pools, which does whatever a program may do with a request.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use millpond::connection::https::{HttpsConnection, HttpsError, HttpsErrorKind, RequestBody};
use tokio::time::{sleep, timeout};

use crate::dice::Dice;
use crate::upstream::{LARGE, PATIENCE};
use crate::{Exclusive, LIFETIME, Run, add, https};

/// Longer than half of all requests take, and shorter than many.
const CANCELLED_WITHIN: u64 = 30;
/// Who is silent for so long answers no more.
const ANSWER: Duration = LIFETIME;

pub(crate) async fn life(run: &Run, dice: &mut Dice) {
    match dice.below(1000) {
        0..2 => run.http1.pool.resize((1 + dice.below(crate::MAX.into())) as u32),
        2..6 => run.http1.pool.retain(|_| dice.below(2) == 0),
        // Dropped wherever it happens to be: in the queue, in a request, in a response.
        6..300 => _ = timeout(dice.millis(CANCELLED_WITHIN), ask(run, dice)).await,
        _ => timeout(PATIENCE, ask(run, dice)).await.expect("a request never ends"),
    }
}

async fn ask(run: &Run, dice: &mut Dice) {
    match dice.below(4) {
        0 => ask_exclusively(run, &run.http1, true, dice).await,
        1 => ask_exclusively(run, &run.http2, false, dice).await,
        2 => {
            let question = Question::new(run, dice);
            let answer = async {
                let response = run.upstreams.send(question.request(&run.url)).await?;
                question.check(response, dice).await
            };
            count(run, timeout(ANSWER, answer).await);
        }
        _ => {
            let question = Question::new(run, dice);
            let answer = async {
                let response = run.shared.send(question.request("")).await?;
                question.check(response, dice).await
            };
            count(run, timeout(ANSWER, answer).await);
        }
    }
}

async fn ask_exclusively(run: &Run, exclusive: &Exclusive, is_http1: bool, dice: &mut Dice) {
    let got = timeout(PATIENCE, exclusive.pool.get_owned()).await.expect("a get never ends");
    let Ok(mut pooled) = got else { return refused(run).await };
    exclusive.graveyard.meet(pooled.number);
    for _ in 0..=dice.below(4) {
        let question = Question::new(run, dice);
        // Over HTTP/1.1, a request that did not come to its end is the last one.
        let mut burial = Burial { exclusive, number: is_http1.then_some(pooled.number) };
        let answer = async {
            let response = HttpsConnection::send(https(&mut pooled), question.request("")).await?;
            question.check(response, dice).await
        };
        let answer = timeout(ANSWER, answer).await;
        match &answer {
            Ok(Ok(true)) => burial.number = None,
            Ok(Err(error)) if is_end(error) => burial.number = Some(pooled.number),
            _ => {}
        }
        let is_over = burial.number.is_some() || answer.is_err();
        count(run, answer);
        if is_over {
            break;
        }
    }
    match dice.below(50) {
        // Of a task that was given the connection, and panics with it. No hook prints this one.
        0 => {
            let panics = tokio::spawn(async move {
                let _pooled = pooled;
                std::panic::resume_unwind(Box::new("on purpose"));
            });
            assert!(panics.await.unwrap_err().is_panic());
        }
        // On a thread without a runtime.
        1 => std::thread::spawn(move || drop(pooled)).join().unwrap(),
        _ => drop(pooled),
    }
}

/// Whether no request can follow on this connection, whatever its protocol: not only a stream has ended.
fn is_end(error: &HttpsError) -> bool {
    !matches!(error.kind(), HttpsErrorKind::Reset(_) | HttpsErrorKind::Incomplete)
}

/// Buries the connection, if it has a number, before it returns: also where the request is cancelled.
struct Burial<'a> {
    exclusive: &'a Exclusive,
    number: Option<u64>,
}

impl Drop for Burial<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.exclusive.graveyard.bury(number);
        }
    }
}

async fn refused(run: &Run) {
    add(&run.refused);
    // A full queue refuses at once, and nothing else here would wait.
    sleep(Duration::from_millis(5)).await;
}

fn count(run: &Run, answer: Result<Result<bool, HttpsError>, tokio::time::error::Elapsed>) {
    match answer {
        Ok(Ok(_)) => add(&run.answers),
        Err(_) => add(&run.late),
        Ok(Err(error)) => {
            // A network cannot make them.
            let is_ours = matches!(
                error.kind(),
                HttpsErrorKind::InvalidUri
                    | HttpsErrorKind::InvalidRequest
                    | HttpsErrorKind::InvalidResponse
                    | HttpsErrorKind::WrongVersion
                    | HttpsErrorKind::PoolClosed
                    | HttpsErrorKind::Other
            );
            assert!(!is_ours, "{error:?}");
            add(&run.failures);
        }
    }
}

/// A request, and how its answer is read.
pub(crate) struct Question {
    method: Method,
    path: String,
    /// Whether a body of the request streams.
    is_stream: bool,
    reading: Reading,
}

#[derive(PartialEq)]
enum Reading {
    Whole,
    Slow,
    /// Dropped before the end.
    Start,
}

impl Question {
    fn new(run: &Run, dice: &mut Dice) -> Self {
        add(&run.requests);
        let number = run.numbers.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let (method, path) = match dice.below(10) {
            0 => (Method::GET, "/large".to_owned()),
            1 => (Method::HEAD, format!("/echo/{number}")),
            2..5 => (Method::POST, format!("/post/{number}")),
            _ => (Method::GET, format!("/echo/{number}")),
        };
        let reading = match dice.below(10) {
            0 => Reading::Start,
            1 => Reading::Slow,
            _ => Reading::Whole,
        };
        Self { method, path, is_stream: dice.below(2) == 0, reading }
    }

    /// Of a large file.
    pub(crate) fn large() -> Self {
        Self { method: Method::GET, path: "/large".to_owned(), is_stream: false, reading: Reading::Whole }
    }

    pub(crate) fn request(&self, url: &str) -> Request<RequestBody> {
        let body = Bytes::from_static(&[b'g'; 1000]);
        let body = match (self.method == Method::POST, self.is_stream) {
            (false, _) => RequestBody::empty(),
            (_, false) => body.into(),
            (_, true) => RequestBody::stream(Full::new(body)),
        };
        let uri = format!("{url}{}", self.path);
        Request::builder().method(&self.method).uri(uri).body(body).unwrap()
    }

    /// Reads the response, which must be that of this request. Returns whether it was read to its end.
    pub(crate) async fn check<B>(&self, response: Response<B>, dice: &mut Dice) -> Result<bool, HttpsError>
    where
        B: Body<Data = Bytes, Error = HttpsError> + Unpin,
    {
        assert_eq!(response.status(), 200);
        let mut body = response.into_body();
        let mut read = Vec::new();
        while let Some(frame) = body.frame().await {
            read.extend_from_slice(&frame?.into_data().unwrap_or_default());
            match self.reading {
                Reading::Whole => {}
                Reading::Slow if body.is_end_stream() => {}
                Reading::Slow => sleep(dice.millis(5)).await,
                Reading::Start => return Ok(body.is_end_stream()),
            }
        }
        match (&self.method, &*self.path) {
            (&Method::HEAD, _) => assert_eq!(read.len(), 0),
            (_, "/large") => assert_eq!(read.len(), LARGE),
            _ => assert_eq!(read, self.path.as_bytes(), "an answer to someone else's question"),
        }
        Ok(true)
    }
}
