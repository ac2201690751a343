//! How a connection is made: every address of a name is tried, and what the system has run out of is waited for.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::path::Path;
#[cfg(feature = "relay")]
use std::pin::Pin;
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream, UnixSocket, UnixStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout};

use super::endpoint::{Endpoint, host_and_port};
use super::error::{Error, ErrorKind, is_shortage};
use super::resolve::{self, Resolve};
use super::span::{self, error_type, traced};
use super::stream::Stream;
use super::unix_path::{is_abstract, obstacle};
use crate::sync::statistic::{AtomicUsize, Ordering};

/// The pause before another connect to a Unix listener whose accept queue was full: a busy server accepts many
/// connections in that time.
const FULL_QUEUE_PAUSE: Duration = Duration::from_millis(10);

/// The pause before another attempt when no descriptor, port or memory was left.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(50);

/// The time that an address has before the next one is tried beside it: the recommended value of RFC 8305.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// The most addresses that are tried at once, each of which takes a descriptor. Beyond it the oldest attempt is given up,
/// which has had 2 s by then. Fewer keep trying until the time limit.
const MAX_ATTEMPTS: usize = 8;

/// A descriptor that keeps the place of another one.
type Reserve = Option<OwnedFd>;

/// Why an attempt failed, and at which of a name's addresses.
type Failure = (ErrorKind, Option<SocketAddr>, Option<io::Error>);

/// How to connect.
#[derive(Clone, Copy)]
pub(super) struct Settings<'a> {
    /// The time limit.
    pub(super) total: Duration,
    /// The time limit for each address of a name.
    pub(super) address: Duration,
    /// Who looks names up, if not the system.
    pub(super) resolver: Option<&'a dyn Resolve>,
}

/// How far a connect has come.
struct Progress {
    waits_for: WaitsFor,
    /// The time that lookups took.
    lookup: Duration,
}

/// What an attempt waits for, which a timeout then names.
enum WaitsFor {
    Names,
    Peer,
    Resources(io::Error),
}

impl Stream {
    /// Connects to an endpoint, within `timeout`.
    ///
    /// * If the listener's accept queue is full, it waits.
    /// * If this process has no descriptor, port or memory left, it tries again until there is some.
    /// * A name is looked up by the system, once at a time for all callers, and the answer is used for 5 s.
    /// * If the name has several addresses, they are tried as RFC 8305 ("happy eyeballs") says: IPv6 and IPv4 in turn,
    ///   each 250 ms after the one before, or at once if that one has failed. The first that answers is taken.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Connect`], [`ErrorKind::ConnectTimeout`], [`ErrorKind::Lookup`], [`ErrorKind::LookupTimeout`],
    /// [`ErrorKind::OutOfResources`], [`ErrorKind::NotASocket`] or [`ErrorKind::InvalidEndpoint`].
    ///
    /// # Cancel safety
    ///
    /// Cancelled, it closes what it opened.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use millpond::net::{ErrorKind, Listener, Stream};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let listener = Listener::bind("127.0.0.1:0").await?;
    /// let endpoint = listener.local_endpoint().clone();
    /// let _stream = Stream::connect(&endpoint, Duration::from_secs(10)).await?;
    ///
    /// drop(listener);
    /// let error = Stream::connect(&endpoint, Duration::from_secs(10)).await.unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::Connect);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn connect(endpoint: impl Into<Endpoint>, timeout: Duration) -> Result<Self, Error> {
        // On the heap, so that a task is not larger for the rest of its life because it once connected.
        let (stream, _) = Box::pin(connect_traced(endpoint.into(), Settings::within(timeout), None)).await?;
        Ok(stream)
    }

    /// As [`connect`](Self::connect), with a descriptor that keeps the place of the connection's until it is opened. Its span
    /// belongs to the one of the call.
    #[cfg(feature = "relay")]
    pub(crate) fn connect_with(
        endpoint: &Endpoint,
        timeout: Duration,
        reserved: Option<OwnedFd>,
    ) -> Pin<Box<dyn Future<Output = Result<Self, Error>> + Send>> {
        let connect = connect_traced(endpoint.clone(), Settings::within(timeout), reserved);
        Box::pin(async move { Ok(connect.await?.0) })
    }
}

