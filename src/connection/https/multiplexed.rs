//! An HTTP/2 connection and its driver: a task that lives as long as the connection.

use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};

use super::config::{Http2Windows, HttpsConfig};
use super::error::HttpsError;
use super::request_body::RequestBody;
use super::wire::Wire;

/// Sends requests to the driver. It is closed when the driver has ended, or takes no more requests after a GOAWAY.
pub(super) type Sender = SendRequest<RequestBody>;

/// hyper with these settings.
pub(super) fn builder<E: Clone>(executor: E, config: &HttpsConfig) -> Builder<E> {
    let mut builder = Builder::new(executor);
    // hyper panics without one if it is to ping.
    builder.timer(TokioTimer::new()).max_header_list_size(config.max_header_bytes);
    match config.windows {
        Http2Windows::Fixed { stream, connection } => {
            builder.initial_stream_window_size(stream).initial_connection_window_size(connection);
        }
        Http2Windows::Adaptive => {
            builder.adaptive_window(true);
        }
    }
    if let Some(ping) = config.ping {
        builder
            .keep_alive_interval(ping.interval)
            .keep_alive_timeout(ping.timeout)
            .keep_alive_while_idle(ping.while_idle);
    }
    builder
}

pub(super) async fn begin(wire: Wire, config: &HttpsConfig) -> Result<Sender, HttpsError> {
    let builder = builder(TokioExecutor::new(), config);
    let (sender, connection) = builder.handshake(TokioIo::new(wire)).await.map_err(HttpsError::of_request)?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            // Requests under way have failed with it, too.
            tracing::debug!(%error, "an HTTP/2 connection has ended");
        }
    });
    Ok(sender)
}
