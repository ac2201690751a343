//! The log of breakers: which one it is, why it opens and for how long, and one warning per outage.

mod upstream;

use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Request, Response};
use millpond::connection::https::{RequestBody, Upstreams, UpstreamsConfig};
use millpond::policy::{BreakerPolicy, BreakerState};
use millpond::resilience::BreakerLayer;
use tower::{Layer, ServiceExt, service_fn};
use tracing::subscriber::DefaultGuard;

/// Keeps the lines of the log.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn start() -> (Self, DefaultGuard) {
        let log = Self::default();
        let lines = log.clone();
        let subscriber =
            tracing_subscriber::fmt().with_ansi(false).with_writer(move || lines.clone()).finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    fn lines_with(&self, part: &str) -> Vec<String> {
        let log = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        log.lines().filter(|line| line.contains(part)).map(str::to_owned).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_one_warning_with_its_reason_and_its_time() {
    let (log, _guard) = Log::start();
    let policy = BreakerPolicy::default().failures(1).open_for(Duration::from_secs(7));
    let layer = BreakerLayer::new("north", policy);
    let failing =
        service_fn(|()| async { Ok::<_, Infallible>(Response::builder().status(500).body(()).unwrap()) });
    for _ in 0..3 {
        layer.layer(failing).oneshot(()).await.unwrap();
        assert_eq!(layer.state(), BreakerState::Open);
        tokio::time::advance(Duration::from_secs(7)).await;
    }
    let warnings = log.lines_with("WARN");
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    let expected = r#"breaker="north" from="closed" to="open" reason="failures_in_a_row" retry_in=7s"#;
    assert!(warnings[0].contains(expected), "{warnings:?}");
    let probes = log.lines_with(r#"reason="probe_failed" retry_in=7s"#);
    assert_eq!(probes.len(), 2, "{probes:?}");
}

#[tokio::test]
async fn the_breaker_of_a_server_has_the_name_of_its_upstreams() {
    let (log, _guard) = Log::start();
    let breaker = BreakerPolicy::default().failures(1);
    let upstreams = Upstreams::new(UpstreamsConfig::default().name("north").breaker(breaker)).unwrap();
    let server = format!("http://127.0.0.1:{}", upstream::free_port());
    let request = Request::get(&server).body(RequestBody::empty()).unwrap();
    upstreams.send(request).await.unwrap_err();
    let warnings = log.lines_with("the breaker is open");
    assert!(warnings[0].contains(&format!(r#"breaker="north {server}""#)), "{warnings:?}");
}