impl Settings<'_> {
    /// Names are looked up by the system, and all addresses have one limit.
    fn within(total: Duration) -> Self {
        Self { total, address: total, resolver: None }
    }
}

/// Connects to an endpoint, in a span that belongs to the one of the call.
pub(super) fn connect_traced<'a>(
    endpoint: Endpoint,
    settings: Settings<'a>,
    reserved: Reserve,
) -> impl Future<Output = Result<(Stream, Duration), Error>> + use<'a> {
    let span = span::connect_to(&endpoint);
    traced(span, move || connect(endpoint, settings, reserved), |error| error_type(error.kind()))
}

/// Connects to an endpoint. Says how long the lookup of a name took.
pub(super) async fn connect(
    endpoint: Endpoint,
    settings: Settings<'_>,
    reserved: Reserve,
) -> Result<(Stream, Duration), Error> {
    let mut progress = Progress { waits_for: WaitsFor::Peer, lookup: Duration::ZERO };
    let connected =
        timeout(settings.total, connect_in_time(&endpoint, settings, reserved, &mut progress)).await;
    let after = settings.total;
    let (kind, address, source) = match connected {
        Ok(Ok(stream)) => return Ok((stream, progress.lookup)),
        Ok(Err(failure)) => failure,
        Err(_) => match progress.waits_for {
            WaitsFor::Names => (ErrorKind::LookupTimeout { after }, None, None),
            WaitsFor::Peer => (ErrorKind::ConnectTimeout { after }, None, None),
            WaitsFor::Resources(error) => (ErrorKind::OutOfResources, None, Some(error)),
        },
    };
    Err(Error::new(kind, endpoint, source).at(address))
}

/// Connects, and tries again while the system has no descriptor, port or memory left.
async fn connect_in_time(
    endpoint: &Endpoint,
    settings: Settings<'_>,
    mut reserved: Reserve,
    progress: &mut Progress,
) -> Result<Stream, Failure> {
    let mut in_need = None;
    loop {
        match connect_once(endpoint, settings, &mut reserved, progress).await {
            Err((_, _, Some(error))) if is_shortage(&error) => {
                if error.kind() != io::ErrorKind::AddrNotAvailable {
                    in_need.get_or_insert_with(InNeed::new);
                    // Nothing is accepted now, so a lookup can take its place.
                    reserved = None;
                }
                progress.waits_for = WaitsFor::Resources(error);
                sleep(SHORTAGE_PAUSE).await;
            }
            outcome => return outcome,
        }
    }
}

async fn connect_once(
    endpoint: &Endpoint,
    settings: Settings<'_>,
    reserved: &mut Reserve,
    progress: &mut Progress,
) -> Result<Stream, Failure> {
    let failed = |error| {
        let kind = obstacle(endpoint).map_or(ErrorKind::Connect, |found| ErrorKind::NotASocket { found });
        (kind, None, Some(error))
    };
    match endpoint {
        Endpoint::Invalid { error, .. } => Err((ErrorKind::InvalidEndpoint(*error), None, None)),
        Endpoint::Unix(path) => connect_unix(path, reserved).await.map(Stream::Unix).map_err(failed),
        Endpoint::Tcp(address) => {
            let known = address.parse();
            let found = match known {
                Ok(_) => Vec::new(),
                Err(_) => look_up(address, settings, progress).await?,
            };
            let connecting = || async {
                let stream = match known {
                    Ok(address) => {
                        let socket = tcp_socket(address, reserved).map_err(failed)?;
                        connect_tcp(socket, address).await.map_err(failed)?
                    }
                    Err(_) => connect_to_any(found, settings.address, reserved).await?,
                };
                Stream::from_tcp(stream).map_err(failed)
            };
            let span = span::tcp();
            let stream = traced(span.clone(), connecting, |(kind, ..)| error_type(*kind)).await?;
            if !span.is_disabled() {
                span::connected(&span, stream.peer_address());
            }
            Ok(stream)
        }
    }
}

