//! TLS towards clients and servers, and the backend of the name that a client wants.

use tokio::time::timeout;

use super::accepted::Accepted;
use super::backend::Backend;
use super::backend_config::BackendConfig;
use super::client_tls::{ClientTls, NameRoutes};
use super::config::RelayConfig;
use super::error::{Cause, Side};
use super::handshake::HandshakeFailure;
use super::server::Member;
use crate::net::tls::{
    ClientHello, ClientHelloError, TlsAcceptError, TlsAcceptErrorKind, TlsAcceptor, TlsConnector,
    TlsServerStream, TlsStream,
};
use crate::net::{AsyncStream, Endpoint, Stream};
use crate::sync::Arc;

/// How long a client's first message may take where TLS does not end here: as long as a handshake there.
const HELLO_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);

impl RelayConfig {
    /// Makes clients speak TLS, which ends in the relay. Without it, as by default, bytes pass as they are.
    #[must_use]
    pub fn tls(mut self, acceptor: TlsAcceptor) -> Self {
        self.tls.acceptor = Some(acceptor);
        self
    }

    /// Chooses the backend by the server name that a client wants, whether TLS ends in the relay or not.
    #[must_use]
    pub fn name_routes(mut self, routes: NameRoutes) -> Self {
        self.tls.routes = Some(Arc::new(routes));
        self
    }
}

impl BackendConfig {
    /// Speaks TLS to the servers. Their certificates are verified for the host of their endpoint, or for the
    /// [name](Self::tls_name). If TLS of the client ends in the relay, too, the server is offered by ALPN the protocol that was
    /// chosen with the client, and none if none was.
    #[must_use]
    pub fn tls(mut self, connector: TlsConnector) -> Self {
        self.tls.connector = Some(connector);
        self
    }

    /// The name that the servers' certificates must be for. Servers on Unix sockets need it.
    #[must_use]
    pub fn tls_name(mut self, name: &str) -> Self {
        self.tls.name = Some(name.into());
        self
    }
}

pub(super) type BoxedStream = Box<dyn AsyncStream + Send>;

/// One side of a connection: a socket, or TLS over it.
pub(super) enum Wire {
    Plain(Stream),
    Client(Box<TlsServerStream<Stream>>),
    Server(Box<TlsStream<Stream>>),
}

impl Wire {
    pub(super) fn socket(&self) -> &Stream {
        match self {
            Self::Plain(stream) => stream,
            Self::Client(stream) => stream.get_ref(),
            Self::Server(stream) => stream.get_ref(),
        }
    }

    pub(super) fn socket_mut(&mut self) -> &mut Stream {
        match self {
            Self::Plain(stream) => stream,
            Self::Client(stream) => stream.get_mut(),
            Self::Server(stream) => stream.get_mut(),
        }
    }

    /// The name that a client asked for whose TLS ends here.
    pub(super) fn server_name(&self) -> Option<&str> {
        match self {
            Self::Client(stream) => stream.server_name(),
            Self::Plain(_) | Self::Server(_) => None,
        }
    }

    /// Both as sockets if they are, so that plain connections cost no more than without TLS.
    pub(super) fn sockets(
        client: Self,
        upstream: Self,
    ) -> Result<(Stream, Stream), (BoxedStream, BoxedStream)> {
        match (client, upstream) {
            (Self::Plain(client), Self::Plain(upstream)) => Ok((client, upstream)),
            (client, upstream) => Err((client.boxed(), upstream.boxed())),
        }
    }

    fn boxed(self) -> BoxedStream {
        match self {
            Self::Plain(stream) => Box::new(stream),
            Self::Client(stream) => stream,
            Self::Server(stream) => stream,
        }
    }
}

