//! A proxy that does to connections what networks do, until it is told to be calm.
//!
//! Whatever it does to a connection lasts: one that has failed never works again, so that nobody may get it again.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use crate::dice::Dice;

/// The longest life of a connection that is not calm.
const LIFE: u64 = 1500;
/// The longest that nothing happens on a connection whose client is answered at last.
const SLOW: u64 = 300;

#[derive(Default)]
pub(crate) struct Chaos {
    is_calm: AtomicBool,
    connections: AtomicU64,
}

impl Chaos {
    pub(crate) fn calm_down(&self) {
        self.is_calm.store(true, Ordering::Relaxed);
    }

    pub(crate) fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    pub(crate) async fn serve(self: Arc<Self>, listener: TcpListener, upstream: String) {
        let mut seeds = Dice(1);
        loop {
            let (client, _) = listener.accept().await.unwrap();
            self.connections.fetch_add(1, Ordering::Relaxed);
            let (chaos, upstream, dice) = (Arc::clone(&self), upstream.clone(), Dice(seeds.next()));
            // Its error is one of those that it makes.
            tokio::spawn(async move { _ = chaos.play(client, &upstream, dice).await });
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

/// Reads until the client ends.
async fn swallow(client: &mut TcpStream) -> io::Result<()> {
    while client.read(&mut [0; 4096]).await? > 0 {}
    Ok(())
}