/// The addresses of the host in `address`, with its port.
async fn look_up(
    address: &str,
    settings: Settings<'_>,
    progress: &mut Progress,
) -> Result<Vec<SocketAddr>, Failure> {
    let (host, port) =
        host_and_port(address).map_err(|error| (ErrorKind::InvalidEndpoint(error), None, None))?;
    progress.waits_for = WaitsFor::Names;
    let begun = Instant::now();
    let looking = || async {
        match settings.resolver {
            None => resolve::addresses(host, port).await,
            Some(resolver) => {
                let found = resolver.resolve(host).await?;
                Ok(found.into_iter().map(|address| SocketAddr::new(address, port)).collect())
            }
        }
    };
    let addresses = traced(span::lookup_of(host), looking, |_| error_type(ErrorKind::Lookup)).await;
    progress.lookup += begun.elapsed();
    let addresses = addresses.map_err(|error| (ErrorKind::Lookup, None, Some(error)))?;
    progress.waits_for = WaitsFor::Peer;
    Ok(addresses)
}

/// Opens a socket, and then closes the descriptor that kept its place. Without another one it is closed before.
fn open<S>(reserved: &mut Reserve, socket: impl Fn() -> io::Result<S>) -> io::Result<S> {
    let opened = socket();
    let reserved = reserved.take();
    match opened {
        Err(error) if is_shortage(&error) && reserved.is_some() => {
            let _in_need = InNeed::new();
            drop(reserved);
            socket()
        }
        opened => opened,
    }
}

/// With a full accept queue a TCP connect waits, but a non-blocking Unix connect fails. This makes it wait, too.
async fn connect_unix(path: &Path, reserved: &mut Reserve) -> io::Result<UnixStream> {
    is_abstract(path)?;
    loop {
        match open(reserved, UnixSocket::new_stream)?.connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(FULL_QUEUE_PAUSE).await,
            connected => return connected,
        }
    }
}

fn tcp_socket(address: SocketAddr, reserved: &mut Reserve) -> io::Result<TcpSocket> {
    open(reserved, || if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() })
}

/// Connects to one address.
async fn connect_tcp(socket: TcpSocket, address: SocketAddr) -> io::Result<TcpStream> {
    match socket.connect(address).await {
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable && !has_source(address) => {
            // Without the system's error code it counts as no shortage of ports.
            Err(io::Error::new(io::ErrorKind::NetworkUnreachable, error))
        }
        connected => connected,
    }
}

/// Whether this machine has an address from which it can send to this one. The ports of UDP are others than those of TCP.
fn has_source(address: SocketAddr) -> bool {
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    UdpSocket::bind(any).and_then(|socket| socket.connect(address)).is_ok()
}

/// Connects to the address that answers first, by "happy eyeballs", RFC 8305: the families take turns, and each attempt
/// has a start of [`ATTEMPT_DELAY`] on the next. The other attempts are closed.
async fn connect_to_any(
    addresses: Vec<SocketAddr>,
    limit: Duration,
    reserved: &mut Reserve,
) -> Result<TcpStream, Failure> {
    let mut addresses: VecDeque<_> = interleaved(addresses).into();
    let mut attempts = JoinSet::new();
    let mut handles = VecDeque::<AbortHandle>::new();
    let mut failure = None;
    loop {
        if let Some(&address) = addresses.front() {
            match tcp_socket(address, reserved) {
                Ok(socket) => {
                    addresses.pop_front();
                    handles.retain(|attempt| !attempt.is_finished());
                    if handles.len() >= MAX_ATTEMPTS
                        && let Some(oldest) = handles.pop_front()
                    {
                        oldest.abort();
                    }
                    handles.push_back(attempts.spawn(attempt(socket, address, limit)));
                }
                Err(error) if is_shortage(&error) => {
                    if attempts.is_empty() {
                        return Err((ErrorKind::Connect, None, Some(error)));
                    }
                    // An attempt under way leaves a descriptor when it fails.
                }
                Err(error) => {
                    addresses.pop_front();
                    failure.get_or_insert((ErrorKind::Connect, Some(address), Some(error)));
                    continue;
                }
            }
        }
        tokio::select! {
            ended = attempts.join_next() => match ended {
                Some(Ok(Ok(stream))) => return Ok(stream),
                // An address that only a shortage kept from being tried may answer later, so that is what it reports.
                Some(Ok(Err(failed)))
                    if failure.is_none() || failed.2.as_ref().is_some_and(is_shortage) => failure = Some(failed),
                // Another failure, or an attempt that was given up.
                Some(_) => {}
                None => {
                    let nothing_found = || io::Error::new(io::ErrorKind::NotFound, "the name has no address");
                    return Err(failure.unwrap_or_else(|| (ErrorKind::Connect, None, Some(nothing_found()))));
                }
            },
            () = sleep(ATTEMPT_DELAY), if !addresses.is_empty() => {}
        }
    }
}

