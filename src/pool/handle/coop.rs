//! The cooperative budget of tokio's tasks: an acquire that is always ready at once must not keep its task from yielding.

pub(super) use tokio::task::coop::poll_proceed;
