//! Asks an admin endpoint.

use std::error::Error;
use std::time::{Duration, Instant};

use http::header::HOST;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use millpond::net::{Endpoint, Stream};
use serde_json::Value;
use tokio::time::timeout;

use super::Sort;
use super::look::Look;
use crate::chain::Chain;

/// For each step: to connect, and for each answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// More than 50 000 samples take. Parsed, an answer may take thirty times as much.
const MAX_ANSWER: usize = 8 << 20;

/// Characters of what `/readyz` says.
const MAX_REASON: usize = 200;

#[derive(Clone)]
pub(super) struct Client {
    endpoint: Endpoint,
}

type Requests = SendRequest<Empty<Bytes>>;

impl Client {
    pub(super) fn new(endpoint: Endpoint) -> Self {
        Self { endpoint }
    }

    /// All that is shown, over a connection of its own: one that is kept would take a place from others. Whether the program
    /// is ready is only asked if `asks_ready`.
    pub(super) async fn look(&self, sort: Sort, top: u32, asks_ready: bool) -> Result<Look, String> {
        let connected = Stream::connect(self.endpoint.clone(), TIMEOUT).await;
        let stream =
            connected.map_err(|error| format!("{}; `millpond proxy --admin` serves one", Chain(&error)))?;
        let failed = |error: &dyn Error| self.stranger(&Chain(error).to_string());
        let (mut requests, connection) =
            handshake(TokioIo::new(stream)).await.map_err(|error| failed(&error))?;
        // It ends with `requests`.
        tokio::spawn(connection);
        let stats = self.json(&mut requests, "/stats").await?;
        let at = Instant::now();
        let connections = format!("/connections?by={}&top={top}", sort.by());
        let connections = self.report(&mut requests, &connections).await?;
        let holders = self.report(&mut requests, &format!("/holders?top={top}")).await?;
        let ready = if asks_ready { Some(self.ready(&mut requests).await?) } else { None };
        Ok(Look { ready, ..Look::new(at, sort, &stats, &connections, &holders) })
    }

    /// What `/readyz` says.
    async fn ready(&self, requests: &mut Requests) -> Result<String, String> {
        match self.ask(requests, "/readyz").await? {
            (StatusCode::OK | StatusCode::SERVICE_UNAVAILABLE, body) => {
                let text: String = String::from_utf8_lossy(&body).trim().chars().take(MAX_REASON).collect();
                Ok(text.replace(char::is_control, " "))
            }
            (status, _) => Err(self.stranger(&format!("/readyz has the status {status}"))),
        }
    }

    async fn report(&self, requests: &mut Requests, path: &str) -> Result<Value, String> {
        let report = self.json(requests, path).await?;
        if report["rows"].is_array() {
            Ok(report)
        } else {
            Err(self.stranger(&format!("{path} is no report")))
        }
    }

    async fn json(&self, requests: &mut Requests, path: &str) -> Result<Value, String> {
        match self.ask(requests, path).await? {
            (StatusCode::OK, body) => serde_json::from_slice(&body)
                .map_err(|error| self.stranger(&format!("{path} is no JSON: {error}"))),
            (status, _) => Err(self.stranger(&format!("{path} has the status {status}"))),
        }
    }

    async fn ask(&self, requests: &mut Requests, path: &str) -> Result<(StatusCode, Bytes), String> {
        let asked = timeout(TIMEOUT, async {
            requests.ready().await?;
            let mut request = Request::new(Empty::new());
            *request.uri_mut() = path.parse()?;
            request.headers_mut().insert(HOST, "localhost".parse()?);
            let response = requests.send_request(request).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await?.to_bytes();
            Ok::<_, Box<dyn Error + Send + Sync>>((status, body))
        });
        match asked.await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(self.stranger(&format!("{path}: {}", Chain(&*error)))),
            Err(_) => Err(self.stranger(&format!("{path} is not answered within {TIMEOUT:?}"))),
        }
    }

    fn stranger(&self, why: &str) -> String {
        format!("{} does not answer as an admin endpoint of millpond: {why}", self.endpoint)
    }
}
