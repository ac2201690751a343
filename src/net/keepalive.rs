//! TCP keepalive and user timeout: how a dead TCP peer is detected.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use crate::policy::setters;

/// TCP keepalive and user timeout.
///
/// By default the first probe is sent after 5 s of silence, 12 probes follow each other 2 s apart, and there is no user
/// timeout. Values outside the system's range (32 767 s, 127 probes) are clamped to it.
///
/// Probes find a dead peer while nothing is sent. While sent bytes are not acknowledged there are no probes: the system
/// sends the bytes again, on Linux for about 15 minutes. A program that wants to know earlier has a timeout of its own for
/// writes. [`user_timeout`](field@Self::user_timeout) is no substitute: it closes the connections of live peers, too.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use millpond::net::{Keepalive, Listener, Stream};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let listener = Listener::bind("127.0.0.1:0").await?;
/// let stream = Stream::connect(listener.local_endpoint(), Duration::from_secs(10)).await?;
/// stream.set_keepalive(&Keepalive::default().idle(Duration::from_secs(30)))?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Keepalive {
    /// Silence before the first probe.
    pub idle: Duration,
    /// Time between two probes.
    pub interval: Duration,
    /// Unanswered probes after which the connection is closed.
    pub probes: u32,
    /// Time within which sent bytes must be acknowledged and bytes that wait must be sent, or the connection is closed
    /// (`TCP_USER_TIMEOUT`, Linux only). It includes the time in which a live peer acknowledges all and takes no more bytes
    /// (a zero window), so set it only if every peer reads at least that often. `None` means no limit.
    pub user_timeout: Option<Duration>,
}

impl Default for Keepalive {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(5),
            interval: Duration::from_secs(2),
            probes: 12,
            user_timeout: None,
        }
    }
}

impl Keepalive {
    setters! {
        idle: Duration,
        interval: Duration,
        probes: u32,
        user_timeout: Option<Duration>,
    }

    pub(super) fn apply(&self, stream: &TcpStream) -> io::Result<()> {
        let socket = SockRef::from(stream);
        // Linux accepts seconds of 15 bits, a number of probes of 7 bits, and milliseconds of 31 bits.
        let seconds = |time: Duration| time.clamp(Duration::from_secs(1), Duration::from_secs(32_767));
        let probes = TcpKeepalive::new().with_time(seconds(self.idle)).with_interval(seconds(self.interval));
        socket.set_tcp_keepalive(&probes.with_retries(self.probes.clamp(1, 127)))?;
        #[cfg(target_os = "linux")]
        socket.set_tcp_user_timeout(
            self.user_timeout.map(|time| time.min(Duration::from_millis(i32::MAX as u64))),
        )?;
        Ok(())
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_live_peer_that_takes_no_bytes_is_not_cut_by_default() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        Keepalive::default().apply(&stream).unwrap();
        assert!(SockRef::from(&stream).keepalive().unwrap());
        assert_eq!(SockRef::from(&stream).tcp_user_timeout().unwrap(), None);
    }
}
