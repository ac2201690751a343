//! An upstream that does what the first bytes of a connection ask for, and sockets for its clients.
#![allow(dead_code, clippy::allow_attributes, reason = "each test and bench uses its part")]

use std::io;
use std::net::SocketAddr;
use std::sync::LazyLock;
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

/// Length of the bytes that [`Ask::encode`] makes.
pub(crate) const ASK_LEN: usize = 13;
/// The pattern's length before it repeats; a prime, so that it never repeats at the size of a buffer.
pub(crate) const PERIOD: usize = 65_521;
/// A length that no connection reaches.
pub(crate) const FOR_EVER: u32 = u32::MAX;
/// Segments of Ethernet. With those of loopback, 64 KiB, the kernel may buffer megabytes per socket.
const SEGMENT: u32 = 1448;
const SEND_BUFFER: usize = 64 * 1024;
const BACKLOG: i32 = 4096;

/// What a client wants its upstream to do.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ask {
    /// Echo what follows.
    Echo,
    /// Send that many bytes of the pattern with this seed, and close.
    Send(u64, u32),
    /// Send that many bytes of the pattern with this seed, and reset the connection.
    Break(u64, u32),
    /// Read nothing more for that many milliseconds.
    Ignore(u32),
}

impl Ask {
    pub(crate) fn encode(self) -> [u8; ASK_LEN] {
        let (kind, seed, len) = match self {
            Self::Echo => (b'E', 0, 0),
            Self::Send(seed, len) => (b'S', seed, len),
            Self::Break(seed, len) => (b'B', seed, len),
            Self::Ignore(millis) => (b'I', 0, millis),
        };
        let mut bytes = [kind; ASK_LEN];
        bytes[1..9].copy_from_slice(&seed.to_le_bytes());
        bytes[9..].copy_from_slice(&len.to_le_bytes());
        bytes
    }

    fn decode(bytes: [u8; ASK_LEN]) -> Option<Self> {
        let seed = u64::from_le_bytes(bytes[1..9].try_into().unwrap());
        let len = u32::from_le_bytes(bytes[9..].try_into().unwrap());
        match bytes[0] {
            b'E' => Some(Self::Echo),
            b'S' => Some(Self::Send(seed, len)),
            b'B' => Some(Self::Break(seed, len)),
            b'I' => Some(Self::Ignore(len)),
            _ => None,
        }
    }
}

/// The next [`PERIOD`] bytes of a stream with this seed, from `position` on.
pub(crate) fn pattern(seed: u64, position: u64) -> &'static [u8] {
    static TWICE: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let mut state = 1_u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        };
        let once: Vec<u8> = (0..PERIOD).map(|_| random()).collect();
        once.repeat(2)
    });
    let start = (seed % PERIOD as u64 + position) % PERIOD as u64;
    &TWICE[start as usize..][..PERIOD]
}

/// A socket that is not connected yet, with the receive buffer of a small device if it is told so.
pub(crate) fn socket(receive_buffer: Option<usize>) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_tcp_mss(SEGMENT)?;
    receive_buffer.map_or(Ok(()), |size| socket.set_recv_buffer_size(size))?;
    Ok(socket)
}

pub(crate) fn listen() -> io::Result<std::net::TcpListener> {
    let socket = socket(None)?;
    // Thousands of endless answers must not fill the memory that the kernel has for all sockets.
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Connects, and fails after `patience`.
pub(crate) fn connect(
    address: SocketAddr,
    receive_buffer: Option<usize>,
    patience: Duration,
) -> io::Result<std::net::TcpStream> {
    let socket = socket(receive_buffer)?;
    socket.connect_timeout(&address.into(), patience)?;
    socket.set_tcp_nodelay(true)?;
    Ok(socket.into())
}

/// Serves all connections until it is dropped.
pub(crate) async fn serve(listener: std::net::TcpListener) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        // A client that leaves early is not the upstream's concern.
        drop(tokio::spawn(answer(stream)));
    }
}

async fn answer(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut ask = [0; ASK_LEN];
    stream.read_exact(&mut ask).await?;
    match Ask::decode(ask) {
        Some(Ask::Echo) => {
            let (mut read, mut write) = stream.split();
            copy(&mut read, &mut write).await?;
            write.shutdown().await
        }
        Some(Ask::Send(seed, len)) => {
            send(&mut stream, seed, len).await?;
            stream.shutdown().await?;
            // Closing with unread bytes would be a reset.
            copy(&mut stream, &mut tokio::io::sink()).await.map(drop)
        }
        Some(Ask::Break(seed, len)) => {
            send(&mut stream, seed, len).await?;
            stream.set_zero_linger()
        }
        Some(Ask::Ignore(millis)) => {
            sleep(Duration::from_millis(millis.into())).await;
            Ok(())
        }
        None => Err(io::Error::other(format!("wrong bytes arrived: {ask:?}"))),
    }
}

async fn send(stream: &mut TcpStream, seed: u64, len: u32) -> io::Result<()> {
    let len = if len == FOR_EVER { u64::MAX } else { len.into() };
    let mut sent = 0;
    while sent < len {
        let count = PERIOD.min(usize::try_from(len - sent).unwrap_or(PERIOD));
        sent += stream.write(&pattern(seed, sent)[..count]).await? as u64;
    }
    Ok(())
}
