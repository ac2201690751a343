//! PROXY headers: read from the proxies that are trusted, and sent to the server.

use std::io;

use tokio::io::AsyncWriteExt;

use super::accepted::Accepted;
use super::error::{Cause, Side};
use super::tls::Wire;
use crate::net::{Peer, ProxyHeader, ProxyVersion, Stream};

impl Accepted {
    /// Reads the header of a trusted proxy. [`Local`](ProxyHeader::Local) without one. `None` if the peer has left without a byte.
    pub(super) async fn read_header(&self, client: &mut Stream) -> Result<Option<ProxyHeader>, Cause> {
        let connection = &self.connection;
        if !self.config.accept_proxy.contains(&connection.peer) {
            return Ok(Some(ProxyHeader::Local));
        }
        let read = client.read_proxy_header(self.config.proxy_header_timeout).await;
        match read {
            Ok(ProxyHeader::Tcp { source, .. }) => connection.set_client(Peer::Tcp(source)),
            Ok(ProxyHeader::Unix) => connection.set_client(Peer::Unix { pid: None }),
            _ => {}
        }
        self.trace_client();
        match read {
            Ok(header) => Ok(Some(header)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(source) => Err(match source.get_ref().and_then(|error| error.downcast_ref()) {
                Some(error) => Cause::ProxyHeader(*error),
                None => Cause::Read { side: Side::Client, source },
            }),
        }
    }

    /// Tells the server who the client is: whom the header names, or else the client itself. The server name is told where TLS
    /// ends here, as the server does not see it.
    pub(super) async fn send_header(
        &self,
        header: ProxyHeader,
        client: &Wire,
        upstream: &mut Stream,
        version: ProxyVersion,
    ) -> Result<(), Cause> {
        let header = match header {
            ProxyHeader::Local => {
                ProxyHeader::between(self.connection.peer.address(), client.socket().local_address())
            }
            named => named,
        };
        // The socket is new and takes all of it at once.
        let sent = upstream.write_all(&header.encode(version, client.server_name())).await;
        sent.map_err(|source| Cause::Write { side: Side::Upstream, source })
    }
}
