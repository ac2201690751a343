//! What a service manager is told, by systemd's protocol: readiness, reloads, the stop, a status, and that the proxy lives. The
//! crate `sd-notify` speaks it. Without a manager, or if it does not listen, nothing happens.

use std::env;
use std::future;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{Instant, sleep_until};

/// How often the status is renewed.
const STATUS_INTERVAL: Duration = Duration::from_secs(5);

pub(crate) fn ready() {
    tell(&[NotifyState::Ready]);
}

pub(crate) fn reloading() {
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        tell(&[NotifyState::Reloading, now]);
    }
}

pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Another process is the service from now on.
pub(crate) fn replaced_by(process: u32) {
    tell(&[NotifyState::MainPid(process)]);
}

pub(crate) fn status(open: u64) {
    tell(&[NotifyState::Watchdog, NotifyState::Status(&format!("{open} open connections"))]);
}

/// How often [`status`] is due: twice per interval of the watchdog. 0 without a manager.
pub(crate) fn status_interval() -> Duration {
    if env::var_os("NOTIFY_SOCKET").is_none() {
        return Duration::ZERO;
    }
    sd_notify::watchdog_enabled().map_or(STATUS_INTERVAL, |every| (every / 2).min(STATUS_INTERVAL))
}

fn tell(state: &[NotifyState<'_>]) {
    // It fails if the manager does not listen, and then nobody can be told.
    let _ = sd_notify::notify(state);
}

/// Regular ticks.
pub(crate) struct Ticks {
    every: Duration,
    next: Instant,
}

impl Ticks {
    /// None, if `every` is 0.
    pub(crate) fn new(every: Duration) -> Self {
        Self { every, next: Instant::now() + every }
    }

    pub(crate) async fn next(&mut self) {
        if self.every.is_zero() {
            return future::pending().await;
        }
        sleep_until(self.next).await;
        self.next = Instant::now() + self.every;
    }
}
