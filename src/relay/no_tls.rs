//! What `tls` has, without the feature: plain streams.

use super::accepted::Accepted;
use super::backend::Backend;
use super::backend_config::BackendConfig;
use super::error::Cause;
use super::server::Member;
use crate::net::Stream;

/// None needs a box.
pub(super) type BoxedStream = Stream;

/// One side of a connection.
pub(super) struct Wire(Stream);

impl Wire {
    pub(super) fn socket(&self) -> &Stream {
        &self.0
    }

    pub(super) fn socket_mut(&mut self) -> &mut Stream {
        &mut self.0
    }

    pub(super) fn server_name(&self) -> Option<&str> {
        None
    }

    /// Both, always as they are.
    pub(super) fn sockets(
        client: Self,
        upstream: Self,
    ) -> Result<(Stream, Stream), (BoxedStream, BoxedStream)> {
        Ok((client.0, upstream.0))
    }
}

impl Accepted {
    pub(super) async fn meet(&self, client: Stream) -> Result<Option<(Wire, Backend)>, Cause> {
        Ok(Some((Wire(client), self.backend.clone())))
    }

    pub(super) async fn secure(
        &self,
        upstream: Stream,
        _: &BackendConfig,
        _: &Member,
        _: &Wire,
    ) -> Result<Wire, Cause> {
        Ok(Wire(upstream))
    }
}
