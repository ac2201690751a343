use std::time::Duration;

use crate::frame::Reading;
use crate::frame::tlv::{DEFAULT_MAX_PAYLOAD, HEADER_LEN};
use crate::pool::BufferPoolConfig;

/// How a [`Transport`](super::Transport) works, and what it grants its peers. Every default has its reason in
/// the field's text.
///
/// Fields may be added: end a literal with `..TransportConfig::default()`.
#[derive(Clone, Debug)]
pub struct TransportConfig {
    /// Classes and limits of the pool. Default: powers of two of 128 B to 256 KiB and a header's 6 bytes, so that a
    /// payload of a power of two is read in one piece with its header; at most 256 MiB, a hundredth of which
    /// a thousand busy connections use. Where no class holds them, and the limit has room, classes of 8 and
    /// 64 KiB are added, which each keep 1 MiB: for what is read ahead, and what is written together.
    pub buffer_pool: BufferPoolConfig,
    /// Whether buffers are pooled. Default: true; false takes the same way with every buffer from the heap, to
    /// see what the pool is worth.
    pub buffer_pool_enabled: bool,
    /// How frames lie in the pool's storage. Default: a buffer a frame, so that a slow subscriber keeps
    /// frames and not whole reads.
    pub reading: Reading,
    /// The longest payload, sent or received, in bytes. Default: 16 MiB, as the protocol's reference has it.
    pub max_payload: usize,
    /// Messages a subscriber may be behind before it misses some and is told how many, and messages that wait
    /// for one peer. Default: 1024.
    pub channel_capacity: usize,
    /// SHA-256 of the contracts file's text: a client sends it first, a server demands it. Default: none, and
    /// no handshake.
    pub schema_digest: Option<[u8; 32]>,
    /// What becomes of a frame whose type nobody named. Default: the connection is closed; until the first type is
    /// named, frames are skipped.
    pub unknown_types: UnknownTypes,
    /// Connections of a server at once, at most; the system's accept queue holds the next. Default: 10 000,
    /// below the 20 480 descriptors that many systems allow.
    pub max_connections: usize,
    /// For a connection to be made. Default: 10 s, which three SYN retries (1 s, 2 s, 4 s) fit.
    pub connect_timeout: Duration,
    /// For a client's first byte; with a handshake, 15 s even if `None`. Default: `None`, for a client that only
    /// subscribes never says a word. Set it where every client publishes.
    pub first_byte_timeout: Option<Duration>,
    /// Without a byte either way. Default: `None`: dead peers are found by TCP's keepalive.
    pub idle_timeout: Option<Duration>,
    /// From the first byte of a frame to its last, and a second more for each 64 KiB of it. Default: 30 s:
    /// who sends a byte a second is no slow network.
    pub frame_timeout: Duration,
    /// For a peer to take any byte while some wait for it. Default: 20 s, before TCP's user timeout of 24 s ends the
    /// connection with less to say.
    pub write_timeout: Duration,
    /// For connections to end at a shutdown, before they are cut. Default: 10 s, what service managers grant or less.
    pub drain_timeout: Duration,
    /// Whether and how a client connects again. Default: after 100 ms, then twice as long each time up to
    /// 5 s, without end; a tenth at random, so that a thousand clients do not come at once.
    pub reconnect: Option<Reconnect>,
    /// TCP's keepalive and user timeout. Default: 5 s of silence, 12 probes 2 s apart, 24 s for what was sent
    /// to be acknowledged, as meshes of this protocol's kind set them. `None` leaves the system's.
    pub keepalive: Option<Keepalive>,
}

/// What becomes of a frame whose type no publisher, subscriber or
/// [`declare`](crate::transport::Hub::declare) named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnknownTypes {
    /// The connection is closed.
    #[default]
    Reject,
    /// The frame is dropped, and counted.
    Skip,
    /// Whoever [subscribed to opaque frames](crate::transport::Hub::opaque_subscriber) gets it.
    PassThrough,
}

/// When a client that lost its connection tries again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reconnect {
    /// Before the first try.
    pub first: Duration,
    /// The longest pause; from the first on each is twice the one before.
    pub longest: Duration,
}

/// How a dead TCP peer is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// Silence before the first probe.
    pub idle: Duration,
    /// Between probes.
    pub interval: Duration,
    /// Probes without an answer before the connection is given up.
    pub probes: u32,
    /// For what was sent to be acknowledged (Linux only).
    pub user_timeout: Duration,
}

impl Default for TransportConfig {
    fn default() -> Self {
        Self {
            buffer_pool: default_pool(),
            buffer_pool_enabled: true,
            reading: Reading::OneBufferAFrame,
            max_payload: DEFAULT_MAX_PAYLOAD,
            channel_capacity: 1024,
            schema_digest: None,
            unknown_types: UnknownTypes::Reject,
            max_connections: 10_000,
            connect_timeout: Duration::from_secs(10),
            first_byte_timeout: None,
            idle_timeout: None,
            frame_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(20),
            drain_timeout: Duration::from_secs(10),
            reconnect: Some(Reconnect { first: Duration::from_millis(100), longest: Duration::from_secs(5) }),
            keepalive: Some(Keepalive {
                idle: Duration::from_secs(5),
                interval: Duration::from_secs(2),
                probes: 12,
                user_timeout: Duration::from_secs(24),
            }),
        }
    }
}

fn default_pool() -> BufferPoolConfig {
    let classes = BufferPoolConfig::powers_of_two_and(HEADER_LEN, 128..=256 * 1024);
    match classes.and_then(|classes| classes.to_builder().byte_limit(256 << 20).build()) {
        Ok(config) => config,
        Err(error) => unreachable!("{error}"),
    }
}
