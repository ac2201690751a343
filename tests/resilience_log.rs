//! The log of regions: that one is ejected and why, that it is tried again, and that another one serves.
//!
//! It is alone in its process: tracing caches per call site whether anyone listens.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Response;
use millpond::policy::RegionPolicy;
use millpond::resilience::RegionService;
use tower::{Service, ServiceExt, service_fn};

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

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0.lock().unwrap()))
    }
}

impl Log {
    fn has(&self, parts: &[&str]) -> bool {
        let log = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        log.lines().any(|line| parts.iter().all(|part| line.contains(part)))
    }
}

/// A region whose answers have this status.
fn region(
    status: u16,
) -> impl Service<(), Response = Response<()>, Error = Infallible, Future: Send> + Clone + Send + 'static {
    service_fn(move |()| async move { Ok(Response::builder().status(status).body(()).unwrap()) })
}

#[tokio::test(start_paused = true)]
async fn the_log_says_which_region_is_ejected_and_why_and_that_it_is_back() {
    let log = Log::default();
    let lines = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || lines.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let policy = RegionPolicy::default().eject_for(Duration::from_secs(30));
    let regions = [("north", region(500).boxed_clone()), ("south", region(200).boxed_clone())];
    let service = RegionService::new(policy, regions);
    let ask = async || service.clone().oneshot(()).await.unwrap();
    while !service.state()[0].is_ejected {
        ask().await;
    }
    assert!(log.has(&["WARN", "ejected", "north", "30s", "failures_in_a_row"]), "{log:?}");
    assert!(!log.has(&["no longer ejected"]), "{log:?}");
    tokio::time::advance(Duration::from_secs(31)).await;
    ask().await;
    assert!(log.has(&["INFO", "no longer ejected", "north"]), "{log:?}");
    assert!(!log.has(&["another region serves"]), "{log:?}");
    // The first failure ejects it again. Until then it gets a tenth of the requests.
    while !service.state()[0].is_ejected {
        ask().await;
    }
    ask().await;
    assert!(log.has(&["INFO", "another region serves", r#"from="north" to="south""#]), "{log:?}");
}
