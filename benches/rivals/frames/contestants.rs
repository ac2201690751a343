//! Who sends and who receives. Every sender fills 64 KiB before it writes; every receiver counts frames and drops
//! them.

use std::fmt::Debug;
use std::future::poll_fn;
use std::hint::black_box;
use std::pin::Pin;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use millpond::frame::{Assembler, ReadMode, Tlv};
use millpond::net::{Codec, FrameReader, WriteQueue};
use millpond::{BufferPool, BufferPoolConfig, PooledBytes};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::runtime::Runtime;
use tokio_util::codec::{Decoder, Encoder, FramedRead, FramedWrite, LengthDelimitedCodec};

use crate::Socket;
use crate::outcome::Role;

/// Bytes that are collected before they are written.
const BOUNDARY: usize = 64 * 1024;
/// Of `FramedRead` unless another one is asked for.
const DEFAULT_CAPACITY: usize = 8 * 1024;

/// The one that differs from the rival in the codec alone.
pub(crate) const FRAMED: &str = "Codec in Framed";

/// One who moves frames from one end of a connection of its own to the other.
pub(crate) struct Contestant<'a> {
    pub(crate) name: &'static str,
    pub(crate) role: Role,
    /// Sends this many frames, and receives them.
    pub(crate) run: Box<dyn FnMut(u64) + 'a>,
}

trait Deliver: Send + 'static {
    fn deliver(&mut self, frames: u64) -> impl Future<Output = ()> + Send;
}

trait Receive: Send + 'static {
    fn receive(&mut self, frames: u64) -> impl Future<Output = ()> + Send;
}

pub(crate) fn all(runtime: &Runtime, socket: Socket, payload: usize) -> Vec<Contestant<'_>> {
    match socket {
        Socket::Tcp => over(runtime, payload, || {
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
                let address = listener.local_addr().expect("it is bound");
                let (here, there) = tokio::join!(TcpStream::connect(address), listener.accept());
                let (here, (there, _)) = (here.expect("it listens"), there.expect("it connects"));
                for stream in [&here, &there] {
                    stream.set_nodelay(true).expect("it is a TCP socket");
                }
                (here, there)
            })
        }),
        Socket::Unix => over(runtime, payload, || {
            runtime.block_on(async { UnixStream::pair().expect("a descriptor is free") })
        }),
    }
}

fn over<S>(runtime: &Runtime, payload: usize, connect: impl Fn() -> (S, S)) -> Vec<Contestant<'_>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let ours = |name, reading| {
        let (here, there) = connect();
        let pool = pool();
        let mut storage = pool.acquire(payload);
        storage.resize(payload, 7);
        let writes = WriteQueue::new(pool.clone());
        let sender = OurSender { stream: here, writes, payload: storage.into_shared() };
        let frames = Assembler::new(Tlv::default(), pool, reading);
        contestant(runtime, Role::Ours, name, sender, FrameReader::new(there, frames))
    };
    let rival = |name, capacity| {
        let (here, there) = connect();
        let mut sender = FramedWrite::new(here, LengthDelimitedCodec::new());
        sender.set_backpressure_boundary(BOUNDARY);
        let sender = FramedSender { sink: sender, message: Bytes::from(vec![7; payload]) };
        let receiver = FramedRead::with_capacity(there, LengthDelimitedCodec::new(), capacity);
        contestant(runtime, Role::Rival, name, sender, receiver)
    };
    // Under the same `Framed` as the rival.
    let framed = |name| {
        let (here, there) = connect();
        let pool = pool();
        let mut sender = FramedWrite::new(here, Codec::new(Tlv::default(), pool.clone()));
        sender.set_backpressure_boundary(BOUNDARY);
        let sender = FramedSender { sink: sender, message: (1001_u16, Bytes::from(vec![7; payload])) };
        let receiver = FramedRead::new(there, Codec::new(Tlv::default(), pool));
        contestant(runtime, Role::Ours, name, sender, receiver)
    };
    // What the sockets take of all the others' numbers.
    let limit = || {
        let (here, there) = connect();
        let bytes = vec![7; BOUNDARY];
        let sender = Raw { stream: here, bytes: bytes.clone(), payload };
        contestant(
            runtime,
            Role::Limit,
            "no frames, sockets alone",
            sender,
            Raw { stream: there, bytes, payload },
        )
    };
    vec![
        ours("per frame", ReadMode::PerFrame),
        ours("batched", ReadMode::batched()),
        framed(FRAMED),
        rival("tokio_util, 64 KiB", BOUNDARY),
        rival("tokio_util, 8 KiB", DEFAULT_CAPACITY),
        limit(),
    ]
}