/// Connects to one address of a name.
async fn attempt(socket: TcpSocket, address: SocketAddr, limit: Duration) -> Result<TcpStream, Failure> {
    match timeout(limit, connect_tcp(socket, address)).await {
        Ok(connected) => connected.map_err(|error| (ErrorKind::Connect, Some(address), Some(error))),
        Err(_) => Err((ErrorKind::ConnectTimeout { after: limit }, Some(address), None)),
    }
}

/// The addresses in their order, but of both families in turn.
fn interleaved(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut turns = Vec::new();
    loop {
        let turn = [first.next(), second.next()];
        if turn == [None, None] {
            return turns;
        }
        turns.extend(turn.into_iter().flatten());
    }
}

/// How many connects wait for a descriptor now.
static IN_NEED: AtomicUsize = AtomicUsize::new(0);

/// Whether a connect waits for a descriptor. Then nothing is accepted, which would take the next one that is free: a client
/// in the accept queue can wait for longer than one that has been accepted.
pub(super) fn is_in_need() -> bool {
    // Ordering: a hint that may be late. What must not be taken is in the kernel, which orders by itself.
    IN_NEED.load(Ordering::Relaxed) > 0
}

/// A connect that waits for a descriptor.
struct InNeed;

impl InNeed {
    fn new() -> Self {
        // Ordering: see `is_in_need`.
        IN_NEED.fetch_add(1, Ordering::Relaxed);
        Self
    }
}

impl Drop for InNeed {
    fn drop(&mut self) {
        // Ordering: see `is_in_need`.
        IN_NEED.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use rustix::io::Errno;
    use tokio::sync::mpsc;

    use super::*;
    use crate::net::Listener;

    fn addresses(text: &str) -> Vec<SocketAddr> {
        text.split_whitespace().map(|address| address.parse().unwrap()).collect()
    }

    #[test]
    fn the_families_take_turns_and_the_first_begins() {
        for (found, tried) in [
            ("", ""),
            ("1.1.1.1:1 2.2.2.2:1", "1.1.1.1:1 2.2.2.2:1"),
            ("[::1]:1 [::2]:1 1.1.1.1:1", "[::1]:1 1.1.1.1:1 [::2]:1"),
            ("1.1.1.1:1 [::1]:1 [::2]:1 [::3]:1", "1.1.1.1:1 [::1]:1 [::2]:1 [::3]:1"),
            ("1.1.1.1:1 2.2.2.2:1 [::1]:1", "1.1.1.1:1 [::1]:1 2.2.2.2:1"),
        ] {
            assert_eq!(interleaved(addresses(found)), addresses(tried), "{found}");
        }
    }

    #[test]
    fn an_address_without_a_route_is_no_shortage_of_ports() {
        let unreachable =
            io::Error::new(io::ErrorKind::NetworkUnreachable, io::Error::from(Errno::ADDRNOTAVAIL));
        assert!(!is_shortage(&unreachable));
        assert!(is_shortage(&io::Error::from(Errno::ADDRNOTAVAIL)));
    }

    #[tokio::test]
    async fn nothing_is_accepted_while_a_connect_waits_for_a_descriptor() {
        let listener = Listener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = listener.local_endpoint().clone();
        let (tell, mut told) = mpsc::unbounded_channel();
        let in_need = InNeed::new();
        let connection = move |_| {
            tell.send(()).unwrap();
            async {}
        };
        let server = tokio::spawn(listener.serve(1, Duration::ZERO, pending(), connection));
        let _client = Stream::connect(endpoint, Duration::from_secs(20)).await.unwrap();
        let accepted = timeout(Duration::from_millis(300), told.recv()).await;
        assert!(accepted.is_err(), "it was accepted");
        drop(in_need);
        timeout(Duration::from_secs(20), told.recv()).await.unwrap().unwrap();
        server.abort();
    }
}
