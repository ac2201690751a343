//! A hub that answers requests, and its clients: good ones, whose bytes and waits are checked, and every kind of bad one.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BufMut;
use millpond::bus::{PublishError, Publisher, RecvError, Subscriber, TcpTransport, TransportConfig};
use millpond::frame::tlv::{HEADER_LEN, Header};
use millpond::frame::{Message, MessageError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::peers::pattern;
use crate::relay::patiently;
use crate::{Cast, Dice, END, Run};

const REQUEST: u16 = 1;
const ANSWER: u16 = 2;
/// Received and checked.
const UPLOAD: u16 = 3;
const UPLOAD_LEN: usize = 1 << 20;
/// Ten types that are never received.
const UNRECEIVED: u16 = 10;
const UNRECEIVED_TYPES: u16 = 10;
const LONGEST: usize = 16 << 20;
const ID_LEN: usize = 8;

/// An id, and bytes that follow from it.
struct Blob<const TYPE: u16>(u64, usize);

impl<const TYPE: u16> Message for Blob<TYPE> {
    const TYPE_ID: u16 = TYPE;
    const TOPIC: &'static str = "blobs";
    const MAX_SIZE: usize = LONGEST;
    type View<'a> = (u64, &'a [u8]);

    fn encoded_len(&self) -> usize {
        ID_LEN + self.1
    }

    fn encode(&self, out: &mut impl BufMut) {
        out.put_u64_le(self.0);
        for position in (0..self.1).step_by(4096) {
            out.put_slice(&pattern(self.0, position as u64)[..(self.1 - position).min(4096)]);
        }
    }

    fn view(payload: &[u8]) -> Result<(u64, &[u8]), MessageError> {
        let (id, rest) = payload.split_first_chunk().unwrap_or((&[0; ID_LEN], &[]));
        Ok((u64::from_le_bytes(*id), rest))
    }
}

fn assert_right<M: for<'a> Message<View<'a> = (u64, &'a [u8])>>(payload: &[u8]) -> u64 {
    let (id, bytes) = M::view(payload).unwrap();
    for (nth, piece) in bytes.chunks(4096).enumerate() {
        assert!(*piece == pattern(id, nth as u64 * 4096)[..piece.len()], "wrong bytes in a frame");
    }
    id
}

pub(crate) struct Server {
    transport: TcpTransport,
    unreceived: Vec<Box<dyn Send>>,
    answering: JoinHandle<()>,
    receiving: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let transport = TcpTransport::bind("127.0.0.1:0").await.unwrap();
        let (mut requests, answers) = (transport.subscriber::<Blob<REQUEST>>(), transport.publisher());
        let answering = tokio::spawn(async move {
            loop {
                match requests.recv().await {
                    Ok(request) => {
                        let id = assert_right::<Blob<REQUEST>>(request.payload());
                        answer(&answers, Blob(id, request.payload().len() - ID_LEN)).await;
                    }
                    Err(RecvError::Lagged(missed)) => panic!("{missed} requests were lost"),
                    Err(_) => return,
                }
            }
        });
        let mut uploads = transport.subscriber::<Blob<UPLOAD>>();
        let receiving = tokio::spawn(async move {
            loop {
                match uploads.recv().await {
                    Ok(upload) => _ = assert_right::<Blob<UPLOAD>>(upload.payload()),
                    Err(RecvError::Closed) => return,
                    Err(_) => {}
                }
            }
        });
        let unreceived = never_receiving(&transport);
        Self { transport, unreceived, answering, receiving }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.transport.local_addr()
    }

    /// Asserts that nothing is left.
    pub(crate) async fn end(self) {
        let Self { transport, unreceived, answering, receiving } = self;
        drop(unreceived);
        let hub = transport.hub().clone();
        let start = Instant::now();
        while hub.stats().open > 0 || hub.buffer_pool_stats().in_use + hub.buffer_pool_stats().frozen > 0 {
            assert!(
                start.elapsed() < END,
                "the hub keeps something: {} {}",
                hub.stats(),
                hub.buffer_pool_stats()
            );
            sleep(Duration::from_millis(20)).await;
        }
        let limit = TransportConfig::default().buffer_pool.memory_limit() as u64;
        let most = hub.buffer_pool_stats().high_water_bytes;
        assert!(most <= limit, "the hub's pool had {most} B");
        println!("hub: {}", hub.stats());
        transport.shutdown().await;
        answering.await.unwrap();
        receiving.await.unwrap();
    }
}

/// To every peer that takes it: those that do not must not delay the others.
async fn answer(answers: &Publisher<Blob<ANSWER>>, message: Blob<ANSWER>) {
    while let Err(error) = answers.try_publish(&message) {
        assert!(matches!(error, PublishError::OutOfMemory(_)), "{error}");
        sleep(Duration::from_millis(1)).await;
    }
}

/// Subscribers of the types from [`UNRECEIVED`] on.
fn never_receiving(transport: &TcpTransport) -> Vec<Box<dyn Send>> {
    fn boxed<const TYPE: u16>(transport: &TcpTransport) -> Box<dyn Send> {
        let subscriber: Subscriber<Blob<TYPE>> = transport.subscriber();
        Box::new(subscriber)
    }
    let subscribe = [
        boxed::<10>,
        boxed::<11>,
        boxed::<12>,
        boxed::<13>,
        boxed::<14>,
        boxed::<15>,
        boxed::<16>,
        boxed::<17>,
        boxed::<18>,
        boxed::<19>,
    ];
    subscribe.iter().map(|subscribe| subscribe(transport)).collect()
}

