//! The signals that the proxy heeds. As the first process of a container it has no others to fear: there the kernel ignores
//! each signal without a handler, and the proxy starts no process there.

use std::fs;
use std::future::poll_fn;
use std::io;
use std::task::Poll;

use tokio::signal::unix::{self, SignalKind, signal};

/// SIGINT, SIGTERM, SIGUSR2, and SIGHUP, unless it was ignored at the start, as by `nohup`.
pub(crate) struct Signals {
    stop: [unix::Signal; 2],
    hangup: Option<unix::Signal>,
    replace: unix::Signal,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    Stop,
    Hangup,
    /// A new process shall take over.
    Replace,
}

impl Signals {
    pub(crate) fn new() -> io::Result<Self> {
        let stop = [signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?];
        let hangup = if ignores_hangup() { None } else { Some(signal(SignalKind::hangup())?) };
        Ok(Self { stop, hangup, replace: signal(SignalKind::user_defined2())? })
    }

    /// Waits for one that stops a proxy that does not listen yet.
    pub(crate) async fn stop(&mut self) {
        while self.next().await == Signal::Replace {}
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) -> Signal {
        poll_fn(|cx| {
            if self.stop.iter_mut().any(|signal| signal.poll_recv(cx).is_ready()) {
                return Poll::Ready(Signal::Stop);
            }
            if self.replace.poll_recv(cx).is_ready() {
                return Poll::Ready(Signal::Replace);
            }
            match self.hangup.as_mut().map(|signal| signal.poll_recv(cx)) {
                Some(Poll::Ready(_)) => Poll::Ready(Signal::Hangup),
                _ => Poll::Pending,
            }
        })
        .await
    }
}

/// Only Linux tells; elsewhere SIGHUP is always heeded.
fn ignores_hangup() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & (1 << (SignalKind::hangup().as_raw_value() - 1)) != 0)
}
