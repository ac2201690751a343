//! How a dead TCP peer is found.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use super::settings::setters;

/// TCP's keepalive and user timeout.
///
/// The default is 5 s of silence, 12 probes 2 s apart, and 24 s for sent bytes to be acknowledged, as meshes of
/// the bus protocol's kind set them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Keepalive {
    /// Silence before the first probe.
    pub idle: Duration,
    /// Time between two probes.
    pub interval: Duration,
    /// Probes without an answer before the connection is given up.
    pub probes: u32,
    /// Time for sent bytes to be acknowledged before the connection is given up (Linux only).
    pub user_timeout: Duration,
}

impl Default for Keepalive {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(5),
            interval: Duration::from_secs(2),
            probes: 12,
            user_timeout: Duration::from_secs(24),
        }
    }
}

impl Keepalive {
    setters! {
        idle: Duration,
        interval: Duration,
        probes: u32,
        user_timeout: Duration,
    }

    pub(super) fn apply(&self, stream: &TcpStream) -> io::Result<()> {
        let socket = SockRef::from(stream);
        // What Linux takes: whole seconds in 15 bits, probes in 7, milliseconds in 31.
        let seconds = |time: Duration| time.clamp(Duration::from_secs(1), Duration::from_secs(32_767));
        let probes = TcpKeepalive::new().with_time(seconds(self.idle)).with_interval(seconds(self.interval));
        socket.set_tcp_keepalive(&probes.with_retries(self.probes.clamp(1, 127)))?;
        #[cfg(target_os = "linux")]
        socket.set_tcp_user_timeout(Some(self.user_timeout.min(Duration::from_millis(i32::MAX as u64))))?;
        Ok(())
    }
}