pub(crate) fn enter(cast: &mut Cast<'_>) {
    cast.good(8, ask);
    cast.bad(10, half_frame);
    cast.bad(20, deaf);
    cast.bad(4, slow_frame);
    cast.bad(10, silent);
    cast.bad(2, stranger);
    cast.bad(2, hasty);
    cast.bad(1, flood);
}

async fn connect(run: &Run) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(run.hub).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn header(type_id: u16, len: usize) -> [u8; HEADER_LEN] {
    Header::new(type_id, len).unwrap().encode()
}

/// Requests on one connection, whose first counts with connecting. Answers to others arrive as well, and are checked, too.
async fn ask(run: Arc<Run>, mut dice: Dice) -> io::Result<()> {
    let mut start = Instant::now();
    let mut stream = patiently(connect(&run)).await?;
    let mut frame = Vec::new();
    for _ in 0..dice.below(50) + 1 {
        let request = Blob::<REQUEST>(dice.next(), dice.below(4096) as usize);
        frame.clear();
        frame.extend(header(REQUEST, request.encoded_len()));
        request.encode(&mut frame);
        patiently(stream.write_all(&frame)).await?;
        let mut id = !request.0;
        while id != request.0 {
            let mut start_of_frame = [0; HEADER_LEN];
            patiently(stream.read_exact(&mut start_of_frame)).await?;
            let len = u32::from_le_bytes(start_of_frame[2..].try_into().unwrap());
            frame.resize(len as usize, 0);
            patiently(stream.read_exact(&mut frame)).await?;
            id = assert_right::<Blob<ANSWER>>(&frame);
            run.checked(frame.len());
        }
        assert_eq!(frame.len(), request.encoded_len(), "length of an answer");
        run.published.record(start.elapsed());
        sleep(dice.millis(20)).await;
        start = Instant::now();
    }
    Ok(())
}

async fn half_frame(run: Arc<Run>, mut dice: Dice) -> io::Result<()> {
    let stream = a_quarter(&run).await?;
    sleep(dice.millis(5000)).await;
    if dice.below(2) == 0 { stream.set_zero_linger() } else { Ok(()) }
}

/// Neither completes its frame nor reads, for as long as it can.
async fn deaf(run: Arc<Run>, _: Dice) -> io::Result<()> {
    let stream = a_quarter(&run).await?;
    run.stall().await;
    stream.set_zero_linger()
}

/// Sends a quarter of the longest frame, if it is taken.
async fn a_quarter(run: &Run) -> io::Result<TcpStream> {
    let mut stream = connect(run).await?;
    stream.write_all(&header(REQUEST, LONGEST)).await?;
    let part = vec![7; LONGEST / 4];
    timeout(Duration::from_secs(2), stream.write_all(&part)).await.unwrap_or(Ok(()))?;
    Ok(stream)
}

/// Sends 1 MiB in a second, which must arrive whole.
async fn slow_frame(run: Arc<Run>, mut dice: Dice) -> io::Result<()> {
    let mut stream = connect(&run).await?;
    let upload = Blob::<UPLOAD>(dice.next(), UPLOAD_LEN - ID_LEN);
    let mut frame = header(UPLOAD, UPLOAD_LEN).to_vec();
    upload.encode(&mut frame);
    for piece in frame.chunks(UPLOAD_LEN / 20) {
        stream.write_all(piece).await?;
        sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// Connects, and neither sends nor reads: what is published fills its queue.
async fn silent(run: Arc<Run>, mut dice: Dice) -> io::Result<()> {
    let stream = connect(&run).await?;
    sleep(dice.millis(5000)).await;
    drop(stream);
    Ok(())
}

/// Sends what is no frame.
async fn stranger(run: Arc<Run>, mut dice: Dice) -> io::Result<()> {
    sleep(dice.millis(50)).await;
    let mut stream = connect(&run).await?;
    stream.write_all(&pattern(dice.next(), 0)[..4096]).await?;
    stream.read(&mut [0]).await.map(drop)
}

/// Resets inside a frame.
async fn hasty(run: Arc<Run>, mut dice: Dice) -> io::Result<()> {
    sleep(dice.millis(20)).await;
    let mut stream = connect(&run).await?;
    stream.set_zero_linger()?;
    stream.write_all(&header(UPLOAD, UPLOAD_LEN)).await?;
    stream.write_all(&pattern(3, 0)[..10_000]).await
}

/// Frames of 1 MiB, some 50 per second, of the types that are never received.
async fn flood(run: Arc<Run>, mut dice: Dice) -> io::Result<()> {
    let mut stream = connect(&run).await?;
    let body = vec![7; UPLOAD_LEN];
    for _ in 0..200 {
        if run.is_over() {
            break;
        }
        let type_id = UNRECEIVED + dice.below(UNRECEIVED_TYPES.into()) as u16;
        stream.write_all(&header(type_id, body.len())).await?;
        stream.write_all(&body).await?;
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
