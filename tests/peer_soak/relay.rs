//! Clients of the proxy: good ones, whose bytes and waits are checked, and every kind of bad one.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};

use crate::peers::{self, Ask, FOR_EVER, PERIOD, pattern};
use crate::{Cast, Dice, Run, Waits};

/// A good client that waits this long fails the run.
const HANGS: Duration = Duration::from_secs(30);
const SMALL_BUFFER: usize = 4096;
const ANSWER: u64 = 1 << 20;
const SOME: u64 = 100_000;
const UPLOAD: usize = 1 << 20;

pub(crate) fn enter(cast: &mut Cast<'_>) {
    cast.good(8, relayed);
    cast.good(2, direct);
    cast.good(2, download);
    cast.good(1, direct_download);
    cast.bad(10, broken);
    cast.bad(50, stalled);
    cast.bad(150, deaf);
    cast.bad(50, dripping);
    cast.bad(50, unread);
    cast.bad(30, half_closed);
    cast.bad(30, silent);
    cast.bad(2, hasty);
}

async fn connect(address: SocketAddr, ask: Ask, receive_buffer: Option<usize>) -> io::Result<TcpStream> {
    let socket = peers::socket(receive_buffer)?;
    socket.set_nonblocking(true)?;
    let mut stream = TcpSocket::from_std_stream(socket.into()).connect(address).await?;
    stream.set_nodelay(true)?;
    stream.write_all(&ask.encode()).await?;
    Ok(stream)
}

pub(crate) async fn patiently<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(HANGS, work).await.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))
}

async fn relayed(run: Arc<Run>, dice: Dice) -> io::Result<()> {
    echo(run.proxy, &run.relayed, &run, dice).await
}

async fn direct(run: Arc<Run>, dice: Dice) -> io::Result<()> {
    echo(run.upstream, &run.direct, &run, dice).await
}

/// Small requests on one connection, whose first counts with connecting. It must end well.
async fn echo(address: SocketAddr, waits: &Waits, run: &Run, mut dice: Dice) -> io::Result<()> {
    let mut start = Instant::now();
    let mut stream = patiently(connect(address, Ask::Echo, None)).await?;
    let mut answer = vec![0; 4096];
    for _ in 0..dice.below(50) + 1 {
        let request = &pattern(dice.next(), 0)[..dice.below(4096) as usize + 1];
        let answer = &mut answer[..request.len()];
        patiently(stream.write_all(request)).await?;
        patiently(stream.read_exact(answer)).await?;
        waits.record(start.elapsed());
        assert!(answer == request, "wrong bytes in an echo");
        run.checked(request.len());
        sleep(dice.millis(10)).await;
        start = Instant::now();
    }
    stream.shutdown().await?;
    let after = patiently(stream.read(&mut answer)).await?;
    assert_eq!(after, 0, "bytes after the last echo");
    Ok(())
}

pub(crate) async fn download(run: Arc<Run>, dice: Dice) -> io::Result<()> {
    long_answer(run.proxy, &run.streamed, &run, dice).await
}

async fn direct_download(run: Arc<Run>, dice: Dice) -> io::Result<()> {
    long_answer(run.upstream, &run.streamed_directly, &run, dice).await
}

/// It must arrive whole.
async fn long_answer(address: SocketAddr, waits: &Waits, run: &Run, mut dice: Dice) -> io::Result<()> {
    let seed = dice.next();
    let mut stream = connect(address, Ask::Send(seed, ANSWER as u32), None).await?;
    let received = read_checked(run, &mut stream, seed, u64::MAX, Some(waits)).await?;
    assert_eq!(received, ANSWER, "an answer ended well, but was not whole");
    // The machine's processors must not be the limit.
    sleep(dice.millis(200)).await;
    Ok(())
}

/// An answer that breaks off must not end well.
async fn broken(run: Arc<Run>, mut dice: Dice) -> io::Result<()> {
    let (seed, len) = (dice.next(), dice.below(300_000));
    let mut stream = connect(run.proxy, Ask::Break(seed, len as u32), None).await?;
    match read_checked(&run, &mut stream, seed, u64::MAX, None).await {
        Ok(received) => panic!("a false good end after {received} of {len} bytes that broke off"),
        Err(error) if error.kind() == ErrorKind::TimedOut => panic!("a broken answer never ends"),
        Err(_) => {}
    }
    sleep(dice.millis(200)).await;
    Ok(())
}