fn pool() -> BufferPool {
    let classes = BufferPoolConfig::powers_of_two_and(6, 128..=256 * 1024);
    BufferPool::new(classes.expect("the range is one of powers of two"))
}

fn contestant<'a>(
    runtime: &'a Runtime,
    role: Role,
    name: &'static str,
    sender: impl Deliver,
    receiver: impl Receive,
) -> Contestant<'a> {
    let mut ends = Some((sender, receiver));
    let run = move |frames| {
        let (mut sender, mut receiver) = ends.take().expect("a round has ended before the next");
        let sending = runtime.spawn(async move {
            sender.deliver(frames).await;
            sender
        });
        let receiving = runtime.spawn(async move {
            receiver.receive(frames).await;
            receiver
        });
        let (sender, receiver) = runtime.block_on(async { tokio::join!(sending, receiving) });
        ends = Some((sender.expect("it sent"), receiver.expect("it received")));
    };
    Contestant { name, role, run: Box::new(run) }
}

struct OurSender<S> {
    stream: S,
    writes: WriteQueue,
    payload: PooledBytes,
}

impl<S: AsyncWrite + Unpin + Send + 'static> Deliver for OurSender<S> {
    async fn deliver(&mut self, frames: u64) {
        for _ in 0..frames {
            if self.writes.len() >= BOUNDARY {
                self.flush().await;
            }
            self.writes.push(&Tlv::default(), (1001, self.payload.clone())).expect("there is memory");
        }
        self.flush().await;
    }
}

impl<S: AsyncWrite + Unpin> OurSender<S> {
    async fn flush(&mut self) {
        poll_fn(|cx| self.writes.poll_write(cx, Pin::new(&mut self.stream))).await.expect("the peer reads");
    }
}

impl<S: AsyncRead + Unpin + Send + 'static> Receive for FrameReader<S, Tlv> {
    async fn receive(&mut self, frames: u64) {
        for _ in 0..frames {
            black_box(self.next_frame().await.expect("it was sent whole").expect("more was sent"));
        }
    }
}

struct FramedSender<S, C, M> {
    sink: FramedWrite<S, C>,
    message: M,
}

impl<S, C, M> Deliver for FramedSender<S, C, M>
where
    S: AsyncWrite + Unpin + Send + 'static,
    C: Encoder<M, Error: Debug + Send> + Send + 'static,
    M: Clone + Send + Sync + 'static,
{
    async fn deliver(&mut self, frames: u64) {
        for _ in 0..frames {
            self.sink.feed(self.message.clone()).await.expect("the peer reads");
        }
        SinkExt::<M>::flush(&mut self.sink).await.expect("the peer reads");
    }
}

impl<S, C> Receive for FramedRead<S, C>
where
    S: AsyncRead + Unpin + Send + 'static,
    C: Decoder<Item: Send, Error: Debug + Send> + Send + 'static,
{
    async fn receive(&mut self, frames: u64) {
        for _ in 0..frames {
            black_box(self.next().await.expect("more was sent").expect("it was sent whole"));
        }
    }
}

/// As many bytes as the payloads have, unframed, 64 KiB at a time.
struct Raw<S> {
    stream: S,
    bytes: Vec<u8>,
    payload: usize,
}

impl<S: AsyncWrite + Unpin + Send + 'static> Deliver for Raw<S> {
    async fn deliver(&mut self, frames: u64) {
        let mut left = frames as usize * self.payload;
        while left > 0 {
            let piece = &self.bytes[..left.min(BOUNDARY)];
            self.stream.write_all(piece).await.expect("the peer reads");
            left -= piece.len();
        }
    }
}

impl<S: AsyncRead + Unpin + Send + 'static> Receive for Raw<S> {
    async fn receive(&mut self, frames: u64) {
        let mut left = frames as usize * self.payload;
        while left > 0 {
            let room = left.min(BOUNDARY);
            left -= self.stream.read(&mut self.bytes[..room]).await.expect("it was sent");
        }
    }
}
