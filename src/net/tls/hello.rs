//! The first message of a client, seen without being taken.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use rustix::net::{RecvFlags, recv};
use tokio::io::{AsyncWriteExt, Interest};
use tokio::time::timeout;
use tokio_rustls::rustls::server::Acceptor;

use super::acceptor::close_after_alert;
use crate::net::Stream;

/// The longest first message, with the headers of its records. With the keys of post-quantum cryptography and a large ticket
/// it has 5 KiB.
const LONGEST: usize = 16 * 1024;
/// The header of a record: its type, its version, its length.
const RECORD_HEADER: usize = 5;
/// The header of a handshake message: its type, its length.
const MESSAGE_HEADER: usize = 4;
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
/// A fatal alert, `unrecognized_name`, as a record (RFC 8446, sections 5.1 and 6).
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 1, 0, 2, 2, 112];

/// What a TLS client says first, in the clear: which server it wants.
///
/// With Encrypted Client Hello this is the outer name, that of the provider: the true one cannot be seen on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientHello {
    server_name: Option<Box<str>>,
}

/// Why the first message of a client cannot be understood.
#[derive(Debug)]
#[non_exhaustive]
pub enum ClientHelloError {
    /// The client does not speak TLS.
    NotTls,
    /// The message has more than 16 KiB.
    TooLarge,
    /// The message breaks the protocol.
    Malformed,
    /// The client ended its stream in the middle of the message.
    Eof,
    /// The client ended its stream without a byte, as checks of health do.
    Left,
    /// The message took longer than the limit.
    Timeout(Duration),
    /// The stream failed.
    Io(io::Error),
}

impl ClientHello {
    /// Waits for the whole first message, and leaves it in the stream. It may come in any number of segments and records, and
    /// have 16 KiB.
    ///
    /// While it waits it holds no buffer: what has come stays in the system's.
    ///
    /// # Errors
    ///
    /// The client does not speak TLS, or not within `limit`.
    ///
    /// # Cancel safety
    ///
    /// It is cancel safe: nothing is taken from the stream.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// use millpond::net::Listener;
    /// use millpond::net::tls::ClientHello;
    ///
    /// # async fn run(listener: Listener) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut client = listener.accept().await?;
    /// let hello = ClientHello::peek(&client, Duration::from_secs(10)).await?;
    /// match hello.server_name() {
    ///     Some("pond.example") => println!("a client for the pond"),
    ///     _ => ClientHello::refuse_name(&mut client).await,
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn peek(stream: &Stream, limit: Duration) -> Result<Self, ClientHelloError> {
        let wait = async {
            loop {
                // Asked before the peek, which then shows all that came before the end.
                let has_ended = readable(stream).await.map_err(ClientHelloError::Io)?;
                if let Some(hello) = peek_now(stream, has_ended) {
                    return hello;
                }
            }
        };
        timeout(limit, wait).await.unwrap_or(Err(ClientHelloError::Timeout(limit)))
    }

    /// The name of the server that the client wants, in lower case, if it says one.
    #[must_use]
    pub fn server_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }

    /// Tells the client by an alert that there is no server of this name (`unrecognized_name`), and ends the stream. Best
    /// effort: it does not wait for the client.
    pub async fn refuse_name(stream: &mut Stream) {
        // It fits: nothing has been written before.
        let _ = timeout(Duration::ZERO, stream.write_all(&UNRECOGNIZED_NAME)).await;
        close_after_alert(stream).await;
    }

    /// Looks at what a client has sent so far. `None` means that more must come.
    fn read(sent: &[u8]) -> Option<Result<Self, ClientHelloError>> {
        match is_complete(sent) {
            Err(error) => return Some(Err(error)),
            Ok(false) if sent.len() >= LONGEST => return Some(Err(ClientHelloError::TooLarge)),
            Ok(false) => return None,
            Ok(true) => {}
        }
        let (mut acceptor, mut rest) = (Acceptor::default(), sent);
        while acceptor.read_tls(&mut rest).is_ok_and(|count| count > 0) {
            match acceptor.accept() {
                Ok(None) => {}
                Ok(Some(accepted)) => {
                    let server_name = accepted.client_hello().server_name().map(str::to_ascii_lowercase);
                    return Some(Ok(Self { server_name: server_name.map(Into::into) }));
                }
                Err(_) => break,
            }
        }
        Some(Err(ClientHelloError::Malformed))
    }
}

