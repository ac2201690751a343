//! Requests that failed, by kind.

use std::fmt;
use std::iter;
use std::ops::Add;

use super::error::HttpsErrorKind;
use crate::sync::statistic::{AtomicUsize, Ordering};

/// Requests that failed on a connection, and bodies of responses that did, by kind.
///
/// A health check by `HEAD` that fails on its connection counts, too. One by ping does not, nor do
/// [`Unhealthy`](HttpsErrorKind::Unhealthy), [`HealthTimeout`](HttpsErrorKind::HealthTimeout) and requests that were cancelled.
///
/// Each attempt counts, also one after which the request was sent again. A request for which there was no connection is not
/// counted here: [`ConnectStats`](super::ConnectStats) has the connects that failed, and
/// [`Statistics`](crate::connection::Statistics) the requests that were refused or waited too long.
///
/// `{errors}` shows the sum, and the kinds that occurred.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestErrors {
    /// The connection was closed before the request was sent.
    pub closed: u64,
    /// It was closed before the whole response had arrived.
    pub incomplete: u64,
    /// HTTP/2: the server had announced the end of the connection, and did not process the request.
    pub go_away: u64,
    /// HTTP/2: the server reset the stream.
    pub reset: u64,
    /// HTTP/2: the server did not answer a ping.
    pub ping_timeout: u64,
    /// HTTP/2: the body was not read, and its stream was reset. It is counted at the reset, whether or not it is read again.
    pub reader_stalled: u64,
    /// What the server sent is not HTTP, or exceeds a limit.
    pub invalid_response: u64,
    /// The request is not valid, or its body failed.
    pub invalid_request: u64,
    /// TLS failed after the handshake.
    pub tls: u64,
    /// Reading or writing failed.
    pub io: u64,
    /// All others.
    pub other: u64,
}

impl RequestErrors {
    /// The sum of all kinds.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.by_name().iter().map(|(_, count)| count).sum()
    }

    pub(super) fn by_name(&self) -> [(&'static str, u64); KINDS] {
        [
            ("closed", self.closed),
            ("incomplete", self.incomplete),
            ("go_away", self.go_away),
            ("reset", self.reset),
            ("ping_timeout", self.ping_timeout),
            ("reader_stalled", self.reader_stalled),
            ("invalid_response", self.invalid_response),
            ("invalid_request", self.invalid_request),
            ("tls", self.tls),
            ("io", self.io),
            ("other", self.other),
        ]
    }
}

impl Add for RequestErrors {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            closed: self.closed + other.closed,
            incomplete: self.incomplete + other.incomplete,
            go_away: self.go_away + other.go_away,
            reset: self.reset + other.reset,
            ping_timeout: self.ping_timeout + other.ping_timeout,
            reader_stalled: self.reader_stalled + other.reader_stalled,
            invalid_response: self.invalid_response + other.invalid_response,
            invalid_request: self.invalid_request + other.invalid_request,
            tls: self.tls + other.tls,
            io: self.io + other.io,
            other: self.other + other.other,
        }
    }
}

impl fmt::Display for RequestErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let occurred = self.by_name().into_iter().filter(|&(_, count)| count > 0);
        let mut all = iter::once(("total", self.total())).chain(occurred);
        all.try_for_each(|(name, count)| {
            let space = if name == "total" { "" } else { " " };
            write!(f, "{space}{name}={count}")
        })
    }
}

/// A counter per kind.
#[derive(Default)]
pub(super) struct Failures([AtomicUsize; KINDS]);

const KINDS: usize = Kind::Other as usize + 1;

/// What is counted apart.
#[derive(Clone, Copy)]
enum Kind {
    Closed,
    Incomplete,
    GoAway,
    Reset,
    PingTimeout,
    ReaderStalled,
    InvalidResponse,
    InvalidRequest,
    Tls,
    Io,
    Other,
}

impl Kind {
    fn of(kind: &HttpsErrorKind) -> Self {
        match kind {
            HttpsErrorKind::Closed => Self::Closed,
            HttpsErrorKind::Incomplete => Self::Incomplete,
            HttpsErrorKind::GoAway(_) => Self::GoAway,
            HttpsErrorKind::Reset(_) => Self::Reset,
            HttpsErrorKind::PingTimeout => Self::PingTimeout,
            HttpsErrorKind::ReaderStalled { .. } => Self::ReaderStalled,
            HttpsErrorKind::InvalidResponse => Self::InvalidResponse,
            HttpsErrorKind::InvalidRequest | HttpsErrorKind::InvalidHead => Self::InvalidRequest,
            HttpsErrorKind::Tls(_) => Self::Tls,
            HttpsErrorKind::Io(_) => Self::Io,
            _ => Self::Other,
        }
    }
}

impl Failures {
    pub(super) fn count(&self, kind: &HttpsErrorKind) {
        if let Some(count) = self.0.get(Kind::of(kind) as usize) {
            // Ordering: Relaxed, a count.
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn snapshot(&self) -> RequestErrors {
        // Ordering: Relaxed, counts.
        let get =
            |kind: Kind| self.0.get(kind as usize).map_or(0, |count| count.load(Ordering::Relaxed) as u64);
        RequestErrors {
            closed: get(Kind::Closed),
            incomplete: get(Kind::Incomplete),
            go_away: get(Kind::GoAway),
            reset: get(Kind::Reset),
            ping_timeout: get(Kind::PingTimeout),
            reader_stalled: get(Kind::ReaderStalled),
            invalid_response: get(Kind::InvalidResponse),
            invalid_request: get(Kind::InvalidRequest),
            tls: get(Kind::Tls),
            io: get(Kind::Io),
            other: get(Kind::Other),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::time::Duration;

    use super::*;
    use crate::net::tls::TlsErrorKind;

    #[test]
    fn each_kind_has_its_own_count() {
        let after = Duration::from_secs(1);
        for (kind, expected) in [
            (HttpsErrorKind::Closed, "total=1 closed=1"),
            (HttpsErrorKind::Incomplete, "total=1 incomplete=1"),
            (HttpsErrorKind::GoAway(0), "total=1 go_away=1"),
            (HttpsErrorKind::Reset(8), "total=1 reset=1"),
            (HttpsErrorKind::PingTimeout, "total=1 ping_timeout=1"),
            (HttpsErrorKind::ReaderStalled { after }, "total=1 reader_stalled=1"),
            (HttpsErrorKind::InvalidResponse, "total=1 invalid_response=1"),
            (HttpsErrorKind::InvalidRequest, "total=1 invalid_request=1"),
            (HttpsErrorKind::InvalidHead, "total=1 invalid_request=1"),
            (HttpsErrorKind::Tls(TlsErrorKind::Protocol), "total=1 tls=1"),
            (HttpsErrorKind::Io(ErrorKind::ConnectionReset), "total=1 io=1"),
            (HttpsErrorKind::Other, "total=1 other=1"),
        ] {
            let failures = Failures::default();
            failures.count(&kind);
            assert_eq!(failures.snapshot().to_string(), expected);
        }
    }

    #[test]
    fn counts_of_two_pools_add_up() {
        let [one, other] = [Failures::default(), Failures::default()];
        one.count(&HttpsErrorKind::Closed);
        other.count(&HttpsErrorKind::Closed);
        other.count(&HttpsErrorKind::Other);
        assert_eq!((one.snapshot() + other.snapshot()).to_string(), "total=3 closed=2 other=1");
    }

    #[test]
    fn without_errors_the_sum_is_shown_alone() {
        assert_eq!(RequestErrors::default().to_string(), "total=0");
    }
}
