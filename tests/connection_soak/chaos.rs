//! A proxy that does to connections what networks do, until it is told to be calm.
//!
//! Whatever it does to a connection lasts: one that has failed never works again, so that nobody may get it again.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};

use crate::dice::Dice;

/// The longest life of a connection that is not calm.
const LIFE: u64 = 1500;
/// The longest that nothing happens on a connection whose client is answered at last.
const SLOW: u64 = 300;
/// The longest that nobody accepts. Meanwhile the kernel drops what asks for a connection, and a client asks again after a
/// second.
const DEAF: u64 = 1200;
/// Connections that the kernel accepts meanwhile, except one.
const BACKLOG: u32 = 8;

#[derive(Default)]
pub(crate) struct Chaos {
    is_calm: AtomicBool,
    connections: AtomicU64,
    open: AtomicUsize,
}

impl Chaos {
    pub(crate) fn calm_down(&self) {
        self.is_calm.store(true, Ordering::Relaxed);
    }

    pub(crate) fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Connections of clients that are open.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    pub(crate) async fn serve(self: Arc<Self>, listener: TcpListener, upstream: String) {
        let mut dice = Dice(1);
        loop {
            if dice.below(100) == 0 && !self.is_calm.load(Ordering::Relaxed) {
                sleep(dice.millis(DEAF)).await;
            }
            let (client, _) = listener.accept().await.unwrap();
            self.connections.fetch_add(1, Ordering::Relaxed);
            self.open.fetch_add(1, Ordering::Relaxed);
            let (chaos, upstream, dice) = (Arc::clone(&self), upstream.clone(), Dice(dice.next()));
            tokio::spawn(async move {
                // Its error is one of those that it makes.
                _ = chaos.play(client, &upstream, dice).await;
                chaos.open.fetch_sub(1, Ordering::Relaxed);
            });
        }
    }

    async fn play(&self, mut client: TcpStream, upstream: &str, mut dice: Dice) -> io::Result<()> {
        let is_calm = self.is_calm.load(Ordering::Relaxed);
        if !is_calm {
            match dice.below(20) {
                0 => return client.set_zero_linger(),
                1 => return swallow(&mut client).await,
                2..5 => sleep(dice.millis(SLOW)).await,
                _ => {}
            }
        }
        let mut server = TcpStream::connect(upstream).await?;
        if is_calm {
            copy_bidirectional(&mut client, &mut server).await?;
            return Ok(());
        }
        let life = Duration::from_millis(1 + dice.below(LIFE));
        let relayed = timeout(life, copy_bidirectional(&mut client, &mut server)).await;
        drop(server);
        if relayed.is_ok() {
            return Ok(());
        }
        match dice.below(8) {
            0..3 => Ok(()),
            3..6 => client.set_zero_linger(),
            // The client reads an end, and can still write.
            6 => {
                client.shutdown().await?;
                swallow(&mut client).await
            }
            // The client hears nothing more, not even an end.
            _ => swallow(&mut client).await,
        }
    }
}

/// Listens there.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Reads until the client ends.
async fn swallow(client: &mut TcpStream) -> io::Result<()> {
    while client.read(&mut [0; 4096]).await? > 0 {}
    Ok(())
}
