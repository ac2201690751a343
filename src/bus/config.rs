//! The limits of a transport, and why each default is what it is.

use std::time::Duration;

use super::role::Role;
use crate::frame::ReadMode;
use crate::frame::tlv::{DEFAULT_MAX_PAYLOAD, HEADER_LEN};
use crate::net::{Backoff, Keepalive, setters};
use crate::pool::BufferPoolConfig;

/// How a [`Transport`](super::Transport) works, and what it grants its peers. Every default has its reason in
/// the field's text.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use millpond::bus::TransportConfig;
///
/// let config = TransportConfig::default().max_payload(64 * 1024).idle_timeout(Some(Duration::from_secs(60)));
/// assert_eq!(config.max_payload, 65_536);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TransportConfig {
    /// Classes and limits of the pool. Default: powers of two of 128 B to 16 MiB and a header's 6 bytes, so that a
    /// payload of a power of two is read in one piece with its header, and none that is allowed is beside the limit;
    /// at most 256 MiB, a hundredth of which a thousand busy connections use. Where no class holds them, and
    /// the limit has room, classes of 8 and 64 KiB are added, which each keep 1 MiB: for what is read ahead, and
    /// what is written together.
    pub buffer_pool: BufferPoolConfig,
    /// Whether buffers are pooled. Default: true; false takes the same way with every buffer from the heap, to
    /// see what the pool is worth.
    pub buffer_pool_enabled: bool,
    /// How frames lie in the pool's storage. Default: a buffer a frame, so that a slow subscriber keeps
    /// frames and not whole reads.
    pub read_mode: ReadMode,
    /// The longest payload, sent or received, in bytes. Default: 16 MiB, as the protocol's reference has it.
    pub max_payload: usize,
    /// Messages a subscriber may be behind before it misses some and is told how many, and messages that wait
    /// for one peer. Default: 1024.
    pub channel_capacity: usize,
    /// Bytes of storage that a topic, or a type, keeps for subscribers that are behind, before the oldest frames go and
    /// those who miss them are told how many; and that wait for one peer. One frame is kept in any case. A slice
    /// counts as the whole buffer that it keeps from the pool; for subscribers, slices of one buffer that follow on each
    /// other count as one. Default: `None`, room for two of the longest payloads, but at most a quarter of the pool's
    /// memory limit, so that who never receives does not use it up for all others, and at least a sixteenth.
    pub channel_bytes: Option<usize>,
    /// SHA-256 of the contracts file's text: a client sends it first, a server demands it. Default: none, and
    /// no handshake.
    pub schema_digest: Option<[u8; 32]>,
    /// What becomes of a frame whose type nobody named. Default: `None`, by who asked for the connection. A server
    /// rejects: it protects itself from its clients. A client skips: it went to a server that it trusts, which may
    /// well publish more than this client wants. A stream that a hub serves counts as one that came to a server.
    pub unknown_types: Option<UnknownTypes>,
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
    pub reconnect: Option<Backoff>,
    /// TCP's keepalive and user timeout. Default: 5 s of silence, 12 probes 2 s apart, 24 s for what was sent
    /// to be acknowledged, as meshes of this protocol's kind set them. `None` leaves the system's.
    pub keepalive: Option<Keepalive>,
}

/// What becomes of a frame whose type no publisher, subscriber or
/// [`declare`](crate::bus::Hub::declare) named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnknownTypes {
    /// The connection is closed.
    Reject,
    /// The frame is dropped, and counted.
    Skip,
    /// Whoever [subscribed to opaque frames](crate::bus::Hub::opaque_subscriber) gets it.
    PassThrough,
}

impl Default for TransportConfig {
    fn default() -> Self {
        Self {
            buffer_pool: default_pool(),
            buffer_pool_enabled: true,
            read_mode: ReadMode::PerFrame,
            max_payload: DEFAULT_MAX_PAYLOAD,
            channel_capacity: 1024,
            channel_bytes: None,
            schema_digest: None,
            unknown_types: None,
            max_connections: 10_000,
            connect_timeout: Duration::from_secs(10),
            first_byte_timeout: None,
            idle_timeout: None,
            frame_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(20),
            drain_timeout: Duration::from_secs(10),
            reconnect: Some(Backoff::default()),
            keepalive: Some(Keepalive::default()),
        }
    }
}

impl TransportConfig {
    setters! {
        buffer_pool: BufferPoolConfig,
        buffer_pool_enabled: bool,
        read_mode: ReadMode,
        max_payload: usize,
        channel_capacity: usize,
        channel_bytes: Option<usize>,
        schema_digest: Option<[u8; 32]>,
        unknown_types: Option<UnknownTypes>,
        max_connections: usize,
        connect_timeout: Duration,
        first_byte_timeout: Option<Duration>,
        idle_timeout: Option<Duration>,
        frame_timeout: Duration,
        write_timeout: Duration,
        drain_timeout: Duration,
        reconnect: Option<Backoff>,
        keepalive: Option<Keepalive>,
    }

    /// What becomes of frames of unknown types on that side of a connection.
    pub(super) fn unknown_types_of(&self, role: Role) -> UnknownTypes {
        self.unknown_types.unwrap_or(match role {
            Role::Server => UnknownTypes::Reject,
            Role::Client => UnknownTypes::Skip,
        })
    }

    /// What a channel keeps, in bytes of storage.
    pub(super) fn channel_byte_limit(&self) -> usize {
        let two_frames = self.max_payload.saturating_add(HEADER_LEN).saturating_mul(2);
        let of_the_pool = match self.buffer_pool.memory_limit() {
            usize::MAX => two_frames.max(16 << 20),
            limit => two_frames.min(limit / 4).max(limit / 16),
        };
        self.channel_bytes.unwrap_or(of_the_pool)
    }
}

fn default_pool() -> BufferPoolConfig {
    let classes = BufferPoolConfig::powers_of_two_and(HEADER_LEN, 128..=256 * 1024);
    // Of each of the large ones one is kept while it lies idle: 31.5 MiB in all, until they decay.
    let large = (19..=24).map(|exponent| ((1 << exponent) + HEADER_LEN, 1));
    let all = classes.and_then(|classes| classes.to_builder().classes(large).memory_limit(256 << 20).build());
    match all {
        Ok(config) => config,
        Err(error) => unreachable!("{error}"),
    }
}
