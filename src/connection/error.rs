//! Why a pool gave no connection.

use std::error::Error;
use std::fmt;
use std::ops::Deref;
use std::time::Duration;

use crate::sync::{Arc, Mutex};

/// Why [`Pool::get`](super::Pool::get) gave no connection.
///
/// Two timeouts are equal, whatever caused them, so that a test which compares with [`TimedOut`](Self::TimedOut) sees both.
#[derive(Clone)]
#[non_exhaustive]
pub enum RunError<E> {
    /// An error of the caller's own, by `?`. The pool returns none: errors of the manager are in
    /// [`ConnectFailing`](Self::ConnectFailing) and in the error sink.
    User(E),
    /// All connections were in use for the whole [`connection_timeout`](super::Builder::connection_timeout).
    TimedOut,
    /// Connecting fails, and either the timeout is over, or [`retry_connection`](super::Builder::retry_connection) is off.
    /// Or no connection is open, and no connect has ended within the timeout. Or connections were closed because they
    /// failed their test.
    ConnectFailing(ConnectFailing<E>),
    /// As many wait as [`max_waiting`](super::Builder::max_waiting) allows.
    PoolFull,
    /// The [breaker](super::Builder::breaker) is open, and no connection is.
    BreakerOpen {
        /// The time after which connects begin again.
        retry_in: Duration,
    },
    /// The pool was closed.
    Closed,
}

/// There is no connection, because the pool could not connect, or because its connections fail their test.
#[derive(Clone)]
pub struct ConnectFailing<E> {
    pub(super) after: Duration,
    pub(super) last: Failure<E>,
}

/// Why a connect failed, or a test.
pub(super) struct Failure<E> {
    /// Whether it was a test.
    pub(super) is_of_test: bool,
    pub(super) text: Arc<str>,
    /// Several may look at it, and an error of a manager need not be `Sync`.
    pub(super) error: Option<Arc<Mutex<E>>>,
}

impl<E> ConnectFailing<E> {
    /// How long the get waited.
    #[must_use]
    pub fn after(&self) -> Duration {
        self.after
    }

    /// The last error of the manager, as its `Debug` writes it.
    #[must_use]
    pub fn last_error(&self) -> &str {
        &self.last.text
    }

    /// The last error itself. `None` if an [error sink](super::Builder::error_sink) has it, as always that of a test, or if
    /// there was none: the connect did not end in time, or the manager panicked. It is behind a lock, which all gets
    /// share that failed by the same connect: do not hold two of them at once.
    #[must_use]
    pub fn error(&self) -> Option<impl Deref<Target = E> + '_> {
        self.last.error.as_ref().map(|error| error.lock())
    }
}

impl<E> fmt::Debug for ConnectFailing<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { after, last } = self;
        f.debug_struct("ConnectFailing").field("after", after).field("last_error", &last.text).finish()
    }
}

/// The message of an error and of its sources, in one line.
#[cfg(feature = "https")]
pub(super) fn write_with_sources(error: &dyn Error, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "{error}")?;
    let mut next = error.source();
    while let Some(source) = next {
        write!(f, ": {source}")?;
        next = source.source();
    }
    Ok(())
}

impl<E> Failure<E> {
    /// One without an error of the manager.
    pub(super) fn without_error(text: &str) -> Self {
        Self { is_of_test: false, text: Arc::from(text), error: None }
    }
}

impl<E> Clone for Failure<E> {
    fn clone(&self) -> Self {
        Self { is_of_test: self.is_of_test, text: Arc::clone(&self.text), error: self.error.clone() }
    }
}

impl<E> RunError<E> {
    /// Whether there was no connection in time.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::TimedOut | Self::ConnectFailing(_))
    }
}

impl<E: PartialEq> PartialEq for RunError<E> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::User(error), Self::User(other)) => error == other,
            (Self::PoolFull, Self::PoolFull) | (Self::Closed, Self::Closed) => true,
            (Self::BreakerOpen { retry_in }, Self::BreakerOpen { retry_in: other }) => retry_in == other,
            _ => self.is_timeout() && other.is_timeout(),
        }
    }
}

impl<E: Eq> Eq for RunError<E> {}

impl<E> RunError<E> {
    /// The message, with the caller's own error written by this function.
    fn write(
        &self,
        f: &mut fmt::Formatter<'_>,
        write_user: impl Fn(&E, &mut fmt::Formatter<'_>) -> fmt::Result,
    ) -> fmt::Result {
        match self {
            Self::User(error) => write_user(error, f),
            Self::TimedOut => f.write_str(
                "no connection became free within connection_timeout; raise it or max_size, or look at Pool::holders",
            ),
            Self::ConnectFailing(failing) => {
                let Failure { is_of_test, text, .. } = &failing.last;
                let what = if *is_of_test { "connections fail their test" } else { "could not connect" };
                write!(f, "no connection after {:.1?}: {what}: {text}", failing.after)
            }
            Self::PoolFull => f.write_str("too many callers wait already; raise max_waiting or max_size"),
            Self::BreakerOpen { retry_in } => {
                write!(f, "no connection is open, and none is opened for another {retry_in:.1?}: connects fail")
            }
            Self::Closed => f.write_str("the pool is closed"),
        }
    }
}

impl<E: Error + 'static> fmt::Display for RunError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, fmt::Display::fmt)
    }
}

/// The message, as a `main` that returns the error shows it.
impl<E: fmt::Debug> fmt::Debug for RunError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, fmt::Debug::fmt)
    }
}

impl<E: Error + 'static> Error for RunError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::User(error) => Some(error),
            _ => None,
        }
    }
}

impl<E: Error> From<E> for RunError<E> {
    fn from(error: E) -> Self {
        Self::User(error)
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn its_debug_output_is_its_message() {
        let failing =
            ConnectFailing { after: Duration::from_secs(3), last: Failure::without_error("no grist") };
        for error in [
            RunError::<io::Error>::TimedOut,
            RunError::ConnectFailing(failing),
            RunError::PoolFull,
            RunError::BreakerOpen { retry_in: Duration::from_secs(1) },
            RunError::Closed,
        ] {
            assert_eq!(format!("{error:?}"), error.to_string());
        }
    }

    #[test]
    fn the_callers_own_error_is_shown_as_it_shows_itself() {
        assert_eq!(format!("{:?}", RunError::User("grist")), "\"grist\"");
    }
}