impl Accepted {
    /// Reads which server the client wants, makes the handshake if TLS ends here, and finds the backend. `None` if the client
    /// has left without a byte.
    pub(super) async fn meet(&self, mut client: Stream) -> Result<Option<(Wire, Backend)>, Cause> {
        let ClientTls { acceptor, routes } = &self.config.tls;
        if acceptor.is_none() && routes.is_none() {
            return Ok(Some((Wire::Plain(client), self.backend.clone())));
        }
        let limit = acceptor.as_ref().map_or(HELLO_TIMEOUT, TlsAcceptor::handshake_timeout);
        let hello = match ClientHello::peek(&client, limit).await {
            Ok(hello) => Some(hello),
            Err(ClientHelloError::Left) => return Ok(None),
            // A client that does not speak TLS may have a backend.
            Err(ClientHelloError::NotTls) if acceptor.is_none() => None,
            Err(ClientHelloError::Io(source)) => {
                client.reset_on_close();
                return Err(Cause::Read { side: Side::Client, source });
            }
            Err(error) => return Err(Cause::ClientTls(of_hello(&error), Some(Box::new(error)))),
        };
        let Some(backend) = self.backend_for(hello.as_ref()) else {
            let failure = match hello {
                Some(_) => HandshakeFailure::UnknownName,
                None => HandshakeFailure::NotTls,
            };
            ClientHello::refuse_name(&mut client).await;
            return Err(Cause::ClientTls(failure, None));
        };
        let Some(acceptor) = acceptor else { return Ok(Some((Wire::Plain(client), backend))) };
        match acceptor.accept(client).await {
            Ok(stream) => Ok(Some((Wire::Client(Box::new(stream)), backend))),
            Err(error) => Err(Cause::ClientTls(of_accept(&error), Some(Box::new(error)))),
        }
    }

    fn backend_for(&self, hello: Option<&ClientHello>) -> Option<Backend> {
        let Some(routes) = &self.config.tls.routes else { return Some(self.backend.clone()) };
        let named = hello.and_then(ClientHello::server_name).and_then(|name| routes.names.get(name));
        named.or_else(|| (!routes.refuse_others).then_some(&self.backend)).cloned()
    }

    /// Makes the handshake with the server, if it is to have one.
    pub(super) async fn secure(
        &self,
        upstream: Stream,
        config: &BackendConfig,
        server: &Member,
        client: &Wire,
    ) -> Result<Wire, Cause> {
        let Some(connector) = &config.tls.connector else { return Ok(Wire::Plain(upstream)) };
        let host = match (&config.tls.name, &*server.endpoint) {
            (Some(name), _) => &**name,
            (None, Endpoint::Tcp(address)) => address.rsplit_once(':').map_or("", |(host, _)| host),
            (None, _) => "",
        };
        let limit = self.config.connect_timeout;
        let connect = async {
            match client {
                Wire::Client(stream) => {
                    let chosen: Vec<_> = stream.alpn().map(<[u8]>::to_vec).into_iter().collect();
                    connector.connect_offering(&chosen, host, upstream).await
                }
                _ => connector.connect(host, upstream).await,
            }
        };
        match timeout(limit, connect).await {
            Ok(Ok(stream)) => Ok(Wire::Server(Box::new(stream))),
            Ok(Err(error)) => Err(Cause::UpstreamTls(Some(Box::new(error)))),
            Err(_) => Err(Cause::UpstreamTls(None)),
        }
    }
}

fn of_hello(error: &ClientHelloError) -> HandshakeFailure {
    match error {
        ClientHelloError::NotTls => HandshakeFailure::NotTls,
        ClientHelloError::Timeout(_) => HandshakeFailure::Timeout,
        ClientHelloError::Eof | ClientHelloError::Left => HandshakeFailure::Left,
        _ => HandshakeFailure::Protocol,
    }
}

fn of_accept(error: &TlsAcceptError) -> HandshakeFailure {
    use TlsAcceptErrorKind as Kind;
    match error.kind() {
        Kind::Timeout(_) => HandshakeFailure::Timeout,
        Kind::NotTls => HandshakeFailure::NotTls,
        Kind::Eof | Kind::Io(_) => HandshakeFailure::Left,
        Kind::NoCommonVersion | Kind::NoCommonSuite | Kind::NoCommonProtocol => {
            HandshakeFailure::NothingInCommon
        }
        Kind::ClientCertificateMissing | Kind::ClientCertificateRefused => {
            HandshakeFailure::ClientCertificate
        }
        Kind::CertificateRefused => HandshakeFailure::CertificateRefused,
        Kind::Alert(_) | Kind::Protocol => HandshakeFailure::Protocol,
        Kind::Local => HandshakeFailure::Local,
    }
}
