//! How a request ended, as far as policies care.

/// How a request, or a connect, ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The server did what it was asked.
    Success,
    /// It refused, failed, or was not reached.
    Failure,
    /// It did not answer in time. It counts as a failure.
    Timeout,
    /// Nobody waited for the end, or the request was at fault: it says nothing about the server.
    Cancelled,
    /// A limit or a breaker of this side kept it back, so the server does not know of it. It makes a region
    /// [worse](super::Regions), and says nothing to the other policies.
    Refused,
}

impl Outcome {
    /// Whether it counts against the server.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(millpond::policy::Outcome::Timeout.is_failure());
    /// ```
    #[must_use]
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Failure | Self::Timeout)
    }

    /// Whether it says how the server is.
    pub(super) fn is_of_the_server(self) -> bool {
        !matches!(self, Self::Cancelled | Self::Refused)
    }
}