/// Waits until the stream is readable. Says whether it has ended after what can be read now.
async fn readable(stream: &Stream) -> io::Result<bool> {
    let ready = match stream {
        Stream::Tcp(stream) => stream.ready(Interest::READABLE).await?,
        Stream::Unix(stream) => stream.ready(Interest::READABLE).await?,
    };
    Ok(ready.is_read_closed())
}

/// Peeks once. If more must come, the next wait ends only when something has come.
fn peek_now(stream: &Stream, has_ended: bool) -> Option<Result<ClientHello, ClientHelloError>> {
    let look = |socket: std::os::fd::BorrowedFd<'_>| {
        // On the stack, since it is gone before the next wait.
        let mut sent = [0; LONGEST];
        let (count, _) = recv(socket, &mut sent[..], RecvFlags::PEEK)?;
        match ClientHello::read(sent.get(..count).unwrap_or_default()) {
            None if count == 0 => Ok(Err(ClientHelloError::Left)),
            None if has_ended => Ok(Err(ClientHelloError::Eof)),
            // What the runtime takes for "nothing there", so that it waits for the next event.
            None => Err(io::ErrorKind::WouldBlock.into()),
            Some(hello) => Ok(hello),
        }
    };
    use std::os::fd::AsFd;
    let looked = match stream {
        Stream::Tcp(stream) => stream.try_io(Interest::READABLE, || look(stream.as_fd())),
        Stream::Unix(stream) => stream.try_io(Interest::READABLE, || look(stream.as_fd())),
    };
    match looked {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
        Err(error) => Some(Err(ClientHelloError::Io(error))),
        Ok(hello) => Some(hello),
    }
}

/// Whether the whole message is there, in one record or several. Bytes that cannot begin one are an error at once.
fn is_complete(sent: &[u8]) -> Result<bool, ClientHelloError> {
    let mut header = Vec::with_capacity(MESSAGE_HEADER);
    let (mut message, mut rest) = (0, sent);
    loop {
        if rest.first().is_some_and(|&kind| kind != HANDSHAKE) || rest.get(1).is_some_and(|&major| major != 3)
        {
            return Err(ClientHelloError::NotTls);
        }
        let Some((&[_, _, _, high, low], payload)) = rest.split_first_chunk::<RECORD_HEADER>() else {
            return Ok(false);
        };
        let len = usize::from(u16::from_be_bytes([high, low]));
        if len == 0 {
            return Err(ClientHelloError::Malformed);
        }
        let here = payload.get(..len).unwrap_or(payload);
        header.extend(here.iter().take(MESSAGE_HEADER - header.len()));
        message += here.len();
        if header.first().is_some_and(|&kind| kind != CLIENT_HELLO) {
            return Err(ClientHelloError::NotTls);
        }
        if let [_, high, middle, low] = *header {
            let len = MESSAGE_HEADER + u32::from_be_bytes([0, high, middle, low]) as usize;
            if len > LONGEST {
                return Err(ClientHelloError::TooLarge);
            }
            if message >= len {
                return Ok(true);
            }
        }
        match payload.get(len..) {
            Some(next) => rest = next,
            None => return Ok(false),
        }
    }
}

impl ClientHelloError {
    /// The word for it in logs and metrics.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NotTls => "not_tls",
            Self::TooLarge => "too_large",
            Self::Malformed => "protocol",
            Self::Eof | Self::Left => "left",
            Self::Timeout(_) => "timeout",
            Self::Io(_) => "io_error",
        }
    }
}

impl fmt::Display for ClientHelloError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotTls => f.write_str("the client does not speak TLS (it must connect with TLS here)"),
            Self::TooLarge => write!(f, "the client's first message has more than {LONGEST} bytes"),
            Self::Malformed => f.write_str("the client broke the protocol of TLS in its first message"),
            Self::Eof => f.write_str("the client left in the middle of its first message"),
            Self::Left => f.write_str("the client left without a byte"),
            Self::Timeout(limit) => {
                write!(f, "the client did not send its first message within {limit:?}")
            }
            Self::Io(_) => f.write_str("the connection failed before the client's first message"),
        }
    }
}

impl Error for ClientHelloError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