/// Reads to the end, or until `most` bytes have arrived. Returns how many.
async fn read_checked(
    run: &Run,
    stream: &mut TcpStream,
    seed: u64,
    most: u64,
    waits: Option<&Waits>,
) -> io::Result<u64> {
    let mut bytes = vec![0; 16 * 1024];
    let mut position = 0;
    while position < most {
        let start = Instant::now();
        let count = patiently(stream.read(&mut bytes)).await?;
        waits.inspect(|waits| waits.record(start.elapsed()));
        if count == 0 {
            break;
        }
        assert!(bytes[..count] == pattern(seed, position)[..count], "wrong bytes after {position}");
        position += count as u64;
        run.checked(count);
    }
    Ok(position)
}

/// Reads nothing for a while. Then it takes some more, which must be right, or leaves.
async fn stalled(run: Arc<Run>, mut dice: Dice) -> io::Result<()> {
    let seed = dice.next();
    let mut stream = connect(run.proxy, Ask::Send(seed, FOR_EVER), Some(SMALL_BUFFER)).await?;
    sleep(dice.millis(5000)).await;
    match dice.below(3) {
        0 => {
            let received = read_checked(&run, &mut stream, seed, SOME, None).await?;
            assert!(received >= SOME, "a false good end of an endless answer");
        }
        1 => stream.set_zero_linger()?,
        _ => {}
    }
    Ok(())
}

/// Reads nothing, for as long as it can.
async fn deaf(run: Arc<Run>, mut dice: Dice) -> io::Result<()> {
    let stream = connect(run.proxy, Ask::Send(dice.next(), FOR_EVER), Some(SMALL_BUFFER)).await?;
    run.stall().await;
    stream.set_zero_linger()
}

async fn dripping(run: Arc<Run>, mut dice: Dice) -> io::Result<()> {
    let seed = dice.next();
    let mut stream = connect(run.proxy, Ask::Send(seed, FOR_EVER), Some(SMALL_BUFFER)).await?;
    let mut position = 0;
    let mut sip = vec![0; 3000];
    for _ in 0..10 {
        sleep(dice.millis(600)).await;
        let count = patiently(stream.read(&mut sip)).await?;
        assert!(sip[..count] == pattern(seed, position)[..count], "wrong bytes after {position}");
        assert!(count > 0, "a false good end of an endless answer");
        position += count as u64;
        run.checked(count);
    }
    Ok(())
}

/// Sends to an upstream that does not read.
async fn unread(run: Arc<Run>, mut dice: Dice) -> io::Result<()> {
    let millis = dice.below(4000);
    let mut stream = connect(run.proxy, Ask::Ignore(millis as u32), None).await?;
    let all = async { stream.write_all(&pattern(1, 0).repeat(UPLOAD / PERIOD)).await };
    timeout(Duration::from_millis(millis), all).await.unwrap_or(Ok(()))?;
    sleep(dice.millis(1000)).await;
    Ok(())
}

async fn half_closed(run: Arc<Run>, mut dice: Dice) -> io::Result<()> {
    let mut stream = connect(run.proxy, Ask::Ignore(2000), None).await?;
    stream.shutdown().await?;
    sleep(dice.millis(500)).await;
    stream.set_zero_linger()
}

async fn silent(run: Arc<Run>, mut dice: Dice) -> io::Result<()> {
    let stream = TcpStream::connect(run.proxy).await?;
    sleep(dice.millis(2000)).await;
    drop(stream);
    Ok(())
}

/// Sends, and resets before the answer.
async fn hasty(run: Arc<Run>, mut dice: Dice) -> io::Result<()> {
    sleep(dice.millis(20)).await;
    let mut stream = connect(run.proxy, Ask::Echo, None).await?;
    stream.set_zero_linger()?;
    stream.write_all(pattern(2, 0)).await
}
